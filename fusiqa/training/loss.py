"""The training loss: errors of scores, order of pairs, entropy of the scale weights; all on 0-1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fusiqa.config import ScoreRange
from fusiqa.models.quality import Prediction

SPREAD = 0.08  # standard deviation of a rating, of the range
LossName = Literal["l1", "fidelity", "both"]


class Calibration(nn.Module):
    """Maps scores to the ratings of each data set: offset + slope * score, slope > 0; the identity for one of them.

    Args:
        sets: number of data sets.
        common: index of the set whose ratings are on the common scale.
    """

    def __init__(self, sets: int, common: int = 0) -> None:
        super().__init__()
        self.common = common
        self.offset, self.log_slope = (nn.Parameter(torch.zeros(sets - 1)) for _ in range(2))

    def forward(self, scores: Float[Tensor, " batch"], sets: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        offset, slope = self.lines()[sets].T
        return offset + slope * scores

    def lines(self) -> Float[Tensor, "sets 2"]:
        """Offset and slope of each data set."""
        at, zero = self.common, self.offset.new_zeros(1)
        offset, log_slope = (torch.cat([each[:at], zero, each[at:]]) for each in (self.offset, self.log_slope))
        return torch.stack([offset, log_slope.exp()], dim=1)


class TrainingLoss(nn.Module):
    """mean |score - mos|, the fidelity loss of all pairs, or both, plus the missing entropy of the scale weights.

    Of several data sets, scores are calibrated to each but the first that has a weight, and pairs are of one set.

    Args:
        score_range: of predictions and ratings.
        kind: l1, fidelity or both.
        entropy_weight: of 1 - entropy of the scale weights / log 4, where there are any.
        weights: of each data set, in every term.
    """

    weights: Tensor

    def __init__(
        self, score_range: ScoreRange, kind: LossName = "l1", *, entropy_weight: float = 0.0,
        weights: Sequence[float] = (1.0,),
    ) -> None:  # fmt: skip
        super().__init__()
        self.score_range, self.kind, self.entropy_weight = score_range, kind, entropy_weight
        common = next((place for place, weight in enumerate(weights) if weight), 0)
        self.calibration = Calibration(len(weights), common) if len(weights) > 1 else None
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def forward(
        self, prediction: Prediction, mos: Float[Tensor, " batch"], sets: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss and, detached, the mean error on the score range. `sets` are the data sets' indices."""
        scores, wanted = self.score_range.to_unit(prediction.score), self.score_range.to_unit(mos)
        if self.calibration is not None:
            scores = self.calibration(scores, sets)
        errors, weights = (scores - wanted).abs(), self.weights[sets]
        total = (weights * errors).mean() if self.kind != "fidelity" else errors.new_zeros(())
        if self.kind != "l1":
            i, j = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
            same = sets[i] == sets[j]
            i, j = i[same], j[same]
            pairs = fidelity(above(wanted[i] - wanted[j]), scores[i] - scores[j])
            total = total + (weights[i] * pairs).sum() / max(1, len(i))
        if self.entropy_weight and prediction.scale_weights is not None:
            total = total + self.entropy_weight * (weights * missing_entropy(prediction.scale_weights)).mean()
        return total, errors.mean().detach() * self.score_range.width

    def of_order(
        self, better: Float[Tensor, " pairs"], worse: Float[Tensor, " pairs"], fall: Float[Tensor, " pairs"],
        sets: Int[Tensor, " pairs"],
    ) -> Float[Tensor, ""]:  # fmt: skip
        """The fidelity loss of crops and their distorted versions; `fall`: decrease of viewers' mean opinion, 0-1."""
        differences = self.score_range.to_unit(better) - self.score_range.to_unit(worse)
        return (self.weights[sets] * fidelity(above(fall), differences)).mean()


def above(differences: Float[Tensor, "*pairs"], spread: float = SPREAD) -> Float[Tensor, "*pairs"]:
    """The probability, 0-1, that the first of a pair is rated higher, from the difference of two mean ratings.

    Source: Thurstone, A law of comparative judgment, Psychological Review, 1927, case V.
    """
    return torch.special.ndtr(differences / (math.sqrt(2) * spread))


def fidelity(
    expected: Float[Tensor, "*pairs"], differences: Float[Tensor, "*pairs"], spread: float = SPREAD
) -> Float[Tensor, "*pairs"]:
    """1 - sqrt(p q) - sqrt((1 - p)(1 - q)): 0 where the scores' probabilities q are the expected ones p.

    Source: Tsai et al., FRank: a ranking method with fidelity loss, SIGIR 2007,
    https://doi.org/10.1145/1277741.1277808; for image quality Zhang et al., UNIQUE, IEEE TIP 2021.
    """
    z = differences / (math.sqrt(2) * spread)
    roots = ((torch.special.log_ndtr(each) / 2).exp() for each in (z, -z))  # has a gradient far out too
    return 1 - sum(given.sqrt() * root for given, root in zip((expected, 1 - expected), roots, strict=True))


def missing_entropy(scale_weights: Float[Tensor, "batch scales"]) -> Float[Tensor, " batch"]:
    """1 - entropy / log(scales) of each image's scale weights, 0-1: 0 for equal weights."""
    entropy = -(scale_weights * scale_weights.clamp_min(1e-9).log()).sum(dim=1)
    return 1 - entropy / math.log(scale_weights.shape[1])
