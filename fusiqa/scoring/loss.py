"""A score as a differentiable loss, for training image restorers and generators."""

from __future__ import annotations

from os import PathLike

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import OVERLAP, Resize, cover
from fusiqa.scoring.models import Network, find
from fusiqa.scoring.torch import TorchNetwork, in_float32, load_torch_network


class QualityLoss(nn.Module):
    """How far images fall short of the best score, 0 (best) to 1, averaged over the batch; gradients reach the pixels.

    The scores are those of `Scorer` except for rounding to 8 bits after the resize. The model is fixed and not part of
    the module's state. Scores outside the range give values outside 0-1.

    Args:
        model: as for `Scorer`.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps"; images are moved there.

    Raises:
        FusiqaError: no such model or device.

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

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
        """The loss of floats in 0-1 of any size. Raises FusiqaError for other types, shapes or values."""
        return quality_loss(self.network, images)


def quality_loss(network: Network, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
    """Mean over the batch of (best score - score) / width of the score range: 0 is the best score.

    The scores are those of `Scorer` but for rounding to 8 bits after the resize, which has no gradient.

    Args:
        network: in torch.
        images: floats in 0-1.

    Raises:
        FusiqaError: a network in another runtime, integers, other shapes, values outside 0-1.
    """
    if not isinstance(network, TorchNetwork):
        raise FusiqaError("only backend='torch' has gradients")
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise FusiqaError(
            f"a tensor of {images.dtype}, shape {tuple(images.shape)}; expected floats (batch, 3, height, width)"
        )
    lowest, highest = images.detach().amin().item(), images.detach().amax().item()
    if not (lowest >= 0 and highest <= 1):
        raise FusiqaError(f"values from {lowest:g} to {highest:g}; expected 0 to 1")
    info = network.info
    crops, count = crops_of(images.to(network.device).float(), Resize.parse(info.resize), info.crop_size)
    with in_float32(network.device):
        scores = torch.cat([network.model(part).score for part in crops.split(network.at_once(tuple(crops.shape[2:])))])
    return 1 - info.score_range.to_unit(scores.view(count, len(images)).mean(dim=0)).mean()


def crops_of(
    images: Float[Tensor, "batch 3 height width"], resize: Resize, side: int
) -> tuple[Float[Tensor, "crops 3 side side"], int]:
    """The crops of all images, one corner after the other, and how many each image has."""
    size = resize.size(*images.shape[2:])
    if size != tuple(images.shape[2:]):
        images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    images = mirrored(images, side)
    corners = cover(images.shape[2], images.shape[3], side, overlap=OVERLAP)
    return torch.cat([images[:, :, top : top + side, left : left + side] for top, left in corners]), len(corners)


def mirrored(images: Float[Tensor, "batch 3 height width"], side: int) -> Tensor:
    """Images mirrored outwards until they are one crop large, as `pad_to` does it: the edge's own pixel is repeated."""
    for dimension in (2, 3):
        length = images.shape[dimension]
        missing = max(0, side - length)
        places = torch.arange(-(missing // 2), length + missing - missing // 2, device=images.device)
        folded = places % (2 * length)
        images = images.index_select(dimension, torch.where(folded < length, folded, 2 * length - 1 - folded))
    return images
