"""Agreement of predicted scores with human ratings: five metrics with 95 % bootstrap intervals.

The intervals are over images: how far a figure would move with other images of the same kind. They do not cover
another training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.intervals import Estimate, bootstrap_interval

Vector = Float[np.ndarray, " images"]
MetricName = Literal["srcc", "plcc", "plcc_logistic", "krcc", "rmse"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)

FEWEST_IMAGES = 3  # two points always lie on a line
# A network computes in float32: a spread within a few of its rounding steps is one value, not a ranking.
CONSTANT_SPREAD = 4 * float(np.finfo(np.float32).eps)


class Agreement(NamedTuple):
    """The metrics of one set of images, each with its interval.

    Attributes:
        n: number of images.
        srcc: Spearman's rank correlation, -1 to 1.
        plcc: Pearson's linear correlation of the raw scores, -1 to 1.
        plcc_logistic: Pearson's linear correlation after the 4-parameter logistic, 0 to 1.
        krcc: Kendall's rank correlation tau-b, -1 to 1.
        rmse: root mean squared error of the raw scores, in the unit of the ratings.
    """

    n: int
    srcc: Estimate
    plcc: Estimate
    plcc_logistic: Estimate
    krcc: Estimate
    rmse: Estimate

    def to_json(self) -> dict[str, int | dict[str, float]]:
        """As test.json holds them: {"n": 200, "srcc": {"value": 0.9, "low": 0.87, "high": 0.93}, ...}."""
        return {"n": self.n} | {name: getattr(self, name)._asdict() for name in METRICS}


class Logistic(NamedTuple):
    """The curve f(s) = floor + (ceiling - floor) / (1 + exp(-(s - centre) / width)), width > 0.

    ceiling < floor where ratings fall as scores rise.
    """

    ceiling: float
    floor: float
    centre: float
    width: float

    def __call__(self, scores: ArrayLike) -> Float[np.ndarray, "*shape"]:
        """Scores of any shape -> the ratings that the curve expects, same shape."""
        steepness = special.expit((np.asarray(scores, np.float64) - self.centre) / self.width)
        return self.floor + (self.ceiling - self.floor) * steepness


def srcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Spearman's rank correlation, -1 to 1: Pearson's correlation of the ranks; ties share their mean rank.

    Args:
        scores: (images,) predicted, at least 3, in any unit.
        mos: (images,) rated, in any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> round(srcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)
        0.8

    Source: Spearman, American Journal of Psychology 15, 1904, doi:10.2307/1412159.
    """
    return _value("srcc", *_varying(scores, mos))


def plcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's linear correlation of the raw scores, -1 to 1.

    Args:
        scores: (images,) predicted, at least 3, in any unit.
        mos: (images,) rated, in any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> round(plcc([1, 2, 3], [2, 4, 6]), 6)
        1.0

    Source: Pearson, Proceedings of the Royal Society 58, 1895, doi:10.1098/rspl.1895.0041.
    """
    return _value("plcc", *_varying(scores, mos))


def krcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1: (concordant - discordant) / sqrt(pairs untied in scores x pairs untied in mos).

    A pair that is tied in either list is neither concordant nor discordant.

    Args:
        scores: (images,) predicted, at least 3, in any unit.
        mos: (images,) rated, in any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> round(krcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)  # 5 pairs agree, 1 does not
        0.666667

    Source: Kendall, Biometrika 33, 1945, doi:10.1093/biomet/33.3.239.
    """
    return _value("krcc", *_varying(scores, mos))


def rmse(scores: ArrayLike, mos: ArrayLike) -> float:
    """Root mean squared error sqrt(mean((scores - mos)^2)), 0 or more, in the unit of mos; 0 is perfect.

    Args:
        scores: (images,) predicted, at least 3, in the unit of mos: no curve is fitted. They may be constant.
        mos: (images,) rated.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, or a value is not finite.

    Example:
        >>> rmse([1, 2, 3], [1, 2, 6])
        1.7320508075688772
    """
    return _value("rmse", *_paired(scores, mos))


