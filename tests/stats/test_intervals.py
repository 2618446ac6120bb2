"""Intervals: by hand, by their laws, by how often they cover the truth, and where nothing varies."""

import math

import numpy as np
import pytest

from fusiqa.errors import FusiqaError
from fusiqa.stats.intervals import bootstrap_interval, mean_interval
from fusiqa.stats.metrics import estimate


def test_student_by_hand():
    """With 2 degrees of freedom both have closed forms: t = 0.95 sqrt(2 / (1 - 0.95^2)), p = 1 - t / sqrt(t^2 + 2)."""
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    found = mean_interval([1.0, 2.0, 3.0])
    assert found == pytest.approx((3, 2, 1, 2 - half, 2 + half, 1 - math.sqrt(12 / 14)), abs=1e-9)
    assert found.effect == 2


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.7062), (5, 2.7764), (11, 2.2281), (31, 2.0423)])
def test_the_half_width_is_that_of_the_printed_tables(n, quantile):
    found = mean_interval(np.arange(n))
    assert (found.high - found.mean) / (found.sd / math.sqrt(n)) == pytest.approx(quantile, abs=5e-5)


def test_unit_and_origin_change_the_interval_alike():
    values = np.random.default_rng(0).normal(size=13)
    n, mean, sd, low, high, _ = mean_interval(values)
    assert mean_interval(5 * values + 7)[:5] == pytest.approx((n, 5 * mean + 7, 5 * sd, 5 * low + 7, 5 * high + 7))
    assert mean_interval(-5 * values).p_value == pytest.approx(mean_interval(values).p_value)
    assert mean_interval(-5 * values).effect == pytest.approx(-mean_interval(values).effect)


def test_a_mean_is_significant_where_p_is_below_five_per_cent():
    found = [mean_interval(values) for values in np.random.default_rng(1).normal(0.5, 1, (50, 11))]
    assert [each.significant for each in found] == [each.p_value < 0.05 for each in found]
    assert {each.significant for each in found} == {True, False}


def test_the_interval_of_a_mean_covers_the_expectation_95_times_in_100():
    found = [mean_interval(values) for values in np.random.default_rng(2).normal(3, 2, (1000, 7))]
    assert np.mean([mean.low <= 3 <= mean.high for mean in found]) == pytest.approx(0.95, abs=0.02)


def test_one_value_has_a_mean_and_no_spread():
    found = mean_interval([0.25])
    assert found[:2] == (1, 0.25)
    assert np.isnan([*found[2:], found.effect]).all()
    assert not found.significant


@pytest.mark.parametrize(
    ("value", "effect", "p_value", "significant"),
    [(0.25, math.inf, 0, True), (-0.25, -math.inf, 0, True), (0.0, 0, 1, False)],
)
def test_equal_values(value, effect, p_value, significant):
    found = mean_interval([value, value])
    assert found == (2, value, 0, value, value, p_value)
    assert (found.effect, found.significant) == (effect, significant)


def test_the_mean_of_no_values_is_refused():
    with pytest.raises(FusiqaError, match="mean of no values"):
        mean_interval([])


def test_resamples_draw_pairs_and_repeat_with_the_seed():
    first, twice = np.arange(29.0), 2 * np.arange(29.0)

    def ratio(one, other):
        return other.sum(axis=-1) / one.sum(axis=-1)

    assert bootstrap_interval(ratio, first, twice, resamples=131) == (2, 2, 2)

    def mean(values):
        return values.mean(axis=-1)

    assert bootstrap_interval(mean, first, seed=5) == bootstrap_interval(mean, first, seed=5)
    assert bootstrap_interval(mean, first, seed=5) != bootstrap_interval(mean, first, seed=6)
    deviation = first.std() / math.sqrt(29)
    assert bootstrap_interval(mean, first) == pytest.approx((14, 14 - 1.96 * deviation, 14 + 1.96 * deviation), abs=0.3)


def test_resamples_on_which_the_statistic_is_undefined_are_left_out():
    drawn = []

    def sometimes(values):
        means = np.where(values[..., 0] == 0, np.nan, values.mean(axis=-1))
        drawn.extend(np.atleast_1d(means))
        return means

    found = bootstrap_interval(sometimes, np.arange(5.0))
    assert np.isnan(drawn).any()
    assert found[1:] == pytest.approx(np.nanpercentile(drawn[:1000], (2.5, 97.5)))


@pytest.mark.parametrize("metric", ["srcc", "plcc", "krcc"])
def test_few_images_whose_resamples_may_be_constant_have_an_interval(metric):
    found = estimate([1e6, 1.0, 2.0, 3.0], [4.0, 1.0, 2.0, 3.0], metric=metric, resamples=200)
    assert -1 <= found.low <= found.value <= found.high <= 1


RANK_TRUTH = 6 / math.pi * math.asin(0.8 / 2)  # of Gaussian pairs whose correlation is 0.8


@pytest.mark.parametrize(
    ("metric", "truth", "deviation"),
    [
        ("plcc", 0.8, (1 - 0.8**2) / math.sqrt(80)),
        ("srcc", RANK_TRUTH, (1 - RANK_TRUTH**2) * math.sqrt((1 + RANK_TRUTH**2 / 2) / 77)),  # Bonett and Wright, 2000
    ],
)
def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say_and_are_as_wide_as_theory(metric, truth, deviation):
    random = np.random.default_rng(11)
    images, repeats, covered, widths = 80, 200, 0, []
    for repeat in range(repeats):
        mos = random.normal(size=images)
        scores = 0.8 * mos + 0.6 * random.normal(size=images)  # their correlation is 0.8
        _, low, high = estimate(scores, mos, metric=metric, resamples=200, seed=repeat)
        covered += low <= truth <= high
        widths.append(high - low)
    assert 0.89 * repeats <= covered < repeats
    assert np.mean(widths) == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_too_few_resamples_are_refused():
    with pytest.raises(FusiqaError, match="`resamples` must be at least 40 for a 95 % interval, got 39"):
        bootstrap_interval(lambda values: values.mean(axis=-1), np.arange(9.0), resamples=39)
