"""Agreement of predicted scores with human ratings: five metrics, each with a 95 % bootstrap interval over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.intervals import Estimate, as_floats, bootstrap_interval

Vector = Float[np.ndarray, " images"]
MetricName = Literal["srcc", "plcc", "plcc_logistic", "krcc", "rmse"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)

FEWEST_IMAGES = 3  # two points always lie on a line
CONSTANT_SPREAD = 4 * float(np.finfo(np.float32).eps)  # rounding steps of a network, not a ranking


class Agreement(NamedTuple):
    """The metrics of a set of n images with their intervals; the functions of their names say what they are."""

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
    """The curve f(s) = floor + (ceiling - floor) / (1 + exp(-(s - centre) / width)); it falls if ceiling < floor."""

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

    Scores and mos: (images,), 3 or more, in any unit. FusiqaError: lengths differ, or values not finite or constant.

    Example:
        >>> round(srcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)
        0.8

    Source: Spearman, American Journal of Psychology 15, 1904, doi:10.2307/1412159.
    """
    return _value("srcc", scores, mos)


def plcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's linear correlation of the raw scores, -1 to 1.

    Scores and mos: (images,), 3 or more, in any unit. FusiqaError: lengths differ, or values not finite or constant.

    Example:
        >>> round(plcc([1, 2, 3], [2, 4, 6]), 6)
        1.0

    Source: Pearson, Proceedings of the Royal Society 58, 1895, doi:10.1098/rspl.1895.0041.
    """
    return _value("plcc", scores, mos)


def krcc(scores: ArrayLike, mos: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1: (concordant - discordant) / sqrt(pairs untied in scores x pairs untied in mos).

    Scores and mos: (images,), 3 or more, in any unit. FusiqaError: lengths differ, or values not finite or constant.

    Example:
        >>> round(krcc([1, 2, 3, 4], [10, 20, 40, 30]), 6)  # 5 pairs agree, 1 does not
        0.666667

    Source: Kendall, Biometrika 33, 1945, doi:10.1093/biomet/33.3.239.
    """
    return _value("krcc", scores, mos)


def rmse(scores: ArrayLike, mos: ArrayLike) -> float:
    """Root mean squared error sqrt(mean((scores - mos)^2)), 0 or more, in the unit of mos; 0 is perfect.

    Scores and mos: (images,), 3 or more, in one unit. FusiqaError: lengths differ, or values not finite.

    Example:
        >>> rmse([1, 2, 3], [1, 2, 6])
        1.7320508075688772
    """
    return _value("rmse", scores, mos)


