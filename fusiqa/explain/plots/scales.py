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

from fusiqa.data.distorted import SEPARATOR
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.style import COLOURS, GREY, INK, PALE, bare, new_figure, new_grid, plain, saved, shortened
from fusiqa.explain.shifts import SIGNIFICANT_BELOW
from fusiqa.explain.weights import SCALES, effective_scales, weights_array

ScaleSizes = Sequence[tuple[int, int]]
"""(height, width) of each scale's feature map, in cells, finest first."""
EQUAL_WEIGHT = 1 / len(SCALES)

HATCHES = ("", "////", "....", "xxxx")
LEGEND_COLUMNS = 2
LEGEND_ROW = 0.2  # inches
FILLED = 0.84  # of the space between two scales; the rest is the gap between their groups of bars

MOST_NAMED_ROWS = 40  # more image names than this would overlap
LONGEST_FILE = 24  # characters of an image's name beside its row
CHARACTER = 0.06  # inches, of those names
MOST_ROWS = 400  # of a heat map: at 300 dpi some 4 dots each

DIVERGING = "PuOr_r"
LEAST_SHIFT_SPAN = 0.01  # of the colours: negligible shifts are not to look like large ones

HEAT = "inferno"
OPACITY = 0.75  # of the heat map over the image
DARKEST = -510  # drawn black; so the image is light grey, and the colours can be read off the bar
LEAST_GATE_SPAN = 0.05  # of the colours: gates that are nearly alike are not to look different
LONGEST_TITLE = 28  # characters of an image's name above it
PANEL = 2.4  # inches
TALLEST = 1.5  # height of an image's row, in panels
MATRICES_ACROSS = 4


class ImageGates(NamedTuple):
    """An image and the gates of each scale at its pixels, 0-1."""

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    gates: Float[np.ndarray, "4 height width"]


def scale_labels(scale_sizes: ScaleSizes) -> list[str]:
    """The label of each scale: its stage and the cells of its map.

    Raises:
        FusiqaError: not one (height, width) for each of the four scales.

    Example:
        >>> scale_labels([(56, 56), (28, 28), (14, 14), (7, 7)])[3]
        'Stage 3\\n(7\u00d77)'
    """
    if len(scale_sizes) != len(SCALES):
        raise FusiqaError(f"`scale_sizes` must have one size for each of {len(SCALES)} scales, got {list(scale_sizes)}")
    return [f"Stage {scale}\n({height}\u00d7{width})" for scale, (height, width) in enumerate(scale_sizes)]


# --- bars by group ---------------------------------------------------------------------------------------------------


def scale_bars(summary: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path) -> Figure:
    """Bars of the mean weight of each scale, one series a group, with 95 % intervals.

    Args:
        summary: as `summarise_weights` gives it; ordered categories (thirds by quality) are coloured in order.
        scale_sizes: of the four scales.
        title: above the bars.
        path: the file to write.

    Raises:
        FusiqaError: sizes for another number of scales, or more groups than can be distinguished (32).
    """
    labels = scale_labels(scale_sizes)
    groups = list(dict.fromkeys(summary["group"]))
    looks = _looks(summary["group"], len(groups))
    legend_rows = math.ceil(len(groups) / LEGEND_COLUMNS)
    figure, (axes,) = new_figure(max(8.0, 4 + 0.45 * len(groups)), 4.6 + LEGEND_ROW * legend_rows)
    width = FILLED / len(groups)
    whiskers: dict[str, Any] = {"ecolor": INK, "elinewidth": 1, "capthick": 1, "capsize": min(4, 20 * width)}
    for place, (group, look) in enumerate(zip(groups, looks, strict=True)):
        rows = summary[summary["group"] == group].sort_values("scale")
        middle = rows["scale"] + (place - (len(groups) - 1) / 2) * width
        label = f"{plain(str(group))} (n = {rows['n'].iloc[0]:,}; {rows['effective'].iloc[0]:.2f} scales)"
        axes.bar(middle, rows["mean"], 0.94 * width, edgecolor="white", linewidth=0, label=label, **look)
        errors = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        axes.errorbar(middle, rows["mean"], errors, fmt="none", **whiskers)
    axes.axhline(EQUAL_WEIGHT, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(1.01, EQUAL_WEIGHT, "equal\nweights", color=GREY, fontsize=8, **beside)
    axes.set_xticks(range(len(labels)), labels)
    top = min(1.02, max(1.1 * np.nanmax(summary[["mean", "high"]]), 1.3 * EQUAL_WEIGHT))  # no weight is above 1
    axes.set(xlabel="Feature scale", ylabel="Scale weight (mean and 95 % interval)", ylim=(0, top))
    axes.set_title(plain(title), fontsize=12, pad=12)
    heading = "Group (images; effective number of scales, 1 to 4, mean)"
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9, title=heading)
    return saved(figure, path)


