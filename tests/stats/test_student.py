"""Student's interval and test: by hand, by their laws, and where there is nothing to spread."""

import math

import numpy as np
import pytest

from fusiqa.errors import FusiqaError
from fusiqa.stats.student import distance_from_zero, mean_of, quantile


def test_three_values_by_hand():
    """With 2 degrees of freedom both have closed forms: t = 0.95 sqrt(2 / (1 - 0.95^2)), p = 1 - t / sqrt(t^2 + 2)."""
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    assert mean_of([1.0, 2.0, 3.0]) == pytest.approx((3, 2, 1, 2 - half, 2 + half))
    assert distance_from_zero([1.0, 2.0, 3.0]) == pytest.approx((2, 1 - math.sqrt(12 / 14)))


def test_the_quantile_is_that_of_the_printed_tables():
    assert [round(quantile(n), 3) for n in (2, 5, 11, 31)] == [12.706, 2.776, 2.228, 2.042]


def test_another_unit_and_another_origin_change_the_interval_alike():
    values = np.random.default_rng(0).normal(size=13)
    n, mean, sd, low, high = mean_of(values)
    assert mean_of(5 * values + 7) == pytest.approx((n, 5 * mean + 7, 5 * sd, 5 * low + 7, 5 * high + 7))
    assert distance_from_zero(-5 * values).p_value == pytest.approx(distance_from_zero(values).p_value)


def test_the_interval_leaves_zero_out_where_p_is_below_five_per_cent():
    random = np.random.default_rng(1)
    for values in random.normal(0.5, 1, (50, 11)):
        found = mean_of(values)
        assert (found.low > 0 or found.high < 0) == (distance_from_zero(values).p_value < 0.05)


def test_the_interval_holds_the_expectation_95_times_in_100():
    found = [mean_of(values) for values in np.random.default_rng(2).normal(3, 2, (2000, 7))]
    assert np.mean([mean.low <= 3 <= mean.high for mean in found]) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_a_mean_and_no_spread():
    found = mean_of([0.25])
    assert (found.n, found.mean) == (1, 0.25)
    assert np.isnan([found.sd, found.low, found.high, *distance_from_zero([0.25])]).all()


def test_values_all_alike():
    assert mean_of([0.25, 0.25]) == (2, 0.25, 0, 0.25, 0.25)
    assert distance_from_zero([0.25, 0.25]) == (math.inf, 0)
    assert distance_from_zero([-0.25, -0.25]) == (-math.inf, 0)
    assert distance_from_zero([0.0, 0.0]) == (0, 1)


def test_no_value_is_refused():
    with pytest.raises(FusiqaError, match="no value to take a mean of"):
        mean_of([])
