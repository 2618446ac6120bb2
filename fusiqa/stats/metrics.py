"""How well scores agree with human ratings: five metrics with 95 % intervals. It knows arrays, no files, no model.

Intervals are percentile bootstraps over images (Efron, 1979): how far the number would move with other images of
the same kind. They say nothing about another training seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.bootstrap import MetricName, interval, resampled, resampled_counts
from fusiqa.stats.logistic import Logistic, fit_logistic

Vector = NDArray[np.float64]
METRICS: tuple[MetricName, ...] = get_args(MetricName)

FEWEST_IMAGES = 3  # two points always lie on a line
# A network computes in float32: a spread within a few of its rounding steps is one value, not a ranking.
CONSTANT_SPREAD = 4 * float(np.finfo(np.float32).eps)


class Estimate(NamedTuple):
    """A number and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """What was measured on one set of images; `to_json` gives it as `test.json` holds it."""

    n: int
    """Images."""
    srcc: Estimate
    """Spearman's rank correlation, -1 to 1."""
    plcc: Estimate
    """Pearson's linear correlation of the raw scores, -1 to 1."""
    plcc_logistic: Estimate
    """Pearson's linear correlation after the 4-parameter logistic, 0 to 1."""
    krcc: Estimate
    """Kendall's rank correlation tau-b, -1 to 1."""
    rmse: Estimate
    """Root mean squared error of the raw scores, in the unit of mos."""

    def to_json(self) -> dict[str, int | dict[str, float]]:
        """For instance {"n": 200, "srcc": {"value": 0.9, "low": 0.87, "high": 0.93}, ...}."""
        return {"n": self.n} | {name: getattr(self, name)._asdict() for name in METRICS}


def srcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Spearman's rank correlation, -1 to 1: Pearson's correlation of the ranks; tied images share their mean rank.

    Args:
        scores: (images,) predicted, any unit.
        mos: (images,) rated, any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> round(srcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)
        0.8

    Source: Spearman, 1904.
    """
    scores, mos = _varying(scores, mos)
    return float(stats.spearmanr(scores, mos).statistic)


def plcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's linear correlation of the raw scores, -1 to 1. Arguments and Raises as for `srcc`.

    Example:
        >>> round(plcc([1, 2, 3], [2, 4, 6]), 6)
        1.0

    Source: Pearson, 1895.
    """
    scores, mos = _varying(scores, mos)
    return float(stats.pearsonr(scores, mos).statistic)


def krcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1: (concordant - discordant) / sqrt(pairs untied in scores x pairs untied in mos).

    A pair tied in either list counts for neither side. Arguments and Raises as for `srcc`.

    Example:
        >>> round(krcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)  # 5 pairs agree, 1 does not
        0.666667

    Source: Kendall, 1945.
    """
    scores, mos = _varying(scores, mos)
    return float(stats.kendalltau(scores, mos).statistic)


def rmse(scores: ArrayLike, mos: ArrayLike) -> float:
    """Root mean squared error sqrt(mean((scores - mos)^2)), 0 or more, in the unit of mos; 0 is perfect.

    Scores and mos must be in the same unit: no curve is fitted. A constant has an RMSE, so it is not refused here.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, or a value is not finite.

    Example:
        >>> rmse([1, 2, 3], [1, 2, 6])
        1.7320508075688772
    """
    scores, mos = _paired(scores, mos)
    return float(np.sqrt(np.mean((scores - mos) ** 2)))


def plcc_logistic(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's correlation of mos with `logistic_fit` of the scores, 0 to 1.

    The curve may fall, so the sign is lost: read it from `plcc`. Four parameters are fitted on the images that are
    measured, which flatters small sets; below some 20 images it says little. Arguments and Raises as for `srcc`.

    Source: VQEG, 2000.
    """
    scores, mos = _varying(scores, mos)
    return float(stats.pearsonr(logistic_fit(scores, mos)(scores), mos).statistic)


def logistic_fit(scores: ArrayLike, mos: ArrayLike) -> Logistic:
    """The 4-parameter logistic that predicts mos from scores with the least squared error, to be drawn or applied.

    Arguments and Raises as for `srcc`.

    Example:
        >>> scores = np.linspace(-3, 3, 50)
        >>> curve = logistic_fit(scores, 20 + 60 / (1 + np.exp(-(scores - 0.5) / 0.7)))
        >>> [round(value, 3) for value in curve.parameters.values()]
        [80.0, 20.0, 0.5, 0.7]

    Source: VQEG, 2000 (Final report, phase I).
    """
    return fit_logistic(*_varying(scores, mos))


