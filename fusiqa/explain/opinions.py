"""Whether scores follow what people think of distortions of sharp images, and flaws are named: from a table of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from fusiqa.config.model import FLAWS
from fusiqa.data.distortions import DISTORTIONS, FLAW_OF_DISTORTION, LEVELS
from fusiqa.data.opinions import SEEN_FALL, fall, mean_opinions
from fusiqa.scoring.result import FLAW_COLUMNS, LIKELY
from fusiqa.stats.intervals import Estimate, bootstrap_interval
from fusiqa.stats.metrics import srcc

COMMON = ("jpeg", "white_noise", "gaussian_blur", "pixelate")
CLEAR = 3  # level from which a flaw is to be named
VISIBLE = 2  # level that an undistorted image must be better than
BINS = 10  # of probability, for calibration
CELLS = [(name, level) for name in DISTORTIONS for level in LEVELS]


def opinions() -> Float[np.ndarray, "distortions levels"]:
    """What KADID-10k's viewers thought on average, 1-5."""
    known = mean_opinions()
    return np.array([known[cell] for cell in CELLS]).reshape(len(DISTORTIONS), len(LEVELS))


def measures(table: pd.DataFrame) -> dict[str, Estimate]:
    """What the scores of a table of images, distortions and levels get right, with intervals over images.

    - SRCC between the mean score of each cell of distortion and level, and the viewers' mean opinion of it;
    - fraction of neighbouring levels of one image in the right order, of each of four distortions and of all four;
    - fraction of images that score higher undistorted than at level 2 of each of the four;
    - fraction of pairs of a sharp image and another one at level 4 or 5, in which the sharp one scores higher;
    - with a flaw head, fraction of images with a flaw (`flaw_made`) whose likeliest flaw is that one, the fraction of
      undistorted images without a named flaw, and the expected calibration error of the probabilities, over both.
    """
    clean, cells = scores_by_cell(table)
    right = (cells[:, :, :-1] > cells[:, :, 1:]).mean(axis=2)
    common = [list(DISTORTIONS).index(name) for name in COMMON]
    beats = above_strongest(clean, cells).mean(axis=2)
    others = ~np.eye(len(clean), dtype=bool)
    known = opinions().ravel()

    def over(measure: Callable[[Int[np.ndarray, " images"]], float]) -> Estimate:
        return bootstrap_interval(lambda drawn: np.apply_along_axis(measure, -1, drawn), np.arange(len(clean)))

    def sharp_above(drawn: Int[np.ndarray, " images"]) -> float:
        times = np.bincount(drawn, minlength=len(clean))
        pairs = times @ others @ times
        return times @ (beats * others) @ times / pairs if pairs else np.nan

    mean_of = partial(bootstrap_interval, partial(np.mean, axis=-1))
    found = {"SRCC of cells": over(lambda i: srcc(cells[i].mean(axis=0).ravel(), known))}
    for name, place in zip(COMMON, common, strict=True):
        found[f"levels in order, {name}"] = mean_of(right[:, place])
    found["levels in order, all four"] = mean_of(right[:, common].mean(axis=1))
    better = clean[:, None] > cells[:, common, LEVELS.index(VISIBLE)]
    found[f"undistorted above level {VISIBLE}, all four"] = mean_of(better.mean(axis=1))
    found["sharp above level 4 or 5 of another"] = over(sharp_above)
    if "flaw_none" in table:
        made = flaw_made(table)
        right = (made == likeliest(table, FLAWS[:-1]))[made.notna()].groupby(table["image"], sort=False).mean()
        found["flaw named, level 3 and up"] = mean_of(right.to_numpy(float))
        clean_ones = table.loc[table["distortion"] == "", list(FLAW_COLUMNS)].drop(columns="flaw_none")
        found["no flaw named, undistorted"] = mean_of((clean_ones.to_numpy(float) < LIKELY).all(axis=1).astype(float))
        binned = calibration(table)
        found["expected calibration error of flaws"] = over(lambda drawn: calibration_error(binned[drawn].sum(axis=0)))
    return found


def scores_by_cell(
    table: pd.DataFrame,
) -> tuple[Float[np.ndarray, " images"], Float[np.ndarray, "images distortions levels"]]:
    """Scores of the undistorted images, and of their versions, from a table in the order of `distorted`."""
    scores = table["score"].to_numpy(float).reshape(-1, 1 + len(CELLS))
    return scores[:, 0], scores[:, 1:].reshape(-1, len(DISTORTIONS), len(LEVELS))


def above_strongest(
    clean: Float[np.ndarray, " images"], cells: Float[np.ndarray, "images distortions levels"]
) -> Float[np.ndarray, "images images distortions"]:
    """Fraction of levels 4 and 5 of the second image that score below the first one, undistorted."""
    return (clean[:, None, None, None] > cells[None, :, :, -2:]).mean(axis=3)


def likeliest(table: pd.DataFrame, flaws: Sequence[str]) -> np.ndarray:
    """The likeliest of some of `FLAWS` in each row."""
    return np.array(flaws)[table[[f"flaw_{flaw}" for flaw in flaws]].to_numpy(float).argmax(axis=1)]


def flaw_made(table: pd.DataFrame) -> pd.Series:
    """The flaw of each row that is to be named: of level 3 and up, and seen by viewers. NaN for the others.

    At one such level a distortion leaves the image as it is: `mean_shift` at 3.
    """
    cells = zip(table["distortion"], table["level"], strict=True)
    seen = [level >= CLEAR and fall(name, level) > SEEN_FALL for name, level in cells]
    return table["distortion"].map(FLAW_OF_DISTORTION).where(np.array(seen))


def calibration(table: pd.DataFrame) -> Float[np.ndarray, "images bins 3"]:
    """Of each image and bin of probability: sum of the probabilities, flaws that were there, and number of both."""
    made = flaw_made(table).where(table["distortion"] != "", "none")
    known = table[made.notna()]
    stated = known[list(FLAW_COLUMNS)].to_numpy(float)
    there = made[known.index].to_numpy()[:, None] == np.array(FLAWS)
    images, _ = pd.factorize(known["image"])
    binned = np.zeros((images.max() + 1, BINS, 3))
    place = images[:, None], np.minimum((stated * BINS).astype(int), BINS - 1)
    for part, values in enumerate((stated, there, np.ones_like(stated))):
        np.add.at(binned[..., part], place, values)
    return binned


def calibration_error(binned: Float[np.ndarray, "bins 3"]) -> float:
    """The expected calibration error: mean difference of stated probability and frequency, over all statements.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, equation 3.
    """
    stated, there, number = binned.T
    return float(np.abs(stated - there).sum() / number.sum())
