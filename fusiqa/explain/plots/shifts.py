"""Every distortion's shift of the scale weights, as colour: 25 rows of 4 scales by 5 levels. It computes no shift."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusiqa.explain.distortion_shifts import FOUND_BELOW
from fusiqa.explain.plots.scales import ScaleSizes, scale_labels
from fusiqa.explain.plots.style import GREY, INK, new_figure, plain, saved

COLOURS = "PuOr_r"  # diverging, told apart with colour-vision deficiencies
LEAST_SPAN = 0.01  # of the colours: shifts that are nothing are not to look like something


def shift_map(shifts: pd.DataFrame, *, scale_sizes: ScaleSizes, title: str, path: Path) -> Figure:
    """Shift of each scale under each distortion and level; a dot marks what cannot be told from no shift.

    Args:
        shifts: as `distortion_shifts` gives it; rows are drawn in its order, kinds kept together.
        scale_sizes: (height, width) of each scale's map, finest first.
        title: said above.
        path: the file to write.
    """
    labels = scale_labels(scale_sizes)
    kinds = dict.fromkeys(zip(shifts["kind"], shifts["distortion"], strict=True))
    names, levels = [name for _, name in kinds], sorted(shifts["level"].unique())
    span = max(LEAST_SPAN, float(shifts["shift"].abs().max()))
    figure, panels = new_figure(11.0, 2.2 + 0.24 * len(names), widths=(1,) * len(labels))
    for scale, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        drawn = _panel(axes, shifts[shifts["scale"] == scale], names, levels, span)
        axes.set_title(label, fontsize=10)
        _part_kinds(axes, [kind for kind, _ in kinds], named=scale == 0)
    panels[0].set_yticks(range(len(names)), [plain(name.replace("_", " ")) for name in names], fontsize=8)
    figure.colorbar(drawn, ax=panels, label="Shift of the scale weight", shrink=0.6, aspect=30)
    figure.supxlabel(
        f"Level, 1 (hardly visible) to 5; a dot: cannot be told from 0 (q of {FOUND_BELOW:g} or more)", fontsize=10
    )
    figure.suptitle(plain(title), fontsize=11)
    return saved(figure, path)


def _panel(axes: Axes, shifts: pd.DataFrame, names: list[str], levels: list[int], span: float):
    """One scale: rows of distortions, columns of levels."""
    wide = {column: shifts.pivot(index="distortion", columns="level", values=column) for column in ("shift", "q_value")}
    moved, q_value = (wide[column].loc[names, levels].to_numpy(float) for column in ("shift", "q_value"))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, labelleft=False, bottom=False)
    axes.set_xticks(range(len(levels)), [str(level) for level in levels], fontsize=8)
    row, column = np.nonzero(~(q_value < FOUND_BELOW))
    axes.scatter(column, row, s=5, color=INK, linewidths=0, zorder=3)
    return axes.imshow(moved, cmap=COLOURS, vmin=-span, vmax=span, aspect="auto")


def _part_kinds(axes: Axes, kinds: list[str], *, named: bool) -> None:
    """White lines between kinds; their names to the left of the first panel."""
    start = 0
    for kind, members in groupby(kinds):
        count = len(list(members))
        if start:
            axes.axhline(start - 0.5, color="white", linewidth=3, zorder=2)
        if named:
            beside: dict[str, Any] = {
                "transform": axes.get_yaxis_transform(),
                "rotation": 0,
                "va": "center",
                "ha": "right",
            }
            axes.text(-1.25, start + (count - 1) / 2, kind.replace(" and ", "\nand "), color=GREY, fontsize=8, **beside)
        start += count
    if named:
        axes.tick_params(labelleft=True)
