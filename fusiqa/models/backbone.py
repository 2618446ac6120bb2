"""A timm backbone as a pyramid of four NCHW maps."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from timm.models import FeatureDictNet, FeatureListNet, PretrainedCfg
from torch import Tensor, nn

from fusiqa.config import ModelConfig
from fusiqa.config.backbone_args import format_backbone_args
from fusiqa.errors import FusiqaError, listed
from fusiqa.models.weights import BackboneWeights

CANNOT_CREATE = (RuntimeError, IndexError, AttributeError, AssertionError, TypeError, ValueError, KeyError)
COUNTER = "num_batches_tracked"  # of batch norm, which no forward pass reads: a file need not have it
FOUR_STAGES = "swin_tiny_patch4_window7_224, convnext_tiny or resnet50"
SMALLEST_SIDE = 32  # the last stage of a stride-32 backbone still has one cell

Maps = list[Float[Tensor, "batch _ _ _"]]
Colour = tuple[float, float, float]


class Pyramid(nn.Module):
    """The last four stages of a backbone, whatever their channels and strides.

    Args:
        config: names the backbone, its input size, its normalisation and its further timm arguments.
        weights: pretrained weights to start from; None draws them at random and touches no network.

    Attributes:
        channels: channels of the four maps, finest first; Swin-Tiny: [96, 192, 384, 768].
        strides: input pixels per cell of the four maps, finest first; Swin-Tiny: [4, 8, 16, 32].

    Raises:
        FusiqaError: an unknown backbone, one without four stages, an input size that it cannot take, or weights
            that do not fit it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, weights: BackboneWeights | None = None) -> None:
        super().__init__()
        self.name, self.crop_size = config.backbone, config.crop_size
        self.windowed = takes_image_size(config.backbone)
        self.fixed_size = self.windowed and config.view != "whole"
        self._check_size(config.crop_size, config.crop_size)
        body: Any = create_body(config, weights)
        self.body = body
        self.channels: list[int] = body.feature_info.channels()
        self.strides: list[int] = body.feature_info.reduction()
        if sorted(set(self.strides)) != self.strides:
            why = f"backbone {self.name} has strides {self.strides}; four growing ones are needed"
            raise FusiqaError(f"{why}, as those of {FOUR_STAGES}")
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self._sizes: list[tuple[int, int]] | None = None
        for name, colour in zip(("mean", "std"), normalisation(config), strict=True):
            self.register_buffer(name, torch.tensor(colour).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        """Four maps of (batch, channels[i], height / strides[i], width / strides[i]) from RGB in 0-1."""
        self._check_size(images.shape[-2], images.shape[-1])
        maps = self.body((images - self.mean) / self.std)
        return [m.permute(0, 3, 1, 2) if self.channels_last else m for m in maps]

    def scale_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each map at the size that it was built for; Swin-Tiny at 224: 56, 28, 14, 7 squared."""
        if self._sizes is None:  # not crop_size / stride: some backbones lose or add a row at their edges
            modes = [(module, module.training) for module in self.modules()]
            with torch.no_grad():
                maps = self.eval()(self.mean.new_zeros(1, 3, self.crop_size, self.crop_size))
            for module, training in modes:
                module.training = training
            self._sizes = [(m.shape[2], m.shape[3]) for m in maps]
        return self._sizes

    def _check_size(self, height: int | torch.SymInt, width: int | torch.SymInt) -> None:
        if min(height, width) < SMALLEST_SIDE:
            least = f"{SMALLEST_SIDE}x{SMALLEST_SIDE}"
            raise FusiqaError(f"{self.name} needs images of at least {least}, got {height}x{width}")
        if self.fixed_size and (height, width) != (self.crop_size, self.crop_size):
            why = f"{self.name} was built with `crop_size` {self.crop_size} and takes no other size"
            raise FusiqaError(f"{why}, got images of {height}x{width}")


def to_unit_range(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Bytes as floats in 0-1, in the memory order that convolutions run fastest in."""
    return images.to(memory_format=torch.channels_last).float().div(255)


def takes_image_size(backbone: str) -> bool:
    """Whether the backbone is built for one input size (windowed and position-embedded transformers are)."""
    check_known(backbone)
    return (timm.get_pretrained_cfg(backbone) or PretrainedCfg()).fixed_input_size


def check_known(backbone: str) -> None:
    """Raise FusiqaError, with the closest names, for a backbone that timm does not have."""
    if timm.is_model(backbone.split(".")[0]):
        return
    known = timm.list_models()
    close = [name for name in known if name.startswith(backbone)][:5]
    close = close or difflib.get_close_matches(backbone, known, n=5, cutoff=0.4)
    near = f"Close names: {', '.join(close)}. " if close else ""
    raise FusiqaError(f"unknown backbone {backbone!r}: not a timm model. {near}timm.list_models('swin*') lists more.")


def create_body(config: ModelConfig, weights: BackboneWeights | None) -> nn.Module:
    """The timm feature extractor of the last four stages, with stochastic depth where it has it."""
    arguments: dict[str, Any] = {**dict(config.timm_args), "features_only": True, "out_indices": (-4, -3, -2, -1)}
    if takes_image_size(config.backbone):
        arguments["img_size"] = (config.crop_size, config.crop_size)
        if config.view == "whole":
            arguments["strict_img_size"] = False
    if weights is not None:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights.path)}}
    create = partial(timm.create_model, config.backbone, **arguments)
    try:
        with quiet_timm():
            try:
                body = create(drop_path_rate=config.drop_path)
            except TypeError as reason:  # a backbone without stochastic depth
                if "drop_path_rate" not in str(reason):
                    raise
                body = create()
    except (*CANNOT_CREATE, SafetensorError) as reason:  # the latter of a broken file from the hub
        raise FusiqaError(_creation_message(config, weights, reason)) from reason
    # Lists and dictionaries of features are loaded strictly, before their parts are renamed; others leniently.
    if weights is not None and not isinstance(body, FeatureListNet | FeatureDictNet):
        needed = {name.removeprefix("model.") for name in body.state_dict() if not name.endswith(COUNTER)}
        if absent := needed - weights.keys():
            why = f"{weights.path} lacks {listed(sorted(absent))}; it does not hold a whole backbone"
            raise FusiqaError(f"{why}. Start from another file, or `backbone_weights` imagenet or none")
    return body


