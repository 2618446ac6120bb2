"""Images before the network: resized, padded, and where their crops lie. It opens no file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.scoring.decode import Pixels

OtherSize = UInt8[np.ndarray, "new_height new_width 3"]
"""Pixels whose height and width are not those that came in."""

OVERLAP = 2 / 3
"""Least share of a crop that its neighbour covers too when an image is scored: 20 crops of 224 on 512x384, as many
as the field takes; 9 an image of 320 pixels gave a higher validation SRCC than 4."""

LARGEST_SIDE = 16_384
"""Longest side that a resize may ask for or give, pixels: an upscaled sliver would not fit in memory."""


@dataclass(frozen=True)
class Resize:
    """How an image is resized before it is cropped: bicubic and anti-aliased, by Pillow.

    Attributes:
        short_side: length of the shorter side afterwards, pixels, the aspect kept (a sliver more than 16384 pixels long
            is squeezed to that); None to not go by it.
        exact: (height, width) afterwards, pixels; None to not go by it. Neither: the size is kept.
    """

    short_side: int | None = None
    exact: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Resize:
        """Read the words of --resize: none, the short side in pixels, or WIDTHxHEIGHT.

        Raises:
            FusiqaError: anything else, or a side outside 1 to 16384.

        Example:
            >>> Resize.parse("512x384")
            Resize(short_side=None, exact=(384, 512))
            >>> Resize.parse("320")
            Resize(short_side=320, exact=None)
        """
        if text == "none":
            return cls()
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text, re.ASCII)
        sides = [int(side) for side in match.groups() if side] if match else []
        if not sides or not all(1 <= side <= LARGEST_SIDE for side in sides):
            raise FusiqaError(
                f"--resize {text}: expected none, the short side in pixels (384), or WIDTHxHEIGHT (512x384); "
                f"sides go from 1 to {LARGEST_SIDE}"
            )
        return cls(short_side=sides[0]) if len(sides) == 1 else cls(exact=(sides[1], sides[0]))

    def __str__(self) -> str:
        """The words of --resize that `parse` reads back."""
        if self.exact is not None:
            return f"{self.exact[1]}x{self.exact[0]}"
        return "none" if self.short_side is None else str(self.short_side)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image of this height and width gets.

        Example:
            >>> Resize.parse("384").size(height=1536, width=2048)
            (384, 512)
        """
        if self.exact is not None:
            return self.exact
        if self.short_side is None:
            return height, width
        scale = self.short_side / min(height, width)
        long_side = min(LARGEST_SIDE, max(self.short_side, round(max(height, width) * scale)))
        return (self.short_side, long_side) if height <= width else (long_side, self.short_side)

    def apply(self, pixels: Pixels) -> OtherSize:
        """The resized image; the very same array, not resampled, where its size is right already."""
        size = self.size(*pixels.shape[:2])
        if size == pixels.shape[:2]:
            return pixels
        height, width = size
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def cover(height: int, width: int, crop: int, *, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Corners (top, left) of the fewest square crops that cover an image, edges included, row by row.

    Along each side the crops lie evenly spread from 0 to side - crop, as few as the overlap allows:
    1 + ceil((side - crop) / ((1 - overlap) crop)) of them.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        crop: side of a crop, pixels.
        overlap: least share of a crop that its neighbour along a side covers too, 0 to below 1.

    Raises:
        FusiqaError: a side shorter than the crop (`pad_to` comes first).

    Example:
        >>> cover(height=4, width=7, crop=3)
        [(0, 0), (0, 2), (0, 4), (1, 0), (1, 2), (1, 4)]
        >>> len(cover(height=384, width=512, crop=224, overlap=2 / 3))
        20
    """
    _require_room(height, width, crop)
    return [(top, left) for top in _spread(height, crop, overlap) for left in _spread(width, crop, overlap)]


def _spread(side: int, crop: int, overlap: float) -> list[int]:
    step = max(1, math.floor((1 - overlap) * crop + 1e-9))  # rounding must not cost a crop more
    count = 1 + math.ceil((side - crop) / step)
    return [0] if count == 1 else [round(i * (side - crop) / (count - 1)) for i in range(count)]


def random_corner(rng: np.random.Generator, height: int, width: int, crop: int) -> tuple[int, int]:
    """Corner (top, left) of one crop, every position equally likely, the last row and column included.

    Raises:
        FusiqaError: a side shorter than the crop (`pad_to` comes first).
    """
    _require_room(height, width, crop)
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _require_room(height: int, width: int, crop: int) -> None:
    if not 1 <= crop <= min(height, width):
        raise FusiqaError(f"a crop of {crop} pixels does not fit into an image {height} high and {width} wide")


def pad_to(pixels: Pixels, height: int, width: int) -> OtherSize:
    """The image mirrored outwards, evenly on both sides, until it is at least this high and wide.

    The same array where it is large enough already. The odd pixel goes to the bottom and to the right.
    """
    missing = [max(0, wanted - side) for wanted, side in zip((height, width), pixels.shape[:2], strict=True)]
    if not any(missing):
        return pixels
    return np.pad(pixels, [(extra // 2, extra - extra // 2) for extra in missing] + [(0, 0)], mode="symmetric")
