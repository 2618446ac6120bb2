"""A trained network run by torch: the only file of `scoring` that imports torch or the networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from fusiqa.errors import FusiqaError
from fusiqa.io import cache_folder
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.quality import Examined, Prediction, QualityModel, load_checkpoint
from fusiqa.scoring.models import Batch, ModelInfo, Outputs, describe, source_of
from fusiqa.scoring.views import stacked, views_at_once

PROCESS = os.getpid()


class TorchNetwork:
    """A `Network` in torch, in float32 on every device: autocast and TensorFloat-32 are off in its own passes.

    The model is run on its own device and in its mode; `info` is by default taken from its configuration.
    """

    def __init__(self, model: QualityModel, info: ModelInfo | None = None, *, windows: bool = False) -> None:
        self.model, self.windows = model, windows and model.config.view == "whole"
        config = model.config
        sees = config.score_range, config.crop_size, model.resize, config.view
        self.info = info or ModelInfo(model.backbones, *sees, backbone=model.backbones)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def __call__(self, views: Batch) -> Outputs:
        if os.getpid() != PROCESS:  # OpenMP's threads do not survive a fork
            torch.set_num_threads(1)
        batch = torch.from_numpy(views).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), in_float32(self.device):
            examined = self.model.examine(to_unit_range(batch), windows=self.windows)
        return outputs(examined)

    def at_once(self, shape: tuple[int, ...]) -> int:
        return views_at_once(shape, self.device.type)


def passes(views: Iterable[np.ndarray], device: torch.device) -> Iterator[UInt8[Tensor, "views 3 height width"]]:
    """Consecutive views (height, width, 3) of one size, together on a device, as many as one forward pass takes."""
    for stack in stacked(views, lambda shape: views_at_once(shape, device.type)):
        yield torch.from_numpy(stack).permute(0, 3, 1, 2).to(device)


def outputs(tensors: Prediction | Examined) -> Outputs:
    """The outputs of a network as `Outputs`, in float64 on the CPU."""
    given = {name: each for name, each in tensors._asdict().items() if each is not None}
    return Outputs(**{name: each.double().cpu().numpy() for name, each in given.items()})


def load_torch_network(path: Path, *, name: str, device: str = "auto", windows: bool = False) -> TorchNetwork:
    """The network of a run folder or a model.safetensors. Raises FusiqaError as `load_checkpoint` does."""
    if path.suffix.lower() == ".onnx":
        raise FusiqaError(f"{path}: torch cannot run it; name its folder or its model.safetensors")
    place, default = choose_device(device), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False):  # else it could never give gradients
            model = load_checkpoint(path).eval().requires_grad_(False)
            model = model.to(place).to(memory_format=torch.channels_last)
    finally:
        torch.set_default_dtype(default)
    return network_of(model, path, name=name, windows=windows)


def network_of(model: QualityModel, path: Path, *, name: str, windows: bool = False) -> TorchNetwork:
    """A model that was loaded from a path, with its description."""
    info = replace(describe(path, name), scale_sizes=tuple(model.pyramid.scale_sizes()))
    return TorchNetwork(model, info, windows=windows)


def exported_once(path: Path, *, name: str) -> Path:
    """The ONNX file of a run folder or a model.safetensors, from the cache; written there the first time."""
    kept = cache_folder().expanduser() / "onnx" / f"{source_of(path)}.onnx"
    if not kept.is_file():
        print(f"exporting {name} to {kept}, once", file=sys.stderr)
        export_model(path, kept, name=name)
    return kept


def export_model(path: Path, output: Path, *, name: str, share_weights: bool = False) -> float:
    """Write a run folder or a model.safetensors as .onnx or .pt2, as `fusiqa.models.export.export` does."""
    from fusiqa.models.export import export

    network = load_torch_network(path, name=name, device="cpu")
    return export(network, output, source=source_of(path), share_weights=share_weights)


def choose_device(words: str | torch.device) -> torch.device:
    """A device by name. Raises FusiqaError for one that torch does not know or that is not there."""
    if words == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(words)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        raise FusiqaError(f"device {words} cannot be used: {str(reason).splitlines()[0]}; try cpu or auto") from reason
    return device


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Convolutions and matrix products in full float32: a score must not depend on autocast or the GPU's TF32."""
    tf32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device.type == "cuda" else nullcontext()
    with torch.autocast(device.type, enabled=False), tf32:
        yield
