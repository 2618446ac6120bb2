"""The built-in data set: procedural images under distortions, rated as KADID-10k's viewers rated those. No files.

A label is the mean, over KADID-10k's 81 images, of the opinion on that distortion at that level. It is no opinion
on the image itself.

Source: Lin, Hosu and Saupe, KADID-10k: A large-scale artificially distorted IQA database, QoMEX 2019.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data.dead_leaves import dead_leaves
from fusiqa.data.distortions import LEVELS, Pixels, distort
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError

NAME = "synthetic"
OPINIONS_FILE = "kadid10k_mean_dmos.csv"
PRISTINE = "pristine"
UNCHANGED = ("mean_shift", 3)  # parameter 0: what the viewers saw there was the image itself
USED = (
    "gaussian_blur",
    "jpeg",
    "white_noise",
    "color_saturation_hsv",
    "color_saturation_lab",
    "color_shift",
    "contrast_change",
)
CONTENTS = 150
SIZE = 128  # pixels
SCORE_RANGE = ScoreRange(1.0, 5.0)
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@lru_cache(maxsize=1)
def mean_opinions() -> dict[tuple[str, int], float]:
    """Mean opinion by distortion and level, 1 (bad) to 5 (excellent), for all 25 of KADID-10k's distortions."""
    with resources.files("fusiqa.data").joinpath(OPINIONS_FILE).open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    keys = zip(table["distortion"].astype(str), table["level"].astype(int), strict=True)
    return dict(zip(keys, table["mean_dmos"].astype(float), strict=True))


@lru_cache(maxsize=CONTENTS)
def _pristine(content: int, size: int, seed: int) -> Pixels:
    return dead_leaves(content, size=size, seed=seed)


@lru_cache(maxsize=CONTENTS * (len(USED) * len(LEVELS) + 1))  # all of it: 265 MB at 128 pixels
def _image(image: str, size: int, seed: int) -> Pixels:
    content, distortion, level = parts_of(image)
    pristine = _pristine(content, size, seed)
    pixels = pristine if distortion == PRISTINE else distort(pristine, distortion, level, seed=content)
    pixels.setflags(write=False)  # it is shared by all who read it
    return pixels


@dataclass(frozen=True)
class SyntheticImages:
    """Images drawn when they are first read and kept in memory: the Images of ratings.py."""

    size: int
    seed: int
    in_memory: bool = True

    def read(self, image: str) -> Pixels:
        """uint8, (size, size, 3), sRGB; read-only. Raises FusiqaError for a name that the set does not have."""
        return _image(image, self.size, self.seed)

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the pixels, which are drawn for it."""
        return hashlib.sha256(self.read(image).tobytes()).hexdigest()


def read_synthetic(*, seed: int = 0, contents: int = CONTENTS, size: int = SIZE) -> Ratings:
    """Every content pristine and under each distortion at five levels, split by content.

    Args:
        seed: of the images; the labels do not depend on it.
        contents: number of different images, 10 and more.
        size: side, pixels.

    Returns:
        Ratings in 1-5, named such as "content017-jpeg-4", with the content as `group`.

    Raises:
        FusiqaError: fewer than ten contents, which could not be split.
    """
    if contents < 10:
        raise FusiqaError(f"{contents} contents cannot be split three ways; 10 and more can")
    opinions = mean_opinions()
    rows = []
    for content in range(contents):
        group, split = f"content{content:03d}", split_of(content, contents)
        rows.append((f"{group}-{PRISTINE}", opinions[UNCHANGED], split, group))
        rows += [(f"{group}-{d}-{level}", opinions[d, level], split, group) for d in USED for level in LEVELS]
    table = pd.DataFrame(rows, columns=["image", "mos", "split", "group"])
    return Ratings(NAME, table, SCORE_RANGE, SyntheticImages(size, seed), "none")


def split_of(content: int, contents: int) -> str:
    """The split of a content: the first ones train, the last ones test; contents are alike, so any cut is fair."""
    share = (content + 0.5) / contents
    if share < SHARES["train"]:
        return "train"
    return "validation" if share < SHARES["train"] + SHARES["validation"] else "test"


def parts_of(image: str) -> tuple[int, str, int]:
    """Content, distortion and level (0 for pristine) of an image's name. Raises FusiqaError for any other name.

    Example:
        >>> parts_of("content017-jpeg-4")
        (17, 'jpeg', 4)
    """
    content, _, rest = image.removeprefix("content").partition("-")
    distortion, _, level = rest.partition("-")
    known = (distortion == PRISTINE and not level) or (distortion in USED and level in map(str, LEVELS))
    if not (image.startswith("content") and content.isdecimal() and known):
        raise FusiqaError(f"{image!r} is no image of the synthetic data set; names are such as content017-jpeg-4")
    return int(content), distortion, int(level or 0)


def distortion_of(image: str) -> str:
    """The distortion of an image, for people: "gaussian blur", ..., "pristine"."""
    return parts_of(image)[1].replace("_", " ")
