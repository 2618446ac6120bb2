"""`--backbone_weights imagenet` against a small hub on this machine, and without any network."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import huggingface_hub
import pytest
import timm
import torch
from hub_server import Hub, point_to, pointed_to
from safetensors.torch import save, save_file

from fusiqa.config import ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models import weights
from fusiqa.models.quality import build_model

BACKBONE = "test_resnet"
FILE = f"/{timm.get_pretrained_cfg(BACKBONE).hf_hub_id}/resolve/main/model.safetensors"
CONFIG = ModelConfig(backbone=BACKBONE, crop_size=64)
OTHER_WAYS = r"Set `backbone_weights` to a local safetensors file, or to none \(random\)$"


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """A whole classifier, as timm publishes it."""
    torch.manual_seed(5)
    return timm.create_model(BACKBONE, pretrained=False).state_dict()


@pytest.fixture
def hub(imagenet, tmp_path, monkeypatch) -> Iterator[Hub]:
    with pointed_to(Hub(FILE, save(imagenet)), tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def no_network(monkeypatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a socket was opened to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def same_weights(model: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    """Whether the pyramid holds the file's tensors, and every one that it has a place for."""
    held = model.pyramid.body.state_dict()
    assert len(held) > 20
    return set(expected) - set(held) == {"fc.weight", "fc.bias"} and all(
        torch.equal(held[name], expected[name]) for name in held
    )


def test_imagenet_weights_come_from_the_hub_and_then_from_the_cache(hub, imagenet, monkeypatch):
    torch.manual_seed(6)
    assert not same_weights(build_model(CONFIG, "none"), imagenet)
    assert same_weights(build_model(CONFIG, "imagenet"), imagenet)
    assert "GET /store" in hub.asked
    asked = len(hub.asked)
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
        assert same_weights(build_model(CONFIG, "imagenet"), imagenet)
    assert len(hub.asked) == asked


def test_what_the_hub_serves_broken_is_no_model(hub):
    hub.content = b"<html>sign in to the hotel's network</html>"
    with pytest.raises(FusiqaError, match=r"do not fit test_resnet: .*header") as caught:
        build_model(CONFIG, "imagenet")
    assert "`backbone_weights` imagenet or none" in str(caught.value)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((404, "EntryNotFound"), r"404 Client Error.*Entry Not Found for url: http"),
        ((401, "RepoNotFound"), r"401 Client Error.*Repository Not Found for url: http"),
        ((500, ""), "500"),
    ],
)
def test_a_refusal_by_the_hub_is_one_line_with_the_two_other_ways(hub, refusal, said):
    hub.refusal = refusal
    with pytest.raises(FusiqaError, match=said) as caught:
        build_model(CONFIG, "imagenet")
    message = str(caught.value)
    assert "test_resnet (timm/test_resnet.r160_in1k)" in message
    assert "\n" not in message
    caught.match(OTHER_WAYS)
    assert hub.asked.count(f"HEAD {FILE}") == 1  # no long series of retries


def test_without_a_network_it_fails_in_seconds(closed_port, tmp_path, monkeypatch):
    point_to(f"http://127.0.0.1:{closed_port}", tmp_path, monkeypatch)
    started = time.monotonic()
    with pytest.raises(FusiqaError, match=r"ImageNet weights of test_resnet .* could not be downloaded") as caught:
        build_model(CONFIG, "imagenet")
    assert time.monotonic() - started < 10
    assert "Connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    caught.match(OTHER_WAYS)


def test_a_hub_that_never_answers_is_given_up(tmp_path, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        point_to(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, monkeypatch)
        monkeypatch.setattr("fusiqa.hub.HUB_SECONDS", 0.5)
        started = time.monotonic()
        with pytest.raises(FusiqaError, match=r"no answer within 0\.5 seconds") as caught:
            build_model(CONFIG, "imagenet")
        assert time.monotonic() - started < 5
        caught.match(OTHER_WAYS)


def test_names_that_resolve_slowly_do_not_prolong_it(tmp_path, monkeypatch):
    """No timeout of an HTTP library covers the system's look-up of a name."""
    release = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: release.wait(30))
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)
    monkeypatch.setattr("fusiqa.hub.HUB_SECONDS", 0.2)
    try:
        with pytest.raises(FusiqaError, match=r"no answer within 0\.2 seconds"):
            build_model(CONFIG, "imagenet")
    finally:
        release.set()


def test_the_command_says_so_in_one_line_and_ends_with_code_2(closed_port, tmp_path, monkeypatch, refused):
    point_to(f"http://127.0.0.1:{closed_port}", tmp_path, monkeypatch)
    said = refused("train", "--dataset", "synthetic", "--backbone", BACKBONE, "--run_dir", tmp_path / "run")
    assert said.startswith("error: the ImageNet weights of test_resnet ")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_backbone_without_imagenet_weights_is_refused_without_asking(no_network):
    with pytest.raises(FusiqaError, match=r"timm has no ImageNet weights for convnextv2_small: Set `backbone_weights`"):
        weights.download_imagenet("convnextv2_small")


def test_random_weights_and_a_file_open_no_socket(no_network, imagenet, tmp_path):
    build_model(CONFIG, "none")
    path = tmp_path / "backbone.safetensors"
    save_file(imagenet, path, metadata={"architecture": BACKBONE, "mean": json.dumps([0.5, 0.5, 0.5])})
    assert same_weights(build_model(CONFIG, str(path)), imagenet)
    with pytest.raises(AssertionError, match="a socket was opened"), socket.socket() as guarded:
        guarded.connect(("127.0.0.1", 1))  # the guard itself works