def plcc_logistic(scores: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's correlation of mos with `logistic_fit` of the scores, 0 to 1; the sign of `plcc` is lost.

    Scores and mos: (images,), 3 or more, in any unit. FusiqaError: lengths differ, or values not finite or constant.
    Four parameters are fitted on the images that are measured: below some 20 of them it is biased upwards.

    Example:
        >>> round(plcc_logistic([1, 2, 3, 4], [1, 2, 9, 10]), 2)
        1.0

    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I, 2000.
    """
    return _value("plcc_logistic", scores, mos)


def direction(srcc: float) -> str:
    """What a strongly negative SRCC suggests, to be added to a line that states it; else nothing."""
    return ": strongly negative, do the ratings run the other way (`lower_is_better`)?" if srcc < -0.5 else ""


def measure(scores: ArrayLike, mos: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Agreement:
    """All metrics with 95 % percentile-bootstrap intervals over images; they do not cover another training seed.

    Ranks are taken anew in every resample. The logistic is fitted once, on all images: its interval leaves out the
    uncertainty of the fit and is slightly too narrow. Resamples in which scores or mos are constant (very few images)
    have no correlation and are left out.

    Scores and mos: (images,), 3 or more, in one unit (only RMSE needs that); 40 or more resamples, the same for one
    seed. FusiqaError: lengths differ, values not finite or constant, or too few images or resamples.

    Example:
        >>> measure([1, 2, 3, 4], [1, 2, 3, 5]).rmse.value
        0.5
    """
    found = {name: estimate(scores, mos, metric=name, resamples=resamples, seed=seed) for name in METRICS}
    return Agreement(n=len(np.asarray(mos)), **found)


def mean_of_sets(agreements: Sequence[Agreement]) -> Agreement:
    """The mean of each metric over data sets; the distances to its bounds are those of independent sets.

    Example:
        >>> sure = Agreement(4, *[Estimate(0.8, 0.8, 0.8)] * 5)
        >>> mean_of_sets([sure, measure([1, 2, 3, 4], [1, 2, 4, 3])]).plcc.value
        0.8
    """
    if len(agreements) == 1:
        return agreements[0]
    found = {}
    for name in METRICS:
        value, low, high = np.array([getattr(each, name) for each in agreements]).T
        below, over = (float(np.sqrt(np.sum((bound - value) ** 2)) / len(value)) for bound in (low, high))
        found[name] = Estimate(float(value.mean()), float(value.mean()) - below, float(value.mean()) + over)
    return Agreement(n=sum(each.n for each in agreements), **found)


def estimate(
    scores: ArrayLike, mos: ArrayLike, *, metric: str = "srcc", resamples: int = 1000, seed: int = 0
) -> Estimate:
    """One metric with its 95 % interval: arguments, interval and errors are those of `measure`.

    Example:
        >>> estimate([1, 2, 3, 4], [1, 2, 3, 4], metric="rmse")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    samples = _prepared(metric, scores, mos)
    return bootstrap_interval(_ALONG_IMAGES[metric], *samples, resamples=resamples, seed=seed)


def paired_difference(
    scores: ArrayLike, other: ArrayLike, mos: ArrayLike, *, metric: str = "srcc", resamples: int = 1000, seed: int = 0
) -> Estimate:
    """metric(scores) - metric(other) on the same images, with a 95 % percentile interval of the paired bootstrap.

    Both are measured on every resample of images, so that what makes images hard for both cancels. A positive
    difference is better for the correlations and worse for RMSE. Arguments and errors are those of `measure`.

    Example:
        >>> paired_difference([1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 2, 4], metric="plcc")
        Estimate(value=0.0, low=0.0, high=0.0)
    """
    (first, rated), (second, _) = _prepared(metric, scores, mos), _prepared(metric, other, mos)
    along = _ALONG_IMAGES[metric]
    samples = first, second, rated
    return bootstrap_interval(lambda a, b, mos: along(a, mos) - along(b, mos), *samples, resamples=resamples, seed=seed)


def logistic_fit(scores: ArrayLike, mos: ArrayLike) -> Logistic:
    """The 4-parameter logistic that predicts mos from scores with the least squared error.

    Scores and mos: (images,), 3 or more, in any unit. FusiqaError: lengths differ, or values not finite or constant.
    A grid of centres and widths finds the valley, least squares descends in it; floor and ceiling follow by linear
    regression. The width is 0.01 (a step) to 100 (a straight line) standard deviations of the scores.

    Example:
        >>> scores = np.linspace(-3, 3, 50)
        >>> curve = logistic_fit(scores, 20 + 60 / (1 + np.exp(-(scores - 0.5) / 0.7)))
        >>> [round(value, 3) for value in curve]
        [80.0, 20.0, 0.5, 0.7]

    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I, 2000.
    """
    scores, mos = _checked(scores, mos)
    standard, unit = (scores - scores.mean()) / scores.std(), (mos - mos.min()) / np.ptp(mos)

    def regressed(shape: np.ndarray) -> tuple[float, float, Vector]:
        """The best rise and floor for a centre and log width, and the residuals."""
        curve = special.expit((standard - shape[0]) / np.exp(shape[1]))
        deviation = curve - curve.mean()
        variance = np.sum(deviation**2)  # a dot product of BLAS would spread over all cores
        rise = np.sum(deviation * unit) / variance if variance > 0 else 0.0
        floor = unit.mean() - rise * curve.mean()
        return rise, floor, floor + rise * curve - unit

    shapes = np.array(list(product(np.linspace(-2.5, 2.5, 11), np.log(np.geomspace(0.01, 100, 17)))))
    errors = [np.sum(regressed(shape)[2] ** 2) for shape in shapes]
    start, widest = shapes[int(np.argmin(errors))], np.log(100) + 1e-9  # the start lies inside the bounds
    bounds = ([-np.inf, -widest], [np.inf, widest])
    # Not curve_fit: it warns where a straight line leaves the covariance of the parameters undefined.
    fit = optimize.least_squares(lambda shape: regressed(shape)[2], start, bounds=bounds, x_scale="jac", max_nfev=200)
    centre, log_width = shape = fit.x if 2 * fit.cost < min(errors) else start
    rise, floor, _ = regressed(shape)
    ceiling, floor = mos.min() + np.ptp(mos) * np.array([floor + rise, floor])
    centre, width = scores.mean() + scores.std() * centre, scores.std() * np.exp(log_width)
    return Logistic(float(ceiling), float(floor), float(centre), float(width))


# --- each metric along the last axis, for one set of images and for resamples of it ----------------------------------


def _pearson(scores: np.ndarray, mos: np.ndarray) -> Any:
    return stats.pearsonr(scores, mos, axis=-1).statistic


@np.vectorize(signature="(n),(n)->()")
def _kendall(scores: np.ndarray, mos: np.ndarray) -> float:
    return stats.kendalltau(scores, mos, method="asymptotic").statistic  # exact p-values are slow and not used


_ALONG_IMAGES: Mapping[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "srcc": lambda scores, mos: _pearson(stats.rankdata(scores, axis=-1), stats.rankdata(mos, axis=-1)),
    "plcc": _pearson,
    "plcc_logistic": _pearson,  # of the scores on the fitted curve
    "krcc": _kendall,
    "rmse": lambda scores, mos: np.sqrt(np.mean((scores - mos) ** 2, axis=-1)),
}


def _value(metric: str, scores: ArrayLike, mos: ArrayLike) -> float:
    return float(_ALONG_IMAGES[metric](*_prepared(metric, scores, mos)))


def _prepared(metric: str, scores: ArrayLike, mos: ArrayLike) -> tuple[Vector, Vector]:
    """What the metric is computed on: checked, and for the logistic the scores on the fitted curve."""
    if metric not in METRICS:
        raise FusiqaError(f"`metric` must be one of {', '.join(METRICS)}, got {metric!r}")
    scores, mos = _checked(scores, mos, varying=metric != "rmse")
    return (logistic_fit(scores, mos)(scores) if metric == "plcc_logistic" else scores), mos


def _checked(scores: ArrayLike, mos: ArrayLike, *, varying: bool = True) -> tuple[Vector, Vector]:
    """Both as finite float64 vectors of one length; correlations also refuse constants, for 0 would hide a collapse."""
    scores, mos = as_floats(scores, "scores"), as_floats(mos, "mos")
    if scores.ndim != 1 or scores.shape != mos.shape:
        raise FusiqaError(f"`scores` and `mos` must be 1-D and of one length, got shapes {scores.shape}, {mos.shape}")
    if len(mos) < FEWEST_IMAGES:
        raise FusiqaError(f"metrics need at least {FEWEST_IMAGES} rated images, got {len(mos)}")
    for name, values, cause in (("scores", scores, "the model has collapsed"), ("mos", mos, "they rank nothing")):
        if broken := [f"{values[row]} in row {row}" for row in np.flatnonzero(~np.isfinite(values))]:
            raise FusiqaError(f"`{name}` must be finite, got {listed(broken)} (rows count from 0)")
        if varying and np.ptp(values) <= CONSTANT_SPREAD * np.abs(values).max():
            raise FusiqaError(f"`{name}` are all {values[0]:g} for {len(values)} images: {cause}")
    return scores, mos
