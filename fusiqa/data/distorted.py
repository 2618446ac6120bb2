"""Any photographs under the seed's four groups: blur, JPEG, colour and pristine. It knows no rating."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fusiqa.data.distortions import distort
from fusiqa.data.photo import Resize
from fusiqa.data.ratings import Photographs, Ratings

SEPARATOR = "::"
PRISTINE = "Pristine"
GROUPS = {
    "Gaussian blur": "gaussian_blur",
    "JPEG compression": "jpeg",
    "Color distortion": "color_saturation_lab",
    PRISTINE: None,
}
"""What each group does to a photograph; the words are those of the published figure."""


@dataclass(frozen=True)
class DistortedPhotographs:
    """Photographs named "photo.jpg::Gaussian blur": resized by the protocol first, then distorted at one level.

    A blur of some pixels would vanish if a large photograph were distorted before it is made small.
    """

    source: Photographs
    resize: Resize
    level: int

    def read(self, image: str) -> np.ndarray:
        """Pixels of one photograph under one group's distortion; the same ones each time."""
        name, _, group = image.rpartition(SEPARATOR)
        pixels = self.resize.apply(self.source.read(name))
        distortion = GROUPS[group]
        return pixels if distortion is None else distort(pixels, distortion, self.level, seed=zlib.crc32(name.encode()))

    def verify(self, image: str) -> str:
        """SHA-256 of the photograph, the group and the level."""
        name, _, group = image.rpartition(SEPARATOR)
        return hashlib.sha256(f"{self.source.verify(name)} {group} {self.level}".encode()).hexdigest()


def distorted(ratings: Ratings, *, resize: Resize, level: int) -> Ratings:
    """Every photograph once in each of the four groups; its rating, which no longer holds, becomes NaN."""
    rows = [
        {"image": f"{row.image}{SEPARATOR}{group}", "mos": float("nan"), "split": row.split, "group": row.group}
        for group in GROUPS
        for row in ratings.table.itertuples()
    ]
    photographs = DistortedPhotographs(ratings.photographs, resize, level)
    return replace(ratings, table=pd.DataFrame(rows), photographs=photographs, resize="none")
