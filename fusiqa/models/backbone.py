"""A timm backbone as a pyramid of four NCHW maps. It knows nothing of what is made of the maps."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureDictNet, FeatureListNet
from torch import Tensor, nn

from fusiqa.config import ModelConfig
from fusiqa.config.backbone_args import format_backbone_args
from fusiqa.errors import FusiqaError, listed
from fusiqa.models.weights import BackboneWeights

SCALES = 4
CANNOT_CREATE = (
    *(RuntimeError, IndexError, AttributeError, AssertionError, TypeError, ValueError, KeyError),
    SafetensorError,  # a broken file from the hub; a local one has been opened before
)
SMALLEST_SIDE = 32  # the last stage of a stride-32 backbone still has one cell

Maps = list[Float[Tensor, "batch _ _ _"]]


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

    def __init__(self, config: ModelConfig, weights: BackboneWeights | None = None) -> None:
        super().__init__()
        self.name = config.backbone
        self.crop_size = config.crop_size
        self.fixed_size = takes_image_size(config.backbone)
        self._check_size(config.crop_size, config.crop_size)
        body: Any = create_body(config, weights)
        self.body = body
        self.channels: list[int] = body.feature_info.channels()
        self.strides: list[int] = body.feature_info.reduction()
        if sorted(set(self.strides)) != self.strides:
            raise FusiqaError(
                f"backbone {self.name} has strides {self.strides}, which is no pyramid; four growing strides are "
                f"needed (for instance swin_tiny_patch4_window7_224, convnext_tiny, resnet50, mobilenetv2_100)"
            )
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self._sizes: list[tuple[int, int]] | None = None
        mean, std = normalisation(config)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        """Four maps of (batch, channels[i], height / strides[i], width / strides[i]) from RGB in 0-1."""
        self._check_size(images.shape[-2], images.shape[-1])
        maps = self.body((images - self.mean) / self.std)
        return [m.permute(0, 3, 1, 2) if self.channels_last else m for m in maps]

    def scale_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each map at the size that it was built for; Swin-Tiny at 224: 56, 28, 14, 7 squared."""
        if self._sizes is None:  # not crop_size / stride: some backbones lose or add a row at their edges
            modes = [(module, module.training) for module in self.modules()]
            self.eval()
            with torch.no_grad():
                maps = self(self.mean.new_zeros(1, 3, self.crop_size, self.crop_size))
            for module, training in modes:
                module.training = training
            self._sizes = [(m.shape[2], m.shape[3]) for m in maps]
        return self._sizes

    def _check_size(self, height: int | torch.SymInt, width: int | torch.SymInt) -> None:
        if min(height, width) < SMALLEST_SIDE:
            raise FusiqaError(
                f"{self.name} needs images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE}, got {height}x{width}"
            )
        if self.fixed_size and (height, width) != (self.crop_size, self.crop_size):
            raise FusiqaError(
                f"{self.name} was built with `crop_size` {self.crop_size} and takes no other size, got images of "
                f"{height}x{width} (height x width)"
            )


def takes_image_size(backbone: str) -> bool:
    """Whether the backbone is built for one input size (windowed and position-embedded transformers are)."""
    check_known(backbone)
    pretrained = timm.get_pretrained_cfg(backbone)
    return bool(pretrained is not None and pretrained.fixed_input_size)


def check_known(backbone: str) -> None:
    """Raise FusiqaError, with the closest names, for a backbone that timm does not have."""
    if timm.is_model(backbone.split(".")[0]):
        return
    known = timm.list_models()
    longer = [name for name in known if name.startswith(backbone)]
    close = longer[:5] or difflib.get_close_matches(backbone, known, n=5, cutoff=0.4)
    raise FusiqaError(
        f"unknown backbone {backbone!r}: not a timm model. "
        + (f"Close names: {', '.join(close)}. " if close else "")
        + "timm.list_models('swin*') lists more."
    )


def create_body(config: ModelConfig, weights: BackboneWeights | None) -> nn.Module:
    """The timm feature extractor of the last four stages, with stochastic depth where it has it."""
    arguments: dict[str, Any] = dict(config.timm_args)
    if takes_image_size(config.backbone):
        arguments["img_size"] = (config.crop_size, config.crop_size)
    if weights is not None:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights.path)}}
    try:
        body = _create_with_drop_path(config, arguments)
    except CANNOT_CREATE as reason:
        raise FusiqaError(_creation_message(config, weights, reason)) from reason
    if weights is not None:
        check_loaded(body, weights)
    return body


def _create_with_drop_path(config: ModelConfig, arguments: dict[str, Any]) -> nn.Module:
    def create(**extra: Any) -> nn.Module:
        with warnings.catch_warnings(), quiet_log("timm"):
            warnings.simplefilter("ignore")  # of timm's own deprecated names
            return timm.create_model(
                config.backbone, features_only=True, out_indices=(-4, -3, -2, -1), **arguments, **extra
            )

    try:
        return create(drop_path_rate=config.drop_path)
    except TypeError as reason:  # a backbone without stochastic depth
        if "drop_path_rate" not in str(reason):
            raise
        return create()


@contextmanager
def quiet_log(name: str) -> Iterator[None]:
    """Errors only, for a while: timm warns of the classifier's weights, which a pyramid rightly leaves out."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _creation_message(config: ModelConfig, weights: BackboneWeights | None, reason: Exception) -> str:
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    if weights is not None:
        return (
            f"the weights in {weights.path} do not fit {config.backbone}: {first_line}. Name the `backbone` that they "
            "were made for, or start from `backbone_weights` imagenet or none"
        )
    given = format_backbone_args(config.timm_args)
    return (
        f"{config.backbone}{f' with {given}' if given else ''} cannot give four pyramid stages at "
        f"`crop_size` {config.crop_size}: {first_line}. Use a backbone with four or more (for instance "
        f"swin_tiny_patch4_window7_224, resnet50){', or correct `backbone_args`' if given else ''}"
    )


def check_loaded(body: nn.Module, weights: BackboneWeights) -> None:
    """Refuse weights that leave part of the body at random: timm loads some feature extractors leniently."""
    if isinstance(body, FeatureListNet | FeatureDictNet):
        return  # loaded strictly, before its parts were renamed
    absent = sorted({name.removeprefix("model.") for name in body.state_dict()} - weights.keys())
    if absent:
        raise FusiqaError(
            f"{weights.path} lacks {listed(absent)}; it does not hold a whole backbone. "
            "Start from another file, or `backbone_weights` imagenet or none"
        )


Colour = tuple[float, float, float]


def normalisation(config: ModelConfig) -> tuple[Colour, Colour]:
    """Mean and standard deviation of the RGB input: the configuration's, else what timm states for the backbone."""
    stated = timm.get_pretrained_cfg(config.backbone)
    mean = config.mean or (stated.mean if stated else IMAGENET_DEFAULT_MEAN)
    std = config.std or (stated.std if stated else IMAGENET_DEFAULT_STD)
    return cast(Colour, tuple(mean)), cast(Colour, tuple(std))
