"""Distorted images: any images distorted on the fly, and the distortion of each image of a published data set."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from fusiqa.data.catalog import KINDS
from fusiqa.data.distortions import DISTORTIONS, LEVELS, distort
from fusiqa.data.ratings import COLUMNS, ImageReader, Ratings
from fusiqa.scoring.image import Pixels, Resize

SEPARATOR = "::"
PRISTINE = "Pristine"
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
"""Undistorted, and under each of the 25 distortions at each of the 5 levels, named such as "gaussian_blur 3"."""


def groups_at(level: float) -> Treatments:
    """The four groups of the published figure of scale weights, in its words."""
    groups = {"Gaussian blur": "gaussian_blur", "JPEG compression": "jpeg", "Color distortion": "color_saturation_lab"}
    return {group: Treatment(name, level) for group, name in groups.items()} | {PRISTINE: None}


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


def distorted(
    ratings: Ratings, treatments: Treatments, *, resize: Resize, seed: int = 0, by_group: bool = False
) -> Ratings:
    """Every image under every treatment, image by image or group by group; ratings, which no longer hold, are NaN."""
    originals: list[Any] = list(ratings.table.itertuples())
    pairs = [(row, group) for row in originals for group in treatments]
    if by_group:
        pairs = [(row, group) for group in treatments for row in originals]
    rows = [(f"{row.image}{SEPARATOR}{group}", float("nan"), row.split, row.group) for row, group in pairs]
    images = DistortedImages(ratings.images, resize, treatments, seed)
    return replace(ratings, table=pd.DataFrame(rows, columns=COLUMNS), images=images, resize="none")


def treatment_of(image: str) -> tuple[str, Treatment | None]:
    """The original and the treatment of an image that is named by `EVERY`, such as "a.png::gaussian_blur 3"."""
    name, _, group = image.rpartition(SEPARATOR)
    return name, EVERY[group]


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
