"""What the heads need of a backbone that does not change: its maps, pooled and packed small. It knows no files.

With a frozen backbone the maps of a crop are always the same. What the fusion and the local distortion vector make of
the finer three goes through average pools, which commute with 1x1 convolutions and sums; so their pools are enough. The
coarsest map is kept as it is, because its mean is not that of its 7x7 pool unless 7 divides its sides, or it has that
size. So the heads give the scores that the whole network gives, but for the rounding of 16-bit floats. `spatial` fusion
gates before it pools, and is trained on a frozen backbone as a network that gates the pooled maps
(`ModelConfig.gates_on_pools`), which is then what is saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from fusiqa.models.crops import to_unit_range
from fusiqa.models.fusion import GRID, pool
from fusiqa.models.head import STAGES
from fusiqa.models.quality import Prediction, QualityModel

LAYOUT = "packed maps 2"  # what rows are kept under: another layout of the same length would be taken for this one

Packed = Float[Tensor, "batch numbers"]
"""The pooled maps of a batch of crops, one row each."""


def grids(channels: Sequence[int], numbers: int) -> list[tuple[int, int]]:
    """(channels, cells on a side) of each map in a row of so many numbers, in the order in which they are packed.

    The pools of the finer three come first, then those for the local distortion vector, and last the coarsest map,
    whose square is whatever is left: crops are square.

    Example:
        >>> grids([2, 3, 5, 7], 2 * 49 + 3 * 49 + 5 * 49 + 2 * 64 + 3 * 16 + 5 * 4 + 7 * 9)
        [(2, 7), (3, 7), (5, 7), (2, 8), (3, 4), (5, 2), (7, 3)]
    """
    finer = channels[:-1]
    pooled = [*((into, GRID) for into in finer), *((into, grid) for into, (_, grid) in zip(finer, STAGES, strict=True))]
    left = numbers - sum(into * side**2 for into, side in pooled)
    return [*pooled, (channels[-1], math.isqrt(left // channels[-1]))]


@torch.no_grad()
def pack(model: QualityModel, crops: UInt8[Tensor, "batch 3 height width"]) -> Packed:
    """Run the backbone, in evaluation mode, and pool its maps: float16, (crops, numbers); crops are square."""
    *finer, coarsest = model.pyramid(to_unit_range(crops))
    local = [F.adaptive_avg_pool2d(m, grid) for m, (_, grid) in zip(finer, STAGES, strict=True)]
    return torch.cat([m.flatten(1) for m in [*map(pool, finer), *local, coarsest]], dim=1).half()


def judge_packed(model: QualityModel, packed: Packed) -> Prediction:
    """What the heads of a model say of packed crops; float32, the backbone is not run.

    Args:
        model: in training or evaluation mode.
        packed: rows of `pack`, from the same backbone.
    """
    shapes = grids(model.pyramid.channels, packed.shape[1])
    parts = packed.float().split([into * side**2 for into, side in shapes], dim=1)
    *pools, coarsest = [part.unflatten(1, (into, side, side)) for part, (into, side) in zip(parts, shapes, strict=True)]
    finer = len(STAGES)
    return model.score_features([*pools[:finer], coarsest], [*pools[finer:], coarsest])
