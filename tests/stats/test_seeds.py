"""Paired differences over seeds: against Student's formula, against simulation, and in words."""

import math

import numpy as np
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.stats.seeds import holm, paired_over_seeds, power, seeds_needed, verdict

FIRST, SECOND = [0.871, 0.868, 0.874, 0.866, 0.872], [0.866, 0.867, 0.868, 0.865, 0.869]


def test_the_interval_by_hand():
    found = paired_over_seeds(FIRST, SECOND)
    differences = np.array([0.005, 0.001, 0.006, 0.001, 0.003])
    half = 2.7764451 * differences.std(ddof=1) / math.sqrt(5)  # t of 4 degrees of freedom, 97.5 %
    assert found.mean == pytest.approx(0.0032)
    assert (found.low, found.high) == pytest.approx((0.0032 - half, 0.0032 + half), abs=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert found.told


def test_turning_the_pair_turns_the_sign():
    there, back = paired_over_seeds(FIRST, SECOND), paired_over_seeds(SECOND, FIRST)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))
    assert back.effect == pytest.approx(-there.effect)


def test_what_is_common_to_a_seed_cancels():
    easy = np.array([0.0, 0.1, -0.2, 0.05, 0.3])
    plain, shifted = paired_over_seeds(FIRST, SECOND), paired_over_seeds(FIRST + easy, SECOND + easy)
    assert shifted.sd == pytest.approx(plain.sd)


def test_one_seed_tells_nothing():
    found = paired_over_seeds([0.9], [0.8])
    assert found.mean == pytest.approx(0.1)
    assert math.isnan(found.low)
    assert not found.told
    assert "one seed each: nothing can be told" in verdict("attention", "concat", found)


def test_seeds_that_all_agree():
    same = paired_over_seeds([0.5, 0.6], [0.5, 0.6])
    assert (same.mean, same.p_value, same.told) == (0, 1, False)
    assert verdict("a", "b", same) == (
        "SRCC of a and b is the same in each of 2 seeds: what they differ in made no difference"
    )
    exact = paired_over_seeds([0.75, 0.5], [0.5, 0.25])
    assert (exact.low, exact.high, exact.p_value, exact.told) == (0.25, 0.25, 0, True)


@pytest.mark.parametrize(
    ("effect", "expected"), [(1.0, 10), (0.5, 34), (2.0, 5), (9.0, 5), (math.inf, 5), (0.01, None), (0.0, None)]
)
def test_seeds_needed_are_those_of_cohens_tables(effect, expected):
    assert seeds_needed(effect) == expected
    assert seeds_needed(-effect) == expected


def test_the_power_is_the_share_of_simulated_experiments_that_find_it():
    random = np.random.default_rng(0)
    samples = random.normal(0.8, 1, (4000, 12))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert power(0.8, 12) == pytest.approx(found.mean(), abs=0.025)


def test_the_verdict_says_how_many_seeds_are_missing():
    found = paired_over_seeds([0.871, 0.868, 0.870, 0.866], [0.870, 0.869, 0.868, 0.866])
    text = verdict("attention", "concat", found)
    assert "no difference can be told" in text
    needed = seeds_needed(found.effect)
    assert text.endswith(f"{needed} seeds, {needed - 4} more, as far as 4 seeds can say")
    assert "higher on this split" in verdict("attention", "concat", paired_over_seeds(FIRST, SECOND))
    assert "lower on this split" in verdict("attention", "concat", paired_over_seeds(SECOND, FIRST))


@pytest.mark.parametrize(("first", "second"), [([0.1], [0.1, 0.2]), ([], []), ([0.1, math.nan], [0.1, 0.2])])
def test_seeds_that_cannot_be_paired_are_refused(first, second):
    with pytest.raises(FusiqaError, match="paired seeds need"):
        paired_over_seeds(first, second)


def test_holms_correction_by_hand_and_by_its_laws():
    """Holm's steps: the smallest times 4, the next times 3, ..., never falling, never over 1."""
    assert holm([0.02, 0.2, 0.01, 0.6]) == pytest.approx([0.06, 0.4, 0.04, 0.6])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
    assert holm([0.02, math.nan, 0.01]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)  # one seed: no comparison


def test_holm_keeps_false_findings_of_a_family_to_one_in_twenty():
    p_values = np.random.default_rng(0).uniform(size=(4000, 6))  # six designs, none of which differs
    wrong = np.mean([min(holm(family)) < 0.05 for family in p_values])
    assert wrong == pytest.approx(0.05, abs=0.012)
    assert np.mean(p_values.min(axis=1) < 0.05) > 0.2  # without it


def test_what_chance_does_among_many_is_said():
    found = paired_over_seeds(FIRST, SECOND)
    unsure = verdict("attention", "concat", found, comparisons=6, corrected=0.2)
    assert "0.2 among 6 comparisons" in unsure
    assert "higher on this split taken alone, but among so many chance may have done it" in unsure
    assert verdict("attention", "concat", found, comparisons=6, corrected=0.04).endswith("higher on this split")
    more = seeds_needed(found.effect, comparisons=6)
    assert more > seeds_needed(found.effect)
    assert f"would need {more} seeds, {max(0, more - 5)} more" in unsure


def test_the_power_among_comparisons_is_that_of_a_stricter_test():
    random = np.random.default_rng(1)
    p_values = stats.ttest_1samp(random.normal(0.8, 1, (4000, 15)), 0, axis=1).pvalue
    assert power(0.8, 15, 4) == pytest.approx((p_values < 0.05 / 4).mean(), abs=0.025)


def test_seeds_without_any_spread_tell_nothing():
    found = paired_over_seeds([0.75, 0.5], [0.5, 0.25])
    text = verdict("attention", "concat", found)
    assert "is +0.2500 in each of 2 paired seeds: without any spread nothing can be told" in text
    assert "p =" not in text


def test_a_finding_over_few_seeds_asks_for_more():
    few = paired_over_seeds(FIRST[1:4], [0.767, 0.768, 0.765])
    assert verdict("attention", "concat", few).endswith("higher on this split; 5 seeds and more should say so")
