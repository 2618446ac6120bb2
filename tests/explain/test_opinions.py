"""Whether scores follow what people think of distortions: the figures, on scores made up and on a small model."""

import numpy as np
import pandas as pd
import pytest

from fusiqa.config.model import FLAWS
from fusiqa.data.distortions import FLAW_OF_DISTORTION
from fusiqa.explain.opinions import CELLS, calibration, calibration_error, measures, opinions


def table_of(scores: np.ndarray) -> pd.DataFrame:
    cells = [("", 0), *CELLS]
    rows = [
        {"image": f"{place}.png", "distortion": name, "level": level, "score": score}
        for place, image in enumerate(scores)
        for (name, level), score in zip(cells, image, strict=True)
    ]
    return pd.DataFrame(rows)


def test_scores_like_the_viewers_opinions_are_right_in_everything():
    known = opinions().ravel()
    scores = np.stack([np.concatenate([[5 + image / 9], known + image / 100]) for image in range(3)])
    found = measures(table_of(scores))
    assert found["SRCC of cells"].value == pytest.approx(1)
    assert found["levels in order, all four"].value == 1
    assert found["undistorted above level 2, all four"].value == 1
    assert found["sharp above level 4 or 5 of another"].value == 1
    assert "flaw named, level 3 and up" not in found
    worse = measures(table_of(-scores))
    assert worse["SRCC of cells"].value == pytest.approx(-1)
    assert worse["levels in order, jpeg"].value == 0
    assert worse["sharp above level 4 or 5 of another"].value == 0


def test_one_image_in_three_has_its_noise_in_the_wrong_order():
    known = opinions().ravel()
    scores = np.stack([np.concatenate([[5], known]) for _ in range(3)])
    noisy = [1 + place for place, (name, _) in enumerate(CELLS) if name == "white_noise"]
    scores[0, noisy] = scores[0, noisy][::-1]
    found = measures(table_of(scores))
    assert found["levels in order, white_noise"].value == pytest.approx(2 / 3)
    assert found["levels in order, all four"].value == pytest.approx(11 / 12)
    scores[0, 0] = scores[0, 1 + CELLS.index(("jpeg", 2))]  # and below weak blur
    assert measures(table_of(scores))["undistorted above level 2, all four"].value == pytest.approx(10 / 12)
    assert 0 <= found["levels in order, white_noise"].low < 2 / 3 < found["levels in order, white_noise"].high <= 1


def test_a_flaw_is_named_rightly_where_the_likeliest_is_the_one_that_was_made():
    table = table_of(np.zeros((2, 126)) + np.concatenate([[5], opinions().ravel()]))
    for flaw in FLAWS:
        table[f"flaw_{flaw}"] = [0.9 if FLAW_OF_DISTORTION.get(name) == flaw else 0.1 for name in table["distortion"]]
    assert measures(table)["flaw named, level 3 and up"].value == 1
    assert measures(table)["no flaw named, undistorted"].value == 1
    table.loc[(table["image"] == "0.png") & (table["distortion"] == ""), "flaw_colour"] = 0.5
    assert measures(table)["no flaw named, undistorted"].value == 0.5
    table.loc[table["distortion"] == "jpeg", "flaw_noise"] = 0.95
    assert measures(table)["flaw named, level 3 and up"].value == pytest.approx(1 - 3 / 71)
    unchanged = (table["distortion"] == "mean_shift") & (table["level"] == 3)
    table.loc[unchanged, "flaw_noise"] = 1.0  # the undistorted image, in which there is no flaw to be named
    assert measures(table)["flaw named, level 3 and up"].value == pytest.approx(1 - 3 / 71)


def test_the_calibration_error_is_that_of_probabilities_and_frequencies():
    table = table_of(np.zeros((2, 126)) + np.arange(126))
    for flaw in FLAWS:
        table[f"flaw_{flaw}"] = 0.0
    table.loc[table["distortion"] == "", "flaw_none"] = 1.0
    known = [name for name, flaw in FLAW_OF_DISTORTION.items() if flaw]
    for name in known:
        table.loc[table["distortion"] == name, f"flaw_{FLAW_OF_DISTORTION[name]}"] = 0.75
    flawed = 3 * len(known) - 1  # levels 3 to 5 of each, without the level of mean_shift that changes nothing
    statements = len(FLAWS) * (1 + flawed)
    binned = calibration(table)
    assert binned.shape == (2, 10, 3)
    assert binned[..., 2].sum() == 2 * statements
    expected = flawed * 0.25 / statements  # it is there, and 0.75 was stated
    assert calibration_error(binned.sum(axis=0)) == pytest.approx(expected)
    assert measures(table)["expected calibration error of flaws"].value == pytest.approx(expected)
