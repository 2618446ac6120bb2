"""What KADID-10k's viewers thought on average of each of its 25 distortions at each level, 1 (bad) to 5 (excellent).

Source: Lin, Hosu and Saupe, KADID-10k: A large-scale artificially distorted IQA database, QoMEX 2019,
https://doi.org/10.1109/QoMEX.2019.8743252.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data.distortions import LEVELS

OPINION_RANGE = ScoreRange(1.0, 5.0)
UNCHANGED = ("mean_shift", 3)  # parameter 0: its viewers saw the undistorted image
SEEN_FALL = 0.05  # of the mean opinion, 0-1, from which a distortion counts as a flaw
IDENTITY = {"contrast_change": 3.5}  # between two levels' parameters lies one that changes nothing


@lru_cache(maxsize=1)
def mean_opinions() -> dict[tuple[str, int], float]:
    """Mean opinion by distortion and level, for all 25 of KADID-10k's distortions."""
    with resources.files("fusiqa.data").joinpath("kadid10k_mean_dmos.csv").open(encoding="utf-8") as file:
        opinions: dict[Any, float] = pd.read_csv(file, index_col=["distortion", "level"])["mean_dmos"].to_dict()
    return opinions


def opinion(name: str, level: float) -> float:
    """The mean opinion of a distortion at a level, linear between levels; `IDENTITY` leaves the image as it is.

    Example:
        >>> [round(opinion("jpeg", level), 2) for level in (1, 1.5, 2)]
        [4.34, 4.29, 4.25]
    """
    known = {float(each): mean_opinions()[name, each] for each in LEVELS}
    if name in IDENTITY:
        known[IDENTITY[name]] = mean_opinions()[UNCHANGED]
    return float(np.interp(level, sorted(known), [known[each] for each in sorted(known)]))


def fall(name: str, level: float) -> float:
    """The decrease of the mean opinion from that of undistorted images, as a fraction of its range; "": undistorted."""
    return max(0.0, mean_opinions()[UNCHANGED] - opinion(name, level)) / OPINION_RANGE.width if name else 0.0
