"""Models by name and their descriptions; the model in the package is small, safe to load, and as its card says."""

import json
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from fusiqa.config import ScoreRange
from fusiqa.data.distortions import distort
from fusiqa.data.synthetic import dead_leaves
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.style import sample_photograph
from fusiqa.models.rounding import SCALE
from fusiqa.scoring.image import decode
from fusiqa.scoring.models import (
    DEFAULT,
    IN_THE_PACKAGE,
    describe,
    fingerprint_of,
    list_models,
    names,
    source_of,
)
from fusiqa.scoring.onnx import OnnxNetwork
from fusiqa.scoring.scorer import Scorer

LARGEST = {"biq2021": 10_000_000, "fusiqa-accurate": 20_000_000, "fusiqa-fast": 6_000_000}  # bytes of both files
SCORES = {"biq2021": 0.7267, "fusiqa-accurate": 38.6561, "fusiqa-fast": 39.7041}
"""Of one picture, when the models were put into the package."""


@pytest.fixture(scope="module", params=SCORES)
def shipped(request):
    return Scorer(request.param, device="cpu")


def folder_of(scorer: Scorer) -> Path:
    return IN_THE_PACKAGE / scorer.info.name.partition("@")[0]


def test_they_are_small_and_no_pickles(shipped):
    folder = folder_of(shipped)
    assert sorted(SCORES) == names()
    assert DEFAULT in names()
    files = {path.name for path in folder.iterdir()}
    assert files - {"sharp_images.csv"} == {"README.md", "model.json", "model.onnx", "model.safetensors"}
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sizes["model.onnx"] + sizes["model.safetensors"] < LARGEST[folder.name]
    assert sizes["model.onnx"] < 1_000_000  # the weights are not there twice
    weights = load_file(folder / "model.safetensors")
    types = {each.dtype for name, each in weights.items() if each.ndim > 1 and not name.endswith(SCALE)}
    assert {torch.float16} <= types <= {torch.float16, torch.int8}


def test_the_accurate_model_averages_the_default_one():
    accurate, default = (
        load_file(IN_THE_PACKAGE / name / "model.safetensors") for name in ("fusiqa-accurate", DEFAULT)
    )
    held = {name.removeprefix("others.0."): each for name, each in accurate.items() if name.startswith("others.")}
    assert held.keys() == default.keys()
    assert all(torch.equal(each, default[name]) for name, each in held.items())
    provenance = json.loads((IN_THE_PACKAGE / "fusiqa-accurate" / "model.json").read_text())["provenance"]
    assert provenance["averaged_with"] == [Scorer(device="cpu").info.name]


def test_it_needs_no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a socket was opened to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    score = Scorer(device="cpu")(dead_leaves(1, size=240))
    assert score.score_range == ScoreRange(0, 100)
    assert 0 <= score.score <= 100
    assert score.model.startswith("fusiqa-fast@")


