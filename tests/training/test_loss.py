"""The terms of the loss, and the seed of a step."""

import math

import pytest
import torch

from fusiqa.config import ScoreRange
from fusiqa.config.model import UNIT_RANGE
from fusiqa.models.quality import Prediction
from fusiqa.training.fit import seed_step
from fusiqa.training.loss import Calibration, TrainingLoss, above, fidelity, missing_entropy


def test_equal_weights_miss_no_entropy_and_one_alone_misses_all():
    assert float(missing_entropy(torch.full((3, 4), 0.25)).mean()) == pytest.approx(0, abs=1e-6)
    assert float(missing_entropy(torch.eye(4)).mean()) == pytest.approx(1, abs=1e-6)


def test_two_equal_weights_of_four_miss_half():
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert float(missing_entropy(weights).mean()) == pytest.approx((1 - math.log(2) / math.log(4)) / 2)


def test_its_gradient_is_finite_for_a_weight_of_nothing():
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    missing_entropy(weights).mean().backward()
    assert torch.isfinite(weights.grad).all()


ONE_SET = torch.zeros(2, dtype=torch.long)


def predicted(*scores):
    return Prediction(torch.tensor(scores), None)


def test_the_loss_by_hand():
    """Off by 10 and by 20 of 100: 0.15 in 0-1; of two images' weights one misses half of its entropy."""
    score = torch.tensor([40.0, 80.0], requires_grad=True)
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    mos, score_range = torch.tensor([50.0, 60.0]), ScoreRange(0, 100)
    total, error = TrainingLoss(score_range, entropy_weight=0.2)(Prediction(score, weights), mos, ONE_SET)
    assert (total.item(), error.item()) == pytest.approx((0.15 + 0.2 * 0.25, 15))
    assert total.requires_grad
    assert not error.requires_grad
    for prediction, weight in ((Prediction(score, weights), 0.0), (Prediction(score, None), 0.2)):
        loss, _ = TrainingLoss(score_range, entropy_weight=weight)(prediction, mos, ONE_SET)
        assert loss.item() == pytest.approx(0.15)


def test_the_fidelity_loss_by_hand():
    """Equal ratings, p = 1/2, and scores that are one spread apart: q = Phi(1 / sqrt 2) = 0.76025."""
    q = 0.760250
    wanted = 1 - math.sqrt(q / 2) - math.sqrt((1 - q) / 2)
    loss, _ = TrainingLoss(UNIT_RANGE, "fidelity")(predicted(0.5, 0.58), torch.tensor([0.3, 0.3]), ONE_SET)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    both, _ = TrainingLoss(UNIT_RANGE, "both")(predicted(0.5, 0.58), torch.tensor([0.3, 0.3]), ONE_SET)
    assert both.item() == pytest.approx(wanted + 0.24, rel=1e-4)


def test_fidelity_is_least_where_the_order_is_right():
    certain = torch.tensor([1.0, 0.0])
    assert fidelity(certain, torch.tensor([5.0, -5.0])).max() == pytest.approx(0, abs=1e-6)
    assert fidelity(certain, torch.tensor([-5.0, 5.0])).min() > 0.9
    falling = fidelity(torch.ones(4), torch.tensor([-0.1, 0.0, 0.1, 0.2]))
    assert (falling.diff() < 0).all()
    assert above(torch.zeros(1)).item() == 0.5


def test_pairs_are_of_one_set():
    """Reversed between the sets, right within each: no loss."""
    mos, sets = torch.tensor([0.9, 0.1, 0.9, 0.1]), torch.tensor([0, 0, 1, 1])
    loss, _ = TrainingLoss(UNIT_RANGE, "fidelity", weights=(1, 1))(predicted(0.5, 0.0, 1.0, 0.5), mos, sets)
    assert loss.item() == pytest.approx(0, abs=1e-3)


def test_sets_are_weighed_and_calibrated():
    """Errors 0.1 and 0.3, of weights 1 and 3; then the second set's line takes its error away."""
    loss = TrainingLoss(UNIT_RANGE, weights=(1, 3))
    mos, sets = torch.tensor([0.4, 0.8]), torch.tensor([0, 1])
    assert loss(predicted(0.5, 0.5), mos, sets)[0].item() == pytest.approx((0.1 + 3 * 0.3) / 2)
    with torch.no_grad():
        loss.calibration.offset.fill_(0.3)
    assert loss(predicted(0.5, 0.5), mos, sets)[0].item() == pytest.approx(0.05)


def test_a_calibration_is_the_identity_at_first_and_always_for_the_first_set():
    calibration, scores = Calibration(3), torch.rand(6)
    sets = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(calibration(scores, sets), scores)
    calibration(scores, sets).sum().backward()
    with torch.no_grad():
        calibration.offset.add_(0.1)
        calibration.log_slope.sub_(9)
    moved = calibration(scores, sets)
    assert torch.equal(moved[sets == 0], scores[sets == 0])
    assert (calibration.lines()[:, 1] > 0).all()


def test_the_common_scale_is_that_of_the_first_set_with_a_weight():
    loss, scores, sets = TrainingLoss(UNIT_RANGE, weights=(0, 2, 1)), torch.rand(3), torch.tensor([0, 1, 2])
    with torch.no_grad():
        loss.calibration.offset.copy_(torch.tensor([0.1, 0.2]))
    assert (loss.calibration(scores, sets) - scores).tolist() == pytest.approx([0.1, 0, 0.2])


def test_the_order_of_a_crop_and_its_distorted_version():
    loss, low, high = TrainingLoss(ScoreRange(0, 100), weights=(1, 3)), torch.tensor([30.0]), torch.tensor([80.0])
    clear, unseen, sets = torch.tensor([0.5]), torch.tensor([0.0]), torch.tensor([0])
    assert loss.of_order(high, low, clear, sets).item() == pytest.approx(0, abs=1e-3)
    assert loss.of_order(low, high, clear, sets).item() > 0.9
    assert loss.of_order(low, low, unseen, sets).item() == pytest.approx(0, abs=1e-6)
    of_each = [loss.of_order(low, high, clear, torch.tensor([place])).item() for place in (0, 1)]
    assert of_each[1] == pytest.approx(3 * of_each[0])


def test_a_step_repeats_its_dropout_and_no_other_has_it():
    drawn = []
    for numbers in ((3, 5, 0), (3, 5, 0), (3, 5, 1), (3, 6, 0), (4, 5, 0)):
        seed_step(*numbers)
        drawn.append(tuple(torch.rand(7).tolist()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("kind", ["l1", "fidelity", "both"])
def test_a_set_of_weight_0_moves_nothing(kind):
    scores, mos = torch.tensor([0.1, 0.7, 0.2, 0.9], requires_grad=True), torch.tensor([0.6, 0.3, 0.8, 0.4])
    scale_weights, sets = torch.tensor([[0.7, 0.1, 0.1, 0.1]] * 4, requires_grad=True), torch.tensor([0, 0, 1, 1])
    measure = TrainingLoss(UNIT_RANGE, kind, entropy_weight=0.5, weights=(1.0, 0.0))
    loss, _ = measure(Prediction(scores, scale_weights), mos, sets)
    better, worse = torch.tensor([1, 3]), torch.tensor([0, 2])  # also of crops and their distorted versions
    loss = loss + measure.of_order(scores[better], scores[worse], torch.tensor([0.5, 0.5]), sets[better])
    loss.backward()
    for given in (scores, scale_weights):
        assert given.grad[:2].abs().min() > 0  # also where a pair is far out of order
        assert given.grad[2:].abs().max() == 0