@contextmanager
def quiet_timm() -> Iterator[None]:
    """Silence timm's warnings of its deprecated names and of the classifier's weights, which a pyramid does not use."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


def _creation_message(config: ModelConfig, weights: BackboneWeights | None, reason: Exception) -> str:
    first_line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    if "strict_img_size" in first_line:
        size = f"whose input has {config.crop_size}x{config.crop_size} pixels"
        needed = "a backbone that takes images of any size, as convolutional ones and Swin do"
        return f"`view` whole needs {needed}, not {config.backbone}, {size}"
    if weights is not None:
        advice = "Name the `backbone` that they were made for, or start from `backbone_weights` imagenet or none"
        return f"the weights in {weights.path} do not fit {config.backbone}: {first_line}. {advice}"
    given = format_backbone_args(config.timm_args)
    network, advice = config.backbone, f"Use a backbone with four or more, such as {FOUR_STAGES}"
    if given:
        network, advice = f"{network} with {given}", f"{advice}, or correct `backbone_args`"
    return f"{network} cannot give four pyramid stages at `crop_size` {config.crop_size}: {first_line}. {advice}"


def normalisation(config: ModelConfig) -> tuple[Colour, Colour]:
    """Mean and standard deviation of the RGB input: the configuration's, else what timm states for the backbone."""
    stated = timm.get_pretrained_cfg(config.backbone) or PretrainedCfg()
    return cast(Colour, tuple(config.mean or stated.mean)), cast(Colour, tuple(config.std or stated.std))
