"""Distorted images: any images distorted on the fly, and the distortion of each image of a published data set."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from fusiqa.data.catalog import KINDS
from fusiqa.data.distortions import DISTORTIONS, LEVELS, distort
from fusiqa.data.ratings import COLUMNS, ImageReader, Ratings
from fusiqa.scoring.image import Pixels, Resize

SEPARATOR = "::"
PRISTINE = "Pristine"
GROUPS = {"Gaussian blur": "gaussian_blur", "JPEG compression": "jpeg", "Color distortion": "color_saturation_lab"}
"""The distortion of each group, beside `PRISTINE`; the words are those of the published figure."""
KIND_OF_DISTORTION = {name: distortion.kind for name, distortion in DISTORTIONS.items()}
FLAW_OF_DISTORTION = {name: distortion.flaw for name, distortion in DISTORTIONS.items()}


class Treatment(NamedTuple):
    """A distortion at one of KADID-10k's levels, or between two of them."""

    distortion: str
    level: float


Treatments = Mapping[str, Treatment | None]
EVERY: Treatments = {PRISTINE: None} | {
    f"{name} {level}": Treatment(name, level) for name in DISTORTIONS for level in LEVELS
}
"""Every distortion at every level, named such as "gaussian_blur 3", and none."""


@dataclass(frozen=True)
class DistortedImages:
    """Images named "photo.jpg::Gaussian blur", resized and then distorted: else downscaling would undo a blur.

    The image read last is kept, so that its groups, read in turn, decode it once.
    """

    source: ImageReader
    resize: Resize
    treatments: Treatments  # of each group
    seed: int = 0
    last: dict[str, Pixels] = field(default_factory=dict, compare=False, repr=False)

    def read(self, image: str) -> Pixels:
        """Pixels of one image under one group's distortions; the same ones each time."""
        name, _, group = image.rpartition(SEPARATOR)
        if name not in self.last:
            self.last.clear()
            self.last[name] = self.resize.apply(self.source.read(name))
        pixels = self.last[name]
        if (treatment := self.treatments[group]) is None:
            return pixels
        return distort(pixels, *treatment, seed=image_seed(name, self.seed))

    def verify(self, image: str) -> str:
        """SHA-256 of the image, its distortions and, where it has any, the seed."""
        name, _, group = image.rpartition(SEPARATOR)
        treatment = self.treatments[group]
        done = [f"{treatment.distortion} {treatment.level} {self.seed}"] if treatment else []
        return hashlib.sha256(f"{self.source.verify(name)} {done}".encode()).hexdigest()


def image_seed(name: str, seed: int) -> int:
    """The seed of an image's noise, directions and places: another one for each image."""
    return zlib.crc32(f"{seed} {name}".encode())


def distorted(ratings: Ratings, *, resize: Resize, level: float, seed: int = 0) -> Ratings:
    """Every image in each of the four groups; its rating, which no longer holds, becomes NaN."""
    treatments = {group: Treatment(name, level) for group, name in GROUPS.items()} | {PRISTINE: None}
    pairs = [(group, row) for group in treatments for row in ratings.table.itertuples()]
    return _distorted(ratings, pairs, DistortedImages(ratings.images, resize, treatments, seed))


def every_distortion(ratings: Ratings, *, resize: Resize, seed: int = 0) -> Ratings:
    """Every image 126 times in a row: undistorted, and under each of the 25 distortions at each of the 5 levels."""
    pairs = [(group, row) for row in ratings.table.itertuples() for group in EVERY]
    return _distorted(ratings, pairs, DistortedImages(ratings.images, resize, EVERY, seed))


def treatment_of(image: str) -> tuple[str, Treatment | None]:
    """The original image of one that `every_distortion` named, such as "a.png::gaussian_blur 3", and its distortion."""
    name, _, group = image.rpartition(SEPARATOR)
    return name, EVERY[group]


def _distorted(ratings: Ratings, pairs: Iterable[tuple[str, Any]], images: DistortedImages) -> Ratings:
    """Ratings of (group, row of the undistorted image); all versions of an image keep its content group."""
    rows = [(f"{row.image}{SEPARATOR}{group}", float("nan"), row.split, row.group) for group, row in pairs]
    return replace(ratings, table=pd.DataFrame(rows, columns=COLUMNS), images=images, resize="none")


def kinds(dataset: str, images: list[str]) -> list[str] | None:
    """The distortion or generator of each image; None if one of the names does not say it.

    Example:
        >>> kinds("kadid-10k", ["I01_01_01.png", "I81_25_05.png"])
        ['Gaussian blur', 'contrast change']
    """
    if dataset not in KINDS:
        return None
    words, text = KINDS[dataset].get("words", {}), KINDS[dataset].get("text", "")
    found = [re.search(KINDS[dataset]["pattern"], image) for image in images]
    known = [words.get(match[1].lower()) or text.format(match[1].replace("_", " ")) for match in found if match]
    return known if known and all(known) and len(known) == len(images) else None
