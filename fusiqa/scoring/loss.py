"""A score as a differentiable loss, for training image restorers and generators."""

from __future__ import annotations

from itertools import groupby
from os import PathLike
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import Resize
from fusiqa.scoring.models import Network, find
from fusiqa.scoring.torch import TorchNetwork, in_float32, load_torch_network
from fusiqa.scoring.views import layout


class QualityLoss(nn.Module):
    """How far images fall short of the best score, 0 (best) to 1, averaged over the batch; gradients reach the pixels.

    The scores are those of `Scorer` but for its rounding to 8 bits in both directions of a resize. The model is fixed,
    and not part of the module's state. Scores outside the range give values outside 0-1. `model` and `device` are those
    of `Scorer`, images are moved there; FusiqaError where there is no such model or device.

    Example:
        >>> images = torch.rand(1, 3, 64, 64, requires_grad=True)
        >>> QualityLoss(device="cpu")(images).backward()
        >>> images.grad.shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, model: str | PathLike[str] | None = None, *, device: str = "auto") -> None:
        super().__init__()
        path, name = find(model)
        self.network = load_torch_network(path, name=name, device=device)

    def forward(self, images: Tensor) -> Float[Tensor, ""]:
        """The loss of floats in 0-1 of any size. Raises FusiqaError for other types, shapes or values."""
        return quality_loss(self.network, images)


def quality_loss(network: Network, images: Any) -> Float[Tensor, ""]:
    """The loss of `QualityLoss`: mean of (best score - score) / width of the score range. Raises FusiqaError as it."""
    if not isinstance(network, TorchNetwork):
        raise FusiqaError("only backend='torch' has gradients")
    if not isinstance(images, Tensor):
        raise FusiqaError(f"expected a tensor of floats (batch, 3, height, width), got {type(images).__name__}")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or not images.is_floating_point():
        raise FusiqaError(
            f"a tensor of {images.dtype}, shape {shape}; expected floats (batch, 3, height, width), not empty"
        )
    images = images.to(network.device).float()
    lowest, highest = images.detach().amin().item(), images.detach().amax().item()
    if not (lowest >= 0 and highest <= 1):
        raise FusiqaError(f"values from {lowest:.9g} to {highest:.9g}; expected 0 to 1")
    info = network.info
    size = Resize.parse(info.resize).size(*shape[2:])
    if size != shape[2:]:
        images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    margins, places, _, weights = layout(*size, info.crop_size, view=info.view)
    images, scores = mirrored(images, margins), images.new_zeros(len(images))
    for (high, wide), views in groupby(zip(places, weights.tolist(), strict=True), key=lambda view: view[0][2:]):
        corners, fractions = zip(*views, strict=True)
        parts = torch.cat([images[:, :, top : top + high, left : left + wide] for top, left, _, _ in corners])
        with in_float32(network.device):
            each = torch.cat([network.model(part).score for part in parts.split(network.at_once((high, wide, 3)))])
            scores = scores + images.new_tensor(fractions) @ each.view(len(fractions), len(images))
    return 1 - info.score_range.to_unit(scores).mean()


def mirrored(
    images: Float[Tensor, "batch 3 height width"], margins: list[tuple[int, int]]
) -> Float[Tensor, "batch 3 new_height new_width"]:
    """Images mirrored at top and bottom, left and right: the pixel at the edge is repeated."""
    for dimension, margin in enumerate(margins, start=2):
        places = np.pad(np.arange(images.shape[dimension]), margin, mode="symmetric")
        images = images.index_select(dimension, torch.from_numpy(places).to(images.device))
    return images