def plcc_logistic(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's correlation of mos with `logistic_fit` of the scores, 0 to 1; the sign of `plcc` is lost.

    Four parameters are fitted on the images that are measured, so it is biased upwards on small sets: do not use it
    below some 20 images.

    Args:
        scores: (images,) predicted, at least 3, in any unit.
        mos: (images,) rated, in any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> round(plcc_logistic([1, 2, 3, 4], [1, 2, 9, 10]), 2)
        1.0

    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I, 2000.
    """
    scores, mos = _varying(scores, mos)
    return _value("plcc_logistic", _fitted("plcc_logistic", scores, mos), mos)


def measure(scores: ArrayLike, mos: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Agreement:
    """All metrics with 95 % percentile-bootstrap intervals over images.

    Ranks are taken anew in every resample. The logistic is fitted once, on all images: its interval leaves out the
    uncertainty of the fit and is slightly too narrow. Resamples in which scores or mos are constant (very few images)
    have no correlation and are left out.

    Args:
        scores: (images,) predicted, at least 3, in the unit of mos (only RMSE needs that).
        mos: (images,) rated.
        resamples: of the bootstrap, at least 40.
        seed: of the resampling; the same seed gives the same intervals.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, scores or mos are constant, or too few
            resamples.

    Example:
        >>> measure([1, 2, 3, 4], [1, 2, 3, 5]).rmse.value
        0.5
    """
    scores, mos = _varying(scores, mos)
    found = {name: estimate(scores, mos, metric=name, resamples=resamples, seed=seed) for name in METRICS}
    return Agreement(n=len(mos), **found)


def estimate(
    scores: ArrayLike, mos: ArrayLike, *, metric: MetricName = "srcc", resamples: int = 1000, seed: int = 0
) -> Estimate:
    """One metric with the 95 % interval that `measure` gives it.

    Args:
        scores: (images,) predicted, at least 3, in the unit of mos (only RMSE needs that).
        mos: (images,) rated.
        metric: which of the five.
        resamples: of the bootstrap, at least 40.
        seed: of the resampling.

    Raises:
        FusiqaError: another metric, or as `measure`.

    Example:
        >>> estimate([1, 2, 3, 4], [1, 2, 3, 4], metric="rmse")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    scores, mos = _varying(scores, mos)
    fitted = _fitted(metric, scores, mos)
    interval = bootstrap_interval(_ALONG_IMAGES[metric], fitted, mos, resamples=resamples, seed=seed)
    return Estimate(_value(metric, fitted, mos), *interval)


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

    Both are measured on every resample of images, so that what makes images hard for both cancels.

    Args:
        scores_a: (images,) predicted by one model, at least 3.
        scores_b: (images,) predicted by the other.
        mos: (images,) rated.
        metric: a positive difference is better for the correlations and worse for RMSE.
        resamples: of the bootstrap, at least 40.
        seed: of the resampling.

    Raises:
        FusiqaError: another metric, or as `measure`.

    Example:
        >>> paired_difference([1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 2, 4], metric="plcc")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    scores_a, mos = _varying(scores_a, mos)
    scores_b, mos = _varying(scores_b, mos)
    first, second = _fitted(metric, scores_a, mos), _fitted(metric, scores_b, mos)
    along = _ALONG_IMAGES[metric]
    interval = bootstrap_interval(
        lambda a, b, rated: along(a, rated) - along(b, rated), first, second, mos, resamples=resamples, seed=seed
    )
    return Estimate(_value(metric, first, mos) - _value(metric, second, mos), *interval)


def logistic_fit(scores: ArrayLike, mos: ArrayLike) -> Logistic:
    """The 4-parameter logistic that predicts mos from scores with the least squared error.

    For a given centre and width the other two parameters follow by linear regression, so a grid over those two finds
    the valley and least squares descends in it. The width stays within 0.01 to 100 standard deviations of the scores:
    a step at one end, a straight line at the other.

    Args:
        scores: (images,) predicted, at least 3, in any unit.
        mos: (images,) rated, in any unit.

    Raises:
        FusiqaError: lengths differ, fewer than 3 images, a value is not finite, or scores or mos are constant.

    Example:
        >>> scores = np.linspace(-3, 3, 50)
        >>> curve = logistic_fit(scores, 20 + 60 / (1 + np.exp(-(scores - 0.5) / 0.7)))
        >>> [round(value, 3) for value in curve]
        [80.0, 20.0, 0.5, 0.7]

    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I, 2000.
    """
    scores, mos = _varying(scores, mos)
    mean, spread, low, high = scores.mean(), scores.std(), mos.min(), mos.max()
    standard, unit = (scores - mean) / spread, (mos - low) / (high - low)
    rise, floor, centre, log_width = _least_squares(standard, unit, _best_of_grid(standard, unit))
    return Logistic(
        ceiling=float(low + (high - low) * (floor + rise)),
        floor=float(low + (high - low) * floor),
        centre=float(mean + spread * centre),
        width=float(spread * np.exp(log_width)),
    )


# The grid, in standard deviations of the scores.
_CENTRES = np.linspace(-2.5, 2.5, 11)
_LOG_WIDTHS = np.log(np.geomspace(0.01, 100, 17))


def _best_of_grid(standard: Vector, unit: Vector) -> Float[np.ndarray, " 4"]:
    """(rise, floor, centre, log width) of the least squared error; rise and floor by linear regression."""
    centres, log_widths = (axis.reshape(-1, 1) for axis in np.meshgrid(_CENTRES, _LOG_WIDTHS))
    curves = special.expit((standard - centres) / np.exp(log_widths))
    means = curves.mean(axis=1, keepdims=True)
    variances = np.sum((curves - means) ** 2, axis=1)
    covariances = (curves - means) @ unit
    rises = np.divide(covariances, variances, out=np.zeros_like(covariances), where=variances > 0)
    floors = unit.mean() - rises * means[:, 0]
    best = np.argmin(np.sum((floors[:, None] + rises[:, None] * curves - unit) ** 2, axis=1))
    return np.array([rises[best], floors[best], centres[best, 0], log_widths[best, 0]])


def _least_squares(standard: Vector, unit: Vector, start: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """Least squares from `start`; the start itself where that is not improved on.

    Not scipy's curve_fit: it also computes the parameters' covariance, warns where a straight line leaves that
    undefined, and refuses fewer images than parameters.
    """

    def residual(parameters: Float[np.ndarray, " 4"]) -> Vector:
        rise, floor, centre, log_width = parameters
        return floor + rise * special.expit((standard - centre) / np.exp(log_width)) - unit

    widest = np.abs(_LOG_WIDTHS).max() + 1e-9  # the start must lie inside the bounds
    bounds = ([-np.inf, -np.inf, -np.inf, -widest], [np.inf, np.inf, np.inf, widest])
    fit = optimize.least_squares(residual, start, bounds=bounds, x_scale="jac", max_nfev=200)
    return fit.x if 2 * fit.cost < np.sum(residual(start) ** 2) else start


# --- each metric along the last axis, for one set of images and for resamples of it ----------------------------------


def _pearson(scores: np.ndarray, mos: np.ndarray) -> np.ndarray:
    return stats.pearsonr(scores, mos, axis=-1).statistic


def _spearman(scores: np.ndarray, mos: np.ndarray) -> np.ndarray:
    return _pearson(stats.rankdata(scores, axis=-1), stats.rankdata(mos, axis=-1))


@np.vectorize(signature="(n),(n)->()")
def _kendall(scores: np.ndarray, mos: np.ndarray) -> float:
    return stats.kendalltau(scores, mos, method="asymptotic").statistic  # exact p-values are slow and not used


def _root_mean_square(scores: np.ndarray, mos: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean((scores - mos) ** 2, axis=-1))


_ALONG_IMAGES: Mapping[MetricName, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "srcc": _spearman,
    "plcc": _pearson,
    "plcc_logistic": _pearson,  # of the scores on the fitted curve
    "krcc": _kendall,
    "rmse": _root_mean_square,
}


def _value(metric: MetricName, scores: Vector, mos: Vector) -> float:
    return float(_ALONG_IMAGES[metric](scores, mos))


def _fitted(metric: MetricName, scores: Vector, mos: Vector) -> Vector:
    """What the metric is computed on: for the logistic the scores on the fitted curve, else the scores."""
    if metric not in METRICS:
        raise FusiqaError(f"`metric` must be one of {', '.join(METRICS)}, got {metric!r}")
    return logistic_fit(scores, mos)(scores) if metric == "plcc_logistic" else scores


def _paired(scores: ArrayLike, mos: ArrayLike) -> tuple[Vector, Vector]:
    """Both as finite float64 vectors of one length, at least 3."""
    scores, mos = np.asarray(scores, np.float64), np.asarray(mos, np.float64)
    if scores.ndim != 1 or scores.shape != mos.shape:
        raise FusiqaError(f"`scores` and `mos` must be 1-D and of one length, got shapes {scores.shape}, {mos.shape}")
    if len(mos) < FEWEST_IMAGES:
        raise FusiqaError(f"metrics need at least {FEWEST_IMAGES} rated images, got {len(mos)}")
    for name, values in (("scores", scores), ("mos", mos)):
        broken = [f"{values[row]} in row {row}" for row in np.flatnonzero(~np.isfinite(values))]
        if broken:
            raise FusiqaError(f"`{name}` must be finite, got {listed(broken)} (rows count from 0)")
    return scores, mos


def _varying(scores: ArrayLike, mos: ArrayLike) -> tuple[Vector, Vector]:
    """As `_paired`, and neither is constant: no correlation exists with a constant, and 0 would hide a collapse."""
    scores, mos = _paired(scores, mos)
    for name, values in (("scores", scores), ("mos", mos)):
        if np.ptp(values) <= CONSTANT_SPREAD * np.abs(values).max():
            cause = "the model has collapsed" if name == "scores" else "they rank nothing"
            raise FusiqaError(f"`{name}` are all {values[0]:g} for {len(values)} images: {cause}")
    return scores, mos
