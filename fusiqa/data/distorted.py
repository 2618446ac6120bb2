"""The data set `distorted`: a folder of sharp images under 25 distortions, with KADID-10k's mean opinions as labels.

A label is what KADID-10k's viewers thought on average of that distortion at that level, interpolated between levels;
it is no opinion on the image itself (fusiqa/data/opinions.py).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fusiqa.data.distortions import DISTORTIONS, LEVELS, PRISTINE, SEPARATOR, DistortedImages, image_seed
from fusiqa.data.opinions import OPINION_RANGE, UNCHANGED, opinion
from fusiqa.data.ratings import RATING_COLUMNS, Ratings

BETWEEN = 0.4  # fraction of first levels that are drawn between KADID-10k's
APART = 0.4  # levels that the two of one distortion differ by at least


def label_distorted(sharp: Ratings, *, resize: str, seed: int = 0) -> Ratings:
    """Every image as it is, and under each distortion at two levels, which the seed draws; rated 1 to 5.

    Images are resized, then distorted. Those of one original are a group, and are split together.
    """
    rows: list[tuple] = []
    treatments: dict[str, tuple[str, float] | None] = {PRISTINE: None}
    for image in sharp.table["image"]:
        random = np.random.default_rng(image_seed(image, seed))
        chosen = [(name, level) for name in DISTORTIONS for level in two_levels(random)]
        treatments |= {f"{name} {level:g}": (name, level) for name, level in chosen}
        rows.append((f"{image}{SEPARATOR}{PRISTINE}", opinion(*UNCHANGED), None, image))
        rows += [(f"{image}{SEPARATOR}{name} {level:g}", opinion(name, level), None, image) for name, level in chosen]
    images = DistortedImages(sharp.images, treatments, seed)
    return Ratings("distorted", pd.DataFrame(rows, columns=RATING_COLUMNS), OPINION_RANGE, images, resize)


def two_levels(random: np.random.Generator) -> list[float]:
    """Two levels of one distortion, in ascending order; some lie between KADID-10k's five."""
    first = round(random.uniform(1, 5), 1) if random.random() < BETWEEN else float(random.integers(1, 6))
    others = [float(level) for level in LEVELS if round(abs(level - first), 1) >= APART]
    return sorted((first, others[random.integers(len(others))]))
