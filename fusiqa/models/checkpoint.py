"""A trained model on disk: model.safetensors (weights) beside model.json (everything else). Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fusiqa.config import ModelConfig
from fusiqa.config.checks import from_plain
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE, write_atomically, write_json

if TYPE_CHECKING:
    from fusiqa.models.quality import QualityModel

FORMAT = 1
CROPS = "crops, deterministic, covering the image to its edges, overlapping by 2/3; scores are averaged"
WHOLE = "the whole image in one pass, mirrored to multiples of 32 pixels; above 1024 pixels in parts"
MOST_BYTES = 1_000_000
"""Of a model.json, which has some 1,000: JSON that large is no description, and reading it could exhaust the memory."""


@dataclass(frozen=True)
class Description:
    """What model.json says of a model.

    Attributes:
        model: the network.
        resize: the resize protocol before cropping, in the words of `Resize.parse`.
        provenance: where the weights come from (data set, epoch, commit, ...).
    """

    model: ModelConfig
    resize: str
    provenance: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(model: QualityModel, folder: Path, *, half: bool = False) -> None:
    """Write model.safetensors and model.json into a folder, each atomically.

    Args:
        model: the model.
        folder: created if it does not exist.
        half: store matrices and kernels in 16 bits, which halves the file; they compute in 32 all the same.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:  # vectors stay: a variance may be too small or too large for 16 bits, and they are few
        state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    description = {
        "format": FORMAT,
        "model": asdict(model.config),
        "preprocessing": {
            "colour": "sRGB, values 0-1; the network normalises",
            "resize": model.resize,
            "view": WHOLE if model.config.view == "whole" else CROPS,
        },
        "higher_is_better": True,
        "provenance": model.provenance,
    }
    # Not save_file, whose file only its owner may read: a model is there to be shared.
    write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(save(state)))
    write_json(folder / DESCRIPTION_FILE, description)


def locate(path: Path) -> tuple[Path, Path]:
    """The weights and the description of a model: of a folder, or of a model.safetensors in one.

    Raises:
        FusiqaError: no such file.
    """
    folder = path if path.is_dir() else path.parent
    weights = folder / WEIGHTS_FILE if path.is_dir() else path
    if not weights.is_file():
        raise FusiqaError(f"no model at {path}: expected a run folder with {WEIGHTS_FILE}, or that file")
    return weights, folder / DESCRIPTION_FILE


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        FusiqaError: it is not one, or a number in it is NaN or infinite, which no score would survive.
    """
    try:
        state = load_file(path)
    except SafetensorError as reason:
        raise FusiqaError(f"{path} is not a safetensors file: {str(reason).splitlines()[0]}") from reason
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise FusiqaError(f"{path} is damaged: NaN or infinite numbers in {listed(broken)}")
    return state


def read_description(path: Path) -> Description:
    """model.json, every value held against its type.

    Raises:
        FusiqaError: it is missing, not JSON, of another format, or has a value that is unknown, missing or not allowed.
    """
    if not path.is_file():
        raise FusiqaError(f"{path} is missing: it says how to build the network; keep it beside {WEIGHTS_FILE}")
    if path.stat().st_size > MOST_BYTES:
        raise FusiqaError(f"{path} is not a model description: it has {path.stat().st_size:,} bytes")
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as reason:  # no UTF-8, no JSON, huge integers; nested too deeply
        raise FusiqaError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(stated, dict) or repr(stated.get("format")) != repr(FORMAT):
        raise FusiqaError(f"{path} is not a model description of format {FORMAT}; was it written by another version?")
    model, preprocessing, provenance = (stated.get(name, {}) for name in ("model", "preprocessing", "provenance"))
    if not isinstance(model, dict) or not {"backbone", "fusion", "score_range"} <= model.keys():
        raise FusiqaError(f"{path}: `model` must be a table with backbone, fusion and score_range, got {model!r:.80}")
    if not isinstance(preprocessing, dict) or not isinstance(preprocessing.get("resize"), str):
        raise FusiqaError(f"{path}: `preprocessing` must be a table with the text `resize`, got {preprocessing!r:.80}")
    if not isinstance(provenance, dict):
        raise FusiqaError(f"{path}: `provenance` must be a table, got {provenance!r:.80}")
    return Description(from_plain(ModelConfig, model, where=f"{path}: model"), preprocessing["resize"], provenance)
