"""Metrics on bootstrap resamples of images. It knows arrays only, and expects them checked (metrics.py).

A resample is how often each image was drawn, so that all of them are one array (resamples, images).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fusiqa.errors import FusiqaError

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
MetricName = Literal["srcc", "plcc", "plcc_logistic", "krcc", "rmse"]

FEWEST_RESAMPLES = 40  # with fewer, no resample lies beyond the 2.5 % point
TAILS = (2.5, 97.5)  # percentiles that bound 95 %
RESAMPLES_AT_ONCE = 64  # bounds memory: 64 x 12,000 images x 8 bytes = 6 MB an array
ROUNDING = 1e-24  # a product of two variances below this share of the greatest is rounding: one side is constant


def resampled_counts(images: int, resamples: int, seed: int) -> Iterator[Counts]:
    """Blocks (resamples, images) of how often each image was drawn; every row sums to `images`."""
    if resamples < FEWEST_RESAMPLES:
        raise FusiqaError(f"resamples is {resamples}; a 95 % interval needs at least {FEWEST_RESAMPLES}")
    random = np.random.default_rng(seed)
    for first in range(0, resamples, RESAMPLES_AT_ONCE):
        block = min(RESAMPLES_AT_ONCE, resamples - first)
        yield random.multinomial(images, np.full(images, 1 / images), size=block)


def resampled(metric: MetricName, scores: Vector, mos: Vector, counts: Counts) -> Vector:
    """(images,) scores and mos, (resamples, images) counts -> (resamples,) of the metric; NaN where it is undefined.

    Ranks are taken anew in every resample, where an image drawn twice is a tie. For plcc_logistic the scores are
    expected already on the fitted curve.
    """
    if metric == "srcc":
        return _correlation(_ranks(scores, counts), _ranks(mos, counts), counts)
    if metric == "krcc":
        return np.array([_tau(np.repeat(scores, row), np.repeat(mos, row)) for row in counts])
    if metric == "rmse":
        return np.sqrt(counts @ (scores - mos) ** 2 / len(mos))
    return _correlation(scores - scores.mean(), mos - mos.mean(), counts)


def interval(draws: Vector) -> tuple[float, float]:
    """The bounds of the middle 95 % of the draws that are defined."""
    low, high = np.nanpercentile(draws, TAILS)
    return float(low), float(high)


def _tau(scores: Vector, mos: Vector) -> float:
    return float(stats.kendalltau(scores, mos, method="asymptotic").statistic)  # exact p-values are slow and not used


def _ranks(values: Vector, counts: Counts) -> Vector:
    """(resamples, images) rank of each image within its resample, ties sharing the mean, centred; no sorting twice."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    mean_rank = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    ranks = np.empty(counts.shape)
    ranks[:, order] = np.repeat(mean_rank, np.diff(np.r_[starts, len(values)]), axis=1)
    return ranks - (len(values) + 1) / 2


def _correlation(first: Vector, second: Vector, counts: Counts) -> Vector:
    """Pearson's correlation in each resample; arrays (images,) or (resamples, images); NaN where either is constant."""
    images = counts.shape[1]
    first = first - np.sum(counts * first, axis=1, keepdims=True) / images
    second = second - np.sum(counts * second, axis=1, keepdims=True) / images
    covariance = np.sum(counts * first * second, axis=1)
    variances = np.sum(counts * first**2, axis=1) * np.sum(counts * second**2, axis=1)
    defined = variances > ROUNDING * np.max(first**2) * np.max(second**2)
    correlation = np.divide(covariance, np.sqrt(variances), out=np.full(len(counts), np.nan), where=defined)
    return np.clip(correlation, -1, 1)