def measure(scores: ArrayLike, mos: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Metrics:
    """All metrics with 95 % percentile-bootstrap intervals over images; the same seed gives the same intervals.

    Ranks are taken anew in every resample. The logistic is fitted once, on all images, and its interval is that of the
    PLCC on the fitted curve: it leaves out the uncertainty of the fit itself and is slightly too narrow. Resamples in
    which scores or mos happen to be constant (very few images) have no correlation and are left out.

    Args:
        scores: (images,) predicted, in the unit of mos (only RMSE needs it).
        mos: (images,) rated.
        resamples: bootstrap resamples, at least 40.
        seed: of the resampling.

    Raises:
        FusiqaError: as for `srcc`, or too few resamples.
    """
    scores, mos = _varying(scores, mos)
    fitted = {name: _prepared(name, scores, mos) for name in METRICS}
    draws: dict[MetricName, list[Vector]] = {name: [] for name in METRICS}
    for counts in resampled_counts(len(mos), resamples, seed):
        for name in METRICS:
            draws[name].append(resampled(name, fitted[name], mos, counts))
    estimates = {name: Estimate(_POINT[name](scores, mos), *interval(np.concatenate(draws[name]))) for name in METRICS}
    return Metrics(n=len(mos), **estimates)


def estimate(
    scores: ArrayLike, mos: ArrayLike, *, metric: MetricName = "srcc", resamples: int = 1000, seed: int = 0
) -> Estimate:
    """One metric with its 95 % interval: that of `measure`, without the others. Arguments and Raises as there.

    Example:
        >>> estimate([1, 2, 3, 4], [1, 2, 3, 4], metric="rmse")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    if metric not in METRICS:
        raise FusiqaError(f"unknown metric {metric!r}; allowed are {', '.join(METRICS)}")
    scores, mos = _varying(scores, mos)
    fitted = _prepared(metric, scores, mos)
    draws = [resampled(metric, fitted, mos, counts) for counts in resampled_counts(len(mos), resamples, seed)]
    return Estimate(_POINT[metric](scores, mos), *interval(np.concatenate(draws)))


def paired_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    mos: ArrayLike,
    *,
    metric: MetricName = "srcc",
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """metric(a) - metric(b) on the same images, with a 95 % percentile interval of the paired bootstrap.

    Both are measured on every resample of images, so that what makes images hard for both cancels. Positive: a is
    higher, which is better for the correlations and worse for RMSE. Arguments and Raises as for `measure`.

    Example:
        >>> paired_difference([1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 2, 4], metric="plcc")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    if metric not in METRICS:
        raise FusiqaError(f"unknown metric {metric!r}; allowed are {', '.join(METRICS)}")
    scores_a, mos = _varying(scores_a, mos)
    scores_b, mos = _varying(scores_b, mos)
    fitted_a, fitted_b = _prepared(metric, scores_a, mos), _prepared(metric, scores_b, mos)
    draws = [
        resampled(metric, fitted_a, mos, counts) - resampled(metric, fitted_b, mos, counts)
        for counts in resampled_counts(len(mos), resamples, seed)
    ]
    difference = _POINT[metric](scores_a, mos) - _POINT[metric](scores_b, mos)
    return Estimate(difference, *interval(np.concatenate(draws)))


_POINT: dict[MetricName, Callable[[ArrayLike, ArrayLike], float]] = {
    "srcc": srcc,
    "plcc": plcc,
    "plcc_logistic": plcc_logistic,
    "krcc": krcc,
    "rmse": rmse,
}


def _prepared(metric: MetricName, scores: Vector, mos: Vector) -> Vector:
    """What is resampled: the scores on the fitted curve for the logistic, as they are for all else."""
    return fit_logistic(scores, mos)(scores) if metric == "plcc_logistic" else scores


def _paired(scores: ArrayLike, mos: ArrayLike) -> tuple[Vector, Vector]:
    """Both as finite float64 vectors of one length, at least 3."""
    scores, mos = np.asarray(scores, np.float64), np.asarray(mos, np.float64)
    if scores.ndim != 1 or scores.shape != mos.shape:
        raise FusiqaError(
            f"scores and mos must be two lists of one length; they have the shapes {scores.shape} and {mos.shape}"
        )
    if len(mos) < FEWEST_IMAGES:
        raise FusiqaError(f"{len(mos)} images cannot be measured: at least {FEWEST_IMAGES} rated images are needed")
    for name, values in (("scores", scores), ("mos", mos)):
        broken = [f"{values[row]} in row {row}" for row in np.flatnonzero(~np.isfinite(values))]
        if broken:
            raise FusiqaError(f"{name} must be finite numbers; found {listed(broken)} (rows count from 0)")
    return scores, mos


def _varying(scores: ArrayLike, mos: ArrayLike) -> tuple[Vector, Vector]:
    """As `_paired`, and neither is constant: no correlation exists with a constant, and 0 would hide a collapse."""
    scores, mos = _paired(scores, mos)
    for name, values in (("scores", scores), ("mos", mos)):
        if np.ptp(values) <= CONSTANT_SPREAD * np.abs(values).max():
            cause = "the model has collapsed" if name == "scores" else "the ratings cannot rank anything"
            raise FusiqaError(f"{name} are all {values[0]:g} for {len(values)} images: {cause}, nothing to correlate")
    return scores, mos
