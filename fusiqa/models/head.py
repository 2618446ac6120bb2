"""The head: what every scale sees (v), and a small network per image, written by a hypernetwork, that scores it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.config.model import FLAWS
from fusiqa.models.backbone import Maps
from fusiqa.models.fusion import GRID, pool

VECTOR = 224  # length of v, the input of the target network
SCALE_VECTOR = 16  # numbers of v that each of the first three scales gives
STAGES = ((16, 8), (32, 4), (64, 2))  # channels and grid of stage 0, 1, 2
SIZES = (VECTOR, 112, 56, 28, 14, 1)  # d_0 .. d_5 of the target network
DROPPED_LAYERS = 3  # dropout follows the first three layers of the target network in training
CHAIN = (512, 256, 112)  # channels of the hypernetwork's 1x1 convolutions
MID_RANGE = 0.5  # an untrained network scores in the middle of the range


class Pool(nn.Module):
    """`pool` as a layer."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        return pool(features, self.grid)


class LocalDistortionVector(nn.Module):
    """v = [v_0, v_1, v_2, v_3], (batch, 224).

    v_i = Linear_16(flatten(pool(Conv1x1(f_i)))) for i < 3, with 16, 32, 64 channels on 8x8, 4x4, 2x2 cells;
    v_3 = Linear_176(GAP(f_3)).

    Source: Su et al., CVPR 2020, section 3.3 (local distortion aware module), doi:10.1109/CVPR42600.2020.00372.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for into, (width, grid) in zip(channels, STAGES, strict=False):
            convolution, last = nn.Conv2d(into, width, 1, bias=False), nn.Linear(width * grid * grid, SCALE_VECTOR)
            self.stages.append(nn.Sequential(convolution, Pool(grid), nn.Flatten(), last))
        self.last = nn.Linear(channels[-1], VECTOR - SCALE_VECTOR * len(STAGES))

    def forward(self, maps: Maps) -> Float[Tensor, "batch 224"]:
        parts = [stage(m) for stage, m in zip(self.stages, maps, strict=False)]
        return torch.cat([*parts, self.last(maps[-1].mean(dim=(2, 3)))], dim=1)


class TargetWeights(NamedTuple):
    """The weights of one target network per image: W_k (batch, d_k+1, d_k) and b_k (batch, d_k+1), k = 0 .. 4."""

    matrices: list[Float[Tensor, "batch _ _"]]
    biases: list[Float[Tensor, "batch _"]]


class HyperNetwork(nn.Module):
    """Fused map -> TargetWeights.

    h = dropout(ReLU-Conv1x1 chain C -> 512 -> 256 -> 112), (batch, 112, 7, 7);
    W_k = Conv3x3(112, d_k d_k+1 / 49)(h) read as (d_k+1, d_k), b_k = Linear(112, d_k+1)(GAP(h)), k = 0 .. 3;
    the last layer's W_4 = Linear(112, 14)(GAP(h)), b_4 = Linear(112, 1)(GAP(h)).

    Args:
        in_channels: channels C of the fused map.
        dropout: fraction of h dropped in training, 0-1.

    Source: Su et al., CVPR 2020, section 3.4 (content understanding hyper network), doi:10.1109/CVPR42600.2020.00372.
    """

    def __init__(self, in_channels: int, dropout: float = 0.3) -> None:
        super().__init__()
        widths = (in_channels, *CHAIN)
        self.chain = nn.Sequential(
            *[layer for a, b in pairwise(widths) for layer in (nn.Conv2d(a, b, kernel_size=1), nn.ReLU())],
            nn.Dropout(dropout),
        )
        steps = list(pairwise(SIZES))
        self.matrices = nn.ModuleList(
            nn.Conv2d(CHAIN[-1], a * b // GRID**2, kernel_size=3, padding=1) for a, b in steps[:-1]
        )
        self.last_matrix = nn.Linear(CHAIN[-1], SIZES[-2])
        last_bias = nn.Linear(CHAIN[-1], SIZES[-1])
        nn.init.constant_(last_bias.bias, MID_RANGE)
        self.biases = nn.ModuleList([*(nn.Linear(CHAIN[-1], b) for _, b in steps[:-1]), last_bias])

    def forward(self, fused: Float[Tensor, "batch fused 7 7"]) -> TargetWeights:
        h = self.chain(fused)
        pooled = h.mean(dim=(2, 3))
        convolutions = zip(self.matrices, pairwise(SIZES), strict=False)
        matrices = [conv(h).reshape(h.shape[0], b, a) for conv, (a, b) in convolutions]
        return TargetWeights([*matrices, self.last_matrix(pooled).unsqueeze(1)], [bias(pooled) for bias in self.biases])


def target_network(
    vector: Float[Tensor, "batch 224"], weights: TargetWeights, *, dropout: float = 0.0, training: bool = False
) -> Float[Tensor, " batch"]:
    """The quality of each image: x_0 = v, x_k+1 = sigmoid(W_k x_k + b_k), and no sigmoid after the last layer.

    Batched matrix products, not grouped convolutions: an image's score does not depend on the others in the batch.
    It computes in float32, whatever precision its weights were written in.

    Args:
        vector: local distortion vectors v.
        weights: each image's own network.
        dropout: fraction of values dropped after each of the first three layers, 0-1; only where `training`.
        training: whether to drop.

    Returns:
        Unbounded numbers, trained towards 0-1, higher is better.

    Source: Su et al., CVPR 2020, section 3.2, equation 5, doi:10.1109/CVPR42600.2020.00372.
    """
    x = vector.float().unsqueeze(2)
    for k, (matrix, bias) in enumerate(zip(weights.matrices, weights.biases, strict=True)):
        x = torch.baddbmm(bias.float().unsqueeze(2), matrix.float(), x)
        if k < len(weights.matrices) - 1:
            x = torch.sigmoid(x)
        if k < DROPPED_LAYERS:
            x = F.dropout(x, dropout, training)
    return x.flatten()


class FlawHead(nn.Module):
    """The probability of each of `FLAWS`, several at once, from mean and standard deviation of every channel.

    p = sigmoid(Linear(128, 8)(Dropout(ReLU(Linear(2 C, 128)((s - mean) / scale))))), s the statistics of the four maps,
    (batch, 2 C); mean and scale are those of training. It takes no part in the score.

    Args:
        channels: channels C_i of the maps; C is their sum.
    """

    HIDDEN = 128
    mean: Tensor
    scale: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        statistics = 2 * sum(channels)
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("scale", torch.ones(statistics))
        first, last = nn.Linear(statistics, self.HIDDEN), nn.Linear(self.HIDDEN, len(FLAWS))
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.3), last)

    def forward(self, maps: Maps) -> Float[Tensor, "batch flaws"]:
        return self.layers((statistics(maps) - self.mean) / self.scale).sigmoid()


def statistics(maps: Maps) -> Float[Tensor, "batch statistics"]:
    """The means of all channels of all maps, then their standard deviations."""
    means = [m.float().mean(dim=(2, 3), keepdim=True) for m in maps]
    deviations = [(m.float() - mean).square().mean(dim=(2, 3)).sqrt() for m, mean in zip(maps, means, strict=True)]
    return torch.cat([*(mean.flatten(1) for mean in means), *deviations], dim=1)
