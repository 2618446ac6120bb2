"""The settings of `fusiqa serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fusiqa.config.checks import COUNT, POSITIVE, Bounds, check_fields
from fusiqa.errors import FusiqaError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServeConfig:
    """Serve a page on which images are dropped and scored, and an HTTP API."""

    model: str | None = None
    """A model of the package, a run folder, a model.safetensors or model.onnx, or owner/name on the Hugging Face hub;
    by default the model of the package."""
    host: str = "127.0.0.1"
    """Address to listen on. With another than this machine's own, others can use the server without a password."""
    port: Annotated[int, Bounds(at_least=0, below=65_536)] = 8000
    """Port to listen on; 0 takes a free one."""
    root_path: str = ""
    """Path at which a proxy shows this server, such as /quality."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that a proxy passes on, such as photos.example.org; others than these and this machine's are refused.
    Without any, other hosts are refused only where this machine alone can reach the server."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    backend: Literal["auto", "torch", "onnx"] = "auto"
    """auto is ONNX Runtime on a CPU if the model has a model.onnx, else torch."""
    # limits
    max_megabytes: Annotated[float, POSITIVE] = 40.0
    """Largest image file, MB."""
    max_megapixels: Annotated[float, POSITIVE] = 100.0
    """Largest image, millions of pixels."""
    max_files: Annotated[int, COUNT] = 16
    """Most images in one request."""
    max_waiting: Annotated[int, COUNT] = 256
    """Most images that wait at once; further requests are answered 503, retry later."""
    timeout_seconds: Annotated[float, POSITIVE] = 60.0
    """Longest duration of a request, seconds."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not re.fullmatch(r"(/[\w.~-]+)*", self.root_path):
            raise FusiqaError(f"`root_path` must be a path such as /quality, got {self.root_path}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK or self.host.startswith("127.")
