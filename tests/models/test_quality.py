"""The whole network: exact sizes, one score per image whatever the batch, gradients everywhere."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from fusiqa.config import FUSIONS, ModelConfig, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.models.fusion import BUILDERS, AttentionFusion
from fusiqa.models.head import SIZES, HyperNetwork, LocalDistortionVector, TargetWeights, target_network
from fusiqa.models.quality import QualityModel

COUNTS = {
    "tiny": {"single": 28_979_523, "concat": 29_323_587, "attention": 29_521_479},
    "small": {"single": 50_297_427, "concat": 50_641_491, "attention": 50_839_383},
    "base": {"single": 88_389_761, "concat": 88_848_513, "attention": 89_111_941},
}
TINY_CHANNELS = [96, 192, 384, 768]


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small_model(fusion="attention", **settings):
    torch.manual_seed(3)
    return QualityModel(ModelConfig(backbone="test_resnet", fusion=fusion, crop_size=64, **settings))


@pytest.mark.parametrize("size", COUNTS)
def test_swin_parameter_counts_are_exact(size):
    with torch.device("meta"):
        model, counts = QualityModel(ModelConfig(backbone=f"swin_{size}_patch4_window7_224")), {}
        for fusion in ("single", "concat", "attention"):  # the backbone is built once, which takes longest
            model.fusion = BUILDERS[fusion](model.pyramid.channels, model.config)
            model.hypernetwork = HyperNetwork(model.fusion.out_channels)
            counts[fusion] = parameters(model)
    assert counts == COUNTS[size]


def test_swin_tiny_parts_have_the_published_sizes():
    assert parameters(LocalDistortionVector(TINY_CHANNELS)) == 196_320
    assert parameters(HyperNetwork(768).chain) == 553_840
    assert parameters(HyperNetwork(1440).chain) == 897_904
    assert parameters(AttentionFusion(TINY_CHANNELS)) == 197_892
    assert parameters(HyperNetwork(768)) - 553_840 == 711_545
    weights = HyperNetwork(768)(torch.rand(1, 768, 7, 7))
    assert sum(t.numel() for t in [*weights.matrices, *weights.biases]) == 33_545


def test_every_fusion_has_a_builder():
    assert tuple(BUILDERS) == FUSIONS


def test_an_unknown_fusion_is_named():
    with pytest.raises(FusiqaError, match=r"'single', 'concat', 'attention', 'spatial', 'cross-scale', got 'sum'"):
        small_model("sum")


def test_target_network_by_hand_is_a_chain_of_sigmoids():
    torch.manual_seed(1)
    matrices = [torch.randn(2, b, a) for a, b in pairwise(SIZES)]
    biases = [torch.randn(2, b) for b in SIZES[1:]]
    vector = torch.randn(2, 224)
    score = target_network(vector, TargetWeights(matrices, biases))
    for image in range(2):
        x = vector[image]
        for k in range(5):
            x = matrices[k][image] @ x + biases[k][image]
            x = 1 / (1 + torch.exp(-x)) if k < 4 else x
        assert math.isclose(score[image], x.item(), rel_tol=1e-4, abs_tol=1e-4)


def test_target_dropout_acts_in_training_only():
    weights = HyperNetwork(11).eval()(torch.rand(3, 11, 7, 7))
    vector = torch.rand(3, 224)
    plain = target_network(vector, weights)
    assert torch.equal(target_network(vector, weights, dropout=0.5, training=False), plain)
    assert not torch.equal(target_network(vector, weights, dropout=0.5, training=True), plain)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_of_a_batch_equals_a_batch_of_one(fusion):
    model = small_model(fusion, score_range=ScoreRange(0, 100)).eval()
    images = torch.rand(7, 3, 64, 64)
    with torch.no_grad():
        together = model(images)
        alone = [model(image.unsqueeze(0)) for image in images]
    assert together.score.shape == (7,)
    assert torch.allclose(together.score, torch.cat([p.score for p in alone]), atol=1e-3)
    if fusion in ("attention", "spatial", "cross-scale"):
        assert torch.allclose(together.scale_weights, torch.cat([p.scale_weights for p in alone]), atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_train_and_eval_shapes_agree(fusion, batch):
    model = small_model(fusion)
    images = torch.rand(batch, 3, 64, 64)
    shapes = [[None if t is None else t.shape for t in model.train(mode)(images)] for mode in (True, False)]
    assert shapes[0] == shapes[1]
    assert shapes[0][0] == (batch,)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_gets_a_gradient(fusion):
    model = small_model(fusion, drop_path=0.0, timm_args=(("zero_init_last", False),)).train()
    model(torch.rand(4, 3, 64, 64)).score.sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_nothing_is_kept_on_the_module_between_calls():
    model = small_model().eval()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.rand(2, 3, 64, 64))
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_scores_are_on_the_score_range():
    images = torch.rand(3, 3, 64, 64)
    unit = small_model(score_range=ScoreRange(0, 1)).eval()(images).score
    scaled = small_model(score_range=ScoreRange(-20, 80)).eval()(images).score
    assert torch.allclose(scaled, -20 + 100 * unit, atol=1e-4)


@torch.no_grad()
def test_the_average_of_models_gives_the_means_of_all_that_they_give():
    models = [small_model(flaws=True) for _ in range(3)]
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    images, average = torch.rand(2, 3, 64, 64), QualityModel.average([models[0], QualityModel.average(models[1:])])
    assert all(model.training for model in models)
    models = [model.eval() for model in models]
    for found, *each in zip(average(images), *(model(images) for model in models), strict=True):
        torch.testing.assert_close(found, torch.stack(each).mean(dim=0))
        assert not torch.allclose(found, each[0])
    examined = [model.examine(images, windows=True) for model in models]
    for found, *each in zip(average.examine(images, windows=True), *examined, strict=True):
        torch.testing.assert_close(found, torch.stack(each).mean(dim=0))
    unweighed = QualityModel.average([small_model("concat").eval()] * 2)(images)
    assert unweighed.scale_weights is None


def test_an_average_attends_to_what_its_networks_attend_to_on_average():
    torch.manual_seed(0)
    config = ModelConfig(backbone="test_resnet", fusion="cross-scale", crop_size=64)
    models, images = [QualityModel(config).eval() for _ in range(2)], torch.randint(0, 256, (2, 3, 64, 64)).byte()
    mean = torch.stack([model.attention(images) for model in models]).mean(dim=0)
    torch.testing.assert_close(QualityModel.average(models).attention(images), mean)


def test_what_is_done_to_a_model_later_does_not_reach_an_average():
    models, images = [small_model().eval(), small_model().eval()], torch.rand(1, 3, 64, 64)
    average = QualityModel.average(models)
    before = average(images).score
    for model in models:
        model.train().load_state_dict({name: torch.zeros_like(each) for name, each in model.state_dict().items()})
    assert torch.equal(average(images).score, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("view", "whole"), ("crop_size", 96), ("fusion", "concat"), ("flaws", True), ("score_range", ScoreRange(0, 9))],
)
def test_models_that_give_different_things_have_no_average(name, value):
    config = ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64)
    other = QualityModel(replace(config, **{name: value}))
    said = f"network 2 of an average has `{name}` {value}, the first {getattr(config, name)}: average models that agree"
    with pytest.raises(FusiqaError, match=re.escape(said)):
        QualityModel.average([QualityModel(config), other])


def test_too_few_or_too_many_models_and_different_resizes_have_no_average():
    model = small_model()
    with pytest.raises(FusiqaError, match="nothing to average: give at least one model"):
        QualityModel.average([])
    with pytest.raises(FusiqaError, match="an average of 17 networks; expected at most 16"):
        QualityModel.average([model] * 17)
    with pytest.raises(FusiqaError, match="models of an average must have one `resize`, got none, 384"):
        QualityModel.average([model, QualityModel(model.config, resize="384")])


def test_an_average_states_the_data_and_licence_of_its_models_and_none_of_their_figures():
    first, second = small_model(), small_model()
    first.provenance, second.provenance = ({"dataset": "spaq", "test_srcc": 0.9, "licence": each} for each in "ab")
    assert QualityModel.average([first, second]).provenance == {"dataset": "spaq"}
    assert QualityModel.average([first, small_model()]).provenance == {}
    assert QualityModel.average([first, second], provenance={"seeds": [0, 1]}).provenance == {"seeds": [0, 1]}


def test_autocast_leaves_the_score_in_full_precision():
    with torch.autocast("cpu", torch.bfloat16):
        score, weights = small_model().eval()(torch.rand(2, 3, 64, 64))
    assert score.dtype == weights.dtype == torch.float32
