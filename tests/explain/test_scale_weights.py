"""Tables of scale weights: the effective number of scales, group means with intervals, bands of quality."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.scale_weights import SCALES, collapse, effective_scales, quality_bands, summarise, weights_of


def weights_table(groups: dict[str, int], seed: int = 0) -> pd.DataFrame:
    weights = np.random.default_rng(seed).dirichlet([5, 4, 3, 1], sum(groups.values()))
    names = [name for name, images in groups.items() for _ in range(images)]
    return pd.DataFrame(weights, columns=list(SCALES)).assign(group=names)


def test_effective_scales_of_uniform_one_hot_and_a_number_by_hand():
    weights = [[0.25] * 4, [0, 1, 0, 0], [0.5, 0.25, 0.25, 0]]
    # entropy of the last: 0.5 ln 2 + 2 * 0.25 ln 4 = 1.5 ln 2
    assert effective_scales(weights) == pytest.approx([4, 1, 2**1.5])


def test_effective_scales_lie_between_one_and_four_and_ignore_the_order_of_scales():
    weights = np.random.default_rng(1).dirichlet([0.3] * 4, 101)
    effective = effective_scales(weights)
    assert ((effective >= 1) & (effective <= 4)).all()
    assert effective_scales(weights[:, [2, 0, 3, 1]]) == pytest.approx(effective)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ([0.5, 0.5, 0.5, 0.5], r"row 1: \[0\.5, 0\.5, 0\.5, 0\.5\]"),
        ([1.2, -0.2, 0.0, 0.0], r"row 1: \[1\.2, -0\.2, 0\.0, 0\.0\]"),
        ([math.nan, 0.5, 0.5, 0.0], r"row 1: \[nan, 0\.5, 0\.5, 0\.0\]"),
    ],
)
def test_what_is_not_a_set_of_weights_is_refused_with_its_row(broken, said):
    with pytest.raises(FusiqaError, match=said):
        effective_scales([[0.25] * 4, broken])


def test_another_number_of_scales_and_an_empty_table_are_refused():
    with pytest.raises(FusiqaError, match=r"\(images, 4\); they have \(2, 3\)"):
        effective_scales([[0.2, 0.3, 0.5]] * 2)
    with pytest.raises(FusiqaError, match="lacks the columns scale_3"):
        weights_of(pd.DataFrame({"scale_0": [1.0], "scale_1": [0.0], "scale_2": [0.0]}))
    with pytest.raises(FusiqaError, match="has no rows"):
        weights_of(pd.DataFrame(columns=list(SCALES)))


def test_summarise_by_hand():
    table = pd.DataFrame(
        [[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]], columns=list(SCALES)
    ).assign(group=["b", "b", "a"])
    summary = summarise(table)
    assert list(summary["group"]) == ["b"] * 4 + ["a"] * 4  # in the order in which they came
    assert list(summary["n"]) == [2] * 4 + [1] * 4
    assert list(summary["scale"]) == [0, 1, 2, 3] * 2
    assert list(summary["mean"]) == pytest.approx([0.375, 0.375, 0.125, 0.125, 0, 0, 0, 1])
    assert list(summary["effective"]) == pytest.approx([3.0] * 4 + [1.0] * 4)
    # two images: t(0.975, 1) = 12.706, so half the interval is 12.706 * 0.125, cut to 0-1
    assert summary.loc[0, ["low", "high"]].tolist() == [0.0, 1.0]
    assert summary.loc[4:, ["low", "high"]].isna().all(axis=None)  # one image has no interval


def test_intervals_are_scipys_and_hold_the_mean():
    summary = summarise(weights_table({"blur": 23}))
    weights = weights_table({"blur": 23})["scale_1"]
    low, high = stats.t.interval(0.95, 22, weights.mean(), stats.sem(weights))
    row = summary[summary["scale"] == 1].iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert ((summary["low"] <= summary["mean"]) & (summary["mean"] <= summary["high"])).all()


def test_the_means_of_a_group_sum_to_one():
    summary = summarise(weights_table({"blur": 13, "noise": 7, "jpeg": 2}))
    assert summary.groupby("group")["mean"].sum().to_numpy() == pytest.approx(np.ones(3))


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        row = summarise(weights_table({"blur": 31}, seed=seed)).iloc[0]
        covered += row["low"] <= 5 / 13 <= row["high"]  # the mean of the first weight of this Dirichlet
    assert 180 <= covered < 200


def test_summarise_keeps_the_order_of_bands_and_leaves_out_empty_ones():
    table = weights_table({"any": 9}).assign(mos=np.arange(9)[::-1])
    table["band"] = quality_bands(table["mos"])
    summary = summarise(table[table["band"] != "middle third"], by="band")
    assert list(summary["band"].unique()) == ["lowest third", "highest third"]
    assert summary["band"].dtype.ordered


def test_summarise_refuses_another_column_and_nameless_images():
    table = weights_table({"blur": 3})
    with pytest.raises(FusiqaError, match=r"no column 'band' to group by; it has scale_0, .*group"):
        summarise(table, by="band")
    table.loc[1, "group"] = None
    with pytest.raises(FusiqaError, match="every image needs a group; there is none in row 1 "):
        summarise(table)


@pytest.mark.parametrize("bands", [2, 3, 4, 5])
def test_bands_are_of_one_size_and_in_order(bands):
    scores = np.random.default_rng(7).permutation(np.arange(23.0))
    named = quality_bands(scores, bands)
    sizes = named.value_counts()
    assert len(sizes) == bands
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(named.cat.codes.to_numpy()[np.argsort(scores)]) >= 0).all()


def test_bands_have_names_and_part_ties_as_they_come():
    assert list(quality_bands([5, 1, 3])) == ["highest third", "lowest third", "middle third"]
    assert list(quality_bands([1, 1, 1, 2], bands=2)) == ["lower half", "lower half", "upper half", "upper half"]
    four = quality_bands([1, 2, 3, 4], bands=4)
    assert list(four) == ["lowest quarter", "second quarter", "third quarter", "highest quarter"]


@pytest.mark.parametrize(
    ("scores", "bands", "said"),
    [
        ([1, 2], 3, "2 images cannot fill 3 bands"),
        ([1, 2, 3], 7, "7 bands of quality have no names; allowed are 2 to 5"),
        ([1, math.nan, 3], 2, "found nan in row 1"),
        ([4, 4, 4], 2, "all 3 scores are 4"),
    ],
)
def test_bands_refuse(scores, bands, said):
    with pytest.raises(FusiqaError, match=said):
        quality_bands(scores, bands)


def test_a_collapse_is_said_where_most_images_lean_on_one_scale():
    even, leaning = [0.25] * 4, [0.03, 0.92, 0.03, 0.02]
    assert collapse([even] * 3 + [leaning] * 3) is None  # half is not most
    said = collapse([even] * 3 + [leaning] * 4)
    assert "57% of 7 images put more than 0.9 on scale 1" in said
    assert "--entropy_weight 0.05" in said
    assert collapse([[0.92, 0.03, 0.03, 0.02], leaning]) is None  # each on its own: that is what weighing is for
    assert collapse(np.empty((0, 4))) is None
