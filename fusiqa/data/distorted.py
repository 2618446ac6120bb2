"""Any images, distorted on the fly: the four groups of the published figure, or all of KADID-10k's distortions."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from fusiqa.data.distortions import DISTORTIONS, LEVELS, Pixels, distort
from fusiqa.data.kinds import KADID10K_KINDS
from fusiqa.data.ratings import ImageReader, Ratings
from fusiqa.scoring.image import Resize

SEPARATOR = "::"
PRISTINE = "Pristine"
GROUPS = {"Gaussian blur": "gaussian_blur", "JPEG compression": "jpeg", "Color distortion": "color_saturation_lab"}
"""The distortion of each group, beside `PRISTINE`; the words are those of the published figure."""
KIND_OF_DISTORTION = dict(zip(DISTORTIONS, KADID10K_KINDS, strict=True))
"""The kind of each distortion, as KADID-10k groups them."""


class Treatment(NamedTuple):
    """A distortion at one of KADID-10k's levels."""

    distortion: str
    level: int


Treatments = Mapping[str, tuple[Treatment, ...]]
"""The distortions that each group applies, one after the other; none for undistorted images."""
EVERY: Treatments = {PRISTINE: ()} | {
    f"{name} {level}": (Treatment(name, level),) for name in DISTORTIONS for level in LEVELS
}
"""Every distortion at every level, named such as "gaussian_blur 3", and none."""


@dataclass(frozen=True)
class DistortedImages:
    """Images named "photo.jpg::Gaussian blur", resized by the protocol and then distorted.

    A blur of some pixels would vanish if a large image were distorted before it is downscaled. The image read last is
    kept, so that its groups, read in turn, decode it once.
    """

    source: ImageReader
    resize: Resize
    treatments: Treatments
    seed: int = 0
    last: dict[str, Pixels] = field(default_factory=dict, compare=False, repr=False)

    def read(self, image: str) -> Pixels:
        """Pixels of one image under one group's distortions; the same ones each time."""
        name, _, group = image.rpartition(SEPARATOR)
        treatments = self.treatments[group]
        if name not in self.last:
            self.last.clear()
            self.last[name] = self.resize.apply(self.source.read(name))
        pixels = self.last[name]
        for distortion, level in treatments:
            pixels = distort(pixels, distortion, level, seed=image_seed(name, self.seed))
        return pixels

    def verify(self, image: str) -> str:
        """SHA-256 of the image, its distortions and, where it has any, the seed."""
        name, _, group = image.rpartition(SEPARATOR)
        done = [f"{distortion} {level} {self.seed}" for distortion, level in self.treatments[group]]
        return hashlib.sha256(f"{self.source.verify(name)} {done}".encode()).hexdigest()


def image_seed(name: str, seed: int) -> int:
    """The seed of an image's noise, directions and places: another one for each image."""
    return zlib.crc32(f"{seed} {name}".encode())


def distorted(ratings: Ratings, *, resize: Resize, level: int, seed: int = 0) -> Ratings:
    """Every image in each of the four groups; its rating, which no longer holds, becomes NaN."""
    treatments = {group: (Treatment(name, level),) for group, name in GROUPS.items()} | {PRISTINE: ()}
    pairs = [(group, row) for group in treatments for row in ratings.table.itertuples()]
    return _distorted(ratings, pairs, DistortedImages(ratings.images, resize, treatments, seed))


def every_distortion(ratings: Ratings, *, resize: Resize, seed: int = 0) -> Ratings:
    """Every image 126 times: undistorted, and under each of the 25 distortions at each of the 5 levels.

    The groups of an image follow one another; `treatment_of` reads their names.
    """
    pairs = [(group, row) for row in ratings.table.itertuples() for group in EVERY]
    return _distorted(ratings, pairs, DistortedImages(ratings.images, resize, EVERY, seed))


def treatment_of(image: str) -> tuple[str, Treatment | None]:
    """The original image of one that `every_distortion` named, and its distortion.

    Example:
        >>> treatment_of("a.png::gaussian_blur 3")
        ('a.png', Treatment(distortion='gaussian_blur', level=3))
    """
    name, _, group = image.rpartition(SEPARATOR)
    return name, next(iter(EVERY[group]), None)


def _distorted(ratings: Ratings, pairs: Iterable[tuple[str, Any]], images: DistortedImages) -> Ratings:
    """Ratings of (group, row of the undistorted image); all versions of an image keep its content group."""
    rows = [
        {"image": f"{row.image}{SEPARATOR}{group}", "mos": float("nan"), "split": row.split, "group": row.group}
        for group, row in pairs
    ]
    return replace(ratings, table=pd.DataFrame(rows), images=images, resize="none")
