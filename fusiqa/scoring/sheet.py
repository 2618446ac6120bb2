"""The worst and the best of a scoring run as one picture. It scores nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.contact_sheet import CELL, Shown, contact_sheet
from fusiqa.scoring.geometry import Resize
from fusiqa.scoring.inputs import file_image
from fusiqa.scoring.rows import Row

EACH_END = 8
COLUMNS = 4


def draw_sheet(rows: Iterable[Row], path: Path, *, score_range: ScoreRange) -> int:
    """Draw the eight worst images, worst first, and then the eight best, best last.

    Each has its path, score and scale weights below it; one that can no longer be read is left grey.

    Returns:
        How many images were drawn; with none, there is no picture.
    """
    kept: list[Row] = []
    for row in rows:  # two heaps would need two passes; this holds 1,000 rows at most
        if row["score"] is not None:
            kept.append(row)
        if len(kept) >= 1_000:
            kept = both_ends(kept)
    shown = both_ends(kept)
    if shown:
        title = f"worst to best, on {score_range.low:g} to {score_range.high:g}, higher is better"
        contact_sheet([_shown(row) for row in shown], path, columns=COLUMNS, title=title)
    return len(shown)


def both_ends(rows: list[Row]) -> list[Row]:
    """The worst and the best, in the order of their scores; all of them, where there are no more than that."""
    if len(rows) <= 2 * EACH_END:
        return sorted(rows, key=_score)
    return heapq.nsmallest(EACH_END, rows, key=_score) + heapq.nlargest(EACH_END, rows, key=_score)[::-1]


def _score(row: Row) -> tuple[float, str]:
    return row["score"], row["path"]


def _shown(row: Row) -> Shown:
    weights = [row[f"scale_{place}"] for place in range(4)]
    told = "" if weights[0] is None else "  scales " + " ".join(f"{weight:.2f}" for weight in weights)
    try:
        pixels = Resize(short_side=CELL).apply(file_image(row["path"]).read())
    except FusiqaError:
        pixels = np.full((CELL, CELL, 3), 200, np.uint8)
    return Shown(pixels, [row["path"], f"{row['score']:.4g}{told}"])
