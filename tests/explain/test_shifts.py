"""Shifts of scale weights: paired by image, by hand and by their law."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.shifts import readable, scale_shifts


def table(images=7, seed=0, move=0.1):
    """Blur moves `move` of the weight from scale 3 to scale 0; JPEG moves nothing."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        weights = random.dirichlet([4, 4, 4, 12])
        blurred = weights + (move + random.normal(0, 0.01)) * np.array([1, 0, 0, -1])
        for group, values in (("Pristine", weights), ("Gaussian blur", blurred), ("JPEG", weights)):
            scales = {f"scale_{scale}": value for scale, value in enumerate(values)}
            rows.append({"original": f"{number}.jpg", "group": group, **scales})
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)


def test_the_shift_is_that_of_the_same_image():
    found = scale_shifts(table(), reference="Pristine").set_index(["group", "scale"])
    assert found.loc[("Gaussian blur", 0), "shift"] == pytest.approx(0.1, abs=0.02)
    assert found.loc[("Gaussian blur", 0), "low"] > 0
    assert found.loc[("Gaussian blur", 3), "high"] < 0
    assert found.loc[("Gaussian blur", 1), "shift"] == pytest.approx(0, abs=1e-12)
    assert found.loc[("JPEG", 0), ["shift", "effect", "p_value"]].tolist() == [0, 0, 1]
    assert (found.groupby("group")["shift"].sum().abs() < 1e-9).all()


def test_interval_effect_and_p_by_an_independent_formula():
    data = table(images=11, move=0.005)
    wide = data.pivot(index="original", columns="group", values="scale_0")
    moved = wide["Gaussian blur"] - wide["Pristine"]
    expected = stats.ttest_rel(wide["Gaussian blur"], wide["Pristine"])
    row = scale_shifts(data, reference="Pristine").set_index(["group", "scale"]).loc[("Gaussian blur", 0)]
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert row["effect"] == pytest.approx(moved.mean() / moved.std())


def test_one_image_has_a_shift_and_no_interval():
    found = scale_shifts(table(images=1), reference="Pristine")
    assert found["low"].isna().all()
    assert found["shift"].notna().all()
    assert set(readable(found)["gains most"]) == {"none that can be told"}


def test_what_gains_most_is_said_where_it_can_be_told():
    shown = readable(scale_shifts(table(), reference="Pristine")).set_index("group")
    assert shown.loc["Gaussian blur", "gains most"] == "scale 0"
    assert shown.loc["JPEG", "gains most"] == "none that can be told"


def test_groups_that_cannot_be_paired_are_refused():
    with pytest.raises(FusiqaError, match="no group 'Original' to compare with; the groups are Sharp"):
        scale_shifts(table().replace("Pristine", "Sharp"), reference="Original")
    with pytest.raises(FusiqaError, match="every image has to be in every group once"):
        scale_shifts(table().drop(index=3), reference="Pristine")
