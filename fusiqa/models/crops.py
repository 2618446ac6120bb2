"""Crops as the network takes them, how many at once, and what the fusion attended to in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.views import stacked

PIXELS_AT_ONCE = {"cpu": 8 * 224**2, "cuda": 64 * 224**2}
"""Pixels of crops in one forward pass, which bounds memory; a CPU runs 8 crops of 224 twice as fast as 64."""
LARGEST_BYTE = 255


def crops_at_once(device_type: str, height: int, width: int) -> int:
    """Crops of one forward pass on a kind of device ("cpu", "cuda", ...), at least one."""
    return max(1, PIXELS_AT_ONCE.get(device_type, PIXELS_AT_ONCE["cuda"]) // (height * width))


def to_unit_range(crops: UInt8[Tensor, "crops 3 height width"]) -> Float[Tensor, "crops 3 height width"]:
    """Bytes as floats in 0-1, in the memory order that convolutions run fastest in."""
    return crops.to(memory_format=torch.channels_last).float().div(LARGEST_BYTE)


def passes(views: Iterable[np.ndarray], device: torch.device) -> Iterator[UInt8[Tensor, "views 3 height width"]]:
    """Consecutive views (height, width, 3) of one size, together on a device, as many as one forward pass takes."""
    for stack in stacked(views, lambda shape: crops_at_once(device.type, *shape[:2])):
        yield torch.from_numpy(stack).permute(0, 3, 1, 2).to(device)


@torch.no_grad()
def attention_of(model: QualityModel, crops: UInt8[Tensor, "crops 3 height width"]) -> Float[Tensor, "crops 4 ..."]:
    """What the fusion attended to in each crop, in float32: the gates of `spatial`, the matrix of `cross-scale`.

    The model is in evaluation mode, the crops are on its device. Raises FusiqaError for other fusions.
    """
    chunks = crops.split(crops_at_once(crops.device.type, *crops.shape[2:]))
    parts = [part for chunk in chunks if (part := model.fuse(to_unit_range(chunk)).attention) is not None]
    if not parts:
        raise FusiqaError(f"{model.config.fusion} fusion attends to nothing beyond its scale weights")
    return torch.cat(parts).float()
