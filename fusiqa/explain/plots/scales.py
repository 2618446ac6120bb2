"""Figures of scale weights: bars by group, heat map of images, shifts under distortions, gates, attention matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusiqa.data.distortions import SEPARATOR
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots import style
from fusiqa.explain.plots.style import COLOURS, GREY, INK, PALE, bare, new_figure, new_grid, plain, saved, shortened
from fusiqa.explain.shifts import SIGNIFICANT_BELOW
from fusiqa.explain.weights import effective_scales, weights_array
from fusiqa.scoring.result import SCALE_COLUMNS

ScaleSizes = Sequence[tuple[int, int]]
"""(height, width) of each scale's feature map, in cells, finest first."""
EQUAL_WEIGHT = 1 / len(SCALE_COLUMNS)
HATCHES = ("", "////", "....", "xxxx")
MOST_NAMED_ROWS = 40  # more image names than this would overlap
MOST_ROWS = 400  # of a heat map: at 300 dpi some 4 dots each
LONGEST_FILE = 24  # characters of an image's name beside its row


class ImageGates(NamedTuple):
    """An image and the gates of each scale at its pixels, 0-1."""

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    gates: Float[np.ndarray, "4 height width"]


def scale_labels(scale_sizes: ScaleSizes) -> list[str]:
    """The label of each scale: its stage and the cells of its map. FusiqaError: not four sizes."""
    if len(scale_sizes) != len(SCALE_COLUMNS):
        needed = f"one size for each of {len(SCALE_COLUMNS)} scales"
        raise FusiqaError(f"`scale_sizes` must have {needed}, got {list(scale_sizes)}")
    return [f"Stage {scale}\n({height}\u00d7{width})" for scale, (height, width) in enumerate(scale_sizes)]


def scale_bars(summary: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path) -> Figure:
    """Bars of the mean weight of each scale, one series a group, with 95 % intervals.

    Summary: of `summarise_weights`; ordered categories are coloured in order. FusiqaError: over 32 groups.
    """
    labels, groups = scale_labels(scale_sizes), list(dict.fromkeys(summary["group"]))
    looks, width = _looks(summary["group"], len(groups)), 0.84 / len(groups)  # the rest is the gap between scales
    figure, (axes,) = new_figure(max(8.0, 4 + 0.45 * len(groups)), 4.6 + 0.2 * math.ceil(len(groups) / 2))
    whiskers: dict[str, Any] = {"ecolor": INK, "elinewidth": 1, "capthick": 1, "capsize": min(4, 20 * width)}
    for place, (group, look) in enumerate(zip(groups, looks, strict=True)):
        rows = summary[summary["group"] == group].sort_values("scale")
        middle = rows["scale"] + (place - (len(groups) - 1) / 2) * width
        label = f"{plain(str(group))} (n = {rows['n'].iloc[0]:,}; {rows['effective'].iloc[0]:.2f} scales)"
        axes.bar(middle, rows["mean"], 0.94 * width, edgecolor="white", linewidth=0, label=label, **look)
        errors = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        axes.errorbar(middle, rows["mean"], errors, fmt="none", **whiskers)
    axes.axhline(EQUAL_WEIGHT, zorder=0.5, **style.DASHED)
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(1.01, EQUAL_WEIGHT, "equal\nweights", color=GREY, fontsize=8, **beside)
    axes.set_xticks(range(len(labels)), labels)
    top = min(1.02, max(1.1 * np.nanmax(summary[["mean", "high"]]), 1.3 * EQUAL_WEIGHT))  # no weight is above 1
    axes.set(xlabel="Feature scale", ylabel="Scale weight (mean and 95 % interval)", ylim=(0, top))
    axes.set_title(plain(title), fontsize=12, pad=12)
    heading = "Group (images; effective number of scales, 1 to 4, mean)"
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, title=heading)
    return saved(figure, path)


