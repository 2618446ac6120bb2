"""`--backbone_weights imagenet` against a small hub on this machine, and without any network."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save, save_file

from fusiqa.cli import main
from fusiqa.config import ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models import weights
from fusiqa.models.quality import build_model

BACKBONE = "test_resnet"
FILE = f"/{timm.get_pretrained_cfg(BACKBONE).hf_hub_id}/resolve/main/model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = ModelConfig(backbone=BACKBONE, image_height=64, image_width=64)
OTHER_WAYS = (
    r"Two other ways: --backbone_weights FILE\.safetensors \(a local file\) or --backbone_weights none \(random\)$"
)


class Hub(ThreadingHTTPServer):
    """Serves one file as huggingface.co does: its facts, and the address of a store that takes GET alone."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.refusal: tuple[int, str] | None = None
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def store(self) -> str:
        """The same server by another name: to the client another host, as the store of huggingface.co is."""
        return f"http://localhost:{self.server_port}/store"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.path == FILE and self.server.refusal is not None:
            status, code = self.server.refusal
            self.say(status, {"X-Error-Code": code})
        elif self.path == FILE:
            size, digest = str(len(self.server.content)), hashlib.sha256(self.server.content).hexdigest()
            facts = {"X-Repo-Commit": COMMIT, "X-Linked-Size": size, "X-Linked-ETag": f'"{digest}"'}
            self.say(302, {"Location": self.server.store, **facts})
        elif (self.command, self.path) == ("GET", "/store"):
            self.say(200, {}, self.server.content)
        else:
            self.say(403, {})

    def say(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def point_to(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client reads HF_ENDPOINT and HF_HUB_CACHE once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(folder / "harnesses.json"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """A whole classifier, as timm publishes it."""
    torch.manual_seed(5)
    return timm.create_model(BACKBONE, pretrained=False).state_dict()


@pytest.fixture
def hub(imagenet, tmp_path, monkeypatch) -> Iterator[Hub]:
    server = Hub(save(imagenet))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    point_to(server.address, tmp_path, monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


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
    assert "--backbone_weights imagenet or none" in str(caught.value)


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
        monkeypatch.setattr(weights, "HUB_SECONDS", 0.5)
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
    monkeypatch.setattr(weights, "HUB_SECONDS", 0.2)
    try:
        with pytest.raises(FusiqaError, match=r"no answer within 0\.2 seconds"):
            build_model(CONFIG, "imagenet")
    finally:
        release.set()


def test_the_command_says_so_in_one_line_and_ends_with_code_2(closed_port, tmp_path, monkeypatch, capsys):
    point_to(f"http://127.0.0.1:{closed_port}", tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--dataset", "synthetic", "--backbone", BACKBONE, "--run_dir", str(tmp_path / "run")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the ImageNet weights of test_resnet ")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_backbone_without_imagenet_weights_is_refused_without_asking(no_network):
    with pytest.raises(FusiqaError, match=r"timm has no ImageNet weights for convnextv2_small: Two other ways"):
        weights.download_imagenet("convnextv2_small")


def test_random_weights_and_a_file_open_no_socket(no_network, imagenet, tmp_path):
    build_model(CONFIG, "none")
    path = tmp_path / "backbone.safetensors"
    save_file(imagenet, path, metadata={"architecture": BACKBONE, "mean": json.dumps([0.5, 0.5, 0.5])})
    assert same_weights(build_model(CONFIG, str(path)), imagenet)
    with pytest.raises(AssertionError, match="a socket was opened"), socket.socket() as guarded:
        guarded.connect(("127.0.0.1", 1))  # the guard itself works
