"""How the four maps of a pyramid become one for the hypernetwork: the fusions, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.config.model import COARSEST, SEED_WEIGHING, ModelConfig, ScaleWeighing
from fusiqa.models.backbone import Maps
from fusiqa.scoring.views import WINDOWS

GRID = 7  # G: cells on each side of the fused map
ATTENTION_HIDDEN = 256


class Fused(NamedTuple):
    """One map for the hypernetwork, and how it was made.

    Attributes:
        map: (batch, C, 7, 7).
        scale_weights: how much each scale counted, rows sum to one; None where a fusion does not weigh.
        attention: the gates of `spatial` (batch, 4, 7, 7) in 0-1, or the matrix of `cross-scale` (batch, 4, 4), whose
            row i is the attention of scale i to each scale and sums to one; else None.
    """

    map: Float[Tensor, "batch fused 7 7"]
    scale_weights: Float[Tensor, "batch 4"] | None
    attention: Float[Tensor, "batch 4 ..."] | None = None


class Fusion(nn.Module):
    """What every fusion has: the channels C of its fused map, and a forward from maps to `Fused`."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


class SingleScale(Fusion):
    """One scale alone: fused = p_i.

    Args:
        channels: channels C_i of the maps.
        scale: i, 0 the finest to 3 the coarsest.

    Source: Su et al., CVPR 2020, whose hypernetwork reads the last stage, i = 3.
    """

    def __init__(self, channels: Sequence[int], scale: int = COARSEST) -> None:
        super().__init__(channels[scale])
        self.scale = scale

    def forward(self, maps: Maps) -> Fused:
        return Fused(pool(maps[self.scale]), None)


