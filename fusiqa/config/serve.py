"""The settings of `fusiqa serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fusiqa.config.require import require, require_positive

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServeConfig:
    """Serve a page on which images are dropped and scored, and an HTTP API."""

    model: str | None = None
    """A model in the package, a run folder, a model.safetensors or model.onnx, or owner/name on the Hugging Face hub;
    by default the model in the package."""
    host: str = "127.0.0.1"
    """Address to listen on. Other than this machine's own can be reached by others, without a password."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    device: str = "auto"
    """What the network runs on: auto, cpu, cuda, cuda:1, mps."""
    backend: Literal["torch", "onnx"] = "torch"
    """What runs the network; onnx needs onnxruntime."""
    max_megabytes: float = 40.0
    """Largest file of an image, MB."""
    max_megapixels: float = 100.0
    """Largest image, millions of pixels."""
    max_files: int = 16
    """Most images of one request."""
    max_waiting: int = 256
    """Most images that wait at once; with more, requests are told to come again."""
    timeout_seconds: float = 60.0
    """Longest that a request may take, seconds."""

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through."""
        require("port", self.port, at_least=0, below=65_536)
        for name in ("max_files", "max_waiting"):
            require(name, getattr(self, name), at_least=1)
        for name in ("max_megabytes", "max_megapixels", "timeout_seconds"):
            require_positive(name, getattr(self, name))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK
