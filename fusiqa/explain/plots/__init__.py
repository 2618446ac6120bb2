"""Figures, each from arrays or a table to a file: the only home of matplotlib.

Each function writes its file in one step and returns the figure. The path's ending is the format: .png, .pdf or .svg.
"""

from fusiqa.explain.plots.ablation import difference_bars, seed_bars, validation_curves
from fusiqa.explain.plots.attended import Attended, gate_maps, matrix_panels
from fusiqa.explain.plots.runs import score_scatter, training_curves
from fusiqa.explain.plots.scales import scale_bars, scale_heatmap, scale_labels
from fusiqa.explain.plots.shifts import shift_map

__all__ = [
    "Attended",
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
