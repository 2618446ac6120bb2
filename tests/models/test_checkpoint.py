"""A model on disk comes back as it was, and what is no model is refused."""

import json

import pytest
import torch

from fusiqa.config import FUSIONS, ModelConfig, ScaleWeighing, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.models.checkpoint import save_checkpoint
from fusiqa.models.quality import build_model, load_checkpoint


def trained(fusion="attention"):
    torch.manual_seed(1)
    config = ModelConfig(backbone="test_resnet", fusion=fusion, crop_size=64, score_range=ScoreRange(1, 5))
    model = build_model(config, resize="512x384").eval()
    model.provenance = {"epoch": 7, "commit": "abc"}
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_round_trip_changes_no_score(tmp_path, fusion, by_file):
    before = trained(fusion)
    save_checkpoint(before, tmp_path)
    after = load_checkpoint(tmp_path / "model.safetensors" if by_file else tmp_path)
    images = torch.rand(3, 3, 64, 64)
    assert torch.equal(after(images).score, before(images).score)
    assert after.config == before.config
    assert (after.resize, after.provenance) == (before.resize, before.provenance)
    assert not after.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_how_the_scales_are_weighed_is_kept(tmp_path):
    weighing = ScaleWeighing(gate="sigmoid", temperature=2.0, gain=4.0, normalised=True)
    config = ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64, weighing=weighing)
    before = build_model(config).eval()
    save_checkpoint(before, tmp_path)
    after = load_checkpoint(tmp_path)
    assert after.config.weighing == weighing
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(after(images).scale_weights, before(images).scale_weights)


def test_a_model_from_before_the_weighing_could_be_chosen_is_read(tmp_path):
    save_checkpoint(trained(), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    del description["model"]["weighing"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert load_checkpoint(tmp_path).config.weighing == ScaleWeighing()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FusiqaError, match=r"no model at .*expected a run folder with model.safetensors"):
        load_checkpoint(tmp_path)


def test_weights_without_their_description_are_refused(tmp_path):
    save_checkpoint(trained(), tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(FusiqaError, match=r"model.json is missing"):
        load_checkpoint(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    save_checkpoint(trained("single"), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["model"]["fusion"] = "concat"
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(FusiqaError, match=r"model.safetensors does not fit"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "not a model description of format 1"),
        ({"model": {"backbone": "test_resnet", "flavour": 3}}, "unknown settings in model.json: flavour"),
    ],
)
def test_a_description_of_another_version_is_refused(tmp_path, change, message):
    save_checkpoint(trained(), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text()) | change
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(FusiqaError, match=message):
        load_checkpoint(tmp_path)


def test_a_pickle_is_refused(tmp_path):
    save_checkpoint(trained(), tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(FusiqaError, match=r"model.safetensors is not a safetensors file"):
        load_checkpoint(tmp_path)
