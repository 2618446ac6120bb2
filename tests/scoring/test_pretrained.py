"""The model in the package: small, safe to load, at work at once, and as good as its card says of it."""

import json
import re
import socket

import pytest
import torch
from safetensors import safe_open

from fusiqa.config import ScoreRange
from fusiqa.data.distortions import distort
from fusiqa.data.synthetic import dead_leaves
from fusiqa.scoring.models import DEFAULT, IN_THE_PACKAGE, names
from fusiqa.scoring.scorer import Scorer

FOLDER = IN_THE_PACKAGE / DEFAULT
LARGEST = 10_000_000  # bytes
SCORE = 0.7267  # of one picture, when the model was put into the package


@pytest.fixture(scope="module")
def shipped():
    return Scorer(device="cpu")


def test_it_is_small_and_no_pickle():
    assert DEFAULT in names()
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", "model.json", "model.safetensors"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < LARGEST
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        types = {file.get_tensor(name).dtype for name in file.keys() if file.get_tensor(name).ndim > 1}  # noqa: SIM118
    assert types == {torch.float16}


def test_it_needs_no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a socket was opened to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    score = Scorer(device="cpu")(dead_leaves(1, size=240))
    assert score.score_range == ScoreRange(0, 1)
    assert 0 <= score.score <= 1
    assert score.model.startswith("biq2021@")


def test_its_score_falls_with_blur(shipped):
    sharp = dead_leaves(3, size=400)
    scores = [shipped(distort(sharp, "gaussian_blur", level, seed=0)).score for level in (1, 3, 5)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[2] > 0.1


def test_its_card_says_where_it_comes_from_as_its_description_does():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    stated = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
    provenance = stated["provenance"]
    for value in (provenance["commit"][:7], f"{provenance['val_srcc']:.4f}", stated["model"]["fusion"]):
        assert value in card
    (test_srcc,) = re.findall(r"\| SRCC \| (0\.\d+) \[", card)
    assert float(test_srcc) >= 0.87
    for word in ("BIQ2021", "licence", "JPEG", "ImageNet"):
        assert word in card


def test_unchanged_scores(shipped):
    """A change of preprocessing or of the network would change every user's numbers: say so in the changelog then."""
    assert shipped(dead_leaves(5, size=400)).score == pytest.approx(SCORE, abs=2e-4)
