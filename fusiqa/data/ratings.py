"""A table of rated images, and where their pixels are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.config.checks import refuse
from fusiqa.errors import FusiqaError, listed
from fusiqa.scoring.image import ORIGINAL_SIZE, Pixels, Resize

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SET, RESIZE = "set", "resize"  # columns of an image's data set and its protocol, where there are several (joint.py)
RATING_COLUMNS = ["image", "mos", "split", "group"]


@runtime_checkable
class ImageReader(Protocol):
    """Where images are read from, by name. Must be picklable: loader workers carry a copy."""

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        """Pixels of one image after a resize, sRGB. Raises FusiqaError with the name and reason."""

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the image's content. Raises FusiqaError, with name and reason, if it cannot be read."""


@dataclass(frozen=True)
class Ratings:
    """Rated images, one row per image.

    The table has the columns `image` (name that `images` reads), `mos` (float, higher is better), `split` ("train",
    "validation", "test", or None) and `group` (images of one content share it; else the image's own name). FusiqaError:
    missing columns, no rows, images twice, ratings outside the range, or unknown splits; `audit.check` finds NaN.
    """

    name: str  # of the data set, or the path of a custom table
    table: pd.DataFrame
    score_range: ScoreRange
    images: ImageReader
    resize: str  # the protocol by which `read` resizes images, as `--resize` takes it

    def __post_init__(self) -> None:
        (low, high), table = self.score_range, self.table
        if missing := listed([column for column in RATING_COLUMNS if column not in table.columns]):
            raise FusiqaError(f"{self.name}: the columns {missing} are missing; expected {', '.join(RATING_COLUMNS)}")
        duplicates = listed(table["image"][table["image"].duplicated()].astype(str).tolist())
        rows = listed(outside(table, self.score_range))
        unknown = listed(sorted(set(table["split"].dropna()) - set(SPLITS)))
        refuse(
            (table.empty, f"{self.name}: no rated image found"),
            (duplicates, f"{self.name}: rated more than once: {duplicates}; keep one row per image"),
            (rows, f"{self.name}: ratings outside {low:g} to {high:g}: {rows}; fix them, or the `score_range`"),
            (unknown, f"{self.name}: unknown split {unknown}; expected one of {', '.join(SPLITS)}"),
        )

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def names(self) -> list[str]:
        """The name of each image; pandas takes longer to give one cell than a crop takes to copy."""
        return self.table["image"].astype(str).tolist()

    @cached_property
    def resizes(self) -> list[str]:
        """The resize protocol of each image: that of its own data set."""
        return self.table[RESIZE].tolist() if RESIZE in self.table else [self.resize] * len(self)

    def read(self, row: int, *, view: str = "crops") -> Pixels:
        """The resized image of a row, for a model that sees crops or whole images. Raises FusiqaError as its reader."""
        return self.images.read(self.names[row], Resize.parse(self.resizes[row], view=view))

    def part(self, split: Split) -> Ratings:
        """The rows of one split. Raises FusiqaError if it has none."""
        rows = self.table[self.table["split"] == split].reset_index(drop=True)
        if rows.empty:
            raise FusiqaError(f"{self.name}: the {split} split has no usable image")
        return replace(self, table=rows)

    def without(self, images: Sequence[str]) -> Ratings:
        """The same ratings without some images."""
        return replace(self, table=self.table[~self.table["image"].isin(list(images))].reset_index(drop=True))


def set_indices(ratings: Ratings) -> list[int]:
    """The index of the data set of each image."""
    table = ratings.table
    return pd.factorize(table[SET])[0].tolist() if SET in table else [0] * len(table)


def weighed_rows(ratings: Ratings, weights: Sequence[float]) -> list[int]:
    """The rows of data sets with a weight above 0; `weights` has one for each set, or none: all."""
    return [row for row, index in enumerate(set_indices(ratings)) if not weights or weights[index]]


def outside(table: pd.DataFrame, score_range: ScoreRange) -> list[str]:
    """The images, with their ratings, that are rated outside a range."""
    low, high = score_range
    rows = table[(table["mos"] < low) | (table["mos"] > high)]
    return [f"{row.image} ({row.mos:g})" for row in rows.itertuples()]


def fingerprint(values: Sequence[object]) -> str:
    """First 16 hex digits of the SHA-256 of the values, one a line, in their order."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]
