import io
import math
import random
import re
from itertools import count, islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import CROP, RANGE, make_model, noise

import fusiqa
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import load_checkpoint
from fusiqa.scoring.image import FolderImages
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.training.predict import predict

TOLERANCE = 1e-4 * RANGE.width
"""What batch and order may change of a score."""


def test_a_score_says_what_it_means(scorer, images):
    score = scorer(images[0])
    assert score.name == str(images[0])
    assert RANGE.low <= score.score <= RANGE.high
    assert score.score_range == RANGE
    assert score.higher_is_better
    assert score.ok
    assert score.error is None
    assert (score.height, score.width) == (53, 71)
    assert score.scale_weights is not None
    assert len(score.scale_weights) == 4
    assert sum(score.scale_weights) == pytest.approx(1)
    assert score.model.startswith("tiny@")
    assert float(score) == score.score


def test_a_score_is_the_mean_over_its_crops_and_the_spread_their_standard_deviation(scorer, images):
    score = scorer(images[1])
    assert len(score.crops.scores) == len(score.crops.boxes) > 4
    assert score.score == pytest.approx(score.crops.scores.mean())
    assert score.spread == pytest.approx(score.crops.scores.std())
    assert score.spread > 0


def test_scores_are_those_of_the_evaluation_of_a_run(scorer, model_folder, images):
    """A figure of `fusiqa evaluate` is a figure of what users run."""
    names = [path.name for path in images]
    table = pd.DataFrame({"image": names, "mos": 3.0, "split": "test", "group": names})
    ratings = Ratings("mine", table, RANGE, FolderImages(images[0].parent), "none")
    evaluated = predict(load_checkpoint(model_folder), ratings, device="cpu", num_workers=0, progress=False)
    scores = scorer.many(images)
    np.testing.assert_allclose([s.score for s in scores], evaluated["score"], atol=TOLERANCE)
    weights = evaluated[["scale_0", "scale_1", "scale_2", "scale_3"]].to_numpy()
    np.testing.assert_allclose([s.scale_weights for s in scores], weights, atol=1e-5)


@pytest.mark.parametrize("crops_at_once", [1, 7, 1000])
def test_the_same_image_has_the_same_score_in_any_batch_and_order(scorer, model_folder, images, crops_at_once):
    alone = {str(path): scorer(path).score for path in images}
    assert max(alone.values()) - min(alone.values()) > 100 * TOLERANCE
    other = Scorer(model_folder, device="cpu", readers=3)
    other.network.at_once = lambda shape: crops_at_once
    order = list(images)
    random.Random(crops_at_once).shuffle(order)
    for score in other.stream(order):
        assert score.score == pytest.approx(alone[score.name], abs=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (CROP, CROP), (33, 1000), (1000, 33), (1, 211), (48, 48)])
def test_crops_cover_images_of_any_shape_to_their_edges(scorer, shape):
    score = scorer(noise(*shape))
    boxes = score.crops.boxes
    assert boxes.min() == 0
    assert boxes[:, 2].max() == boxes[:, 3].max() == 1
    covered = score.crops.heat_map(64, 64)
    assert np.isfinite(covered).all()
    assert (score.height, score.width) == shape


def test_a_large_image_goes_through_in_passes_of_bounded_size(tmp_path):
    """Without a resize, an image has as many crops as it is large; no pass holds more than the network takes."""
    scorer = Scorer(make_model(tmp_path / "model", resize="none"), device="cpu")
    scorer.network.at_once = lambda shape: 50
    sizes = []
    ask = TorchNetwork.__call__

    def spy(network, crops):
        sizes.append(len(crops))
        return ask(network, crops)

    TorchNetwork.__call__, kept = spy, TorchNetwork.__call__
    try:
        score = scorer(noise(301, 701))
    finally:
        TorchNetwork.__call__ = kept
    assert max(sizes) == 50
    assert sum(sizes) == len(score.crops.scores) > 1000


