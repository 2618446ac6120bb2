"""The fusions: each against its formula, and what each says of the scales."""

import pytest
import torch
from torch.nn import functional as F

from fusiqa.config import ScaleWeighing
from fusiqa.models.fusion import AttentionFusion, ConcatFusion, CrossScaleFusion, SingleScale, SpatialFusion

CHANNELS = [2, 3, 5, 7]
OWNER = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3])  # the scale of each fused channel
WEIGHING_FUSIONS = [AttentionFusion, SpatialFusion, CrossScaleFusion]


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.rand(5, c, s, s) for c, s in zip(CHANNELS, (28, 14, 7, 7), strict=True)]


def logits_of(fusion, maps):
    hidden = F.relu(F.linear(maps[3].mean((2, 3)), fusion.attention[0].weight, fusion.attention[0].bias))
    return F.linear(hidden, fusion.attention[3].weight, fusion.attention[3].bias)


def test_single_is_the_last_scale_alone(maps):
    fused = SingleScale(CHANNELS)(maps)
    assert torch.equal(fused.map, maps[3])
    assert fused.scale_weights is None


@pytest.mark.parametrize("scale", range(4))
def test_single_reads_any_scale(maps, scale):
    fusion = SingleScale(CHANNELS, scale)
    assert fusion.out_channels == CHANNELS[scale]
    assert torch.equal(fusion(maps).map, F.adaptive_avg_pool2d(maps[scale], 7))


def test_concat_pools_each_scale_to_the_grid(maps):
    fused = ConcatFusion(CHANNELS)(maps)
    assert fused.map.shape == (5, 17, 7, 7)
    assert torch.allclose(fused.map[1, 1, 2, 3], maps[0][1, 1, 8:12, 12:16].mean())
    assert fused.scale_weights is None


def test_attention_is_concat_times_softmax_weights(maps):
    fusion = AttentionFusion(CHANNELS).eval()
    fused, weights, _ = fusion(maps)
    logits = logits_of(fusion, maps)
    assert torch.allclose(weights, logits.exp() / logits.exp().sum(1, keepdim=True), atol=1e-6)
    assert torch.allclose(fused, ConcatFusion(CHANNELS)(maps).map * weights[:, OWNER, None, None], atol=1e-6)


def test_a_gain_and_a_temperature_scale_what_they_say(maps):
    fusion = AttentionFusion(CHANNELS, weighing=ScaleWeighing(temperature=5.0, gain=4.0)).eval()
    fused, weights, _ = fusion(maps)
    assert torch.allclose(weights, (logits_of(fusion, maps) / 5).softmax(dim=1), atol=1e-6)
    assert torch.allclose(fused, 4 * ConcatFusion(CHANNELS)(maps).map * weights[:, OWNER, None, None], atol=1e-6)


def test_sigmoid_gates_are_free_of_one_another_and_their_shares_are_the_weights(maps):
    fusion = AttentionFusion(CHANNELS, weighing=ScaleWeighing(gate="sigmoid")).eval()
    fused, weights, _ = fusion(maps)
    gates = torch.sigmoid(logits_of(fusion, maps))
    assert torch.allclose(fused, ConcatFusion(CHANNELS)(maps).map * gates[:, OWNER, None, None], atol=1e-6)
    assert torch.allclose(weights, gates / gates.sum(1, keepdim=True), atol=1e-6)


def test_normalised_maps_have_one_power_whatever_their_size(maps):
    fusion = AttentionFusion(CHANNELS, weighing=ScaleWeighing(normalised=True)).eval()
    louder = [maps[0] * 1000, *maps[1:]]
    assert torch.allclose(fusion(maps).map, fusion(louder).map, rtol=1e-4, atol=1e-6)
    fused, weights, _ = fusion(maps)
    for scale in range(4):
        power = fused[:, scale == OWNER].square().mean((1, 2, 3)).sqrt()
        assert torch.allclose(power, weights[:, scale], rtol=1e-4)


def test_spatial_gates_every_place_of_every_scale_before_pooling(maps):
    fusion = SpatialFusion(CHANNELS).eval()
    fused, weights, attention = fusion(maps)
    first, last = fusion.gates[0][0], fusion.gates[0][2]
    gate = torch.sigmoid(F.conv2d(F.relu(F.conv2d(maps[0], first.weight, first.bias)), last.weight, last.bias))
    assert gate.shape == (5, 1, 28, 28)
    assert torch.allclose(fused[:, :2], F.avg_pool2d(maps[0] * gate, 4), atol=1e-6)
    assert torch.allclose(attention[:, 0], F.avg_pool2d(gate, 4)[:, 0], atol=1e-6)
    means = attention.mean((2, 3))
    assert torch.allclose(weights, means / means.sum(1, keepdim=True), atol=1e-6)


def test_spatial_has_the_published_sizes():
    """Per scale: Conv1x1 C -> C/4, ReLU, Conv1x1 -> 1, with biases."""
    channels = [96, 192, 384, 768]
    expected = sum(c * (c // 4) + c // 4 + c // 4 + 1 for c in channels)
    assert sum(p.numel() for p in SpatialFusion(channels).parameters()) == expected


def test_cross_scale_is_multi_head_attention_among_all_cells(maps):
    fusion = CrossScaleFusion(CHANNELS).eval()
    fused, weights, matrix = fusion(maps)
    pooled = ConcatFusion(CHANNELS)(maps).map.split(CHANNELS, dim=1)
    tokens = torch.cat([project(p).flatten(2).mT for project, p in zip(fusion.in_proj, pooled, strict=True)], dim=1)
    tokens = fusion.norm(tokens + fusion.position)
    packed, bias = fusion.attention.in_proj_weight, fusion.attention.in_proj_bias
    q, k, v = (t.unflatten(2, (4, 32)).transpose(1, 2) for t in F.linear(tokens, packed, bias).chunk(3, dim=2))
    looks = (q @ k.mT / 32**0.5).softmax(dim=-1)
    told = fusion.attention.out_proj((looks @ v).transpose(1, 2).flatten(2))
    third = told[:, 98:147].mT.reshape(5, 128, 7, 7)
    assert torch.allclose(fused[:, 5:10], pooled[2] + fusion.out_proj[2](third), atol=1e-5)
    mean_looks = looks.mean(dim=1)  # over heads
    assert torch.allclose(matrix[:, 2, 1], mean_looks[:, 98:147, 49:98].sum(dim=2).mean(dim=1), atol=1e-5)
    assert torch.allclose(weights, matrix.mean(dim=1), atol=1e-6)


@pytest.mark.parametrize("fusion", WEIGHING_FUSIONS)
@pytest.mark.parametrize("training", [False, True])
def test_scale_weights_are_positive_and_sum_to_one(fusion, training, maps):
    torch.manual_seed(1)
    _, weights, attention = fusion(CHANNELS).train(training)(maps)
    assert weights.shape == (5, 4)
    assert (weights > 0).all()
    assert torch.allclose(weights.sum(dim=1), torch.ones(5), atol=1e-5)
    if fusion is CrossScaleFusion:
        assert torch.allclose(attention.sum(dim=2), torch.ones(5, 4), atol=1e-5)


@pytest.mark.parametrize("fusion", WEIGHING_FUSIONS)
def test_scale_weights_are_in_full_precision_under_autocast(fusion, maps):
    with torch.autocast("cpu", torch.bfloat16):
        weights = fusion(CHANNELS).eval()(maps).scale_weights
    assert weights.dtype == torch.float32
    assert torch.allclose(weights.sum(dim=1), torch.ones(5), atol=1e-5)
