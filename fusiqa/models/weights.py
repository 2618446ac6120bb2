"""Pretrained weights of a backbone: from the hub, a local file, or none."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open

from fusiqa import hub
from fusiqa.config import ModelConfig
from fusiqa.config.checks import tuples
from fusiqa.errors import FusiqaError

HUB_FILE = "model.safetensors"
STATED = ("timm_args", "mean", "std")
OTHER_WAYS = "Set `backbone_weights` to a local safetensors file, or to none (random)"


@dataclass(frozen=True)
class BackboneWeights:
    """A safetensors file with a backbone's weights, and what its metadata says of it.

    The metadata fields, all optional, are `architecture` (timm name), `timm_args`, `mean` and `std` (JSON).
    """

    path: Path
    metadata: dict[str, str] = field(default_factory=dict)

    def keys(self) -> set[str]:
        """Names of the tensors in the file."""
        with safe_open(self.path, "pt") as file:
            return set(file.keys())

    def configure(self, config: ModelConfig) -> ModelConfig:
        """The configuration with the timm arguments and the normalisation that the file states.

        FusiqaError: the file says that it belongs to another architecture, or its metadata cannot be read.
        """
        architecture = self.metadata.get("architecture", config.backbone)
        if architecture.split(".")[0] != config.backbone.split(".")[0]:
            raise FusiqaError(f"{self.path} is for `backbone` {architecture}, got {config.backbone}")
        try:
            stated = {name: tuples(json.loads(self.metadata[name])) for name in STATED if name in self.metadata}
            arguments = {**stated.pop("timm_args", {}), **dict(config.timm_args)}
            pairs = tuple((name, tuples(value)) for name, value in sorted(arguments.items()))
            colours: dict[str, Any] = {name: getattr(config, name) or stated.get(name) for name in ("mean", "std")}
            return replace(config, timm_args=pairs, **colours)
        except (ValueError, TypeError, RecursionError) as reason:  # FusiqaError is a ValueError
            raise FusiqaError(f"{self.path}: its metadata cannot be used: {reason}") from reason


def find_weights(words: str, backbone: str) -> BackboneWeights | None:
    """The weights that `backbone_weights` names: "imagenet", a safetensors file, or None for "none".

    FusiqaError: no such file, not safetensors, or the hub cannot be reached.
    """
    if words in ("none", "imagenet"):
        return BackboneWeights(download_imagenet(backbone)) if words == "imagenet" else None
    path = Path(os.path.expanduser(words))
    if not path.is_file():
        raise FusiqaError(f"`backbone_weights` must be imagenet, none, or a safetensors file; {words} does not exist")
    try:
        with safe_open(path, "pt") as file:
            return BackboneWeights(path, file.metadata() or {})
    except (SafetensorError, OSError) as reason:
        advice = "can run code and are never loaded; convert them with safetensors.torch.save_file"
        raise FusiqaError(f"{path} is not a safetensors file ({reason}). Pickles (.pth, .bin) {advice}") from reason


def download_imagenet(backbone: str) -> Path:
    """timm's ImageNet weights of a backbone, from the local cache or the Hugging Face hub.

    FusiqaError: timm has none for it, or the hub does not answer within seconds.
    """
    import huggingface_hub

    stated = timm.get_pretrained_cfg(backbone)
    if stated is None or not stated.hf_hub_id:
        raise FusiqaError(f"timm has no ImageNet weights for {backbone}: {OTHER_WAYS}")
    if isinstance(cached := huggingface_hub.try_to_load_from_cache(stated.hf_hub_id, HUB_FILE), str):
        return Path(cached)
    try:
        hub.ask(huggingface_hub.hf_hub_url(stated.hf_hub_id, HUB_FILE))
        return Path(huggingface_hub.hf_hub_download(stated.hf_hub_id, HUB_FILE))
    except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
        what = f"the ImageNet weights of {backbone} ({stated.hf_hub_id})"
        failed = f"could not be downloaded from the Hugging Face hub: {hub.in_one_line(reason)}"
        raise FusiqaError(f"{what} {failed}. {OTHER_WAYS}") from reason