def test_a_heat_map_is_the_mean_of_the_crops_over_a_place():
    from fusiqa.scoring.result import CropScores

    crops = CropScores(np.array([[0, 0, 0.75, 1], [0.25, 0, 1, 1]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(crops.heat_map(1, 4), [[1, 2, 2, 3]])


def test_a_list_gives_a_list_and_one_gives_one(scorer, images):
    assert [score.name for score in scorer.many(images)] == [str(path) for path in images]
    assert len(scorer.many(images[:1])) == 1
    assert scorer.many([]) == []
    assert len(scorer.many(np.stack([noise(40, 50), noise(40, 50, 1)]))) == 2
    assert len(scorer.many(torch.rand(3, 3, 40, 50))) == 3


def test_what_cannot_be_read_raises_alone_and_costs_one_place_in_a_list(scorer, images, tmp_path):
    (tmp_path / "bad.jpg").write_text("<html>")
    with pytest.raises(FusiqaError, match=r"bad\.jpg: not an image"):
        scorer(tmp_path / "bad.jpg")
    scores = scorer.many([images[0], tmp_path / "bad.jpg", 3, images[1]])
    assert [score.ok for score in scores] == [True, False, False, True]
    assert scores[1].error == "not an image in a format that can be read"
    assert "int is no image" in scores[2].error
    assert math.isnan(scores[1].score)
    assert scores[3].score == scorer(images[1]).score


def test_a_stream_asks_for_no_more_than_it_can_hold(model_folder):
    """So that a generator may go on for ever."""
    scorer = Scorer(model_folder, device="cpu", readers=2)
    scorer.network.at_once = lambda shape: 8
    asked = count()
    endless = (noise(40, 50, next(asked)) for _ in count())
    assert len(list(islice(scorer.stream(endless), 5))) == 5
    assert next(asked) <= 5 + 2 + 1


def test_a_fusion_that_does_not_weigh_has_no_weights(tmp_path):
    score = Scorer(make_model(tmp_path / "model", fusion="concat"), device="cpu")(noise(50, 60))
    assert score.scale_weights is None
    assert score.row()["scale_0"] is None


def test_a_row_has_numbers_where_there_is_a_score_and_else_the_reason(scorer, images):
    good, bad = (score.row() for score in scorer.many([images[0], b"no"]))
    assert good["score"] == scorer(images[0]).score
    assert good["error"] is None
    assert (good["width"], good["height"]) == (71, 53)
    assert [bad[name] for name in ("score", "spread", "scale_0", "width", "height")] == [None] * 5
    assert "not an image" in bad["error"]


def test_a_notebook_shows_the_score_and_the_image(scorer, images):
    score = scorer(images[0])
    html = score._repr_html_()
    assert f"{score.score:.4g}" in html
    assert html.count("data:image/jpeg;base64,") == 2
    assert html.count("scale ") >= 4
    assert "<script" not in html


def test_a_notebook_shows_names_as_text_and_reasons_as_they_are(scorer):
    (bad,) = scorer.many(["<b>.jpg"])
    assert bad._repr_html_() == "<div><b>&lt;b&gt;.jpg</b>: no such file</div>"
    file = io.BytesIO()
    Image.fromarray(noise(9, 9)).save(file, "PNG")
    file.seek(0)
    assert "data:image" not in scorer(file)._repr_html_()  # read once, and gone


def test_unknown_devices_models_and_backends_are_refused(model_folder, tmp_path):
    with pytest.raises(FusiqaError, match=r"device warp cannot be used.*try cpu or auto"):
        Scorer(model_folder, device="warp")
    with pytest.raises(FusiqaError, match="`backend` must be auto, torch or onnx, got 'tpu'"):
        Scorer(model_folder, backend="tpu")
    with pytest.raises(FusiqaError, match="no model nothing: expected one of"):
        Scorer("nothing")
    (tmp_path / "old.pth").touch()
    with pytest.raises(FusiqaError, match=r"old\.pth is a pickle, which can run code.*save_file"):
        Scorer(tmp_path / "old.pth")


def test_the_scorer_is_a_public_name():
    assert fusiqa.Scorer is Scorer


def test_a_scorer_says_what_it_is():
    assert re.fullmatch(r"Scorer\(biq2021@[0-9a-f]{8}, scores 0 to 1, higher is better\)", repr(Scorer()))
