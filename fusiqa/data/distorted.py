"""Any images distorted on the fly: the seed's four groups, or all of KADID-10k's. It knows no rating."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from fusiqa.data.distortions import DISTORTIONS, LEVELS, distort
from fusiqa.data.kinds import KADID10K_KINDS
from fusiqa.data.ratings import Images, Ratings
from fusiqa.scoring.geometry import Resize

SEPARATOR = "::"
PRISTINE = "Pristine"
GROUPS = {
    "Gaussian blur": "gaussian_blur",
    "JPEG compression": "jpeg",
    "Color distortion": "color_saturation_lab",
    PRISTINE: None,
}
"""What each group does to an image; the words are those of the published figure."""
KIND_OF_DISTORTION = dict(zip(DISTORTIONS, KADID10K_KINDS, strict=True))
"""The kind of each distortion, as KADID-10k groups them."""


class Treatment(NamedTuple):
    """A distortion of KADID-10k at one of its levels."""

    distortion: str
    level: int


Treatments = Mapping[str, Treatment | None]
"""What each group does to an image; None leaves it as it is."""
EVERY: Treatments = {
    PRISTINE: None,
    **{f"{name} {level}": Treatment(name, level) for name in DISTORTIONS for level in LEVELS},
}
"""Every distortion at every level, named such as "gaussian_blur 3", and none."""


@dataclass(frozen=True)
class DistortedImages:
    """Images named "photo.jpg::Gaussian blur": resized by the protocol first, then distorted.

    A blur of some pixels would vanish if a large image were distorted before it is made small. The image
    read last is kept, so that its groups, asked for in turn, decode it once.
    """

    source: Images
    resize: Resize
    treatments: Treatments
    seed: int = 0
    last: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def read(self, image: str) -> np.ndarray:
        """Pixels of one image under one group's distortion; the same ones each time."""
        name, _, group = image.rpartition(SEPARATOR)
        treatment = self.treatments[group]
        pixels = self._resized(name)
        if treatment is None:
            return pixels
        return distort(pixels, *treatment, seed=zlib.crc32(f"{self.seed} {name}".encode()))

    def verify(self, image: str) -> str:
        """SHA-256 of the image, what is done to it and the seed; pristine has neither level nor seed."""
        name, _, group = image.rpartition(SEPARATOR)
        treatment = self.treatments[group]
        done = "as it is" if treatment is None else f"{treatment.distortion} {treatment.level} {self.seed}"
        return hashlib.sha256(f"{self.source.verify(name)} {done}".encode()).hexdigest()

    def _resized(self, name: str) -> np.ndarray:
        """The image as the protocol resizes it."""
        if name not in self.last:
            self.last.clear()
            self.last[name] = self.resize.apply(self.source.read(name))
        return self.last[name]


def distorted(ratings: Ratings, *, resize: Resize, level: int, seed: int = 0) -> Ratings:
    """Every image once in each of the four groups; its rating, which no longer holds, becomes NaN."""
    treatments = {group: Treatment(name, level) if name else None for group, name in GROUPS.items()}
    names = [(group, row) for group in treatments for row in ratings.table.itertuples()]
    return _treated(ratings, names, DistortedImages(ratings.images, resize, treatments, seed))


def every_distortion(ratings: Ratings, *, resize: Resize, seed: int = 0) -> Ratings:
    """Every image 126 times: as it is, and under each of the 25 distortions at each of the 5 levels.

    The groups of an image follow one another; `treatment_of` reads their names.
    """
    names = [(group, row) for row in ratings.table.itertuples() for group in EVERY]
    return _treated(ratings, names, DistortedImages(ratings.images, resize, EVERY, seed))


def treatment_of(image: str) -> tuple[str, Treatment | None]:
    """The image of an image that `every_distortion` named, and what was done to it.

    Example:
        >>> treatment_of("a.png::gaussian_blur 3")
        ('a.png', Treatment(distortion='gaussian_blur', level=3))
    """
    name, _, group = image.rpartition(SEPARATOR)
    return name, EVERY[group]


def _treated(ratings: Ratings, names: list, images: DistortedImages) -> Ratings:
    """Ratings of (group, row of the undistorted image); what one image becomes stays one content."""
    rows = [
        {"image": f"{row.image}{SEPARATOR}{group}", "mos": float("nan"), "split": row.split, "group": row.group}
        for group, row in names
    ]
    return replace(ratings, table=pd.DataFrame(rows), images=images, resize="none")