class ConcatFusion(Fusion):
    """All scales, side by side and unweighted: fused = [p_0, p_1, p_2, p_3]."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(sum(channels))

    def forward(self, maps: Maps) -> Fused:
        return Fused(torch.cat([pool(m) for m in maps], dim=1), None)


class AttentionFusion(Fusion):
    """All scales, each weighed for every image: fused = [w_0 p_0, w_1 p_1, w_2 p_2, w_3 p_3].

    w = softmax(Linear(256, 4)(Dropout(ReLU(Linear(C_3, 256)(GAP(f_3)))))); the four weights of an image sum to one.
    The weighing can be varied (`ScaleWeighing`): p_i over its root mean square, w times a gain, the logits over a
    temperature, sigmoid gates in place of the softmax (the scale weights are then their fractions of the sum).

    Args:
        channels: channels C_i of the maps.
        dropout: fraction of the 256 hidden units dropped in training.
        weighing: how the weights follow from the logits, and what they multiply.

    Example:
        >>> fusion = AttentionFusion([2, 3, 5, 7])
        >>> fused = fusion([torch.rand(1, c, 8, 8) for c in (2, 3, 5, 7)])
        >>> fused.map.shape, round(float(fused.scale_weights.detach().sum()), 5)
        (torch.Size([1, 17, 7, 7]), 1.0)
    """

    def __init__(self, channels: Sequence[int], dropout: float = 0.1, weighing: ScaleWeighing = SEED_WEIGHING) -> None:
        super().__init__(sum(channels))
        self.weighing = weighing
        first, last = nn.Linear(channels[-1], ATTENTION_HIDDEN), nn.Linear(ATTENTION_HIDDEN, len(channels))
        self.attention = nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), last)

    def forward(self, maps: Maps) -> Fused:
        logits = self.attention(maps[-1].mean(dim=(2, 3))).float() / self.weighing.temperature
        gates = logits.sigmoid() if self.weighing.gate == "sigmoid" else logits.softmax(dim=1)
        pooled = [unit_power(pool(m)) if self.weighing.normalised else pool(m) for m in maps]
        factors = (self.weighing.gain * gates).unbind(dim=1)
        weighed = [p * factor.view(-1, 1, 1, 1) for p, factor in zip(pooled, factors, strict=True)]
        return Fused(torch.cat(weighed, dim=1), gates / gates.sum(dim=1, keepdim=True))


class SpatialFusion(Fusion):
    """All scales, each gated at every position: fused = [pool(g_0 f_0), ..., pool(g_3 f_3)].

    g_i = sigmoid(Conv1x1(C_i / 4, 1)(ReLU(Conv1x1(C_i, C_i / 4)(f_i)))), (batch, 1, H_i, W_i). The scale weights are
    the gates' means over a map, divided by their sum.

    Args:
        channels: channels C_i of the maps.
        on_pools: gate the p_i instead of the f_i: 7x7 positions on every scale, as heads on a frozen backbone do.
    """

    def __init__(self, channels: Sequence[int], *, on_pools: bool = False) -> None:
        super().__init__(sum(channels))
        self.on_pools = on_pools
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, max(1, c // 4), 1), nn.ReLU(), nn.Conv2d(max(1, c // 4), 1, 1)) for c in channels
        )

    def forward(self, maps: Maps) -> Fused:
        maps = [pool(m) for m in maps] if self.on_pools else maps
        gates = [gate(m).float().sigmoid() for gate, m in zip(self.gates, maps, strict=True)]
        gated = torch.cat([pool(m * g.to(m.dtype)) for m, g in zip(maps, gates, strict=True)], dim=1)
        attention = torch.cat([pool(g) for g in gates], dim=1)
        means = attention.mean(dim=(2, 3))
        return Fused(gated, means / means.sum(dim=1, keepdim=True), attention)


class CrossScaleFusion(Fusion):
    """All scales, every cell attending to every cell of every scale: fused = [p_0 + a_0, ..., p_3 + a_3].

    The 4 x 49 cells of the p_i become tokens of width 128, with a learned position and scale; a_i is the output
    of multi-head self-attention (4 heads) for the tokens of scale i, projected back to C_i channels. The matrix is the
    attention summed over key cells and averaged over heads and query cells, (4, 4); the scale weights are its column
    means, the attention that each scale received.

    Source: Vaswani et al., NeurIPS 2017, doi:10.48550/arXiv.1706.03762.
    """

    WIDTH = 128
    HEADS = 4

    def __init__(self, channels: Sequence[int], dropout: float = 0.1) -> None:
        super().__init__(sum(channels))
        self.in_proj = nn.ModuleList(nn.Conv2d(c, self.WIDTH, 1) for c in channels)
        self.position = nn.Parameter(0.02 * torch.randn(len(channels) * GRID**2, self.WIDTH))
        self.norm = nn.LayerNorm(self.WIDTH)
        self.attention = nn.MultiheadAttention(self.WIDTH, self.HEADS, dropout=dropout, batch_first=True)
        self.out_proj = nn.ModuleList(nn.Conv2d(self.WIDTH, c, 1) for c in channels)

    def forward(self, maps: Maps) -> Fused:
        pooled = [pool(m) for m in maps]
        cells = [project(p).flatten(2) for project, p in zip(self.in_proj, pooled, strict=True)]
        tokens = self.norm(torch.cat(cells, dim=2).transpose(1, 2) + self.position)
        attended, weights = self.attention(tokens, tokens, tokens)
        scales = len(maps)
        grids = attended.transpose(1, 2).unflatten(2, (scales, GRID, GRID)).unbind(dim=2)
        informed = [p + project(grid) for p, project, grid in zip(pooled, self.out_proj, grids, strict=True)]
        matrix = weights.float().unflatten(2, (scales, -1)).sum(dim=3).unflatten(1, (scales, -1)).mean(dim=2)
        matrix = matrix / matrix.sum(dim=2, keepdim=True)  # dropout of attention in training rescales the rest
        return Fused(torch.cat(informed, dim=1), matrix.mean(dim=1), matrix)


def unit_power(features: Float[Tensor, "batch channels 7 7"]) -> Float[Tensor, "batch channels 7 7"]:
    """A map over its root mean square, image by image, so that larger values alone give a scale no more weight."""
    power = features.float().square().mean(dim=(1, 2, 3), keepdim=True)
    return (features * (power + 1e-6).rsqrt()).to(features.dtype)


def pool(features: Float[Tensor, "batch channels height width"], grid: int = GRID) -> Tensor:
    """The adaptive average of a map on a grid, p_i on G x G cells; a map of that size is returned as it is.

    Returns:
        (batch, channels, grid, grid).
    """
    sides = features.shape[-2:]
    # ONNX has no adaptive pooling: none of an unknown size, and where cells overlap a sum of hundreds of slices.
    if any(isinstance(s, torch.SymInt) or (s % grid and torch.compiler.is_exporting()) for s in sides):
        down, across = (averages(side, grid).to(features.dtype) for side in sides)
        return down @ features @ across.T
    return features if sides == (grid, grid) else F.adaptive_avg_pool2d(features, grid)


def pool_windows(features: Float[Tensor, "batch channels height width"], grid: int = GRID) -> Tensor:
    """The adaptive averages of the 3x3 windows of a map, each half as high and wide as the map, row by row.

    Returns:
        (9 batch, channels, grid, grid), the windows of an image one after the other.
    """
    down, across = (averages(side, grid, WINDOWS).to(features) for side in features.shape[-2:])
    cells = (down @ features @ across.T).unflatten(3, (WINDOWS, grid)).unflatten(2, (WINDOWS, grid))
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def averages(side: int | torch.SymInt, grid: int, windows: int = 1) -> Float[Tensor, "cells side"]:
    """The matrix of adaptive average pooling along one side s: row i averages floor(i s / g) to ceil((i + 1) s / g).

    With several windows, which overlap by half, the rows of each in turn: their cells are as many parts of the window.
    """
    parts = (windows + 1) * grid  # of a side, of which every cell has two
    first = torch.tensor([[grid * window + 2 * cell] for window in range(windows) for cell in range(grid)])
    offset = torch.arange(side) * parts - first * side  # of each place from the begin of each cell, in wholes
    inside = ((offset > -parts) & (offset < 2 * side)).float()
    return inside / inside.sum(dim=1, keepdim=True)


BUILDERS: dict[str, Callable[[Sequence[int], ModelConfig], Fusion]] = {
    "single": lambda channels, config: SingleScale(channels, config.single_scale),
    "concat": lambda channels, config: ConcatFusion(channels),
    "attention": lambda channels, config: AttentionFusion(channels, config.attention_dropout, config.weighing),
    "spatial": lambda channels, config: SpatialFusion(channels, on_pools=config.gates_on_pools),
    "cross-scale": lambda channels, config: CrossScaleFusion(channels, config.attention_dropout),
}
