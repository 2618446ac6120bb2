"""The terms of the loss."""

import math

import pytest
import torch

from fusiqa.training.module import missing_entropy


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
