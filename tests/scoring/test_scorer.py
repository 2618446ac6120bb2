import io
import math
import multiprocessing
import random
import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import CROP, RANGE, RESIZE, make_model, noise

from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import load_checkpoint
from fusiqa.scoring import scorer as scorer_module
from fusiqa.scoring.image import FolderImages, Resize
from fusiqa.scoring.models import ModelInfo, Outputs
from fusiqa.scoring.scorer import Scorer, in_parts, is_out_of_memory, load_network, score_views
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.scoring.views import NO_VIEWS
from fusiqa.training.predict import predict

TOLERANCE = 1e-4 * RANGE.width
"""What batch and order may change of a score."""


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
    ratings = Ratings("mine", table, RANGE, FolderImages(images[0].parent), RESIZE)
    evaluated = predict(load_checkpoint(model_folder), ratings, device="cpu", progress=False)
    scores = scorer.many(images)
    np.testing.assert_allclose([s.score for s in scores], evaluated["score"], atol=TOLERANCE)
    weights = evaluated[["scale_0", "scale_1", "scale_2", "scale_3"]].to_numpy()
    np.testing.assert_allclose([s.scale_weights for s in scores], weights, atol=1e-5)


def test_the_same_image_has_the_same_score_in_any_batch_and_order(scorer, model_folder, images):
    alone = {str(path): scorer(path).score for path in images}
    assert max(alone.values()) - min(alone.values()) > 100 * TOLERANCE
    other = Scorer(model_folder, device="cpu", readers=3)
    for crops_at_once in (1, 7, 1000):
        other.network.at_once = lambda shape, most=crops_at_once: most
        order = list(images)
        random.Random(crops_at_once).shuffle(order)
        for score in other.stream(order):
            assert score.score == pytest.approx(alone[score.name], abs=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (CROP, CROP), (33, 500), (500, 33), (1, 61), (48, 48)])
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
        score = scorer(noise(181, 701))
    finally:
        TorchNetwork.__call__ = kept
    assert max(sizes) == 50
    assert sum(sizes) == len(score.crops.scores) > 1000


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


def test_a_generator_that_raises_costs_no_image_before(scorer, images):
    def given():
        yield from images[:2]
        raise OSError("share unmounted")

    results = scorer.stream(given())
    assert [next(results).name, next(results).name] == [str(image) for image in images[:2]]
    with pytest.raises(OSError, match="share unmounted"):
        next(results)


def test_results_are_compared_by_their_numbers(scorer, images):
    first, again, other = scorer.many([images[0], images[0], images[1]])
    assert first == again
    assert first in [other, again]
    assert first != other


def test_a_fusion_that_does_not_weigh_has_no_weights(tmp_path):
    score = Scorer(make_model(tmp_path / "model", fusion="concat"), device="cpu")(noise(50, 60))
    assert score.scale_weights is None
    assert score.row()["scale_0"] is None


def test_unknown_devices_models_and_backends_are_refused(model_folder, tmp_path):
    with pytest.raises(FusiqaError, match=r"device warp cannot be used.*try cpu or auto"):
        Scorer(model_folder, device="warp")
    with pytest.raises(FusiqaError, match="`backend` must be auto, torch or onnx, got 'tpu'"):
        load_network(model_folder, device="cpu", backend="tpu")
    with pytest.raises(FusiqaError, match="no model nothing: expected one of"):
        Scorer("nothing")
    (tmp_path / "old.pth").touch()
    with pytest.raises(FusiqaError, match=r"old\.pth is a pickle, which can run code.*save_file"):
        Scorer(tmp_path / "old.pth")
    (tmp_path / "program.pt2").touch()
    with pytest.raises(FusiqaError, match=r"program\.pt2 is no file of a model that scores: expected one of"):
        Scorer(tmp_path / "program.pt2")


def test_a_scorer_says_what_it_is():
    assert re.fullmatch(r"Scorer\(fusiqa-fast@[0-9a-f]{8}, scores 0 to 100, higher is better\)", repr(Scorer()))


def test_one_is_for_a_call_and_several_for_many(scorer, images):
    with pytest.raises(FusiqaError, match="expected one image; `many` or `stream` score several"):
        scorer(images)
    for several in (scorer.many, scorer.stream):
        with pytest.raises(FusiqaError, match="expected several images; call the scorer itself with one"):
            several(images[0])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_scorers_and_results_cross_processes(scorer, images, method):
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))
    with warnings.catch_warnings(), pool:
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while threads run
        for each in (Scorer(device="cpu"), scorer):
            (result,) = pool.map(each, [str(images[0])])
            assert result.score == pytest.approx(each(images[0]).score, abs=TOLERANCE)


def test_another_default_type_of_torch_changes_no_score(model_folder, images):
    expected = Scorer(model_folder, device="cpu")(images[0]).score
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert Scorer(model_folder, device="cpu")(images[0]).score == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_autocast_around_it_changes_neither_score_nor_loss(scorer):
    def found(*, low: bool) -> tuple[float, float, torch.Tensor]:
        tensor = (torch.from_numpy(noise(48, 60)).permute(2, 0, 1) / 255)[None].requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            score, loss = scorer(tensor.detach()[0]).score, scorer.loss(tensor)
        loss.backward()
        return score, loss.item(), tensor.grad

    (score, loss, gradient), (low_score, low_loss, low_gradient) = found(low=False), found(low=True)
    assert (low_score, low_loss) == (score, loss)
    assert torch.equal(low_gradient, gradient)
    assert gradient.abs().max() > 0


