"""Comparisons over images and over seeds: by hand, by simulation, in words, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.stats.comparisons import (
    compare_predictions,
    holm,
    paired_over_seeds,
    power,
    seeds_needed,
    verdict_over_images,
    verdict_over_seeds,
)
from fusiqa.stats.intervals import Estimate
from fusiqa.stats.metrics import paired_difference, plcc, srcc


def predictions(noise: float, seed: int = 0, images: int = 101) -> pd.DataFrame:
    mos = np.random.default_rng(42).normal(size=images)
    scores = mos + noise * np.random.default_rng(seed).normal(size=images)
    return pd.DataFrame({"image": [f"{row}.jpg" for row in range(images)], "mos": mos, "score": scores})


def test_each_run_is_measured_and_each_later_one_against_the_first():
    runs = {"concat": predictions(1.0, 1), "attention": predictions(0.3, 2), "single": predictions(2.0, 3)}
    table = compare_predictions(runs, resamples=200).set_index("run")
    assert list(table.index) == list(runs)
    for run, rows in runs.items():
        assert table.loc[run, "n"] == 101
        assert table.loc[run, "srcc"] == srcc(rows["score"], rows["mos"])
        assert table.loc[run, "plcc"] == plcc(rows["score"], rows["mos"])
        assert table.loc[run, "srcc_low"] < table.loc[run, "srcc"] < table.loc[run, "srcc_high"]
    assert table.loc["concat", ["srcc_difference", "srcc_difference_low", "plcc_difference"]].isna().all()
    assert table.loc["attention", "srcc_difference"] == table.loc["attention", "srcc"] - table.loc["concat", "srcc"]
    paired = [runs["single"]["score"], runs["concat"]["score"], runs["concat"]["mos"]]
    expected = paired_difference(*paired, metric="plcc", resamples=200)
    came = table.loc["single", ["plcc_difference", "plcc_difference_low", "plcc_difference_high"]]
    assert came.tolist() == pytest.approx(list(expected))


def test_verdicts_say_higher_lower_or_nothing_to_tell():
    runs = {"concat": predictions(1.0, 1), "attention": predictions(0.3, 2), "single": predictions(2.0, 3)}
    hair = 0.05 * np.random.default_rng(4).normal(size=101)
    runs["again"] = runs["concat"].assign(score=runs["concat"]["score"] + hair)
    said = compare_predictions(runs, resamples=200).set_index("run")["verdict"]
    assert "attention is significantly higher" in said["attention"]
    assert "single is significantly lower" in said["single"]
    assert "no significant difference" in said["again"]
    assert all("one seed each" in said[run] for run in ("attention", "single", "again"))


def test_an_interval_that_touches_zero_tells_nothing():
    assert "no significant difference" in verdict_over_images("new", "old", Estimate(0.01, 0.0, 0.02))
    assert "new is significantly higher" in verdict_over_images("new", "old", Estimate(0.01, 0.0001, 0.02))


def test_rows_may_come_in_any_order():
    first, second = predictions(1.0, 1), predictions(0.5, 2)
    expected = compare_predictions({"a": first, "b": second}, resamples=100)
    shuffled = second.sample(frac=1, random_state=5)
    assert (shuffled.index != second.index).any()
    pd.testing.assert_frame_equal(compare_predictions({"a": first, "b": shuffled}, resamples=100), expected)


def test_other_images_are_refused_by_name():
    second = predictions(1.0, 2).replace({"image": {"7.jpg": "new.jpg"}})
    with pytest.raises(FusiqaError, match=r"only a has 7\.jpg; only b has new\.jpg"):
        compare_predictions({"a": predictions(1.0, 1), "b": second})
    with pytest.raises(FusiqaError, match=r"only a has 100\.jpg; only b has none"):
        compare_predictions({"a": predictions(1.0, 1), "b": predictions(1.0, 2)[:100]})


def test_other_mos_are_refused_by_image_but_not_their_rounding():
    first, second = predictions(1.0, 1), predictions(1.0, 2)
    compare_predictions({"a": first, "b": second.assign(mos=second["mos"] * (1 + 1e-8))}, resamples=40)
    second.loc[3, "mos"] = 2.5
    with pytest.raises(FusiqaError, match=rf"different mos for the same images: 3\.jpg \({first.mos[3]:g} and 2\.5\)"):
        compare_predictions({"a": first, "b": second})


def test_what_cannot_be_measured_is_refused_with_its_run():
    first = predictions(1.0, 1)
    with pytest.raises(FusiqaError, match=r"collapsed: `scores` are all 0\.5 for 101 images"):
        compare_predictions({"a": first, "collapsed": first.assign(score=0.5)})
    with pytest.raises(FusiqaError, match="b: the predictions lack the columns mos, score"):
        compare_predictions({"a": first, "b": first[["image"]]})
    with pytest.raises(FusiqaError, match=r"b: predicted more than once: 0\.jpg"):
        compare_predictions({"a": first, "b": pd.concat([first, first[:1]])})
    with pytest.raises(FusiqaError, match="at least two runs, got a"):
        compare_predictions({"a": first})


# --- over seeds ------------------------------------------------------------------------------------------------------

FIRST, SECOND = [0.871, 0.868, 0.874, 0.866, 0.872], [0.866, 0.867, 0.868, 0.865, 0.869]


def test_the_interval_over_seeds_by_hand():
    found = paired_over_seeds(FIRST, SECOND)
    differences = np.array([0.005, 0.001, 0.006, 0.001, 0.003])
    half = 2.7764451 * differences.std(ddof=1) / math.sqrt(5)  # t of 4 degrees of freedom, 97.5 %
    assert found.mean == pytest.approx(0.0032)
    assert (found.low, found.high) == pytest.approx((0.0032 - half, 0.0032 + half), abs=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue)
    assert found.significant


def test_swapping_the_pair_changes_the_sign():
    there, back = paired_over_seeds(FIRST, SECOND), paired_over_seeds(SECOND, FIRST)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))
    assert back.effect == pytest.approx(-there.effect)


def test_what_is_common_to_a_seed_cancels():
    easy = np.array([0.0, 0.1, -0.2, 0.05, 0.3])
    plain, shifted = paired_over_seeds(FIRST, SECOND), paired_over_seeds(FIRST + easy, SECOND + easy)
    assert shifted.sd == pytest.approx(plain.sd)


@pytest.mark.parametrize(("first", "second"), [([0.1], [0.1, 0.2]), ([], []), ([0.1, math.nan], [0.1, 0.2])])
def test_seeds_that_cannot_be_paired_are_refused(first, second):
    with pytest.raises(FusiqaError, match="paired seeds need"):
        paired_over_seeds(first, second)


@pytest.mark.parametrize(
    ("effect", "expected"),
    [(1.0, 10), (0.5, 34), (2.0, 5), (9.0, 5), (1e9, 5), (math.inf, 5), (0.01, None), (0.0, None), (math.nan, None)],
)
def test_seeds_needed_are_those_of_cohens_tables(effect, expected):
    assert seeds_needed(effect) == expected
    assert seeds_needed(-effect) == expected


@pytest.mark.parametrize("effect", [0.0, 0.05, 0.3, 0.8, 1, 2, 5, 9])
@pytest.mark.parametrize("comparisons", [1, 4])
def test_the_power_is_that_of_the_noncentral_t(effect, comparisons):
    seeds = np.array([2, 3, 5, 12, 29, 997])
    bound, shift = stats.t.ppf(1 - 0.025 / comparisons, seeds - 1), effect * np.sqrt(seeds)
    expected = stats.nct.sf(bound, seeds - 1, shift) + stats.nct.cdf(-bound, seeds - 1, shift)
    assert power(effect, seeds, comparisons=comparisons) == pytest.approx(np.nan_to_num(expected, nan=1.0), abs=1e-9)


@pytest.mark.parametrize(("seeds", "comparisons"), [(12, 1), (15, 4)])
def test_the_power_is_the_fraction_of_simulated_experiments_that_find_it(seeds, comparisons):
    samples = np.random.default_rng(0).normal(0.8, 1, (4000, seeds))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / comparisons
    assert power(0.8, seeds, comparisons=comparisons) == pytest.approx(found.mean(), abs=0.025)


def test_holms_correction_by_hand_and_by_its_laws():
    """Holm's steps: the smallest times 4, the next times 3, ..., never falling, never over 1."""
    assert holm([0.02, 0.2, 0.01, 0.6]) == pytest.approx([0.06, 0.4, 0.04, 0.6], abs=1e-9)
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
    assert holm([0.02, math.nan, 0.01]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)  # one seed: no comparison


