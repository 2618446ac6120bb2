"""Metrics on counted resamples equal scipy's on the same images written out."""

import math

import numpy as np
import pytest
from scipy import stats

from fusiqa.stats.bootstrap import interval, resampled, resampled_counts

WRITTEN_OUT = {
    "srcc": lambda scores, mos: stats.spearmanr(scores, mos).statistic,
    "plcc": lambda scores, mos: stats.pearsonr(scores, mos).statistic,
    "krcc": lambda scores, mos: stats.kendalltau(scores, mos).statistic,
    "rmse": lambda scores, mos: np.sqrt(np.mean((scores - mos) ** 2)),
}


@pytest.mark.parametrize("metric", WRITTEN_OUT)
def test_a_counted_resample_is_the_resample_written_out(metric):
    random = np.random.default_rng(2)
    mos = random.integers(0, 20, 43).astype(float)  # with ties
    scores = np.round(mos + random.normal(size=43) * 5)
    counts = np.concatenate(list(resampled_counts(43, 67, seed=1)))
    expected = [WRITTEN_OUT[metric](np.repeat(scores, row), np.repeat(mos, row)) for row in counts]
    assert resampled(metric, scores, mos, counts) == pytest.approx(expected, abs=1e-12)


def test_counts_draw_as_many_images_as_there_are_and_repeat_with_the_seed():
    counts = np.concatenate(list(resampled_counts(29, 131, seed=5)))
    assert counts.shape == (131, 29)
    assert (counts.sum(axis=1) == 29).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(29), abs=0.4)
    again = np.concatenate(list(resampled_counts(29, 131, seed=5)))
    other = np.concatenate(list(resampled_counts(29, 131, seed=6)))
    assert (again == counts).all()
    assert (other != counts).any()


@pytest.mark.parametrize("metric", ["srcc", "plcc", "krcc"])
def test_a_resample_with_one_value_has_no_correlation_and_is_left_out_of_the_interval(metric):
    counts = np.array([[4, 0, 0, 0], [1, 1, 1, 1], [2, 2, 0, 0]])
    draws = resampled(metric, np.array([1e6, 1.0, 2.0, 3.0]), np.array([4.0, 1.0, 2.0, 3.0]), counts)
    assert np.isnan(draws[0])
    assert np.isfinite(draws[1:]).all()
    assert interval(np.append(draws[1:], np.nan)) == interval(draws[1:])


def test_the_interval_leaves_a_fortieth_on_each_side():
    assert interval(np.arange(41.0)) == pytest.approx((1.0, 39.0))


RANK_TRUTH = 6 / math.pi * math.asin(0.8 / 2)  # of Gaussian pairs whose correlation is 0.8


@pytest.mark.parametrize(
    ("metric", "truth", "deviation"),
    [
        ("plcc", 0.8, (1 - 0.8**2) / math.sqrt(80)),
        ("srcc", RANK_TRUTH, (1 - RANK_TRUTH**2) * math.sqrt((1 + RANK_TRUTH**2 / 2) / 77)),  # Bonett and Wright, 2000
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say_and_are_as_wide_as_theory(metric, truth, deviation):
    random = np.random.default_rng(11)
    images, repeats, covered, widths = 80, 200, 0, []
    for repeat in range(repeats):
        mos = random.normal(size=images)
        scores = 0.8 * mos + 0.6 * random.normal(size=images)  # their correlation is 0.8
        blocks = resampled_counts(images, 200, seed=repeat)
        low, high = interval(np.concatenate([resampled(metric, scores, mos, counts) for counts in blocks]))
        covered += low <= truth <= high
        widths.append(high - low)
    assert 0.89 * repeats <= covered < repeats
    assert np.mean(widths) == pytest.approx(2 * 1.96 * deviation, rel=0.1)
