"""The heart: how four feature scales become one map, the fusions side by side. It knows no backbone and no score.

Every fusion takes the four maps of a pyramid and gives `Fused(map, scale_weights)`; `map` goes to the hypernetwork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.config import FUSIONS, ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models.pyramid import Maps

GRID = 7  # G: cells on each side of the fused map
ATTENTION_HIDDEN = 256


class Fused(NamedTuple):
    """One map for the hypernetwork, and how much each scale counted in it (None where a fusion does not weigh)."""

    map: Float[Tensor, "batch fused 7 7"]
    scale_weights: Float[Tensor, "batch 4"] | None


class Fusion(nn.Module):
    """What every fusion has: the channels C of its fused map, and a forward from maps to `Fused`."""

    out_channels: int


class SingleScale(Fusion):
    """The coarsest scale alone: fused = p_3.

    Source: Su et al., CVPR 2020, whose hypernetwork reads the last stage.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels[-1]

    def forward(self, maps: Maps) -> Fused:
        return Fused(pool(maps[-1]), None)


class ConcatFusion(Fusion):
    """All scales, side by side and unweighted: fused = [p_0, p_1, p_2, p_3]."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = sum(channels)

    def forward(self, maps: Maps) -> Fused:
        return Fused(torch.cat([pool(m) for m in maps], dim=1), None)


class AttentionFusion(Fusion):
    """All scales, each weighed for every image: fused = [w_0 p_0, w_1 p_1, w_2 p_2, w_3 p_3].

    w = softmax(Linear(256, 4)(Dropout(ReLU(Linear(C_3, 256)(GAP(f_3)))))); the four weights of an image sum to one.

    Args:
        channels: channels C_i of the maps.
        dropout: share of the 256 hidden units dropped in training, 0-1.

    Example:
        >>> fusion = AttentionFusion([2, 3, 5, 7])
        >>> fused = fusion([torch.rand(1, c, 8, 8) for c in (2, 3, 5, 7)])
        >>> fused.map.shape, round(float(fused.scale_weights.detach().sum()), 5)
        (torch.Size([1, 17, 7, 7]), 1.0)
    """

    def __init__(self, channels: Sequence[int], dropout: float = 0.1) -> None:
        super().__init__()
        self.out_channels = sum(channels)
        self.attention = nn.Sequential(
            nn.Linear(channels[-1], ATTENTION_HIDDEN),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(ATTENTION_HIDDEN, len(channels)),
        )

    def forward(self, maps: Maps) -> Fused:
        weights = self.attention(maps[-1].mean(dim=(2, 3))).float().softmax(dim=1)
        weighed = [pool(m) * w.view(-1, 1, 1, 1) for m, w in zip(maps, weights.unbind(dim=1), strict=True)]
        return Fused(torch.cat(weighed, dim=1), weights)


def pool(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels 7 7"]:
    """p_i: the adaptive average of a map on the G x G grid."""
    return F.adaptive_avg_pool2d(features, GRID)


BUILDERS: dict[str, Callable[[Sequence[int], ModelConfig], Fusion]] = {
    "single": lambda channels, config: SingleScale(channels),
    "concat": lambda channels, config: ConcatFusion(channels),
    "attention": lambda channels, config: AttentionFusion(channels, config.attention_dropout),
}


def build_fusion(channels: Sequence[int], config: ModelConfig) -> Fusion:
    """The fusion that the configuration names. Raises FusiqaError for an unknown one."""
    if config.fusion not in BUILDERS:
        raise FusiqaError(f"unknown fusion {config.fusion!r}; there are {', '.join(FUSIONS)}")
    return BUILDERS[config.fusion](channels, config)
