"""The logistic finds known curves, is never worse than a straight line, and copes with shapes that break solvers."""

import numpy as np
import pytest

from fusiqa.stats.logistic import fit_logistic

SCORES = np.linspace(-3, 4, 101)


def correlation(first, second):
    return np.corrcoef(first, second)[0, 1]


@pytest.mark.parametrize(("ceiling", "floor"), [(90, 10), (5, 1), (10, 90)])
def test_a_known_curve_is_found_rising_or_falling(ceiling, floor):
    fitted = fit_logistic(SCORES, floor + (ceiling - floor) / (1 + np.exp(-(SCORES - 0.7) / 0.4)))
    assert list(fitted.parameters.values()) == pytest.approx([ceiling, floor, 0.7, 0.4], rel=1e-3)


@pytest.mark.parametrize("seed", range(7))
def test_never_worse_than_a_straight_line(seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=59)
    mos = random.uniform(-1, 1) * scores + random.normal(size=59)
    assert correlation(fit_logistic(scores, mos)(scores), mos) >= abs(correlation(scores, mos)) - 1e-6


@pytest.mark.parametrize(
    "mos",
    [3 * SCORES + 2, (SCORES > 1).astype(float), np.exp(SCORES), np.where(np.arange(101) == 50, 1.0, 0.0)],
    ids=["a line", "a step", "no ceiling in sight", "one image apart"],
)
def test_hard_shapes_give_a_finite_curve_at_least_as_good_as_a_line(mos):
    fitted = fit_logistic(SCORES, mos)
    assert np.isfinite(list(fitted.parameters.values())).all()
    assert fitted.width > 0
    assert correlation(fitted(SCORES), mos) >= abs(correlation(SCORES, mos)) - 1e-6


def test_three_images_are_enough_to_run():
    scores, mos = np.array([1.0, 2.0, 4.0]), np.array([10.0, 30.0, 35.0])
    assert fit_logistic(scores, mos)(scores) == pytest.approx(mos, abs=0.5)


def test_units_do_not_matter():
    mos = np.sin(SCORES / 3) + 0.1 * np.cos(9 * SCORES)
    fitted, scaled = fit_logistic(SCORES, mos), fit_logistic(1e4 * SCORES + 7e4, 100 * mos + 3)
    assert scaled(1e4 * SCORES + 7e4) == pytest.approx(100 * fitted(SCORES) + 3, abs=0.05)
