"""The 4-parameter logistic between scores and mos. It knows arrays only, and expects them checked (metrics.py)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """The fitted curve f(s) = floor + (ceiling - floor) / (1 + exp(-(s - centre) / width)), width > 0.

    ceiling < floor where mos falls as scores rise.
    """

    ceiling: float
    floor: float
    centre: float
    width: float

    def __call__(self, scores: ArrayLike) -> Vector:
        """Scores of any shape -> the mos that the curve expects, same shape, in the unit of mos."""
        steepness = special.expit((np.asarray(scores, np.float64) - self.centre) / self.width)
        return self.floor + (self.ceiling - self.floor) * steepness

    @property
    def parameters(self) -> dict[str, float]:
        return asdict(self)


def fit_logistic(scores: Vector, mos: Vector) -> Logistic:
    """The logistic with the least squared error; (images,) each, finite and not constant.

    For a given centre and width the other two follow by linear regression, so a grid over those two finds the valley
    and least squares ends in it. The width is kept within 0.01 to 100 standard deviations of the scores: a step at one
    end, a straight line at the other.
    """
    mean, spread = scores.mean(), scores.std()
    low, high = mos.min(), mos.max()
    standard, unit = (scores - mean) / spread, (mos - low) / (high - low)
    rise, floor, centre, log_width = _refined(standard, unit, _grid_start(standard, unit))
    return Logistic(
        ceiling=float(low + (high - low) * (floor + rise)),
        floor=float(low + (high - low) * floor),
        centre=float(mean + spread * centre),
        width=float(spread * np.exp(log_width)),
    )


# Of the standardised scores: centres and widths, in standard deviations.
_CENTRES = np.linspace(-2.5, 2.5, 11)
_LOG_WIDTHS = np.log(np.geomspace(0.01, 100, 17))


def _grid_start(standard: Vector, unit: Vector) -> Vector:
    """(rise, floor, centre, log width): the best of a grid, rise and floor by linear regression."""
    centre, log_width = (axis.ravel() for axis in np.meshgrid(_CENTRES, _LOG_WIDTHS))
    best, least = np.zeros(4), np.inf
    for shape in zip(centre, log_width, strict=True):
        curve = special.expit((standard - shape[0]) / np.exp(shape[1]))
        centred = curve - curve.mean()
        variance = centred @ centred
        rise = (centred @ unit) / variance if variance > 0 else 0.0
        floor = unit.mean() - rise * curve.mean()
        squared = np.sum((unit - floor - rise * curve) ** 2)
        if squared < least:
            best, least = np.array([rise, floor, *shape]), squared
    return best


def _refined(standard: Vector, unit: Vector, start: Vector) -> Vector:
    """Least squares from `start`; the start itself where that is not improved on.

    Not scipy's curve_fit, a wrapper of the same solver that also wants the parameters' covariance: it warns where a
    straight line leaves that undefined, and refuses fewer images than parameters.
    """

    def residual(parameters: Vector) -> Vector:
        rise, floor, centre, log_width = parameters
        return floor + rise * special.expit((standard - centre) / np.exp(log_width)) - unit

    widest = np.abs(_LOG_WIDTHS).max() + 1e-9  # the start must lie inside the bounds
    bounds = ([-np.inf, -np.inf, -np.inf, -widest], [np.inf, np.inf, np.inf, widest])
    fit = optimize.least_squares(residual, start, bounds=bounds, x_scale="jac", max_nfev=200)
    return fit.x if 2 * fit.cost < np.sum(residual(start) ** 2) else start
