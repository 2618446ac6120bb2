"""From the crops of images to one prediction per image. It knows no files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fusiqa.errors import FusiqaError
from fusiqa.models.quality import Prediction, QualityModel

PIXELS_AT_ONCE = {"cpu": 8 * 224**2, "cuda": 64 * 224**2}
"""Pixels of crops in one forward pass, which bounds memory; a CPU runs 8 crops of 224 twice as fast as 64."""
LARGEST_BYTE = 255


def crops_at_once(device_type: str, height: int, width: int) -> int:
    """Crops of one forward pass on a kind of device ("cpu", "cuda", ...), at least one."""
    return max(1, PIXELS_AT_ONCE.get(device_type, PIXELS_AT_ONCE["cuda"]) // (height * width))


def to_unit_range(crops: UInt8[Tensor, "crops 3 height width"]) -> Float[Tensor, "crops 3 height width"]:
    """Bytes as floats in 0-1, in the memory order that convolutions run fastest in."""
    return crops.to(memory_format=torch.channels_last).float().div(LARGEST_BYTE)


@torch.no_grad()
def predict_images(
    model: QualityModel, crops: UInt8[Tensor, "crops 3 height width"], counts: Sequence[int]
) -> Prediction:
    """One prediction per image: the mean over its crops, in float32 whatever the surrounding precision.

    Args:
        model: in evaluation mode.
        crops: the crops of all images, one image after the other.
        counts: crops of each image; they sum to the number of crops.
    """
    at_once = crops_at_once(crops.device.type, *crops.shape[2:])
    with torch.autocast(crops.device.type, enabled=False):
        parts = [model(to_unit_range(chunk)) for chunk in crops.split(at_once)]
    score = torch.stack([part.mean() for part in torch.cat([p.score for p in parts]).split(list(counts))])
    if parts[0].scale_weights is None:
        return Prediction(score, None)
    weights = torch.cat([p.scale_weights for p in parts]).split(list(counts))
    return Prediction(score, torch.stack([part.mean(dim=0) for part in weights]))


@torch.no_grad()
def attention_of(model: QualityModel, crops: UInt8[Tensor, "crops 3 height width"]) -> Float[Tensor, "crops 4 ..."]:
    """What the fusion attended to in each crop, in float32: the gates of `spatial`, the matrix of `cross-scale`.

    Args:
        model: in evaluation mode.
        crops: on the model's device.

    Raises:
        FusiqaError: a fusion that attends to nothing beyond its scale weights.
    """
    at_once = crops_at_once(crops.device.type, *crops.shape[2:])
    parts = []
    for chunk in crops.split(at_once):
        attention = model.fuse(to_unit_range(chunk)).attention
        if attention is None:
            raise FusiqaError(f"{model.config.fusion} fusion attends to nothing beyond its scale weights")
        parts.append(attention.float())
    return torch.cat(parts)
