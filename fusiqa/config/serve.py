"""The settings of `fusiqa serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fusiqa.config.checks import COUNT, POSITIVE, Bounds, check_fields

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

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK
