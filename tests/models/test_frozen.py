"""Heads on pooled maps say what the whole network says."""

import pytest
import torch

from fusiqa.config import ModelConfig, ScoreRange
from fusiqa.models.frozen import judge_packed, pack, packed_size
from fusiqa.models.quality import QualityModel

EXACT = ["single", "concat", "attention", "cross-scale"]


def model_of(fusion):
    torch.manual_seed(2)
    config = ModelConfig(backbone="mobilenetv2_035", fusion=fusion, score_range=ScoreRange(0, 100))
    return QualityModel(config).eval()


@pytest.fixture(scope="module")
def crops():
    torch.manual_seed(0)
    return torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)


@pytest.mark.parametrize("fusion", EXACT)
def test_packed_maps_give_the_score_of_the_whole_network(fusion, crops):
    model = model_of(fusion)
    packed = pack(model, crops)
    assert packed.shape == (3, packed_size(model.pyramid.channels))
    assert packed.dtype == torch.float16
    with torch.no_grad():
        whole, heads = model(crops / 255), judge_packed(model, packed)
    assert torch.allclose(whole.score, heads.score, atol=0.02)  # of 100: float16
    assert whole.score.std() > 0.05
    if whole.scale_weights is not None:
        assert torch.allclose(whole.scale_weights, heads.scale_weights, atol=1e-3)


def test_spatial_fusion_gates_pooled_maps(crops):
    model = model_of("spatial")
    with torch.no_grad():
        score, weights = judge_packed(model, pack(model, crops))
    assert score.shape == (3,)
    assert torch.allclose(weights.sum(dim=1), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("fusion", [*EXACT, "spatial"])
def test_the_heads_learn_and_the_backbone_does_not(fusion, crops):
    model = model_of(fusion).train()
    judge_packed(model, pack(model.eval(), crops)).score.sum().backward()
    backbone = {id(p) for p in model.pyramid.parameters()}
    assert all(p.grad is None for p in model.pyramid.parameters())
    assert all(p.grad is not None for p in model.parameters() if id(p) not in backbone)
