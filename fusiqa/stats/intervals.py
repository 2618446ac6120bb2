"""95 % intervals: the bootstrap over images, and Student's t for the mean of independent values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Num
from numpy.typing import ArrayLike
from scipy import stats

from fusiqa.errors import FusiqaError

CONFIDENCE = 0.95
FEWEST_RESAMPLES = 40  # with fewer, no resample lies beyond the 2.5th percentile
VALUES_AT_ONCE = 800_000  # bounds memory: 6 MB an array; for 12,000 images 66 resamples


class Estimate(NamedTuple):
    """A number and the bounds of its 95 % interval.

    Example:
        >>> f"{Estimate(0.02, 0.01, 0.03):+.3f}"
        '+0.020 [+0.010, +0.030]'
    """

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """All three in the format of a float; empty for NaN."""
        return "" if math.isnan(self.value) else f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def columns(self, name: str) -> dict[str, float]:
        """The cells of a table: NAME, NAME_low, NAME_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


class Mean(NamedTuple):
    """The mean of n independent values with Student's t-test against zero; of one value all else is NaN."""

    n: int
    mean: float
    sd: float  # with n - 1 degrees of freedom
    low: float  # bounds of the 95 % interval
    high: float
    p_value: float = math.nan  # two-sided, of a mean of zero; of equal values 0, or 1 where they are zero

    @property
    def estimate(self) -> Estimate:
        """The mean with its interval."""
        return Estimate(self.mean, self.low, self.high)

    @property
    def effect(self) -> float:
        """Cohen's d of paired data, mean / sd: of equal values infinite, or 0 if all are zero."""
        if self.sd == 0:
            return math.copysign(math.inf, self.mean) if self.mean else 0.0
        return self.mean / self.sd

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval excludes zero."""
        return self.low > 0 or self.high < 0


def as_floats(values: ArrayLike, name: str) -> Float[np.ndarray, "*shape"]:
    """Values as float64. FusiqaError, which states the name of the argument: not numbers, or rows of several lengths.

    Example:
        >>> as_floats(["1", "2.5"], "scores")
        array([1. , 2.5])
    """
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as reason:
        raise FusiqaError(f"`{name}` must be an array of numbers: {reason}") from reason


def mean_interval(values: ArrayLike) -> Mean:
    """The mean of independent values with its 95 % interval, mean -+ t(n - 1) sd / sqrt(n).

    Values: (n,); a NaN makes everything but n NaN. FusiqaError if there are none.

    Example:
        >>> [round(figure, 3) for figure in mean_interval([1.0, 2.0, 3.0])]
        [3, 2.0, 1.0, -0.484, 4.484, 0.074]
    """
    given = as_floats(values, "values")
    if not (n := len(given)):
        raise FusiqaError("the mean of no values is undefined")
    mean = float(given.mean())
    if n == 1:
        return Mean(n, mean, math.nan, math.nan, math.nan)
    sd = float(given.std(ddof=1))
    if sd == 0:  # the t statistic is a division by zero
        return Mean(n, mean, sd, mean, mean, float(mean == 0))
    with warnings.catch_warnings():  # SciPy warns of values that are nearly equal
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        found = stats.ttest_1samp(given, 0)
    low, high = map(float, found.confidence_interval(CONFIDENCE))
    return Mean(n, mean, sd, low, high, float(found.pvalue))


def bootstrap_interval(
    statistic: Callable[..., Any], *samples: Num[np.ndarray, " images"], resamples: int = 1000, seed: int = 0
) -> Estimate:
    """A statistic with its 95 % percentile interval, over images that are drawn with replacement.

    Args:
        statistic: takes as many arrays (..., images) as there are samples, and reduces the last axis.
        samples: what is known of each image; the samples are paired.
        resamples: at least 40, else FusiqaError. Those on which the statistic is NaN are left out.
        seed: of the draws; the same seed draws the same images for every statistic.

    Example:
        >>> bootstrap_interval(lambda values: values.max(axis=-1), np.arange(100.0), resamples=100)
        Estimate(value=99.0, low=97.0, high=99.0)

    Source: Efron, Annals of Statistics 7, 1979, doi:10.1214/aos/1176344552.
    """
    if resamples < FEWEST_RESAMPLES:
        raise FusiqaError(f"`resamples` must be at least {FEWEST_RESAMPLES} for a 95 % interval, got {resamples}")
    batch = max(1, VALUES_AT_ONCE // len(samples[0]))
    options: dict[str, Any] = {"paired": True, "vectorized": True, "method": "percentile", "batch": batch}
    along, random = lambda *resample, axis: statistic(*resample), np.random.default_rng(seed)
    with warnings.catch_warnings(action="ignore", category=stats.DegenerateDataWarning):  # a resample of one value
        drawn = stats.bootstrap(samples, along, n_resamples=resamples, rng=random, **options).bootstrap_distribution
    low, high = np.nanpercentile(drawn, (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)))
    return Estimate(float(statistic(*samples)), float(low), float(high))
