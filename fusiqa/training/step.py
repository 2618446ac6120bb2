"""One training step, whoever drives it: the seed of its dropout and the loss of its batch. It updates no weight."""

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
    """Of a batch: `total` is to be minimised; `absolute_error` is the mean one, on the score range, no gradient."""

    total: Float[Tensor, ""]
    absolute_error: Float[Tensor, ""]


def loss_of(
    prediction: Prediction, mos: Float[Tensor, " batch"], score_range: ScoreRange, *, entropy_weight: float
) -> Loss:
    """mean |score - mos| in 0-1, plus `entropy_weight` times the entropy that scale weights miss, where there are any.

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
    """Share by which the entropy of each image's weights falls short of that of equal ones, 0-1, averaged."""
    entropy = -(scale_weights * scale_weights.clamp_min(1e-9).log()).sum(dim=1)
    return 1 - entropy.mean() / math.log(scale_weights.shape[1])


def seed_step(*numbers: int) -> None:
    """Let dropout depend on these numbers alone: the run's seed, and what tells the step from others."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
