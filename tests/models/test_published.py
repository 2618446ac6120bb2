"""Models that are published on a hub on this machine come back as they were; pickles are not loaded."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import pointed_to
from huggingface_hub import constants
from model_hub import ModelHub
from tiny_models import make_model, noise

from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.scorer import Scorer

NAME = "someone/tiny"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the hub's client, on upload


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[ModelHub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its store speaks a protocol of its own
    with pointed_to(ModelHub(), tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def model(tmp_path) -> QualityModel:
    return QualityModel.from_pretrained(make_model(tmp_path / "run"))


def no_network(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def same(first: QualityModel, second: QualityModel) -> bool:
    before, after = first.state_dict(), second.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_folder_is_written_and_read(tmp_path, model):
    model.save_pretrained(tmp_path / "copy")
    again = QualityModel.from_pretrained(str(tmp_path / "copy"))
    assert same(model, again)
    assert again.resize == model.resize


def test_what_is_pushed_is_pulled_bit_for_bit_and_scores_the_same(hub, model, tmp_path):
    address = model.push_to_hub(NAME, token=hub.token)
    assert address == f"{hub.address}/{NAME}/commit/{hub.commit}"
    assert set(hub.repositories[NAME]) == {"model.safetensors", "model.json", "README.md"}
    assert same(model, QualityModel.from_pretrained(NAME))
    assert (
        Scorer(NAME, device="cpu")(noise(40, 60)).score == Scorer(tmp_path / "run", device="cpu")(noise(40, 60)).score
    )


def test_the_card_says_what_the_model_is_and_how_it_is_used(hub, model):
    model.push_to_hub(NAME, token=hub.token)
    told = hub.repositories[NAME]["README.md"].decode()
    assert told.startswith("---\nlibrary_name: fusiqa\n")
    assert 'fusiqa.Scorer("someone/tiny")' in told
    assert "on 1 to 5; higher is better" in told
    assert "- dataset: none" in told


def test_a_second_push_replaces_the_first(hub, model, tmp_path):
    model.push_to_hub(NAME, token=hub.token)
    other = QualityModel.from_pretrained(make_model(tmp_path / "other", seed=1))
    other.push_to_hub(NAME, token=hub.token)
    assert same(other, QualityModel.from_pretrained(NAME))


def test_a_push_without_the_right_token_is_refused_and_the_token_not_told(hub, model):
    with pytest.raises(FusiqaError, match=r"someone/tiny could not be published: .*401") as caught:
        model.push_to_hub(NAME, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    assert hub.repositories == {}


def test_without_a_network_the_cache_is_used(hub, model, monkeypatch):
    model.push_to_hub(NAME, token=hub.token)
    QualityModel.from_pretrained(NAME)
    no_network(monkeypatch)
    assert same(model, QualityModel.from_pretrained(NAME))


def test_without_a_network_and_without_a_cache_it_says_what_else_works(hub, monkeypatch):
    no_network(monkeypatch)
    with pytest.raises(
        FusiqaError, match=r"model someone/tiny could not be downloaded from the Hugging Face hub.*run folder"
    ):
        Scorer(NAME)


def test_a_commit_can_be_named_and_an_unknown_one_is_refused(hub, model):
    model.push_to_hub(NAME, token=hub.token)
    assert same(model, QualityModel.from_pretrained(NAME, revision=hub.commit))
    with pytest.raises(FusiqaError, match="could not be downloaded"):
        QualityModel.from_pretrained(NAME, revision="never")


def test_a_repository_of_pickles_is_refused_with_the_way_to_convert_them(hub):
    hub.repositories[NAME] = {"pytorch_model.bin": b"\x80\x04."}
    with pytest.raises(FusiqaError, match=r"is not a model of fusiqa.*never loaded.*safetensors\.torch\.save_file"):
        Scorer(NAME)
    assert not any("pytorch_model" in asked for asked in hub.asked)


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(FusiqaError, match=r"the model someone/nothing could not be downloaded.*401"):
        Scorer("someone/nothing")


def test_a_path_comes_before_a_name_on_the_hub(hub, tmp_path, monkeypatch):
    make_model(tmp_path / "someone" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert Scorer(Path("someone/tiny"), device="cpu").info.name.startswith("tiny@")
    assert Scorer("someone/tiny", device="cpu").info.name.startswith("tiny@")
    assert hub.asked == []
