"""Models that see a whole image in one pass."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import noise
from torch.nn import functional as F

from fusiqa.config import ModelConfig
from fusiqa.config.model import FLAWS
from fusiqa.errors import FusiqaError
from fusiqa.models.export import TOLERANCE, export
from fusiqa.models.fusion import averages, pool_windows
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
    QualityModel(config, resize="max96").save_pretrained(folder, half=True)
    return folder


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    pytest.importorskip("onnxscript")
    path, network = (
        tmp_path_factory.mktemp("exported") / "model.onnx",
        load_torch_network(folder, name="whole", device="cpu"),
    )
    assert export(network, path) < 1e-6  # matrices that were saved in 16 bits lose nothing by them
    assert path.stat().st_size < 3 * sum(tensor.numel() for tensor in network.model.state_dict().values())  # bytes
    return path


@pytest.mark.parametrize(("side", "grid"), [(7, 7), (8, 7), (33, 8), (5, 7), (1, 4)])
def test_the_matrix_of_averages_is_adaptive_pooling(side, grid):
    row = torch.rand(1, 1, side)
    torch.testing.assert_close((row @ averages(side, grid).T), F.adaptive_avg_pool1d(row, grid))


def test_images_of_any_size_score_in_onnx_as_in_torch(folder, exported):
    mine, other = Scorer(folder, backend="torch", device="cpu"), Scorer(exported)
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
        build_model(ModelConfig(backbone="hiera_tiny_224", view="whole"))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    """A small Swin of crops of 224, which sees whole images of 96x80; its windows of 7x7 cells do not divide them."""
    torch.manual_seed(3)
    folder, small = (
        tmp_path_factory.mktemp("swin"),
        (("embed_dim", 8), ("depths", (1, 2, 1, 1)), ("num_heads", (1, 2, 2, 2))),
    )
    config = ModelConfig(backbone="swin_tiny_patch4_window7_224", fusion="attention", view="whole", timm_args=small)
    QualityModel(config, resize="80x96").save_pretrained(folder)
    return folder


def test_swin_sees_whole_images_and_the_size_of_a_crop_as_before(swin):
    whole = QualityModel.from_pretrained(swin)
    crops = QualityModel(dataclasses.replace(whole.config, view="crops")).eval()
    crops.load_state_dict(whole.state_dict())
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(whole(images).score, crops(images).score)
    assert whole(torch.rand(1, 3, 96, 320)).score.isfinite().all()


def test_swin_is_exported_for_whole_images_of_one_size_alone(swin, tmp_path):
    pytest.importorskip("onnxscript")
    network = load_torch_network(swin, name="swin", device="cpu")
    assert export(network, tmp_path / "model.onnx") < TOLERANCE
    mine, other = Scorer(swin, backend="torch", device="cpu"), Scorer(tmp_path / "model.onnx")
    assert other(noise(50, 70)).score == pytest.approx(mine(noise(50, 70)).score, abs=TOLERANCE)
    network.info = dataclasses.replace(network.info, resize="96")
    with pytest.raises(FusiqaError, match="are exported in one size alone, as with `resize` 512x384; got 96"):
        export(network, tmp_path / "other.onnx")


def test_windows_come_from_the_same_maps(folder, exported):
    plain, mine = Scorer(folder, backend="torch", device="cpu"), Scorer(folder, backend="torch", windows=True)
    other = Scorer(exported, windows=True)
    image = noise(96, 160)
    found, again = mine(image), other(image)
    assert found.score == pytest.approx(plain(image).score, abs=1e-6)
    assert np.isnan(plain(image).spread)
    assert found.crops.scores.shape == (9,)
    assert found.spread == pytest.approx(np.std(found.crops.scores))
    np.testing.assert_allclose(again.crops.scores, found.crops.scores, atol=TOLERANCE)
    np.testing.assert_allclose(found.crops.boxes[0], [0, 0, 0.5, 0.5])
    np.testing.assert_allclose(found.crops.boxes[5], [0.5, 0.25, 1, 0.75])
    assert found.crops.heat_map(12, 12).shape == (12, 12)


def test_the_cells_of_windows_are_those_of_the_whole_map():
    """A window of half a side with 4 cells has the cells of a map with 8, from its own corner on."""
    features = torch.rand(2, 3, 24, 40)
    found, whole = pool_windows(features, 4).unflatten(0, (2, 3, 3)), F.adaptive_avg_pool2d(features, 8)
    for row, column in ((0, 0), (1, 2), (2, 1)):
        top, left = 2 * row, 2 * column
        torch.testing.assert_close(found[:, row, column], whole[:, :, top : top + 4, left : left + 4])


def test_flaws_are_probabilities_and_leave_the_score_alone(folder):
    torch.manual_seed(3)
    model = QualityModel.from_pretrained(folder)
    seeing = QualityModel(dataclasses.replace(model.config, flaws=True)).eval()
    seeing.load_state_dict(model.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 96)
    examined = seeing.examine(images)
    torch.testing.assert_close(examined.score, model(images).score)
    assert examined.flaws.shape == (2, len(FLAWS))
    assert ((examined.flaws > 0) & (examined.flaws < 1)).all()
    assert model.examine(images).flaws is None