def test_holm_keeps_false_findings_of_a_family_to_one_in_twenty():
    """The smallest p of a family is multiplied by its size, so that without any difference it is rarely below 5 %."""
    p_values = np.random.default_rng(0).uniform(size=(4000, 6))
    for family in p_values[:3]:
        assert min(holm(family)) == pytest.approx(min(1, 6 * family.min()), abs=1e-9)
    smallest = p_values.min(axis=1)
    assert np.mean(6 * smallest < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(smallest < 0.05) > 0.2  # without it


def test_one_seed_is_inconclusive():
    found = paired_over_seeds([0.9], [0.8])
    assert found.mean == pytest.approx(0.1)
    assert math.isnan(found.low)
    assert not found.significant
    assert "with one seed each: inconclusive" in verdict_over_seeds("attention", "concat", found)


def test_seeds_that_all_agree():
    same = paired_over_seeds([0.5, 0.6], [0.5, 0.6])
    assert verdict_over_seeds("a", "b", same) == (
        "SRCC of a and b is identical in each of 2 seeds: their settings make no difference"
    )
    text = verdict_over_seeds("attention", "concat", paired_over_seeds([0.75, 0.5], [0.5, 0.25]))
    assert "is +0.2500 in each of 2 paired seeds: inconclusive without any spread" in text
    assert "p =" not in text


def test_the_verdict_says_how_many_seeds_are_missing():
    found = paired_over_seeds([0.871, 0.868, 0.870, 0.866], [0.870, 0.869, 0.868, 0.866])
    text = verdict_over_seeds("attention", "concat", found)
    assert "no significant difference" in text
    needed = seeds_needed(found.effect)
    assert text.endswith(f"needs {needed} seeds, {needed - 4} more (a rough estimate from 4)")
    higher, lower = paired_over_seeds(FIRST, SECOND), paired_over_seeds(SECOND, FIRST)
    assert "significantly higher on this split" in verdict_over_seeds("attention", "concat", higher)
    assert "significantly lower on this split" in verdict_over_seeds("attention", "concat", lower)


def test_what_is_not_significant_among_many_is_said():
    found = paired_over_seeds(FIRST, SECOND)
    unsure = verdict_over_seeds("attention", "concat", found, comparisons=6, corrected=0.2)
    assert "0.2 after Holm correction for 6 comparisons): not significant after Holm correction" in unsure
    sure = verdict_over_seeds("attention", "concat", found, comparisons=6, corrected=0.04)
    assert sure.endswith("significantly higher on this split")
    more = seeds_needed(found.effect, comparisons=6)
    assert more > seeds_needed(found.effect)
    assert f"needs {more} seeds, {max(0, more - 5)} more" in unsure


def test_a_finding_over_few_seeds_asks_for_more():
    few = paired_over_seeds(FIRST[1:4], [0.767, 0.768, 0.765])
    text = verdict_over_seeds("attention", "concat", few)
    assert text.endswith("significantly higher on this split; confirm it with at least 5 seeds")