def test_its_score_falls_with_blur(shipped):
    sharp = decode(sample_photograph().read_bytes())
    scores = [shipped(distort(sharp, "gaussian_blur", level, seed=0)).score for level in (1, 3, 5)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[2] > 0.1 * shipped.score_range.width


@pytest.mark.parametrize("model", ["fusiqa-accurate", "fusiqa-fast"])
@pytest.mark.parametrize(
    ("distortion", "flaw"),
    [("gaussian_blur", "blur"), ("white_noise", "noise"), ("jpeg", "compression"), ("pixelate", "blocks")],
)
def test_distorted_versions_of_a_picture_are_in_order_and_the_flaw_is_named(model, distortion, flaw):
    scorer, sharp = Scorer(model, device="cpu"), decode(sample_photograph().read_bytes())
    results = [scorer(distort(sharp, distortion, level, seed=0)) for level in (3, 4, 5)]
    scores = [scorer(sharp).score, *(result.score for result in results)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 30
    assert max(results[-1].flaws, key=results[-1].flaws.get) == flaw


def test_a_card_says_where_a_model_comes_from_as_its_description_does(shipped):
    card = (folder_of(shipped) / "README.md").read_text(encoding="utf-8")
    stated = json.loads((folder_of(shipped) / "model.json").read_text(encoding="utf-8"))
    provenance = stated["provenance"]
    for value in (f"{provenance['val_srcc']:.4f}", stated["model"]["fusion"], stated["model"]["backbone"]):
        assert value in card
    assert re.search(r"\| SRCC[^|]*\| (0\.\d+) \[", card)
    for word in ("BIQ2021", "licence", "JPEG", "ImageNet"):
        assert word in card


def test_unchanged_scores(shipped):
    """A change of preprocessing or of the network would change every user's numbers: say so in the changelog then."""
    name, width = folder_of(shipped).name, shipped.score_range.width
    assert shipped(dead_leaves(5, size=400)).score == pytest.approx(SCORES[name], abs=2e-4 * width)


def test_both_files_of_it_give_the_same_scores(shipped):
    """The ONNX file is made by `fusiqa export --share_weights`, anew whenever the weights or the description change."""
    by_torch = Scorer(folder_of(shipped).name, device="cpu", backend="torch")
    assert isinstance(shipped.network, OnnxNetwork)
    onnx.checker.check_model(folder_of(shipped) / "model.onnx", full_check=True)
    assert shipped.network.stated["source"] == source_of(folder_of(shipped))
    assert shipped.info.name == by_torch.info.name
    assert shipped.info.scale_sizes == by_torch.info.scale_sizes
    for seed in (1, 2):
        one, other = (scorer(dead_leaves(seed, size=300)) for scorer in (shipped, by_torch))
        assert one.score == pytest.approx(other.score, abs=1e-4 * shipped.score_range.width)
        np.testing.assert_allclose(one.scale_weights, other.scale_weights, atol=1e-4)


def test_models_are_listed_with_what_is_known_of_them():
    info, accurate, default = list_models()
    card = (IN_THE_PACKAGE / "biq2021" / "README.md").read_text(encoding="utf-8")
    assert default.name == Scorer(device="cpu").info.name
    for each in (accurate, default):
        assert (each.fusion, each.view, each.score_range) == ("attention", "whole", ScoreRange(0, 100))
    assert default.backbone == "tf_efficientnet_lite0"
    assert accurate.backbone == "tf_efficientnet_lite2 + tf_efficientnet_lite0"
    assert (info.data, info.backbone, info.fusion) == ("biq2021", "mobilenetv2_100", "cross-scale")
    assert info.score_range == ScoreRange(0, 1)
    assert info.licence in card
    assert f"{info.figures['test_srcc']:.4f}" in card
    stated = {"val_srcc", "test_srcc", "seconds_per_photograph"}
    assert all(stated <= each.figures.keys() for each in (info, accurate, default))
    assert (info.crop_size, info.resize, info.view) == (224, "320", "crops")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", " is not JSON"),
        ("[]", " is not a model description of format 1"),
        ('{"format": 1, "model": {}, "preprocessing": {}}', ": `model` must be a table with .* score_range"),
    ],
)
def test_a_broken_description_is_one_line(tmp_path, text, reason):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(FusiqaError, match=rf"model\.json{reason}"):
        describe(tmp_path, "mine")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FusiqaError, match=r"model\.json is missing"):
        describe(tmp_path, "mine")
    with pytest.raises(FusiqaError, match=r"no model at .*: expected a run folder with model\.safetensors"):
        fingerprint_of(tmp_path)


def test_the_source_of_an_export_changes_with_the_description_and_not_with_the_provenance(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    stated = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**stated, "provenance": {"dataset": "other"}}))
    assert source_of(copy) == source_of(model_folder)
    stated["model"]["score_range"] = [0, 100]
    (copy / "model.json").write_text(json.dumps(stated))
    assert source_of(copy) != source_of(model_folder)
