"""A trained model on disk: model.safetensors (weights) beside model.json (everything else). Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fusiqa.config import ModelConfig
from fusiqa.config.checks import from_plain, refuse
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE, write_atomically, write_json

if TYPE_CHECKING:
    from fusiqa.models.quality import QualityModel

FORMAT = 1
CROPS = "crops, deterministic, covering the image to its edges, overlapping by 2/3; scores are averaged"
WHOLE = "the whole image in one pass, mirrored to multiples of 32 pixels; above 1024 pixels in parts"
MOST_BYTES = 1_000_000
"""Of a model.json, which has some 1,000: JSON that large is no description, and reading it could exhaust the memory."""


def save_checkpoint(model: QualityModel, folder: Path, *, half: bool = False) -> None:
    """`QualityModel.save_pretrained`, each of the two files atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:  # vectors stay: a variance may be too small or too large for 16 bits, and they are few
        state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    view, colour = WHOLE if model.config.view == "whole" else CROPS, "sRGB, values 0-1; the network normalises"
    description = {
        "format": FORMAT,
        "model": asdict(model.config),
        "preprocessing": {"colour": colour, "resize": model.resize, "view": view},
        "higher_is_better": True,
        "provenance": model.provenance,
    }
    # Not save_file, whose file only its owner may read: a model is there to be shared.
    write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(save(state)))
    write_json(folder / DESCRIPTION_FILE, description)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        FusiqaError: it is not one, or a number in it is NaN or infinite, which no score would survive.
    """
    try:
        state = load_file(path)
    except SafetensorError as reason:
        raise FusiqaError(f"{path} is not a safetensors file: {str(reason).splitlines()[0]}") from reason
    if broken := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise FusiqaError(f"{path} is damaged: NaN or infinite numbers in {listed(broken)}")
    return state


def read_description(path: Path) -> tuple[ModelConfig, str, dict[str, Any]]:
    """What model.json says, every value held against its type: the network, the resize protocol, the provenance.

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
    sound = isinstance(model, dict) and {"backbone", "fusion", "score_range"} <= model.keys()
    resize = preprocessing.get("resize") if isinstance(preprocessing, dict) else None
    needed = f"{path}: `%s` must be a table%s, got %.80r"
    refuse(
        (not sound, needed % ("model", " with backbone, fusion and score_range", model)),
        (not isinstance(resize, str), needed % ("preprocessing", " with the text `resize`", preprocessing)),
        (not isinstance(provenance, dict), needed % ("provenance", "", provenance)),
    )
    return from_plain(ModelConfig, model, where=f"{path}: model"), str(resize), provenance
