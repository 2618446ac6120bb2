"""Paired shifts of scale weights: by hand, by their laws, and under every distortion with q-values."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.shifts import UNDISTORTED, distortion_shifts, format_shifts, scale_shifts


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
    assert set(format_shifts(found)["gains most"]) == {"none significantly"}


def test_the_scale_that_gains_most_is_named_where_it_is_significant():
    shown = format_shifts(scale_shifts(table(), reference="Pristine")).set_index("group")
    assert shown.loc["Gaussian blur", "gains most"] == "scale 0"
    assert shown.loc["JPEG", "gains most"] == "none significantly"


def test_groups_that_cannot_be_paired_are_refused():
    with pytest.raises(FusiqaError, match=r"no reference group 'Original'; the groups are .*Sharp"):
        scale_shifts(table().replace("Pristine", "Sharp"), reference="Original")
    with pytest.raises(FusiqaError, match="every original in every group exactly once"):
        scale_shifts(table().drop(index=3), reference="Pristine")


# --- under every distortion -------------------------------------------------------------------------------------------

DONE = [("none", UNDISTORTED, 0), *(("blur", "gaussian_blur", n) for n in (1, 2)), ("noise", "white_noise", 1)]
BLUR = 0.04  # what each level of blur moves from scale 3 to scale 0


def every(images: int = 7) -> pd.DataFrame:
    """Blur moves weight with its level; noise moves less than a float's rounding."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(images):
        weights = random.dirichlet([4, 4, 4, 12])
        for kind, distortion, level in DONE:
            moved = (BLUR + random.normal(0, 0.004)) * level if kind == "blur" else 1e-7 * (kind == "noise")
            named = {"original": f"{number}.jpg", "kind": kind, "distortion": distortion, "level": level}
            shifted = weights + moved * np.array([1, 0, 0, -1])
            rows.append(named | {f"scale_{scale}": value for scale, value in enumerate(shifted)})
    return pd.DataFrame(rows)


def test_every_distortion_level_and_scale_has_its_row():
    found = distortion_shifts(every())
    assert list(found)[:5] == ["kind", "distortion", "level", "scale", "n"]
    assert list(zip(found["kind"], found["distortion"], found["level"], strict=True))[::4] == DONE[1:]
    assert found["scale"].tolist() == [0, 1, 2, 3] * 3
    assert (found["n"] == 7).all()
    assert (found.groupby(["distortion", "level"])["shift"].sum().abs() < 1e-9).all()


def test_the_shift_grows_with_the_level_and_rounding_is_no_shift():
    found = distortion_shifts(every()).set_index(["distortion", "level", "scale"])
    for level in (1, 2):
        assert found.loc[("gaussian_blur", level, 0), "shift"] == pytest.approx(BLUR * level, rel=0.1)
        assert found.loc[("gaussian_blur", level, 3), "q_value"] < 0.01
    assert (found.loc["white_noise", ["shift", "p_value", "q_value"]].drop_duplicates().to_numpy() == [0, 1, 1]).all()


def test_q_is_the_least_over_larger_p_of_p_times_tests_over_rank():
    found = distortion_shifts(every())
    p = np.sort(found["p_value"].to_numpy())
    q = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    assert np.sort(found["q_value"].to_numpy()) == pytest.approx(np.minimum(q, 1))
    assert (found["q_value"] >= found["p_value"]).all()


def test_one_image_has_shifts_and_no_q():
    found = distortion_shifts(every(images=1))
    assert found["shift"].notna().all()
    assert found["q_value"].isna().all()


def test_shifts_need_the_undistorted_images():
    with pytest.raises(FusiqaError, match="no reference group 'none'; the groups are gaussian_blur 1"):
        distortion_shifts(every().query("distortion != 'none'"))
