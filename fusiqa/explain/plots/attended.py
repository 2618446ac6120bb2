"""Figures of what a fusion attended to: places of an image, scales of one another. They compute no attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusiqa.explain.plots.scales import ScaleSizes, scale_labels
from fusiqa.explain.plots.style import DOTS_PER_INCH, PALE, plain, saved
from fusiqa.explain.scale_weights import SCALES

HEAT = "inferno"
OVER = 0.75  # opacity of the heat map over the image, and of the bar of colours over white
DARKEST = -510  # drawn black; so the image is light grey, and the colours can be read off the bar
GRID = 7  # cells on each side of a crop's gates
LEAST_SPAN = 0.05  # of the colours: gates that are nearly alike are not to look different
PANEL = 2.4  # inches
MATRICES_ACROSS = 4


class Attended(NamedTuple):
    """An image and how far the gates of each scale were open at its places, 0-1."""

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    gates: Float[np.ndarray, "4 height width"]


def gate_maps(attended: Sequence[Attended], *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """A row for each image: as it is, then the gates of each scale over its pale copy, all on one colour scale.

    Args:
        attended: the images, in reading order.
        scale_sizes: (height, width) of each scale's map, finest first.
        path: the file to write.
    """
    headings = ["", *(label.replace("\n", " ") for label in scale_labels(scale_sizes))]
    low, high = _range([each.gates for each in attended])
    shape = [each.pixels.shape[0] / each.pixels.shape[1] for each in attended]
    figure = Figure(
        figsize=(PANEL * len(headings) + 0.8, 0.8 + PANEL * sum(min(1.5, ratio) for ratio in shape)),
        dpi=DOTS_PER_INCH, layout="constrained", facecolor="white",
    )  # fmt: skip
    grid = figure.subplots(len(attended), len(headings), squeeze=False, height_ratios=[min(1.5, r) for r in shape])
    for row, each in zip(grid, attended, strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].imshow(each.pixels)
        row[0].set_title(plain(each.name if len(each.name) <= 28 else f"...{each.name[-25:]}"), fontsize=8)
        for axes, gate in zip(row[1:], each.gates, strict=True):
            axes.imshow(each.pixels.mean(axis=2), cmap="gray", vmin=DARKEST, vmax=255)
            heat = axes.imshow(gate, cmap=HEAT, vmin=low, vmax=high, alpha=OVER)
            axes.set_title(f"mean {gate.mean():.2f}", fontsize=8)
    for axes, heading in zip(grid[0][1:], headings[1:], strict=True):
        axes.set_title(f"{heading}\n{axes.get_title()}", fontsize=9)
    figure.colorbar(
        heat, ax=grid, label=f"Gate (0 shut, 1 open), mean in {GRID} x {GRID} cells a crop", shrink=0.6, aspect=30
    )
    return saved(figure, path)


def _range(gates: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of the colours: what the gates span, but no less than `LEAST_SPAN`, within 0-1."""
    low, high = min(float(gate.min()) for gate in gates), max(float(gate.max()) for gate in gates)
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    return max(0.0, low - spare), min(1.0, high + spare)


def matrix_panels(matrices: pd.DataFrame, *, title: str, path: Path) -> Figure:
    """A 4 x 4 matrix for each group: a row is the scale that looks, a column the one looked at; rows sum to one.

    Args:
        matrices: as `mean_matrices` gives it.
        title: said above.
        path: the file to write.
    """
    groups = list(dict.fromkeys(matrices["group"]))
    across = min(MATRICES_ACROSS, len(groups))
    down = math.ceil(len(groups) / across)
    size = (max(5.0, 2.7 * across + 1), 2.9 * down + 0.6)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    highest = float(matrices["mean"].max())
    for axes, group in zip(panels, groups, strict=False):
        part = matrices[matrices["group"] == group]
        wide = part.pivot(index="looks", columns="looked_at", values="mean").to_numpy()
        drawn = _matrix(axes, wide, highest)
        axes.set_title(plain(f"{group} (n = {part['n'].iloc[0]:,})"), fontsize=9)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    figure.colorbar(drawn, ax=panels, label="Share of the attention (equal: 0.25)", shrink=0.7)
    figure.supxlabel("Scale looked at", fontsize=10)
    figure.supylabel("Scale that looks", fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    return saved(figure, path)


def _matrix(axes: Axes, wide: np.ndarray, highest: float):
    """One group's matrix, its numbers in the cells."""
    axes.spines[:].set_color(PALE)
    axes.tick_params(length=0, labelsize=8)
    axes.set_xticks(range(len(SCALES)))
    axes.set_yticks(range(len(SCALES)))
    for (looks, looked_at), share in np.ndenumerate(wide):
        colour = "white" if share < 0.6 * highest else "black"
        axes.text(looked_at, looks, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    return axes.imshow(wide, cmap="viridis", vmin=0, vmax=highest)
