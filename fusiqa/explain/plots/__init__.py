"""Figures from arrays and tables, the only home of matplotlib.

Each function writes its file atomically and returns the figure. The path's suffix is the format: .png, .pdf or .svg.
"""

from fusiqa.explain.plots.runs import difference_bars, score_scatter, seed_bars, training_curves, validation_curves
from fusiqa.explain.plots.scales import (
    ImageGates,
    gate_maps,
    matrix_panels,
    scale_bars,
    scale_heatmap,
    scale_labels,
    shift_map,
)

__all__ = [
    "ImageGates",
    "difference_bars",
    "gate_maps",
    "matrix_panels",
    "scale_bars",
    "scale_heatmap",
    "scale_labels",
    "score_scatter",
    "seed_bars",
    "shift_map",
    "training_curves",
    "validation_curves",
]