def _looks(groups: pd.Series, count: int) -> list[dict[str, Any]]:
    """Colour and hatch of `count` groups: unrelated ones differ in hue, ordered ones run from dark to light."""
    most = len(COLOURS) * len(HATCHES)
    if count > most:
        raise FusiqaError(f"a bar chart shows at most {most} groups, got {count}; the table holds all")
    if isinstance(groups.dtype, pd.CategoricalDtype) and groups.dtype.ordered:
        return [{"color": colour} for colour in matplotlib.colormaps["cividis"](np.linspace(0.15, 0.92, count))]
    pairs = [(colour, hatch) for hatch in HATCHES for colour in COLOURS]
    return [{"color": colour, "hatch": hatch} for colour, hatch in pairs[:count]]


# --- heat map of images ----------------------------------------------------------------------------------------------


def scale_heatmap(table: pd.DataFrame, *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """Scale weights of each image as colours, sorted by score, beside the scores.

    Up to 40 images are named; above 400, neighbours in score share a row, which is their mean.

    Args:
        table: one row an image: `image`, `score` and `scale_0` to `scale_3`.
        scale_sizes: of the four scales.
        path: the file to write.

    Raises:
        FusiqaError: no rows, weights that do not sum to 1, a score that is not finite, or sizes for other scales.
    """
    labels = scale_labels(scale_sizes)
    if not np.isfinite(table["score"]).all():
        raise FusiqaError(f"a heat map sorted by score needs finite scores, got {table['score'].tolist()[:5]} ...")
    table = table.sort_values("score", kind="stable")
    weights = weights_array(table)
    effective = effective_scales(weights).mean()
    images = len(table)
    rows = np.array_split(np.arange(images), min(images, MOST_ROWS))
    names = _row_names(table["image"].astype(str).tolist()) if images <= MOST_NAMED_ROWS else []
    beside = CHARACTER * max(0, max(map(len, names), default=0) - LONGEST_FILE)
    figure, (strip, heat) = new_figure(7.0 + beside, 2 + min(6.0, 3 + 0.15 * images), widths=(1, 3))
    _score_strip(strip, table["score"].to_numpy(), names)
    means = np.stack([weights[row].mean(axis=0) for row in rows])
    highest = max(0.5, float(np.ceil(10 * means.max()) / 10))
    bare(heat)
    if len(means) <= MOST_NAMED_ROWS:
        _print_numbers(heat, means, highest, rise=0.5)
    across, upwards = np.arange(len(SCALES) + 1) - 0.5, np.linspace(0, images, len(means) + 1)
    drawn = heat.pcolormesh(across, upwards, means, cmap="viridis", vmin=0, vmax=highest)
    heat.set_xticks(range(len(SCALES)), labels)
    heat.set_xlabel("Feature scale")
    colour_bar = figure.colorbar(drawn, ax=heat, label="Scale weight (line: equal weights)")
    colour_bar.ax.axhline(EQUAL_WEIGHT, color="white", linewidth=1.5)
    sizes = sorted({len(row) for row in rows})
    note = "" if sizes == [1] else f"; each row is the mean of {' or '.join(map(str, sizes))} images"
    what = f"Scale weights of {images:,} image{'s' if images > 1 else ''}, sorted by score"
    of_scales = f"{effective:.2f} of {len(SCALES)} on average"
    figure.suptitle(f"{what}\nEffective number of scales: {of_scales}{note}", fontsize=11)
    return saved(figure, path)


def _row_names(images: Sequence[str]) -> list[str]:
    """Names that fit beside their rows: file names without their middles, the distortion in full."""
    parts = [image.partition(SEPARATOR) for image in images]
    files = shortened([file for file, _, _ in parts], LONGEST_FILE)
    return [f"{file}{separator}{made}" for file, (_, separator, made) in zip(files, parts, strict=True)]


def _score_strip(axes: Axes, scores: np.ndarray, names: Sequence[str]) -> None:
    """Sorted scores, upwards, with names if there are any."""
    images = len(scores)
    middle = np.arange(images) + 0.5
    axes.plot(scores, middle, color=COLOURS[5], linewidth=1.6, marker="o" if images <= MOST_NAMED_ROWS else "", ms=3)
    axes.set(xlabel="Score", ylim=(0, images))
    axes.margins(x=0.12)
    axes.grid(axis="x", color=PALE, alpha=0.3, linewidth=0.7)
    if names:
        axes.set_yticks(middle, [plain(name) for name in names], fontsize=7)
    else:
        axes.set_ylabel("Images, from the lowest score up")
        axes.yaxis.set_major_formatter("{x:,.0f}")


def _print_numbers(axes: Axes, values: np.ndarray, highest: float, *, rise: float = 0.0) -> None:
    """Print each value of (rows, columns) in its cell."""
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < 0.6 * highest else "black"
        axes.text(column, row + rise, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)


# --- shifts under every distortion -----------------------------------------------------------------------------------


def shift_map(shifts: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path) -> Figure:
    """Shift of each scale under each distortion and level; a dot marks a shift that is not significant.

    Args:
        shifts: as `distortion_shifts` gives it; rows are drawn in its order, kinds kept together.
        scale_sizes: of the four scales.
        title: above the panels.
        path: the file to write.
    """
    labels = scale_labels(scale_sizes)
    kinds = [kind for kind, _ in dict.fromkeys(zip(shifts["kind"], shifts["distortion"], strict=True))]
    names, levels = list(dict.fromkeys(shifts["distortion"])), sorted(shifts["level"].unique())
    span = max(LEAST_SHIFT_SPAN, float(shifts["shift"].abs().max()))
    figure, panels = new_figure(11.0, 2.2 + 0.24 * len(names), widths=(1,) * len(labels))
    for scale, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        part = shifts[shifts["scale"] == scale].pivot(index="distortion", columns="level").loc[names]
        bare(axes)
        drawn = axes.imshow(part["shift"][levels], cmap=DIVERGING, vmin=-span, vmax=span, aspect="auto")
        row, column = np.nonzero(~(part["q_value"][levels].to_numpy(float) < SIGNIFICANT_BELOW))
        axes.scatter(column, row, s=5, color=INK, linewidths=0, zorder=3)
        axes.set_xticks(range(len(levels)), [str(level) for level in levels], fontsize=8)
        axes.set_title(label, fontsize=10)
        start = 0
        for kind, members in groupby(kinds):
            end = start + len(list(members))
            if start:
                axes.axhline(start - 0.5, color="white", linewidth=3, zorder=2)
            if scale == 0:
                beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "right"}
                words = kind.replace(" and ", "\nand ")
                axes.text(-1.0, (start + end - 1) / 2, words, color=GREY, fontsize=8, **beside)
            start = end
    panels[0].set_yticks(range(len(names)), [plain(name.replace("_", " ")) for name in names], fontsize=8)
    panels[0].tick_params(labelleft=True)
    figure.colorbar(drawn, ax=panels, label="Shift of the scale weight", shrink=0.6, aspect=30)
    figure.supxlabel(
        f"Level, 1 (hardly visible) to 5; dot: not significant (q of {SIGNIFICANT_BELOW:g} or more)", fontsize=10
    )
    figure.suptitle(plain(title), fontsize=11)
    return saved(figure, path)


