"""What the heads need of a backbone that does not change: its maps, pooled and packed small. It knows no files.

With a frozen backbone the maps of a crop are always the same. What the fusion and the local distortion vector make of
them goes through average pools, which commute with 1x1 convolutions and sums; so the pooled maps are enough, and give
the scores that the whole network gives. The one exception is `spatial` fusion, which gates before it pools: on pooled
maps its gates have 7x7 cells on every scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from fusiqa.models.crops import to_unit_range
from fusiqa.models.distortion import STAGES
from fusiqa.models.fusion import GRID, pool
from fusiqa.models.quality import Prediction, QualityModel

Packed = Float[Tensor, "batch numbers"]
"""The pooled maps of a batch of crops, one row each."""


def grids(channels: Sequence[int]) -> list[tuple[int, int]]:
    """(channels, cells on a side) of each pooled map, in the order in which they are packed.

    Example:
        >>> grids([2, 3, 5, 7])
        [(2, 7), (3, 7), (5, 7), (7, 7), (2, 8), (3, 4), (5, 2)]
    """
    local = [(into, grid) for into, (_, grid) in zip(channels, STAGES, strict=False)]
    return [*((into, GRID) for into in channels), *local]


def packed_size(channels: Sequence[int]) -> int:
    """Numbers that one crop takes."""
    return sum(into * side**2 for into, side in grids(channels))


@torch.no_grad()
def pack(model: QualityModel, crops: UInt8[Tensor, "batch 3 height width"]) -> Packed:
    """Run the backbone, in evaluation mode, and pool its maps: float16, (crops, numbers)."""
    maps = model.pyramid(to_unit_range(crops))
    local = [F.adaptive_avg_pool2d(m, grid) for m, (_, grid) in zip(maps, STAGES, strict=False)]
    return torch.cat([m.flatten(1) for m in [*(pool(m) for m in maps), *local]], dim=1).half()


def judge_packed(model: QualityModel, packed: Packed) -> Prediction:
    """What the heads of a model say of packed crops; float32, the backbone is not run.

    Args:
        model: in training or evaluation mode.
        packed: rows of `pack`, from the same backbone.
    """
    shapes = grids(model.pyramid.channels)
    parts = packed.float().split([into * side**2 for into, side in shapes], dim=1)
    maps = [part.unflatten(1, (into, side, side)) for part, (into, side) in zip(parts, shapes, strict=True)]
    scales = len(model.pyramid.channels)
    pooled = maps[:scales]
    return model.judge(pooled, [*maps[scales:], pooled[-1]])
