"""The hypernetwork: it writes the weights of one target network per image from the fused map."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from fusiqa.models.fusion import GRID
from fusiqa.models.target import SIZES, TargetWeights

CHAIN = (512, 256, 112)
MID_RANGE = 0.5  # an untrained network scores in the middle of the range


class HyperNetwork(nn.Module):
    """Fused map -> TargetWeights.

    h = dropout(ReLU-Conv1x1 chain C -> 512 -> 256 -> 112), (batch, 112, 7, 7);
    W_k = Conv3x3(112, d_k d_k+1 / 49)(h) read as (d_k+1, d_k), b_k = Linear(112, d_k+1)(GAP(h)), k = 0 .. 3;
    the last layer's W_4 = Linear(112, 14)(GAP(h)), b_4 = Linear(112, 1)(GAP(h)).

    Args:
        in_channels: channels C of the fused map.
        dropout: share of h dropped in training, 0-1.

    Source: Su et al., CVPR 2020, section 3.4 (content understanding hyper network).
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
        matrices = [
            conv(h).reshape(h.shape[0], b, a) for conv, (a, b) in zip(self.matrices, pairwise(SIZES), strict=False)
        ]
        return TargetWeights([*matrices, self.last_matrix(pooled).unsqueeze(1)], [bias(pooled) for bias in self.biases])
