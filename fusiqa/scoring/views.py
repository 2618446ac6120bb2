"""The parts of a resized image that a network sees, crops or the whole; the same for training and scoring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import OtherSize, Pixels

OVERLAP = 2 / 3  # least fraction of a crop that its neighbour covers too when an image is scored
"""20 crops of 224 on 512x384, as in the field; 9 an image of 320 pixels gave a higher validation SRCC than 4."""
STRIDE = 32  # of the coarsest map of most backbones: whole images are mirrored to a multiple of it
WINDOWS = 3  # an image seen whole has 3x3 windows, each half as high and wide as it
LARGEST_PIECE = 1_024  # side of the parts that a whole image is cut into, pixels
PIXELS_AT_ONCE = {"cpu": 8 * 224**2, "cuda": 64 * 224**2}
"""Pixels of views in one pass of a network, which bounds memory; a CPU runs 8 crops of 224 twice as fast as 64."""


@dataclass(frozen=True)
class Views:
    """The parts of an image that go through the network, as a sequence of arrays."""

    pixels: Pixels  # the resized image, mirrored where it was too small
    places: list[tuple[int, int, int, int]]  # top, left, height, width of each view in `pixels`
    boxes: Float[np.ndarray, "views 4"]  # left, top, right, bottom as fractions of the image, without mirrored margins
    weights: Float[np.ndarray, " views"]  # of each view in the average, sum to one

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Pixels]:
        return (self.pixels[top : top + height, left : left + width] for top, left, height, width in self.places)


NO_VIEWS = Views(np.empty((0, 0, 3), np.uint8), [], np.empty((0, 4)), np.empty(0))  # of an unreadable image


def views_of(resized: Pixels, crop: int, *, view: str = "crops", overlap: float = OVERLAP) -> Views:
    """The parts of a resized image that its score is the average of, as `layout` says."""
    height, width = resized.shape[:2]
    margins, *parts = layout(height, width, crop, view=view, overlap=overlap)
    return Views(_mirrored(resized, margins), *parts)


def layout(height: int, width: int, crop: int, *, view: str = "crops", overlap: float = OVERLAP) -> tuple:
    """The margins that are mirrored, ((above, below), (before, after)), and the parts of an image as in `Views`.

    With view "crops" they are square crops that cover it to its edges. With "whole" it is mirrored at the right and
    bottom to a multiple of 32, at least 64, and a side of more than 1024 pixels is split into the fewest parts of at
    most that. They are weighted by area.
    """
    if view == "whole":
        margins = [(0, max(-side % STRIDE, 2 * STRIDE - side)) for side in (height, width)]
        rows, columns = _cuts(height + margins[0][1]), _cuts(width + margins[1][1])
        places = [(top, left, end - top, right - left) for top, end in rows for left, right in columns]
    else:
        margins = _to_middle((height, width), (crop, crop))
        corners = cover(max(height, crop), max(width, crop), crop, overlap=overlap)
        places = [(top, left, crop, crop) for top, left in corners]
    (above, _), (before, _) = margins
    edges = np.array([(x - before, t - above, x - before + w, t - above + h) for t, x, h, w in places])
    edges = np.clip(edges, 0, [width, height, width, height])
    areas = np.prod(edges[:, 2:] - edges[:, :2], axis=1)
    return margins, places, edges / [width, height, width, height], areas / areas.sum()


def stacked(views: Iterable[np.ndarray], at_once: Callable[[tuple[int, ...]], int]) -> Iterator[np.ndarray]:
    """Consecutive views of one shape as one array, as many at once as suits that shape."""
    batch: list[np.ndarray] = []
    for view in views:
        if batch and (view.shape != batch[0].shape or len(batch) >= at_once(view.shape)):
            yield np.stack(batch)
            batch = []
        batch.append(view)
    if batch:
        yield np.stack(batch)


def views_at_once(shape: tuple[int, ...], device: str = "cpu") -> int:
    """How many views of a shape go through a network in one pass on a kind of device, at least one."""
    return max(1, PIXELS_AT_ONCE.get(device, PIXELS_AT_ONCE["cuda"]) // (shape[0] * shape[1]))


def windows_of(boxes: Float[np.ndarray, "views 4"]) -> Float[np.ndarray, "windows 4"]:
    """The 3x3 windows of each box, row by row, each half as high and wide as the box."""
    corners = np.array([(column, row) for row in range(WINDOWS) for column in range(WINDOWS)]) / (WINDOWS + 1)
    sizes = boxes[:, None, 2:] - boxes[:, None, :2]
    first = boxes[:, None, :2] + corners * sizes
    return np.concatenate([first, first + sizes * 2 / (WINDOWS + 1)], axis=2).reshape(-1, 4)


def _cuts(side: int) -> list[tuple[int, int]]:
    """From where to where the parts of a side go; it is a multiple of the stride, and so are they."""
    parts = math.ceil(side / LARGEST_PIECE)
    return list(pairwise(round(part * side / parts / STRIDE) * STRIDE for part in range(parts + 1)))


def cover(height: int, width: int, crop: int, *, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Corners (top, left) of the fewest square crops that cover an image, edges included, row by row; all in pixels.

    Along each side 1 + ceil((side - crop) / ((1 - overlap) crop)) of them lie evenly spread from 0 to side - crop, and
    their neighbours cover at least `overlap` of them, 0 to below 1. A side shorter than the crop raises FusiqaError.

    Example:
        >>> cover(height=4, width=7, crop=3)
        [(0, 0), (0, 2), (0, 4), (1, 0), (1, 2), (1, 4)]
    """
    _require_room(height, width, crop)
    step = max(1, math.floor((1 - overlap) * crop + 1e-9))  # rounding must not cost a crop more
    gaps = [math.ceil((side - crop) / step) for side in (height, width)]
    tops, lefts = (
        [round(place * (side - crop) / max(1, gap)) for place in range(gap + 1)]
        for side, gap in zip((height, width), gaps, strict=True)
    )
    return [(top, left) for top in tops for left in lefts]


def random_corner(rng: np.random.Generator, height: int, width: int, crop: int) -> tuple[int, int]:
    """Corner (top, left) of one crop, every position equally likely. Raises FusiqaError as `cover` does."""
    _require_room(height, width, crop)
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _require_room(height: int, width: int, crop: int) -> None:
    if not 1 <= crop <= min(height, width):
        raise FusiqaError(f"a crop of {crop} pixels does not fit into an image of {height}x{width} (height x width)")


def pad_to(pixels: Pixels, height: int, width: int) -> OtherSize:
    """Mirror an image at its edges, evenly on both sides, until it is at least this high and wide.

    The same array where it is large enough already. The odd pixel goes to the bottom and to the right.
    """
    return _mirrored(pixels, _to_middle(pixels.shape[:2], (height, width)))


def _to_middle(size: tuple[int, ...], wanted: tuple[int, int]) -> list[tuple[int, int]]:
    missing = [max(0, least - side) for side, least in zip(size, wanted, strict=True)]
    return [(extra // 2, extra - extra // 2) for extra in missing]


def _mirrored(pixels: Pixels, margins: list[tuple[int, int]]) -> OtherSize:
    return np.pad(pixels, [*margins, (0, 0)], mode="symmetric") if np.any(margins) else pixels