def _looks(groups: pd.Series, count: int) -> list[dict[str, Any]]:
    """Colour and hatch of `count` groups: unrelated ones differ in hue, ordered ones run from dark to light."""
    if count > (most := len(COLOURS) * len(HATCHES)):
        raise FusiqaError(f"a bar chart shows at most {most} groups, got {count}; the table holds all")
    if isinstance(groups.dtype, pd.CategoricalDtype) and groups.dtype.ordered:
        return [{"color": colour} for colour in matplotlib.colormaps["cividis"](np.linspace(0.15, 0.92, count))]
    return [{"color": COLOURS[n % len(COLOURS)], "hatch": HATCHES[n // len(COLOURS)]} for n in range(count)]


def scale_heatmap(table: pd.DataFrame, *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """Scale weights of each image as colours, sorted by score, beside the scores.

    Up to 40 images are named; above 400, neighbours in score share a row, which is their mean. FusiqaError: no rows,
    weights that do not sum to 1, or a score that is not finite.
    """
    labels = scale_labels(scale_sizes)
    if not np.isfinite(table["score"]).all():
        raise FusiqaError(f"a heat map sorted by score needs finite scores, got {table['score'].tolist()[:5]} ...")
    table = table.sort_values("score", kind="stable")
    weights, images = weights_array(table), len(table)
    effective, few = effective_scales(weights).mean(), images <= MOST_NAMED_ROWS
    names = _row_names(table["image"].astype(str)) if few else []
    rows = np.array_split(weights, min(images, MOST_ROWS))
    means = np.stack([row.mean(axis=0) for row in rows])
    beside = 0.06 * max(0, max(map(len, names), default=0) - LONGEST_FILE)  # inches of longer names
    figure, (strip, heat) = new_figure(7.0 + beside, 2 + min(6.0, 3 + 0.15 * images), widths=(1, 3))
    upwards = np.arange(images) + 0.5
    strip.plot(table["score"], upwards, color=COLOURS[5], linewidth=1.6, marker="o" if few else "", ms=3)
    strip.set(xlabel="Score", ylim=(0, images))
    strip.margins(x=0.12)
    strip.grid(axis="x", color=PALE, alpha=0.3, linewidth=0.7)
    highest = max(0.5, float(np.ceil(10 * means.max()) / 10))
    if few:
        strip.set_yticks(upwards, [plain(name) for name in names], fontsize=7)
        _print_numbers(heat, means, highest, rise=0.5)
    else:
        strip.set_ylabel("Images, from the lowest score up")
        strip.yaxis.set_major_formatter("{x:,.0f}")
    bare(heat)
    edges = np.arange(len(SCALE_COLUMNS) + 1) - 0.5, np.linspace(0, images, len(means) + 1)
    drawn = heat.pcolormesh(*edges, means, cmap="viridis", vmin=0, vmax=highest)
    heat.set_xticks(range(len(SCALE_COLUMNS)), labels)
    heat.set_xlabel("Feature scale")
    colour_bar = figure.colorbar(drawn, ax=heat, label="Scale weight (line: equal weights)")
    colour_bar.ax.axhline(EQUAL_WEIGHT, color="white", linewidth=1.5)
    sizes = sorted({len(row) for row in rows})
    note = "" if sizes == [1] else f"; each row is the mean of {' or '.join(map(str, sizes))} images"
    title = f"Scale weights of {images:,} image{'s' if images > 1 else ''}, sorted by score"
    counted = f"Effective number of scales: {effective:.2f} of {len(SCALE_COLUMNS)} on average{note}"
    figure.suptitle(f"{title}\n{counted}", fontsize=11)
    return saved(figure, path)


def _row_names(images: pd.Series) -> list[str]:
    """Names that fit beside their rows: file names without their middles, the distortion in full."""
    parts = images.str.partition(SEPARATOR)
    return (pd.Series(shortened(parts[0].tolist(), LONGEST_FILE), images.index) + parts[1] + parts[2]).tolist()


def _print_numbers(axes: Axes, values: np.ndarray, highest: float, *, rise: float = 0.0) -> None:
    """Print each value of (rows, columns) in its cell."""
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < 0.6 * highest else "black"
        axes.text(column, row + rise, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)


def shift_map(shifts: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path) -> Figure:
    """The `distortion_shifts` of each scale, rows in their order; a dot marks a shift that is not significant."""
    labels = scale_labels(scale_sizes)
    kind_of = dict(zip(shifts["distortion"], shifts["kind"], strict=True))
    names, levels = list(kind_of), sorted(shifts["level"].unique())
    span = max(0.01, float(shifts["shift"].abs().max()))  # negligible shifts are not to look like large ones
    figure, panels = new_figure(11.0, 2.2 + 0.24 * len(names), widths=(1,) * len(labels))
    for scale, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        part = shifts[shifts["scale"] == scale].pivot(index="distortion", columns="level").loc[names]
        bare(axes)
        drawn = axes.imshow(part["shift"][levels], cmap="PuOr_r", vmin=-span, vmax=span, aspect="auto")
        row, column = np.nonzero(~(part["q_value"][levels].to_numpy(float) < SIGNIFICANT_BELOW))
        axes.scatter(column, row, s=5, color=INK, linewidths=0, zorder=3)
        axes.set_xticks(range(len(levels)), [str(level) for level in levels], fontsize=8)
        axes.set_title(label, fontsize=10)
    first, start = panels[0], 0
    beside: dict[str, Any] = {"transform": first.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": 8}
    for kind, members in groupby(kind_of.values()):
        end = start + len(list(members))
        first.text(-1.0, (start + end - 1) / 2, kind.replace(" and ", "\nand "), color=GREY, **beside)
        for axes in panels if start else ():
            axes.axhline(start - 0.5, color="white", linewidth=3, zorder=2)
        start = end
    first.set_yticks(range(len(names)), [plain(name.replace("_", " ")) for name in names], fontsize=8)
    first.tick_params(labelleft=True)
    figure.colorbar(drawn, ax=panels, label="Shift of the scale weight", shrink=0.6, aspect=30)
    below = f"Level, 1 (hardly visible) to 5; dot: not significant (q of {SIGNIFICANT_BELOW:g} or more)"
    figure.supxlabel(below, fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    return saved(figure, path)


def gate_maps(images: Sequence[ImageGates], *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """A row for each image: the image, then the gates of each scale over a pale copy, all on one colour scale."""
    headings = [label.replace("\n", " ") for label in scale_labels(scale_sizes)]
    low, high = min(float(each.gates.min()) for each in images), max(float(each.gates.max()) for each in images)
    spare = max(0.0, 0.05 - (high - low)) / 2  # gates that are nearly alike are not to look different
    low, high = max(0.0, low - spare), min(1.0, high + spare)
    ratios = [min(1.5, each.pixels.shape[0] / each.pixels.shape[1]) for each in images]
    across, down, panel = 1 + len(headings), len(images), 2.4  # inches
    figure, grid = new_grid(panel * across + 0.8, 0.8 + panel * sum(ratios), down, across, height_ratios=ratios)
    for row, each in zip(grid, images, strict=True):
        row[0].imshow(each.pixels)
        row[0].set_title(plain(each.name if len(each.name) <= 28 else f"...{each.name[-25:]}"), fontsize=8)
        for axes, gate, heading in zip(row[1:], each.gates, headings, strict=True):
            axes.imshow(each.pixels.mean(axis=2), cmap="gray", vmin=-510, vmax=255)  # pale, so that colours can be read
            heat = axes.imshow(gate, cmap="inferno", vmin=low, vmax=high, alpha=0.75)
            axes.set_title(f"{heading if row is grid[0] else ''}\nmean {gate.mean():.2f}".strip(), fontsize=8)
        for axes in row:
            axes.set_axis_off()
    label = "Gate (0 closed, 1 open), mean over 7\u00d77 cells a crop"
    figure.colorbar(heat, ax=np.array(grid), label=label, shrink=0.6, aspect=30)
    return saved(figure, path)


def matrix_panels(matrices: pd.DataFrame, *, title: str, path: Path) -> Figure:
    """A 4 x 4 attention matrix for each group, as `mean_matrices` gives them: rows attend, and sum to one."""
    groups = list(dict.fromkeys(matrices["group"]))
    across = min(4, len(groups))
    down = math.ceil(len(groups) / across)
    figure, grid = new_grid(max(5.0, 2.7 * across + 1), 2.9 * down + 0.6, down, across)
    panels, highest = np.array(grid).flatten(), float(matrices["mean"].max())
    for axes, group in zip(panels, groups, strict=False):
        part = matrices[matrices["group"] == group]
        mean = part.pivot(index="scale", columns="attends_to", values="mean").to_numpy()
        axes.spines[:].set_color(PALE)
        axes.tick_params(length=0, labelsize=8)
        axes.set(xticks=range(len(SCALE_COLUMNS)), yticks=range(len(SCALE_COLUMNS)))
        _print_numbers(axes, mean, highest)
        drawn = axes.imshow(mean, cmap="viridis", vmin=0, vmax=highest)
        axes.set_title(plain(f"{group} (n = {part['n'].iloc[0]:,})"), fontsize=9)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    figure.colorbar(drawn, ax=panels, label="Attention weight (equal: 0.25)", shrink=0.7)
    figure.supxlabel("Attended scale", fontsize=10)
    figure.supylabel("Attending scale", fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    return saved(figure, path)
