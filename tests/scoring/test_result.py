"""What is said of an image, as numbers, a row, a heat map and in a notebook."""

import io
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny_models import RANGE, noise

from fusiqa.config import ScoreRange
from fusiqa.config.model import FLAWS
from fusiqa.scoring.result import COLUMNS, HIGH, LOW, CropScores, Result, described, diverging, overlay, word_of


def test_a_score_says_what_it_means(scorer, images):
    result = scorer(images[0])
    assert result.name == str(images[0])
    assert RANGE.low <= result.score <= RANGE.high
    assert result.score_range == RANGE
    assert result.higher_is_better
    assert result.ok
    assert result.error is None
    assert (result.height, result.width) == (53, 71)
    assert result.scale_weights is not None
    assert len(result.scale_weights) == 4
    assert sum(result.scale_weights) == pytest.approx(1)
    assert result.model.startswith("tiny@")
    assert float(result) == result.score


def test_a_heat_map_is_the_mean_of_the_crops_over_a_place():
    crops = CropScores(np.array([[0, 0, 0.75, 1], [0.25, 0, 1, 1]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(crops.heat_map(1, 4), [[1, 2, 2, 3]])


def test_a_row_has_numbers_where_there_is_a_score_and_else_the_reason(scorer, images):
    good, bad = (result.row() for result in scorer.many([images[0], b"no"]))
    assert good["score"] == scorer(images[0]).score
    assert good["error"] is None
    assert (good["width"], good["height"]) == (71, 53)
    assert [bad[name] for name in ("score", "spread", "scale_0", "width", "height")] == [None] * 5
    assert "not an image" in bad["error"]


def test_a_notebook_shows_the_score_and_the_image(scorer, images):
    result = scorer(images[0])
    html = result._repr_html_()
    assert f"{result.score:.4g}" in html
    assert html.count("data:image/webp;base64,") == 2
    assert html.count("scale ") >= 4
    assert "<script" not in html


def test_a_notebook_shows_names_as_text_and_reasons_as_they_are(scorer):
    (bad,) = scorer.many(["<b>.jpg"])
    assert bad._repr_html_() == "<div><b>&lt;b&gt;.jpg</b>: no such file</div>"
    file = io.BytesIO()
    Image.fromarray(noise(9, 9)).save(file, "PNG")
    file.seek(0)
    assert "data:image" in scorer(file)._repr_html_()
    stream = SimpleNamespace(read=io.BytesIO(file.getvalue()).read)
    assert "data:image" not in scorer(stream)._repr_html_()  # read once, and gone


def test_colours_of_a_heat_map_span_the_score_range_and_not_the_scores_of_one_image():
    """Crops of 0.55 and 0.68 on 0 to 1 must not look like the worst and the best there are."""
    crops = CropScores(np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]), np.array([0.45, 0.55]))
    result = Result("a", 0.5, ScoreRange(0, 1), "m", crops=crops)
    shown = np.asarray(overlay(Image.new("RGB", (2, 1), (247, 247, 247)), result)).astype(int)
    assert np.abs(shown - 247).max() < 20
    worst = CropScores(crops.boxes, np.array([-0.2, 1.3]))
    shown = np.asarray(overlay(Image.new("RGB", (2, 1)), Result("a", 0.5, ScoreRange(0, 1), "m", crops=worst)))
    np.testing.assert_allclose(shown[0], 0.55 * np.array([LOW, HIGH]), atol=1)
    np.testing.assert_array_equal(diverging(np.array([-1.0, 0.0, 1.0])), [LOW, (247, 247, 247), HIGH])


def test_a_notebook_states_the_limits_of_its_heat_map(scorer, images):
    result = scorer(images[0])
    scores = result.crops.scores
    limits = f"parts from {scores.min():.3g} to {scores.max():.3g}; red is {RANGE.low}, blue is {RANGE.high}"
    assert limits in result._repr_html_()


def test_a_result_crosses_processes_with_its_file_and_without_pixels(scorer, images):
    of_file, of_array = scorer(images[0]), scorer(noise(40, 50))
    for result in (of_file, of_array):
        copy = pickle.loads(pickle.dumps(result))
        assert copy.row() == result.row()
        np.testing.assert_array_equal(copy.crops.scores, result.crops.scores)
    assert "data:image" in pickle.loads(pickle.dumps(of_file))._repr_html_()
    assert pickle.loads(pickle.dumps(of_array)).image is None
    assert tuple(of_file.row()) == COLUMNS


def test_scores_and_flaws_have_words():
    found = dict.fromkeys(FLAWS, 0.1) | {"noise": 0.62, "blur": 0.9}
    result = Result("a.jpg", 61.0, ScoreRange(0, 100), "m", flaws=found)
    assert result.word == "good"
    assert [word_of(score, RANGE) for score in (0.2, 1.0, 1.9, 3.0, 4.9, 5.0, 7.0)] == [
        *("bad", "bad", "poor", "fair", "excellent", "excellent", "excellent")
    ]
    row = result.row()
    assert (row["flaw_noise"], row["flaw_none"], row["spread"]) == (0.62, 0.1, None)
    assert described(row) == result.flaws_in_words == "blurred (0.90), noisy (0.62)"
    assert "blurred (0.90)" in result._repr_html_()
    found = dict.fromkeys(FLAWS, 0.1) | {"exposure": 0.31, "none": 0.49}
    assert described(replace(result, flaws=found).row()) == "perhaps badly exposed (0.31)"
    assert described(replace(result, flaws=found | {"none": 0.5}).row()) == ""
    plain = Result("a.jpg", 61.0, ScoreRange(0, 100), "m").row()
    assert plain["flaw_blur"] is None
    assert described(plain) == ""
