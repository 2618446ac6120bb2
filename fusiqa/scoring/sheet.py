"""Contact sheets: images side by side with two lines of text below each, and the worst and best of a scoring run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.io import MARK, check_output, write_atomically
from fusiqa.scoring.image import Resize
from fusiqa.scoring.inputs import file_image
from fusiqa.scoring.result import SCALE_COLUMNS, described

CELL, GAP, CAPTION = 240, 12, 40  # pixels; a caption is two lines of text
INK, PAPER, MISSING = "#222222", "white", 200
EACH_END = 8  # images of a scoring run: the worst, and the best
KEPT_AT_ONCE = 1_000  # rows in memory while the ends are found


class Shown(NamedTuple):
    """An image, uint8 (height, width, 3), and up to two lines of text to show below it."""

    pixels: np.ndarray
    lines: Sequence[str]


def contact_sheet(shown: Sequence[Shown], path: Path, *, columns: int = 4, title: str = "") -> None:
    """Draw images in rows, each fitted to its cell with its aspect kept, in reading order.

    Args:
        shown: the images.
        path: the file to write; its ending is the format. FusiqaError if it exists and is not an earlier sheet.
        columns: images in a row.
        title: text above all of them.
    """
    columns = min(columns, max(1, len(shown)))
    rows = -(-len(shown) // columns)
    head = 34 if title else 0
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, head + rows * (CELL + CAPTION + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(13), ImageFont.load_default(17)
    draw.text((GAP, 8), title, INK, large)
    for place, each in enumerate(shown):
        row, column = divmod(place, columns)
        left, top = GAP + column * (CELL + GAP), head + GAP + row * (CELL + CAPTION + GAP)
        picture = Image.fromarray(each.pixels)
        picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
        for number, line in enumerate(each.lines[:2]):
            start = 0  # a line that is too wide loses its start: the ends of file names differ
            while draw.textlength(text := "..." * (start > 0) + line[start:], small) > CELL:
                start += 1
            draw.text((left, top + CELL + 4 + 16 * number), text, INK, small)
    mark = PngInfo()
    mark.add_text("Software", MARK)
    check_output(path, replace=True)
    write_atomically(path, lambda temporary: sheet.save(temporary, pnginfo=mark, comment=MARK.encode()))


def draw_worst_and_best(rows: Iterable[dict[str, Any]], path: Path, *, score_range: ScoreRange) -> int:
    """Draw the eight worst images of a table of scores, worst first, then the eight best, best last.

    Each has its path, score and scale weights below it; one that can no longer be read is a grey square.

    Args:
        rows: of a table of scores, in any order and number.
        path: the file to write.
        score_range: of the scores, for the title.

    Returns:
        The number of images drawn; 0 writes no file.
    """
    kept: list[dict[str, Any]] = []
    for row in rows:
        if row["score"] is not None:
            kept.append(row)
        if len(kept) >= KEPT_AT_ONCE:
            kept = _both_ends(kept)
    shown = [_shown(row) for row in _both_ends(kept)]
    if shown:
        title = f"worst to best, on {score_range.low:g} to {score_range.high:g}, higher is better"
        contact_sheet(shown, path, title=title)
    return len(shown)


def _both_ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst and the best, in the order of their scores; all rows if there are no more."""
    rows = sorted(rows, key=lambda row: (row["score"], row["path"]))
    return rows if len(rows) <= 2 * EACH_END else rows[:EACH_END] + rows[-EACH_END:]


def _shown(row: dict[str, Any]) -> Shown:
    weights = [row[column] for column in SCALE_COLUMNS]
    scales = "" if weights[0] is None else "  scales " + " ".join(f"{weight:.2f}" for weight in weights)
    scales = f"  {described(row)}" if described(row) else scales
    try:
        pixels = file_image(row["path"]).resized(Resize(short_side=CELL))[0]
    except FusiqaError:
        pixels = np.full((CELL, CELL, 3), MISSING, np.uint8)
    return Shown(pixels, [row["path"], f"{row['score']:.4g}{scales}"])
