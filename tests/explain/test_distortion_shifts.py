"""Shifts under every distortion and level: by hand, their q-values by Benjamini and Hochberg's steps, the figure."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.explain.distortion_shifts import UNDISTORTED, distortion_shifts
from fusiqa.explain.plots import shift_map

DONE = [("none", UNDISTORTED, 0), *(("blur", "gaussian_blur", n) for n in (1, 2)), ("noise", "white_noise", 1)]
BLUR = 0.04  # what each level of blur moves from scale 3 to scale 0


def table(images: int = 7) -> pd.DataFrame:
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
    found = distortion_shifts(table())
    assert list(found)[:5] == ["kind", "distortion", "level", "scale", "n"]
    assert list(zip(found["kind"], found["distortion"], found["level"], strict=True))[::4] == DONE[1:]
    assert found["scale"].tolist() == [0, 1, 2, 3] * 3
    assert (found["n"] == 7).all()
    assert (found.groupby(["distortion", "level"])["shift"].sum().abs() < 1e-9).all()


def test_the_shift_grows_with_the_level_and_rounding_is_no_shift():
    found = distortion_shifts(table()).set_index(["distortion", "level", "scale"])
    for level in (1, 2):
        assert found.loc[("gaussian_blur", level, 0), "shift"] == pytest.approx(BLUR * level, rel=0.1)
        assert found.loc[("gaussian_blur", level, 3), "q_value"] < 0.01
    assert (found.loc["white_noise", ["shift", "p_value", "q_value"]].drop_duplicates().to_numpy() == [0, 1, 1]).all()


def test_q_is_the_least_over_larger_p_of_p_times_tests_over_rank():
    found = distortion_shifts(table())
    p = np.sort(found["p_value"].to_numpy())
    q = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    assert np.sort(found["q_value"].to_numpy()) == pytest.approx(np.minimum(q, 1))
    assert (found["q_value"] >= found["p_value"]).all()


def test_one_image_has_shifts_and_nothing_to_tell():
    found = distortion_shifts(table(images=1))
    assert found["shift"].notna().all()
    assert found["q_value"].isna().all()


def test_shifts_need_the_undistorted_images():
    with pytest.raises(FusiqaError, match="no group 'none' to compare with; the groups are gaussian_blur 1"):
        distortion_shifts(table().query("distortion != 'none'"))


def test_the_figure_has_a_row_a_distortion_and_marks_what_cannot_be_told(tmp_path):
    shifts = distortion_shifts(table())
    sizes = [(56, 56), (28, 28), (14, 14), (7, 7)]
    figure = shift_map(shifts.query("level == 1"), scale_sizes=sizes, title="of $7", path=tmp_path / "shifts.png")
    panels = figure.axes[:4]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["gaussian blur", "white noise"]
    marks = [panel.collections[0].get_offsets().tolist() for panel in panels]
    assert marks == [[[0, 1]], [[0, 0], [0, 1]], [[0, 0], [0, 1]], [[0, 1]]]
    (drawn,) = panels[0].images
    assert drawn.norm.vmin == -drawn.norm.vmax
    assert np.asarray(drawn.get_array())[:, 0].tolist() == pytest.approx([BLUR, 0], abs=0.01)
    with Image.open(tmp_path / "shifts.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 100
