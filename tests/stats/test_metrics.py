"""The metrics against independent formulas and numbers worked by hand, their laws, their intervals, their refusals."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.stats.metrics import (
    _ALONG_IMAGES,
    METRICS,
    estimate,
    krcc,
    logistic_fit,
    measure,
    paired_difference,
    plcc,
    plcc_logistic,
    rmse,
    srcc,
)

CORRELATIONS = [srcc, plcc, krcc, plcc_logistic]


def ratings(images: int, noise: float = 0.5, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    mos = random.normal(size=images)
    return mos + noise * random.normal(size=images), mos


def tau_b_by_pairs(first, second) -> float:
    """Kendall's definition, pair by pair."""
    agreement = untied_first = untied_second = 0
    for left in range(len(first)):
        for right in range(left):
            one, other = np.sign(first[left] - first[right]), np.sign(second[left] - second[right])
            agreement += one * other
            untied_first += abs(one)
            untied_second += abs(other)
    return agreement / math.sqrt(untied_first * untied_second)


def test_srcc_is_the_textbook_formula_without_ties():
    scores, mos = ratings(37)
    distances = np.argsort(np.argsort(scores)) - np.argsort(np.argsort(mos))
    assert srcc(scores, mos) == pytest.approx(1 - 6 * np.sum(distances**2) / (37 * (37**2 - 1)))