# --- gates and attention matrices ------------------------------------------------------------------------------------


def gate_maps(images: Sequence[ImageGates], *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """A row for each image: the image, then the gates of each scale over a pale copy, all on one colour scale.

    Args:
        images: in reading order.
        scale_sizes: of the four scales.
        path: the file to write.
    """
    headings = [label.replace("\n", " ") for label in scale_labels(scale_sizes)]
    low, high = min(float(each.gates.min()) for each in images), max(float(each.gates.max()) for each in images)
    spare = max(0.0, LEAST_GATE_SPAN - (high - low)) / 2
    low, high = max(0.0, low - spare), min(1.0, high + spare)
    ratios = [min(TALLEST, each.pixels.shape[0] / each.pixels.shape[1]) for each in images]
    columns = 1 + len(headings)
    figure, grid = new_grid(
        PANEL * columns + 0.8, 0.8 + PANEL * sum(ratios), len(images), columns, height_ratios=ratios
    )
    for row, each in zip(grid, images, strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].imshow(each.pixels)
        name = each.name if len(each.name) <= LONGEST_TITLE else f"...{each.name[3 - LONGEST_TITLE :]}"
        row[0].set_title(plain(name), fontsize=8)
        for axes, gate in zip(row[1:], each.gates, strict=True):
            axes.imshow(each.pixels.mean(axis=2), cmap="gray", vmin=DARKEST, vmax=255)
            heat = axes.imshow(gate, cmap=HEAT, vmin=low, vmax=high, alpha=OPACITY)
            axes.set_title(f"mean {gate.mean():.2f}", fontsize=8)
    for axes, heading in zip(grid[0][1:], headings, strict=True):
        axes.set_title(f"{heading}\n{axes.get_title()}", fontsize=9)
    label = "Gate (0 closed, 1 open), mean over 7\u00d77 cells a crop"
    figure.colorbar(heat, ax=np.array(grid), label=label, shrink=0.6, aspect=30)
    return saved(figure, path)


def matrix_panels(matrices: pd.DataFrame, *, title: str, path: Path) -> Figure:
    """A 4 x 4 attention matrix for each group: rows are attending scales and sum to one, columns are attended scales.

    Args:
        matrices: as `mean_matrices` gives it.
        title: above the panels.
        path: the file to write.
    """
    groups = list(dict.fromkeys(matrices["group"]))
    across = min(MATRICES_ACROSS, len(groups))
    down = math.ceil(len(groups) / across)
    figure, grid = new_grid(max(5.0, 2.7 * across + 1), 2.9 * down + 0.6, down, across)
    panels = np.array(grid).flatten()
    highest = float(matrices["mean"].max())
    for axes, group in zip(panels, groups, strict=False):
        part = matrices[matrices["group"] == group]
        mean = part.pivot(index="scale", columns="attends_to", values="mean").to_numpy()
        axes.spines[:].set_color(PALE)
        axes.tick_params(length=0, labelsize=8)
        axes.set_xticks(range(len(SCALES)))
        axes.set_yticks(range(len(SCALES)))
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
