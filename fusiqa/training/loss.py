"""The loss of a training batch, and the seed of its dropout."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fusiqa.config import ScoreRange
from fusiqa.models.quality import Prediction


class Loss(NamedTuple):
    """Of a batch: `total` is minimised; `absolute_error` is the mean absolute error on the score range, detached."""

    total: Float[Tensor, ""]
    absolute_error: Float[Tensor, ""]


def loss_of(
    prediction: Prediction, mos: Float[Tensor, " batch"], score_range: ScoreRange, *, entropy_weight: float
) -> Loss:
    """mean |score - mos| in 0-1 + entropy_weight * (1 - entropy of the scale weights / log 4), if there are any.

    Args:
        prediction: of the batch, on the score range.
        mos: ratings of its images, on the score range.
        score_range: of both.
        entropy_weight: 0 leaves the entropy out.
    """
    error = F.l1_loss(score_range.to_unit(prediction.score), score_range.to_unit(mos))
    total = error
    if entropy_weight and prediction.scale_weights is not None:
        total = total + entropy_weight * missing_entropy(prediction.scale_weights)
    return Loss(total, error.detach() * score_range.width)


def missing_entropy(scale_weights: Float[Tensor, "batch scales"]) -> Float[Tensor, ""]:
    """1 - entropy / log(scales), 0-1, averaged over images: 0 for equal weights."""
    entropy = -(scale_weights * scale_weights.clamp_min(1e-9).log()).sum(dim=1)
    return 1 - entropy.mean() / math.log(scale_weights.shape[1])


def seed_step(*numbers: int) -> None:
    """Seed dropout from these numbers alone: the run's seed, and those of the step."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