def test_tied_images_share_their_mean_rank():
    # ranks of scores: 1, 2.5, 2.5, 4; of mos: 1, 2, 3, 4. Pearson: (5 - 0.5) / sqrt(4.5 * 5)
    assert srcc([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_krcc_is_tau_b_pair_by_pair_with_ties():
    random = np.random.default_rng(5)
    scores, mos = random.integers(0, 7, 41), random.integers(0, 5, 41)
    assert krcc(scores, mos) == pytest.approx(tau_b_by_pairs(scores, mos))


def test_plcc_and_rmse_by_hand():
    # deviations -1, 0, 1 and -2, -1, 3: 5 / sqrt(2 * 14); squared errors 1, 4, 16
    assert plcc([1, 2, 3], [0, 1, 5]) == pytest.approx(5 / math.sqrt(28))
    assert rmse([1, 3, 1], [0, 1, 5]) == pytest.approx(math.sqrt(21 / 3))


@pytest.mark.parametrize("monotone", [np.exp, np.cbrt, lambda scores: scores**3 + 7])
def test_rank_correlations_do_not_change_under_rising_maps(monotone):
    scores, mos = ratings(53)
    for metric in (srcc, krcc):
        assert metric(monotone(scores), mos) == pytest.approx(metric(scores, mos), abs=1e-12)
        assert metric(-scores, mos) == pytest.approx(-metric(scores, mos), abs=1e-12)


def test_linear_correlations_do_not_change_under_affine_maps_but_plcc_does_under_others():
    scores, mos = ratings(53)
    for metric in (plcc, plcc_logistic):
        assert metric(3 * scores + 40, 100 * mos - 5) == pytest.approx(metric(scores, mos), abs=1e-6)
    assert plcc(np.exp(2 * scores), mos) < plcc(scores, mos) - 0.05


def test_plcc_logistic_exceeds_plcc_on_a_logistic_relation():
    scores, mos = ratings(211, noise=0.05)
    saturated = 1 / (1 + np.exp(-4 * mos))
    assert plcc_logistic(scores, saturated) > plcc(scores, saturated) + 0.02


def test_logistic_fit_is_the_checked_curve():
    scores, mos = ratings(97)
    assert plcc(logistic_fit(scores, mos)(scores), mos) == pytest.approx(plcc_logistic(scores, mos))
    with pytest.raises(FusiqaError, match="`scores` are all 2 for 3 images"):
        logistic_fit([2, 2, 2], [1, 2, 3])


def test_measure_gives_each_metric_inside_its_interval_and_as_json():
    scores, mos = ratings(151)
    measured = measure(scores, mos, resamples=200)
    record = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert list(record) == ["n", *METRICS]
    assert record["n"] == 151
    for name, metric in zip(METRICS, [srcc, plcc, plcc_logistic, krcc, rmse], strict=True):
        assert record[name]["value"] == metric(scores, mos)
        assert record[name]["low"] < record[name]["value"] < record[name]["high"]


def test_measure_repeats_with_its_seed_only():
    scores, mos = ratings(31)
    first = measure(scores, mos, resamples=100, seed=1)
    assert measure(scores, mos, resamples=100, seed=1) == first
    assert measure(scores, mos, resamples=100, seed=2).srcc.low != first.srcc.low


@pytest.mark.parametrize("metric", METRICS)
def test_one_metric_alone_is_that_of_all(metric):
    scores, mos = ratings(53)
    assert estimate(scores, mos, metric=metric, resamples=80) == getattr(measure(scores, mos, resamples=80), metric)


@pytest.mark.parametrize("metric", METRICS)
def test_a_paired_difference_turns_its_sign_with_its_runs(metric):
    scores, mos = ratings(61)
    other, _ = ratings(61, noise=1.0, seed=4)
    forth = paired_difference(scores, other, mos, metric=metric, resamples=200)
    back = paired_difference(other, scores, mos, metric=metric, resamples=200)
    assert forth == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)
    assert forth.low < forth.value < forth.high


def test_a_paired_interval_is_narrower_than_that_of_either_run():
    scores, mos = ratings(401)
    nearly = scores + 0.02 * np.random.default_rng(8).normal(size=401)
    difference = paired_difference(scores, nearly, mos, resamples=200)
    alone = measure(scores, mos, resamples=200).srcc
    assert difference.high - difference.low < 0.3 * (alone.high - alone.low)


def test_a_real_difference_is_told():
    scores, mos = ratings(401, noise=0.3)
    worse = mos + 2 * np.random.default_rng(9).normal(size=401)
    assert paired_difference(scores, worse, mos, resamples=200).low > 0.2
    assert paired_difference(scores, worse, mos, metric="rmse", resamples=200).high < 0


@pytest.mark.parametrize("metric", [*CORRELATIONS, measure])
def test_constants_are_refused_by_name_and_value(metric):
    with pytest.raises(FusiqaError, match=r"`scores` are all 0\.25 for 4 images: the model has collapsed"):
        metric([0.25, 0.25, 0.25, 0.25], [1, 2, 3, 4])
    with pytest.raises(FusiqaError, match="`mos` are all 7 for 4 images"):
        metric([1, 2, 3, 4], [7, 7, 7, 7])


@pytest.mark.parametrize("metric", [*CORRELATIONS, rmse, measure])
@pytest.mark.parametrize("broken", [["good", "bad", "fair"], [[1], [1, 2], [3]]])
def test_what_is_no_array_of_numbers_is_refused_by_name(metric, broken):
    with pytest.raises(FusiqaError, match="`scores` must be an array of numbers"):
        metric(broken, [1, 2, 3])
    with pytest.raises(FusiqaError, match="`mos` must be an array of numbers"):
        metric([1, 2, 3], broken)


def test_float32_rounding_is_no_ranking():
    scores = np.nextafter(np.float32(0.5), np.float32(1), dtype=np.float32)
    with pytest.raises(FusiqaError, match=r"`scores` are all 0\.5"):
        srcc([0.5, float(scores), 0.5], [1, 2, 3])


@pytest.mark.parametrize("metric", [*CORRELATIONS, rmse, measure])
def test_what_is_not_a_number_is_refused_with_its_row(metric):
    with pytest.raises(FusiqaError, match=r"`scores` must be finite, got nan in row 1, inf in row 3"):
        metric([1, math.nan, 3, math.inf], [1, 2, 3, 4])
    with pytest.raises(FusiqaError, match=r"`mos` must be finite, got -inf in row 0"):
        metric([1, 2, 3], [-math.inf, 2, 3])


@pytest.mark.parametrize("metric", [*CORRELATIONS, rmse, measure])
def test_lengths_and_too_few_images_are_refused(metric):
    with pytest.raises(FusiqaError, match=r"shapes \(3,\), \(4,\)"):
        metric([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(FusiqaError, match=r"shapes \(2, 3\), \(2, 3\)"):
        metric([[1, 2, 3]] * 2, [[1, 2, 3]] * 2)
    with pytest.raises(FusiqaError, match="at least 3 rated images, got 2"):
        metric([1, 2], [1, 2])


def test_an_unknown_metric_is_refused():
    for call in (lambda: paired_difference([1, 2, 3], [1, 3, 2], [1, 2, 3], metric="mae"),
                 lambda: estimate([1, 2, 3], [1, 3, 2], metric="mae")):  # fmt: skip
        with pytest.raises(FusiqaError, match=r"`metric` must be one of srcc, plcc.*, got 'mae'"):
            call()


WRITTEN_OUT = {
    "srcc": lambda scores, mos: stats.spearmanr(scores, mos).statistic,
    "plcc": lambda scores, mos: stats.pearsonr(scores, mos).statistic,
    "krcc": lambda scores, mos: stats.kendalltau(scores, mos).statistic,
    "rmse": lambda scores, mos: np.sqrt(np.mean((scores - mos) ** 2)),
}


@pytest.mark.parametrize("metric", WRITTEN_OUT)
def test_a_metric_of_many_resamples_is_that_of_each(metric):
    random = np.random.default_rng(2)
    mos = random.integers(0, 20, 43).astype(float)  # with ties
    scores = np.round(mos + random.normal(size=43) * 5)
    drawn = random.integers(0, 43, (67, 43))
    expected = [WRITTEN_OUT[metric](scores[row], mos[row]) for row in drawn]
    assert _ALONG_IMAGES[metric](scores[drawn], mos[drawn]) == pytest.approx(expected, abs=1e-12)


SCORES = np.linspace(-3, 4, 101)


@pytest.mark.parametrize(("ceiling", "floor"), [(90, 10), (5, 1), (10, 90)])
def test_a_known_curve_is_found_rising_or_falling(ceiling, floor):
    fitted = logistic_fit(SCORES, floor + (ceiling - floor) / (1 + np.exp(-(SCORES - 0.7) / 0.4)))
    assert list(fitted) == pytest.approx([ceiling, floor, 0.7, 0.4], rel=1e-3)


@pytest.mark.parametrize("seed", range(7))
def test_the_logistic_is_never_worse_than_a_straight_line(seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=59)
    mos = random.uniform(-1, 1) * scores + random.normal(size=59)
    assert plcc_logistic(scores, mos) >= abs(plcc(scores, mos)) - 1e-6


@pytest.mark.parametrize(
    "mos",
    [3 * SCORES + 2, (SCORES > 1).astype(float), np.exp(SCORES), np.where(np.arange(101) == 50, 1.0, 0.0)],
    ids=["a line", "a step", "no ceiling in sight", "one image apart"],
)
def test_hard_shapes_give_a_finite_curve_at_least_as_good_as_a_line(mos):
    fitted = logistic_fit(SCORES, mos)
    assert np.isfinite(list(fitted)).all()
    assert fitted.width > 0
    assert plcc(fitted(SCORES), mos) >= abs(plcc(SCORES, mos)) - 1e-6


def test_three_images_are_enough_for_the_logistic():
    scores, mos = np.array([1.0, 2.0, 4.0]), np.array([10.0, 30.0, 35.0])
    assert logistic_fit(scores, mos)(scores) == pytest.approx(mos, abs=0.5)


def test_units_do_not_matter_to_the_logistic():
    mos = np.sin(SCORES / 3) + 0.1 * np.cos(9 * SCORES)
    fitted, scaled = logistic_fit(SCORES, mos), logistic_fit(1e4 * SCORES + 7e4, 100 * mos + 3)
    assert scaled(1e4 * SCORES + 7e4) == pytest.approx(100 * fitted(SCORES) + 3, abs=0.05)