class Darkness:
    """A network that says how dark a view is, and remembers the shapes that it saw."""

    def __init__(self, view: str) -> None:
        self.info = ModelInfo("dark", RANGE, CROP, "none", view)
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, views):
        self.shapes.append(views.shape)
        return Outputs(views.mean(axis=(1, 2, 3)))

    def at_once(self, shape) -> int:
        return max(1, 4 * 64**2 // (shape[0] * shape[1]))


def test_a_model_of_whole_images_sees_each_once_and_parts_weigh_by_their_area(scorer, monkeypatch):
    network = Darkness("whole")
    monkeypatch.setattr(scorer, "network", network)
    monkeypatch.setattr(scorer, "_resize", Resize())
    same, other = np.full((64, 64, 3), 7, np.uint8), np.full((50, 90, 3), 11, np.uint8)
    long = np.zeros((32, 1_100, 3), np.uint8)
    long[:, 576:] = 200  # two parts, of 576 and 524 pixels
    results = scorer.many([same, same, other, long])
    assert network.shapes == [(2, 64, 64, 3), (1, 64, 96, 3), (1, 64, 576, 3), (1, 64, 544, 3)]
    assert [result.score for result in results] == pytest.approx([7, 7, 11, 200 * 524 / 1_100])
    assert results[3].crops.heat_map(1, 1_100)[0, [0, 575, 576, -1]].tolist() == [0, 0, 200, 200]


def test_large_whole_images_do_not_wait_for_each_other(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "network", Darkness("whole"))
    monkeypatch.setattr(scorer, "_resize", Resize())
    taken = []

    def coming():
        for number in range(9):
            taken.append(number)
            yield np.full((128, 128, 3), number, np.uint8)

    assert next(scorer.stream(coming())).score == 0
    assert len(taken) <= scorer.readers + 1


def test_views_that_cannot_be_read_score_nan_beside_others():
    crops = np.full((3, CROP, CROP, 3), 5, np.uint8)
    first, none, last = score_views(Darkness("crops"), [crops, NO_VIEWS, crops[:1]])
    assert (first.score, first.spread, len(first.parts)) == (5, 0, 3)
    assert math.isnan(none.score)
    assert last.score == 5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the spread of infinite scores
def test_a_score_that_is_no_number_is_an_error(scorer, monkeypatch):
    """As of weights of NaN in an ONNX file, or of an overflow."""
    for number in (math.nan, math.inf):
        network = Darkness("crops")
        network.info, network.at_once = scorer.info, scorer.network.at_once
        monkeypatch.setattr(scorer, "network", network)
        monkeypatch.setattr(Darkness, "__call__", lambda _, views, n=number: Outputs(np.full(len(views), n)))
        (result,) = scorer.many([noise(48, 60)])
        assert "the model gives no finite number for it" in result.error
        assert result.row()["score"] is None


@pytest.mark.parametrize("lost", [2, 500])
def test_a_jpeg_that_breaks_off_is_scored_only_where_that_is_asked_for_and_its_row_says_so(model_folder, lost):
    file = io.BytesIO()
    Image.fromarray(noise(293, 307)).save(file, "JPEG", quality=95, comment=b"the end of a thumbnail: \xff\xd9")
    whole, torn = file.getvalue(), file.getvalue()[:-lost]
    strict, tolerant = Scorer(model_folder), Scorer(model_folder, tolerate_truncated=True)
    (refused,) = strict.many([torn])
    assert lost == 2 or "truncated" in refused.error  # Pillow may have all pixels where only the end mark is missing
    assert tolerant(whole).note == tolerant(whole + b"\0\0 the film of a motion photo").note == ""
    scored = tolerant(torn)
    assert scored.note == "truncated: scored without its end"
    assert (scored.score == pytest.approx(strict(whole).score, abs=1e-6)) is (lost == 2)
    assert scored.image.read().shape == (293, 307, 3)  # for the heat map


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_pass_that_the_memory_does_not_suffice_for_is_halved_and_that_is_said_once(capsys, most):
    def network(stack):
        if len(stack) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return stack.sum(axis=1)

    scorer_module._say_once.cache_clear()
    stack = np.arange(14).reshape(7, 2)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(in_parts(network, stack))), stack.sum(axis=1))
    assert capsys.readouterr().err.count("notice: out of memory") == (most < 7)


def test_one_view_that_does_not_fit_is_refused_and_other_errors_are_raised():
    def full(_):
        raise MemoryError

    def wrong(_):
        raise ValueError("wrong")

    with pytest.raises(FusiqaError, match=r"the memory does not suffice for one view of shape \(5, 3\)"):
        list(in_parts(full, np.zeros((2, 5, 3))))
    with pytest.raises(ValueError, match="wrong"):
        list(in_parts(wrong, np.zeros((2, 5, 3))))
    for allocate in (lambda: np.empty(2**56), lambda: torch.empty(2**56)):
        with pytest.raises((MemoryError, RuntimeError)) as fault:
            allocate()
        assert is_out_of_memory(fault.value)
