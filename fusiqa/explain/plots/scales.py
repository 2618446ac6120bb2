"""Figures of scale weights: bars by group, and a heat map of images. They compute nothing that a table lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from fusiqa.data.distorted import SEPARATOR
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.style import COLOURS, GREY, INK, PALE, new_figure, plain, saved, shortened
from fusiqa.explain.scale_weights import SCALES, effective_scales, weights_of

HATCHES = ("", "////", "....", "xxxx")
LEGEND_COLUMNS = 2
LEGEND_ROW = 0.2  # inches
FILLED = 0.84  # of the space between two scales; the rest is the gap between their groups of bars
MOST_NAMED_ROWS = 40  # more image names than this would overlap
LONGEST_FILE = 24  # characters of an image's name beside its row
CHARACTER = 0.06  # inches, of those names
MOST_ROWS = 400  # of a heat map: at 300 dpi some 4 dots each
EQUAL_WEIGHT = 1 / len(SCALES)

ScaleSizes = Sequence[tuple[int, int]]


def scale_bars(summary: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path, by: str = "group") -> Figure:
    """Bars of the mean weight of each scale, one series a group, with 95 % intervals.

    Args:
        summary: as `scale_weights.summarise` gives it; ordered categories (bands of quality) are coloured in order.
        scale_sizes: (height, width) of each scale's map, in cells, finest first.
        title: said above the bars.
        path: the file to write.
        by: the column of `summary` that names the group.

    Raises:
        FusiqaError: sizes for another number of scales, or more groups than can be told apart (32).
    """
    labels = scale_labels(scale_sizes)
    groups = list(dict.fromkeys(summary[by]))
    looks = _looks(summary[by], len(groups))
    legend_rows = math.ceil(len(groups) / LEGEND_COLUMNS)
    figure, (axes,) = new_figure(max(8.0, 4 + 0.45 * len(groups)), 4.6 + LEGEND_ROW * legend_rows)
    width = FILLED / len(groups)
    for place, (group, look) in enumerate(zip(groups, looks, strict=True)):
        rows = summary[summary[by] == group].sort_values("scale")
        _one_series(axes, rows, (place - (len(groups) - 1) / 2) * width, width, look | {"label": _entry(group, rows)})
    axes.axhline(EQUAL_WEIGHT, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(1.01, EQUAL_WEIGHT, "equal\nweights", color=GREY, fontsize=8, **beside)
    axes.set_xticks(range(len(labels)), labels)
    top = min(1.02, max(1.1 * np.nanmax(summary[["mean", "high"]]), 1.3 * EQUAL_WEIGHT))  # no weight is above 1
    axes.set(xlabel="Feature scale", ylabel="Scale weight (mean and 95 % interval)", ylim=(0, top))
    axes.set_title(plain(title), fontsize=12, pad=12)
    heading = "images, and how many scales an image really uses (1 to 4, mean)"
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9, title=heading)
    return saved(figure, path)


def scale_heatmap(table: pd.DataFrame, *, scale_sizes: ScaleSizes, path: Path) -> Figure:
    """Every image's scale weights as colour, sorted by score, with the scores beside.

    Up to 40 images are named; above 400, neighbours in score share a row, which is their mean and is said so.

    Args:
        table: one row an image: `image`, `score` and `scale_0` to `scale_3`.
        scale_sizes, path: as for `scale_bars`.

    Raises:
        FusiqaError: no rows, weights that do not sum to 1, a score that is not finite, or sizes for other scales.
    """
    labels = scale_labels(scale_sizes)
    if not np.isfinite(table["score"]).all():
        raise FusiqaError(f"a heat map sorted by score needs finite scores; {table['score'].tolist()[:5]} ... came")
    table = table.sort_values("score", kind="stable")
    weights = weights_of(table)
    effective = effective_scales(weights).mean()
    images = len(table)
    rows = np.array_split(np.arange(images), min(images, MOST_ROWS))
    names = _names(table["image"].astype(str).tolist()) if images <= MOST_NAMED_ROWS else []
    beside = CHARACTER * max(0, max(map(len, names), default=0) - LONGEST_FILE)
    figure, (strip, heat) = new_figure(7.0 + beside, 2 + min(6.0, 3 + 0.15 * images), widths=(1, 3))
    _score_strip(strip, table["score"].to_numpy(), names)
    drawn = _weights_image(heat, np.stack([weights[row].mean(axis=0) for row in rows]), images)
    heat.set_xticks(range(len(SCALES)), labels)
    heat.set_xlabel("Feature scale")
    colour_bar = figure.colorbar(drawn, ax=heat, label="Scale weight (line: equal weights)")
    colour_bar.ax.axhline(EQUAL_WEIGHT, color="white", linewidth=1.5)
    what = f"Scale weights of {images:,} image{'s' if images > 1 else ''}, sorted by score"
    figure.suptitle(
        f"{what}\n{effective:.2f} of {len(SCALES)} scales in effect on average{_rows_note(rows)}", fontsize=11
    )
    return saved(figure, path)


def scale_labels(scale_sizes: ScaleSizes) -> list[str]:
    """What stands under each scale: its stage, and the cells of its map.

    Raises:
        FusiqaError: not one (height, width) for each of the four scales.

    Example:
        >>> scale_labels([(56, 56), (28, 28), (14, 14), (7, 7)])[3]
        'Stage 3\\n(7\u00d77)'
    """
    if len(scale_sizes) != len(SCALES):
        raise FusiqaError(f"a figure needs the map size of each of {len(SCALES)} scales; {list(scale_sizes)} came")
    return [
        f"Stage {scale}\n({height}\N{MULTIPLICATION SIGN}{width})" for scale, (height, width) in enumerate(scale_sizes)
    ]


def _looks(groups: pd.Series, count: int) -> list[dict[str, Any]]:
    """Colour and hatch of `count` groups: unrelated ones differ in hue, ordered ones run from dark to light."""
    most = len(COLOURS) * len(HATCHES)
    if count > most:
        raise FusiqaError(f"{count} groups cannot be told apart in one bar chart; at most {most}, the table holds all")
    if isinstance(groups.dtype, pd.CategoricalDtype) and groups.dtype.ordered:
        return [{"color": colour} for colour in matplotlib.colormaps["cividis"](np.linspace(0.15, 0.92, count))]
    pairs = [(colour, hatch) for hatch in HATCHES for colour in COLOURS]
    return [{"color": colour, "hatch": hatch} for colour, hatch in pairs[:count]]


def _one_series(axes: Axes, rows: pd.DataFrame, offset: float, width: float, look: dict[str, Any]) -> None:
    """The bars of one group, `offset` from the middle of each scale; no interval where there is none (one image)."""
    errors = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
    axes.bar(rows["scale"] + offset, rows["mean"], 0.94 * width, edgecolor="white", linewidth=0, **look)
    whiskers: dict[str, Any] = {"ecolor": INK, "elinewidth": 1, "capthick": 1, "capsize": min(4, 20 * width)}
    axes.errorbar(rows["scale"] + offset, rows["mean"], errors, fmt="none", **whiskers)


def _entry(group: object, rows: pd.DataFrame) -> str:
    """What the legend says of a group."""
    return f"{plain(str(group))} (n = {rows['n'].iloc[0]:,}; {rows['effective'].iloc[0]:.2f} scales)"


def _weights_image(axes: Axes, weights: np.ndarray, images: int) -> QuadMesh:
    """Weights (rows, scales) as colour, the first row at the bottom; in figures too where there is room."""
    highest = max(0.5, float(np.ceil(10 * weights.max()) / 10))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, labelleft=False, bottom=False)
    if len(weights) <= MOST_NAMED_ROWS:
        for (row, scale), weight in np.ndenumerate(weights):
            colour = "white" if weight < 0.6 * highest else "black"
            axes.text(scale, row + 0.5, f"{weight:.2f}", ha="center", va="center", color=colour, fontsize=7)
    across, upwards = np.arange(len(SCALES) + 1) - 0.5, np.linspace(0, images, len(weights) + 1)
    return axes.pcolormesh(across, upwards, weights, cmap="viridis", vmin=0, vmax=highest)


def _names(images: Sequence[str]) -> list[str]:
    """Names that fit beside their rows: an image's without its middle, what was done to it whole."""
    parts = [image.partition(SEPARATOR) for image in images]
    files = shortened([file for file, _, _ in parts], LONGEST_FILE)
    return [f"{file}{separator}{made}" for file, (_, separator, made) in zip(files, parts, strict=True)]


def _score_strip(axes: Axes, scores: np.ndarray, names: Sequence[str]) -> None:
    """Sorted scores, upwards; named where names are given."""
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


def _rows_note(rows: Sequence[np.ndarray]) -> str:
    """Says so where a row is a mean."""
    sizes = sorted({len(row) for row in rows})
    return "" if sizes == [1] else f"; each row is the mean of {' or '.join(map(str, sizes))} images"
