"""Scale weights: effective number, group means with intervals, thirds by quality, gates and attention matrices."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.weights import (
    THIRDS,
    collapse_warning,
    effective_scales,
    mean_matrices,
    stitch_gates,
    summarise_weights,
    weights_array,
    with_groups,
    with_quality_thirds,
)
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.views import cover


def weights_table(groups: dict[str, int], seed: int = 0) -> pd.DataFrame:
    weights = np.random.default_rng(seed).dirichlet([5, 4, 3, 1], sum(groups.values()))
    names = [name for name, images in groups.items() for _ in range(images)]
    return pd.DataFrame(weights, columns=list(SCALE_COLUMNS)).assign(group=names)


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
    with pytest.raises(FusiqaError, match=r"\(images, 4\), got \(2, 3\)"):
        effective_scales([[0.2, 0.3, 0.5]] * 2)
    with pytest.raises(FusiqaError, match="missing: scale_3"):
        weights_array(pd.DataFrame({"scale_0": [1.0], "scale_1": [0.0], "scale_2": [0.0]}))
    with pytest.raises(FusiqaError, match="at least one row, got none"):
        weights_array(pd.DataFrame(columns=list(SCALE_COLUMNS)))


def test_a_summary_by_hand():
    table = pd.DataFrame(
        [[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]], columns=list(SCALE_COLUMNS)
    ).assign(group=["b", "b", "a"])
    summary = summarise_weights(table)
    assert list(summary["group"]) == ["b"] * 4 + ["a"] * 4  # in the order in which they came
    assert list(summary["n"]) == [2] * 4 + [1] * 4
    assert list(summary["scale"]) == [0, 1, 2, 3] * 2
    assert list(summary["mean"]) == pytest.approx([0.375, 0.375, 0.125, 0.125, 0, 0, 0, 1])
    assert list(summary["effective"]) == pytest.approx([3.0] * 4 + [1.0] * 4)
    # two images: t(0.975, 1) = 12.706, so half the interval is 12.706 * 0.125, cut to 0-1
    assert summary.loc[0, ["low", "high"]].tolist() == [0.0, 1.0]
    assert summary.loc[4:, ["low", "high"]].isna().all(axis=None)  # one image has no interval


def test_intervals_are_scipys_and_hold_the_mean():
    summary = summarise_weights(weights_table({"blur": 23}))
    weights = weights_table({"blur": 23})["scale_1"]
    low, high = stats.t.interval(0.95, 22, weights.mean(), stats.sem(weights))
    row = summary[summary["scale"] == 1].iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert ((summary["low"] <= summary["mean"]) & (summary["mean"] <= summary["high"])).all()


def test_the_means_of_a_group_sum_to_one():
    summary = summarise_weights(weights_table({"blur": 13, "noise": 7, "jpeg": 2}))
    assert summary.groupby("group")["mean"].sum().to_numpy() == pytest.approx(np.ones(3))


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    found = summarise_weights(weights_table({f"group {number}": 31 for number in range(200)})).query("scale == 0")
    assert 180 <= found.eval("low <= 5 / 13 <= high").sum() < 200  # the mean of the first weight of this Dirichlet


def test_a_summary_keeps_the_order_of_thirds_and_leaves_out_empty_ones():
    table = with_quality_thirds(weights_table({"any": 9}).assign(mos=np.arange(9)[::-1], score=0.0))
    summary = summarise_weights(table[table["group"] != "rated middle third"])
    assert list(summary["group"].unique()) == ["rated lowest third", "rated highest third"]
    assert summary["group"].dtype.ordered


def test_a_summary_needs_a_group_for_each_image():
    table = weights_table({"blur": 3})
    with pytest.raises(FusiqaError, match=r"needs a column 'group'; the table has scale_0, .*image"):
        summarise_weights(table.rename(columns={"group": "image"}))
    table.loc[1, "group"] = None
    with pytest.raises(FusiqaError, match="every image needs a group; row 1 has none"):
        summarise_weights(table)


def rated(*mos: float, score: float = 0.5) -> pd.DataFrame:
    return pd.DataFrame({"mos": mos, "score": score}, index=range(7, 7 + len(mos)))


def test_thirds_are_of_one_size_and_in_order():
    mos = np.random.default_rng(7).permutation(np.arange(23.0))
    groups = with_quality_thirds(rated(*mos))["group"]
    sizes = groups.value_counts()
    assert (len(sizes), sizes.max() - sizes.min()) == (3, 1)
    assert (np.diff(groups.cat.codes.to_numpy()[np.argsort(mos)]) >= 0).all()


def test_thirds_go_by_ratings_or_scores_and_split_ties_in_order():
    groups = with_quality_thirds(rated(5, 1, 3, score=math.nan))["group"]
    assert list(groups) == ["rated highest third", "rated lowest third", "rated middle third"]
    assert list(with_quality_thirds(rated(1, 1, 1))["group"]) == ["all images"] * 3
    assert list(with_quality_thirds(rated(1, 2))["group"]) == ["all images"] * 2
    ties = with_quality_thirds(rated(2, 1, 1, 1, 1, 2))["group"].cat.codes
    assert list(ties) == [2, 0, 0, 1, 1, 2]
    unrated = pd.DataFrame({"mos": [1, math.nan, 3], "score": [0.1, 0.2, 0.3]})
    assert list(with_quality_thirds(unrated)["group"]) == [f"scored {third}" for third in THIRDS]
    with pytest.raises(FusiqaError, match="finite scores, got nan in row 1"):
        with_quality_thirds(unrated.assign(score=[0.1, math.nan, 0.3]))


def test_the_synthetic_set_is_grouped_by_distortion_and_any_other_by_quality():
    table = rated(1, 2, 3).assign(image=["content001-jpeg-1", "content001-pristine", "content002-white_noise-5"])
    assert list(with_groups(table, "synthetic")["group"]) == ["jpeg", "pristine", "white noise"]
    assert list(with_groups(table, "kadid-10k")["group"]) == [
        f"rated {t} third" for t in ("lowest", "middle", "highest")
    ]


def test_a_collapse_is_said_where_most_images_lean_on_one_scale():
    even, leaning = [0.25] * 4, [0.03, 0.92, 0.03, 0.02]
    assert collapse_warning([even] * 3 + [leaning] * 3) is None  # half is not most
    said = collapse_warning([even] * 3 + [leaning] * 4)
    assert "57% of 7 images put more than 0.9 on scale 1" in said
    assert "`entropy_weight` of 0.05" in said
    assert (
        collapse_warning([[0.92, 0.03, 0.03, 0.02], leaning]) is None
    )  # each on its own: that is what weighing is for
    assert collapse_warning(np.empty((0, 4))) is None


# --- gates and attention matrices ------------------------------------------------------------------------------------


def test_gates_that_are_alike_everywhere_stay_so():
    corners = cover(37, 53, 17, overlap=2 / 3)
    gates = np.broadcast_to(np.array([0.1, 0.3, 0.5, 0.7])[:, None, None], (len(corners), 4, 7, 7))
    maps = stitch_gates(gates, corners, height=37, width=53, crop_size=17)
    assert maps.shape == (4, 37, 53)
    assert maps == pytest.approx(np.broadcast_to(np.array([0.1, 0.3, 0.5, 0.7])[:, None, None], maps.shape))


def test_one_crop_is_its_own_map_in_blocks():
    gates = np.random.default_rng(0).random((1, 4, 7, 7))
    maps = stitch_gates(gates, [(0, 0)], height=14, width=14, crop_size=14)
    assert (maps[:, ::2, ::2] == gates[0]).all()
    assert (maps[:, 1::2, 1::2] == gates[0]).all()


def test_where_crops_overlap_their_gates_are_averaged():
    """Two crops of 4 pixels, two cells a side, on an image 4 high and 6 wide."""
    left = [[0.0, 0.2], [0.4, 0.6]]
    right = [[1.0, 0.8], [0.6, 0.2]]
    (found,) = stitch_gates(np.array([[left], [right]]), [(0, 0), (0, 2)], height=4, width=6, crop_size=4)
    assert found[0].tolist() == pytest.approx([0, 0, 0.6, 0.6, 0.8, 0.8])
    assert found[3].tolist() == pytest.approx([0.4, 0.4, 0.6, 0.6, 0.2, 0.2])


def test_crops_that_leave_a_pixel_out_are_refused():
    with pytest.raises(FusiqaError, match="leave out 8 pixels of an image 4 by 6"):
        stitch_gates(np.zeros((1, 4, 7, 7)), [(0, 0)], height=4, width=6, crop_size=4)


def test_matrices_are_averaged_by_group_and_their_rows_sum_to_one():
    random = np.random.default_rng(0)
    matrices = random.dirichlet([1, 2, 3, 4], size=(7, 4))
    groups = ["sharp", "blur", "blur", "sharp", "blur", "blur", "blur"]
    found = mean_matrices(matrices, groups)
    assert list(dict.fromkeys(found["group"])) == ["sharp", "blur"]
    assert found.groupby(["group", "scale"])["mean"].sum().to_numpy() == pytest.approx(np.ones(8))
    row = found.set_index(["group", "scale", "attends_to"]).loc[("blur", 1, 3)]
    values = matrices[[1, 2, 4, 5, 6], 1, 3]
    assert (row["n"], row["mean"]) == (5, pytest.approx(values.mean()))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 4, values.mean(), stats.sem(values)))
    assert mean_matrices(matrices[:1], ["sharp"])["low"].isna().all()
