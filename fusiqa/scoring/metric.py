"""The mean score of many images as a torchmetrics metric, for logging while image generators train."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from fusiqa.errors import FusiqaError
from fusiqa.scoring.scorer import Scorer


class QualityMetric(Metric):
    """Mean score over all images seen, on the model's score range, higher is better; a torchmetrics metric.

    `model` and `device` are those of `Scorer`, the `options` of `torchmetrics.Metric`, such as `dist_sync_on_step`.

    Example:
        >>> metric = QualityMetric(device="cpu")
        >>> metric.update(torch.rand(2, 3, 64, 64))
        >>> metric.compute().shape
        torch.Size([])
    """

    is_differentiable, higher_is_better, full_state_update = False, True, False
    total: Float[Tensor, ""]
    count: Int[Tensor, ""]

    def __init__(self, model: str | PathLike[str] | None = None, *, device: str = "auto", **options: Any) -> None:
        super().__init__(**options)
        self.scorer = Scorer(model, device=device)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Add images: (batch, 3, height, width), or 1 or 4 channels for grey or RGBA; uint8 in 0-255 or floats in 0-1.

        Raises FusiqaError for others.
        """
        if images.ndim != 4:
            raise FusiqaError(f"expected images of shape (batch, 3, height, width), got {tuple(images.shape)}")
        results = self.scorer.many(images)
        for result in results:
            if not result.ok:
                raise FusiqaError(f"{result.name}: {result.error}")
        self.total += sum(result.score for result in results)
        self.count += len(results)

    def compute(self) -> Float[Tensor, ""]:
        """The mean score, a scalar. Raises FusiqaError without images."""
        if not self.count:
            raise FusiqaError("no images to compute a mean score of; call `update` first")
        return (self.total / self.count).float()
