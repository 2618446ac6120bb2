"""The optimisation recipe: every parameter once, and rates that only fall."""

from itertools import pairwise

import pytest
from torch.optim.lr_scheduler import LambdaLR

from fusiqa.config import ModelConfig, NetworkSettings, OptimiserSettings
from fusiqa.models.quality import QualityModel
from fusiqa.training.recipe import (
    Hyperparameters,
    choose_hyperparameters,
    create_optimizer,
    rate_factor,
)


@pytest.fixture
def model():
    return QualityModel(ModelConfig(backbone="test_resnet", fusion="attention", crop_size=32))


def test_every_trainable_parameter_is_in_exactly_one_group(model):
    model.hypernetwork.chain[0].weight.requires_grad_(False)
    optimizer = create_optimizer(model, Hyperparameters(1e-4, 5e-4, 0, 0), weight_decay=0.1)
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_backbone_and_head_have_their_own_rates_and_only_matrices_decay(model):
    groups = {
        group["name"]: group for group in create_optimizer(model, Hyperparameters(1e-4, 5e-4, 0, 0), 0.1).param_groups
    }
    assert {name: group["lr"] for name, group in groups.items()} == {
        "backbone": 1e-4,
        "backbone_not_decayed": 1e-4,
        "head": 5e-4,
        "head_not_decayed": 5e-4,
    }
    backbone = {id(parameter) for parameter in model.pyramid.parameters()}
    for name, group in groups.items():
        assert group["weight_decay"] == (0.0 if name.endswith("not_decayed") else 0.1)
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])
        assert all((id(parameter) in backbone) == name.startswith("backbone") for parameter in group["params"])


@pytest.mark.parametrize("kind", ["cosine", "step", "none"])
def test_no_rate_rises_after_the_warm_up_nor_above_its_own_maximum(kind):
    factor = rate_factor(kind, steps=1000, warmup=0.05)
    values = [factor(step) for step in range(1001)]
    assert values[:50] == pytest.approx([(step + 1) / 50 for step in range(50)])
    assert max(values) <= 1
    assert all(after <= before for before, after in pairwise(values[50:]))


def test_the_schedules_end_where_they_say():
    ends = {kind: rate_factor(kind, steps=100, warmup=0)(99) for kind in ("cosine", "step", "none")}
    assert ends["cosine"] == pytest.approx(0.01, abs=1e-3)
    assert ends["step"] == 0.01
    assert ends["none"] == 1.0


def test_the_floor_is_relative_to_each_groups_own_rate(model):
    optimizer = create_optimizer(model, Hyperparameters(1e-6, 1e-5, 0, 0), 0.0)
    schedule = LambdaLR(optimizer, rate_factor("cosine", steps=10, warmup=0))
    for _ in range(10):
        optimizer.step()
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-8, 1e-8, 1e-7, 1e-7])


@pytest.mark.parametrize(
    ("network", "asked", "expected"),
    [
        ({"backbone": "swin_tiny_patch4_window7_224"}, {}, (1e-6, 1e-5, 0.3, 0.2)),
        ({"backbone": "swin_small_patch4_window7_224"}, {}, (1e-6, 1e-5, 0.35, 0.25)),
        ({"backbone": "swin_base_patch4_window7_224"}, {}, (1e-6, 1e-5, 0.4, 0.3)),
        ({"backbone": "mobilenetv2_100"}, {}, (2e-4, 1e-3, 0.1, 0.0)),
        ({"backbone": "mobilenetv2_100", "backbone_weights": "none"}, {}, (1e-3, 1e-3, 0.1, 0.0)),
        (
            {"backbone": "mobilenetv2_100", "backbone_weights": "none", "start_from": "run"},
            {},
            (2e-4, 1e-3, 0.1, 0.0),
        ),
        (
            {"backbone": "resnet50", "backbone_weights": "none", "dropout": 0.0, "drop_path": 0.15},
            {"lr": 3e-4, "head_lr_ratio": 7.0},
            (3e-4, 21e-4, 0.0, 0.15),
        ),
        ({}, {"freeze_backbone": True}, (0.0, 1e-3, 0.3, 0.0)),
        ({"dropout": 0.2, "drop_path": 0.15}, {"freeze_backbone": True}, (0.0, 1e-3, 0.2, 0.0)),
    ],
)
def test_what_is_not_asked_for_suits_the_backbone(network, asked, expected):
    chosen = choose_hyperparameters(NetworkSettings(**network), OptimiserSettings(**asked))
    assert chosen == pytest.approx(expected)


@pytest.mark.parametrize(
    ("asked", "head"),
    [({}, 1e-3), ({"lr": 3e-4}, 3e-4), ({"lr": 1e-3, "head_lr_ratio": 1}, 1e-3), ({"head_lr_ratio": 5}, 5e-3)],
)
@pytest.mark.parametrize("weights", ["imagenet", "none"])
@pytest.mark.parametrize("backbone", ["swin_tiny_patch4_window7_224", "mobilenetv2_100"])
def test_heads_on_a_frozen_backbone_have_the_rate_that_is_asked_for_whatever_the_backbone(
    backbone, weights, asked, head
):
    network = NetworkSettings(backbone, backbone_weights=weights)
    chosen = choose_hyperparameters(network, OptimiserSettings(freeze_backbone=True, **asked))
    assert chosen[:2] == pytest.approx((0.0, head))
