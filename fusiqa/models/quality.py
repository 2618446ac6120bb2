"""The whole network, images -> score and scale weights. It keeps nothing between calls."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fusiqa.config import ModelConfig
from fusiqa.models.backbone import Maps, Pyramid
from fusiqa.models.distortion import LocalDistortionVector
from fusiqa.models.fusion import Fused, build_fusion
from fusiqa.models.hypernet import HyperNetwork
from fusiqa.models.target import target_network
from fusiqa.models.weights import BackboneWeights, find_weights


class Prediction(NamedTuple):
    """What the network says of a batch: scores on the score range, higher is better, and the scale weights.

    `scale_weights` rows sum to one, finest scale first; None for fusions that do not weigh.
    """

    score: Float[Tensor, " batch"]
    scale_weights: Float[Tensor, "batch 4"] | None


class QualityModel(nn.Module):
    """HyperIQA over a timm backbone, with a fusion of four feature scales.

    Args:
        config: what to build.
        weights: pretrained backbone weights; None draws them at random and touches no network.

    Example:
        >>> config = ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64)
        >>> score, scale_weights = QualityModel(config).eval()(torch.rand(2, 3, 64, 64))
        >>> score.shape, scale_weights.shape
        (torch.Size([2]), torch.Size([2, 4]))

    Source: Su et al., CVPR 2020; the equations stand in docs/network.md.
    """

    def __init__(self, config: ModelConfig, weights: BackboneWeights | None = None) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config, weights)
        self.fusion = build_fusion(self.pyramid.channels, config)
        self.distortion = LocalDistortionVector(self.pyramid.channels)
        self.hypernetwork = HyperNetwork(self.fusion.out_channels, config.dropout)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Score RGB images with values in 0-1, not normalised: the backbone's mean and sd are applied here."""
        maps = self.pyramid(images)
        return self.judge(maps, maps)

    def judge(self, fusion_maps: Maps, distortion_maps: Maps) -> Prediction:
        """Score what the backbone saw; both are its maps, or what their pools leave of them (frozen.py)."""
        fused = self.fusion(fusion_maps)
        weights, vector = self.hypernetwork(fused.map), self.distortion(distortion_maps)
        with full_precision(fused.map.device):
            unit = target_network(vector, weights, dropout=self.config.dropout, training=self.training)
        return Prediction(self.config.score_range.from_unit(unit), fused.scale_weights)

    def fuse(self, images: Float[Tensor, "batch 3 height width"]) -> Fused:
        """What the fusion makes of RGB images with values in 0-1, and what it attended to: for explanations."""
        return self.fusion(self.pyramid(images))


def full_precision(device: torch.device):
    """Hold the target network in float32 under autocast: bfloat16 has 8 bits, too few for a score of 0-100."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def build_model(config: ModelConfig, backbone_weights: str = "none") -> QualityModel:
    """A model from a configuration; its `config` then states all that the weights' file stated.

    Args:
        config: what to build.
        backbone_weights: "none" (random), "imagenet" (timm's, from the hub), or a safetensors file.

    Raises:
        FusiqaError: an unknown backbone or fusion, sizes or weights that do not fit, or an unreachable hub.
    """
    from fusiqa.models.backbone import check_known, normalisation

    check_known(config.backbone)
    weights = find_weights(backbone_weights, config.backbone)
    if weights is not None:
        config = weights.configure(config)
    mean, std = normalisation(config)
    return QualityModel(replace(config, mean=mean, std=std), weights)
