"""Student's t for a mean: its interval, and how far it is from zero. It knows neither seeds nor images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fusiqa.errors import FusiqaError

CONFIDENCE = 0.95


class Mean(NamedTuple):
    """The mean of independent values, in their unit.

    Attributes:
        n: values.
        mean: of them.
        sd: their standard deviation, with n - 1; NaN for one value.
        low, high: bounds of the 95 % interval of the mean; NaN for one value.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


class Distance(NamedTuple):
    """How far the mean of independent values is from zero.

    Attributes:
        effect: mean over standard deviation (Cohen's d of paired data); NaN for one value, infinite where all values
            are alike and not zero, 0 where all are zero.
        p_value: of the t-test, two-sided; NaN for one value, 0 where all are alike and not zero, 1 where all are zero.
    """

    effect: float
    p_value: float


def mean_of(values: ArrayLike) -> Mean:
    """mean -+ t(n - 1) sd / sqrt(n), where t leaves 2.5 % of Student's distribution on either side.

    Args:
        values: (values,), independent of each other; one that is NaN makes everything but n NaN.

    Raises:
        FusiqaError: no value.

    Example:
        >>> [round(figure, 3) for figure in mean_of([1.0, 2.0, 3.0])]
        [3, 2.0, 1.0, -0.484, 4.484]

    Source: Student, Biometrika 6, 1908.
    """
    given = np.asarray(values, np.float64)
    n = len(given)
    if n == 0:
        raise FusiqaError("there is no value to take a mean of")
    mean, sd = float(given.mean()), float(given.std(ddof=1)) if n > 1 else math.nan
    half = quantile(n) * sd / math.sqrt(n)
    return Mean(n, mean, sd, mean - half, mean + half)


def distance_from_zero(values: ArrayLike) -> Distance:
    """Effect and p of the values, such as paired differences, against a mean of zero.

    Args:
        values: (values,), independent of each other.

    Raises:
        FusiqaError: no value.

    Source: Student, Biometrika 6, 1908; Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
    """
    n, mean, sd, _, _ = mean_of(values)
    if n == 1:
        return Distance(math.nan, math.nan)
    if sd == 0:
        return Distance(0.0, 1.0) if mean == 0 else Distance(math.copysign(math.inf, mean), 0.0)
    return Distance(mean / sd, float(stats.ttest_1samp(values, 0).pvalue))


def quantile(n: int, *, confidence: float = CONFIDENCE) -> float:
    """Standard errors within which the mean of n values lies of its expectation, 95 times in 100; NaN for one value."""
    return float(stats.t.ppf((1 + confidence) / 2, n - 1))
