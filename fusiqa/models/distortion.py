"""The local distortion vector: what every scale sees, pooled and projected. It knows no hypernetwork."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fusiqa.models.backbone import Maps

VECTOR = 224  # length of v, the input of the target network
SHARE = 16  # numbers of v that each of the first three scales gives
STAGES = ((16, 8), (32, 4), (64, 2))  # channels and grid of stage 0, 1, 2


class LocalDistortionVector(nn.Module):
    """v = [v_0, v_1, v_2, v_3], (batch, 224).

    v_i = Linear_16(flatten(pool(Conv1x1(f_i)))) for i < 3, with 16, 32, 64 channels on 8x8, 4x4, 2x2 cells;
    v_3 = Linear_176(GAP(f_3)).

    Source: Su et al., CVPR 2020, section 3.3 (local distortion aware module).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(into, width, kernel_size=1, bias=False),
                nn.AdaptiveAvgPool2d(grid),
                nn.Flatten(),
                nn.Linear(width * grid * grid, SHARE),
            )
            for into, (width, grid) in zip(channels, STAGES, strict=False)
        )
        self.last = nn.Linear(channels[-1], VECTOR - SHARE * len(STAGES))

    def forward(self, maps: Maps) -> Float[Tensor, "batch 224"]:
        parts = [stage(m) for stage, m in zip(self.stages, maps, strict=False)]
        return torch.cat([*parts, self.last(maps[-1].mean(dim=(2, 3)))], dim=1)
