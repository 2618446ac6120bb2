"""The terms of the loss, and the seed of a step."""

import math

import pytest
import torch

from fusiqa.config import ScoreRange
from fusiqa.models.quality import Prediction
from fusiqa.training.fit import loss_of, missing_entropy, seed_step


def test_equal_weights_miss_no_entropy_and_one_alone_misses_all():
    assert float(missing_entropy(torch.full((3, 4), 0.25))) == pytest.approx(0, abs=1e-6)
    assert float(missing_entropy(torch.eye(4))) == pytest.approx(1, abs=1e-6)


def test_two_equal_weights_of_four_miss_half():
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert float(missing_entropy(weights)) == pytest.approx((1 - math.log(2) / math.log(4)) / 2)


def test_its_gradient_is_finite_for_a_weight_of_nothing():
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    missing_entropy(weights).backward()
    assert torch.isfinite(weights.grad).all()


def test_the_loss_by_hand():
    """Off by 10 and by 20 of 100: 0.15 in 0-1; of two images' weights one misses half of its entropy."""
    score = torch.tensor([40.0, 80.0], requires_grad=True)
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    mos, score_range = torch.tensor([50.0, 60.0]), ScoreRange(0, 100)
    total, error = loss_of(Prediction(score, weights), mos, score_range, entropy_weight=0.2)
    assert (total.item(), error.item()) == pytest.approx((0.15 + 0.2 * 0.25, 15))
    assert total.requires_grad
    assert not error.requires_grad
    for prediction, weight in ((Prediction(score, weights), 0.0), (Prediction(score, None), 0.2)):
        assert loss_of(prediction, mos, score_range, entropy_weight=weight)[0].item() == pytest.approx(0.15)


def test_a_step_repeats_its_dropout_and_no_other_has_it():
    drawn = []
    for numbers in ((3, 5, 0), (3, 5, 0), (3, 5, 1), (3, 6, 0), (4, 5, 0)):
        seed_step(*numbers)
        drawn.append(tuple(torch.rand(7).tolist()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4
