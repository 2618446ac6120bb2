"""Models that see a whole image in one pass."""

import numpy as np
import pytest
import torch
from tiny_models import noise
from torch.nn import functional as F

from fusiqa.config import ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models.export import TOLERANCE, export
from fusiqa.models.fusion import averages
from fusiqa.models.quality import QualityModel, build_model
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.torch import load_torch_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network with "same" convolutions, whose padding depends on the size of the image."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("whole")
    config = ModelConfig(
        backbone="test_efficientnet", fusion="attention", view="whole", crop_size=64, timm_args=(("pad_type", "same"),)
    )
    QualityModel(config, resize="max96").save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("side", "grid"), [(7, 7), (8, 7), (33, 8), (5, 7), (1, 4)])
def test_the_matrix_of_averages_is_adaptive_pooling(side, grid):
    row = torch.rand(1, 1, side)
    torch.testing.assert_close((row @ averages(side, grid).T), F.adaptive_avg_pool1d(row, grid))


def test_images_of_any_size_score_in_onnx_as_in_torch(folder, tmp_path):
    pytest.importorskip("onnxscript")
    network = load_torch_network(folder, name="whole", device="cpu")
    assert export(network, tmp_path / "model.onnx") < TOLERANCE
    mine, other = Scorer(folder, backend="torch", device="cpu"), Scorer(tmp_path / "model.onnx")
    assert other.info.view == mine.info.view == "whole"
    for shape in ((64, 64), (96, 160), (131, 301), (20, 700), (7, 11)):
        assert other(noise(*shape)).score == pytest.approx(mine(noise(*shape)).score, abs=TOLERANCE)


def test_a_whole_image_takes_one_pass_and_a_long_one_few(folder):
    scorer = Scorer(folder, backend="torch", device="cpu")
    assert scorer(noise(90, 130)).crops.boxes.tolist() == [[0, 0, 1, 1]]
    long = scorer(noise(70, 2500)).crops.boxes
    np.testing.assert_allclose(long[:, 2] - long[:, 0], 1 / 3, atol=0.02)
    assert (long[0, 0], long[-1, 2]) == (0, 1)


def test_the_score_does_not_depend_on_the_batch(folder):
    scorer = Scorer(folder, backend="torch", device="cpu")
    images = [noise(90, 130, seed) for seed in range(3)] + [noise(64, 64), noise(90, 130, 9)]
    alone = [scorer(image).score for image in images]
    np.testing.assert_allclose([each.score for each in scorer.many(images)], alone, atol=1e-6)


def test_a_backbone_of_a_fixed_size_cannot_see_whole_images():
    with pytest.raises(FusiqaError, match="`view` whole needs a backbone that takes images of any size"):
        build_model(ModelConfig(backbone="swin_tiny_patch4_window7_224", view="whole"))
