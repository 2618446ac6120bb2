"""Images side by side with a line of text below each: a contact sheet. It knows no model and no data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fusiqa.io import write_atomically

CELL = 240  # pixels
GAP = 12
CAPTION = 40  # two lines of text
INK, PAPER = "#222222", "white"


class Shown(NamedTuple):
    """An image, uint8 (height, width, 3), and up to two lines to stand below it."""

    pixels: np.ndarray
    lines: Sequence[str]


def contact_sheet(shown: Sequence[Shown], path: Path, *, columns: int = 4, title: str = "") -> None:
    """Draw images in rows, each made to fit its cell, its aspect kept.

    Args:
        shown: the images, in reading order.
        path: the file to write; its ending is the format.
        columns: images in a row.
        title: above all of them.
    """
    columns = min(columns, max(1, len(shown)))
    rows = -(-len(shown) // columns)
    head = 34 if title else 0
    width, height = columns * (CELL + GAP) + GAP, head + rows * (CELL + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
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
            draw.text((left, top + CELL + 4 + 16 * number), _fitting(draw, line, small), INK, small)
    write_atomically(path, lambda temporary: sheet.save(temporary))


def _fitting(draw: ImageDraw.ImageDraw, line: str, font) -> str:
    """The line, or its end where it is too long for a cell: the ends of file names differ."""
    if draw.textlength(line, font) <= CELL:
        return line
    while line and draw.textlength(f"...{line}", font) > CELL:
        line = line[1:]
    return f"...{line}"
