"""Heads on pooled maps say what the whole network says."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from fusiqa.config import FUSIONS, ModelConfig, ScoreRange
from fusiqa.data.ratings import Ratings
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.image import ORIGINAL_SIZE
from fusiqa.training.frozen import pack, score_packed
from fusiqa.training.predict import crops_of, run_on_crops

SIZES = (96, 224, 256)  # sides of the coarsest map: 3, 7 and 8, of which only 7 gives its pool's mean


def model_of(fusion, size=224, view="crops"):
    torch.manual_seed(2)
    config = ModelConfig(
        backbone="mobilenetv2_035", fusion=fusion, crop_size=size, view=view,
        score_range=ScoreRange(0, 100), gates_on_pools=fusion == "spatial",
    )  # fmt: skip
    return QualityModel(config).eval()


class InMemory(dict):
    """Images by name."""

    in_memory = True

    def read(self, image, resize=ORIGINAL_SIZE):
        return resize.apply(self[image])

    def verify(self, image):
        return image


def random_crops(size):
    torch.manual_seed(0)
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_packed_maps_give_the_score_of_the_whole_network(fusion, size):
    model, crops = model_of(fusion, size), random_crops(size)
    packed = pack(model, crops)
    assert packed.dtype == torch.float16
    with torch.no_grad():
        whole, heads = model(crops / 255), score_packed(model, packed)
    assert torch.allclose(whole.score, heads.score, atol=0.02)  # of 100: float16
    assert whole.score.std() > 0.02
    if whole.scale_weights is not None:
        assert torch.allclose(whole.scale_weights, heads.scale_weights, atol=1e-3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_whole_image_is_packed_once_whatever_its_size(fusion):
    model = model_of(fusion, view="whole")
    images = [torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8) for size in ((96, 160), (256, 64), (288, 320))]
    packed = [pack(model, each) for each in images]
    with torch.no_grad():
        whole, heads = torch.cat([model(each / 255).score for each in images]), score_packed(model, torch.cat(packed))
    assert torch.allclose(whole, heads.score, atol=0.02)


def test_gates_on_pools_are_another_network_than_gates_on_maps():
    model = model_of("spatial")
    crops = random_crops(224) / 255
    with torch.no_grad():
        on_pools = model(crops).scale_weights
        model.fusion.on_pools = False
        assert (model(crops).scale_weights - on_pools).abs().max() > 1e-3


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_heads_learn_and_the_backbone_does_not(fusion):
    model, crops = model_of(fusion).train(), random_crops(224)
    score_packed(model, pack(model.eval(), crops)).score.sum().backward()
    backbone = {id(p) for p in model.pyramid.parameters()}
    assert all(p.grad is None for p in model.pyramid.parameters())
    assert all(p.grad is not None for p in model.parameters() if id(p) not in backbone)


def test_the_parts_of_a_long_whole_image_are_packed_though_they_differ_in_size():
    """One of 1,100 pixels has parts of 576 and 544."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1_100, 3), dtype=np.uint8)
    table = pd.DataFrame({"image": ["long", "short"], "mos": 1.0, "split": None, "group": ["a", "b"]})
    images = InMemory({"long": pixels, "short": pixels[:, :96]})
    model = model_of("attention", view="whole")
    crops = crops_of(model, Ratings("two", table, ScoreRange(0, 100), images, "none"))
    found = {
        row: maps for row, _, maps in run_on_crops(model, crops, partial(pack, model), what="maps", progress=False)
    }
    assert [len(found[row]) for row in (0, 1)] == [2, 1]
    alone = pack(model, torch.from_numpy(pixels[:, 576:1_100].copy()).permute(2, 0, 1)[None])
    assert found[0].shape[1] == found[1].shape[1] == alone.shape[1]
