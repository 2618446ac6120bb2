"""Contact sheets: images side by side with two lines of text below each, and the worst and best of a scoring run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.io import MARK, check_output, write_atomically
from fusiqa.scoring.image import Pixels, Resize
from fusiqa.scoring.inputs import file_image, printable
from fusiqa.scoring.result import described, weights_in

CELL, GAP, CAPTION = 240, 12, 40  # pixels; a caption is two lines of text
TEXT_COLOUR, PAPER, FRAME_COLOUR, MISSING = "#222222", "white", "#1b7837", 200
FRAME = 5  # pixels, around the best image of a burst
EACH_END = 8  # images of a scoring run: the worst, and the best


@dataclass(frozen=True)
class Shown:
    """An image, up to two lines of text to show below it, and whether it has a frame."""

    pixels: Pixels
    lines: Sequence[str]
    framed: bool = False


def contact_sheet(shown: Sequence[Shown | None], path: Path, *, columns: int = 4, title: str = "") -> None:
    """Draw images in rows, each fitted to its cell with its aspect kept, in reading order, below a title.

    None leaves a cell empty.

    The ending of `path` is the format. FusiqaError if there is such a file and it is not an earlier sheet.
    """
    columns = min(columns, max(1, len(shown)))
    rows = -(-len(shown) // columns)
    head = 34 if title else 0
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, head + rows * (CELL + CAPTION + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(13), ImageFont.load_default(17)
    draw.text((GAP, 8), printable(title), TEXT_COLOUR, large)
    for place, each in enumerate(shown):
        if each is None:
            continue
        row, column = divmod(place, columns)
        left, top = GAP + column * (CELL + GAP), head + GAP + row * (CELL + CAPTION + GAP)
        picture = Image.fromarray(each.pixels)
        picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        corner = left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2
        sheet.paste(picture, corner)
        if each.framed:
            box = corner[0] - FRAME, corner[1] - FRAME, corner[0] + picture.width, corner[1] + picture.height
            draw.rectangle((*box[:2], box[2] + FRAME - 1, box[3] + FRAME - 1), outline=FRAME_COLOUR, width=FRAME)
        for number, line in enumerate(map(printable, each.lines[:2])):  # names may have line breaks
            start = 0  # a line that is too wide loses its start: the ends of file names differ
            while draw.textlength(text := "..." * (start > 0) + line[start:], small) > CELL:
                start += 1
            draw.text((left, top + CELL + 4 + 16 * number), text, TEXT_COLOUR, small)
    check_output(path, replace=True)
    write_picture(sheet, path)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture that is marked as an output."""
    mark = PngInfo()
    mark.add_text("Software", MARK)
    write_atomically(path, lambda temporary: picture.save(temporary, pnginfo=mark, comment=MARK.encode()))


def draw_worst_and_best(rows: Iterable[dict[str, Any]], path: Path, *, score_range: ScoreRange) -> int:
    """Draw the eight worst images of a table of scores, worst first, then the eight best, best last; how many.

    Each has its path, score, and flaws or scale weights below it; one that can no longer be read is a grey square. No
    image with a score writes no file.
    """
    ends: list[dict[str, Any]] = []
    for row in rows:
        if row["score"] is not None:
            ends = sorted([*ends, row], key=lambda row: (row["score"], row["path"]))
            del ends[EACH_END:-EACH_END]
    if ends:
        title = f"worst to best, on {score_range.low:g} to {score_range.high:g}, higher is better"
        contact_sheet([_shown(row) for row in ends], path, title=title)
    return len(ends)


def _shown(row: dict[str, Any]) -> Shown:
    weights, flaws = weights_in(row), described(row)
    more = f"  {flaws}" if flaws else f"  scales {weights}" if weights else ""
    return Shown(cell_of(row["path"]), [row["path"], f"{row['score']:.4g}{more}"])


def cell_of(path: str) -> Pixels:
    """An image in a file, small enough for a cell; a grey square where it can no longer be read."""
    picture = thumbnail(path, CELL)
    return np.full((CELL, CELL, 3), MISSING, np.uint8) if picture is None else np.asarray(picture)


def thumbnail(path: str, longest: int) -> Image.Image | None:
    """An image in a file, its longer side at most so many pixels; None where it can no longer be read."""
    try:
        picture = Image.fromarray(file_image(path).resized(Resize(short_side=longest, reduced=True)).pixels)
    except FusiqaError:
        return None
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture
