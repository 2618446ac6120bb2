"""A trained model on disk: model.safetensors (weights) beside model.json (everything else). Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fusiqa.config import ModelConfig, ScaleWeighing, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE, write_atomically, write_json

if TYPE_CHECKING:
    from fusiqa.models.quality import QualityModel

FORMAT = 1


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
            "crops": "deterministic, covering the image to its edges, overlapping by 2/3; scores are averaged",
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
    """The tensors of a safetensors file. Raises FusiqaError if it is not one."""
    try:
        return load_file(path)
    except SafetensorError as reason:
        raise FusiqaError(f"{path} is not a safetensors file: {str(reason).splitlines()[0]}") from reason


def read_description(path: Path) -> dict[str, Any]:
    """model.json. Raises FusiqaError if it is missing, not JSON, or of another format."""
    if not path.is_file():
        raise FusiqaError(f"{path} is missing: it says how to build the network; keep it beside {WEIGHTS_FILE}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as reason:
        raise FusiqaError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FusiqaError(f"{path} is not a model description of format {FORMAT}; was it written by another version?")
    return description


def model_config(stated: dict[str, Any]) -> ModelConfig:
    """The configuration from its JSON form, whose lists were tuples. Raises FusiqaError for unknown fields."""
    unknown = sorted(set(stated) - {field.name for field in fields(ModelConfig)})
    if unknown:
        raise FusiqaError(
            f"unknown settings in {DESCRIPTION_FILE}: {', '.join(unknown)}; was it written by another version?"
        )
    triples = {name: tuple(stated[name]) for name in ("mean", "std") if stated.get(name) is not None}
    arguments = tuple(
        (name, tuple(value) if isinstance(value, list) else value) for name, value in stated.get("timm_args", ())
    )
    built = {
        **triples,
        "timm_args": arguments,
        "score_range": ScoreRange(*stated["score_range"]),
        "weighing": ScaleWeighing(**stated.get("weighing", {})),
    }
    return ModelConfig(**{**stated, **built})
