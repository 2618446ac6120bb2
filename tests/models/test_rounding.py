"""Weights in 8 and 16 bits: how far rounding moves them, and that a file gives back exactly what was stored."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusiqa.config import ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.models.rounding import as_bytes, compacted, restored, round_to_bytes


def test_rounded_weights_move_by_half_a_step_and_depthwise_kernels_by_that_of_16_bits():
    torch.manual_seed(0)
    model = QualityModel(ModelConfig(backbone="test_efficientnet"))
    before = {name: weights.detach().clone() for name, weights in model.named_parameters()}
    round_to_bytes(model)
    kinds = set()
    for name, weights in model.named_parameters():
        if weights.ndim > 1:
            depthwise = weights.ndim == 4 and weights.shape[1] == 1
            steps = before[name].abs().flatten(1).amax(dim=1) * (2**-10 if depthwise else (1 + 1 / 8) / 127)
            assert ((weights.detach() - before[name]).abs().flatten(1).amax(dim=1) <= steps / 2 + 1e-7).all()
            assert torch.equal(weights, weights.half().float())
            kinds.add(depthwise)
    assert kinds == {False, True}


@pytest.mark.parametrize("value", [1e6, float("nan")])
@pytest.mark.parametrize("depthwise", [False, True])
def test_weights_that_16_bits_cannot_hold_are_refused(value, depthwise):
    model = QualityModel(ModelConfig(backbone="test_efficientnet"))
    kernels = [each for each in model.parameters() if each.ndim == 4 and (each.shape[1] == 1) == depthwise]
    kernels[0].data[0, 0, 0, 0] = value
    with pytest.raises(FusiqaError, match="16 bits cannot hold them"):
        round_to_bytes(model)


def test_bytes_and_scales_are_found_along_rows_and_columns_and_only_where_they_are_exact():
    whole = np.random.default_rng(0).integers(-127, 128, (5, 7))
    whole[:, 0] = whole[0] = 127
    scales = np.float32([0.125, 0.25, 0.1875, 1, 0.0625])[:, None]
    for values in (whole * scales, (whole * scales).T):
        stored, along = as_bytes(values.astype(np.float32))
        assert stored.dtype == np.int8
        assert np.array_equal(stored * along, values)
    assert as_bytes(np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)) is None
    assert np.array_equal(as_bytes(np.zeros((2, 3), np.float32))[0], np.zeros((2, 3)))


def test_a_rounded_model_is_stored_in_a_quarter_and_comes_back_exactly(tmp_path):
    torch.manual_seed(0)
    model = QualityModel(ModelConfig(backbone="test_efficientnet", fusion="attention", flaws=True)).eval()
    round_to_bytes(model)
    model.save_pretrained(tmp_path / "plain")
    model.save_pretrained(tmp_path / "compact", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("compact", "plain")]
    assert sizes[0] < 0.3 * sizes[1]
    kinds = {values.dtype for values in load_file(tmp_path / "compact" / "model.safetensors").values()}
    assert {torch.int8, torch.float16, torch.float32} <= kinds
    restored = QualityModel.from_pretrained(tmp_path / "compact").state_dict()
    assert all(torch.equal(values, restored[name]) for name, values in model.state_dict().items())


def test_weights_that_were_not_rounded_are_stored_in_16_bits(tmp_path):
    torch.manual_seed(0)
    model = QualityModel(ModelConfig(backbone="test_efficientnet"))
    model.save_pretrained(tmp_path, half=True)
    kinds = {values.dtype for values in load_file(tmp_path / "model.safetensors").values() if values.ndim > 1}
    assert kinds == {torch.float16}


@pytest.mark.parametrize("turned", [False, True])
def test_every_rounded_matrix_fits_into_bytes_whatever_the_size_of_its_rows(turned):
    random = np.random.default_rng(0)
    for _ in range(50):
        layer = torch.nn.Linear(20, 30)
        sizes = 10.0 ** random.uniform(-9, 3, (30, 1))
        layer.weight.data = torch.from_numpy(random.normal(size=(30, 20)) * sizes).float()
        round_to_bytes(layer)
        values = layer.weight.detach().numpy()
        values = values.T if turned else values
        whole, scale = as_bytes(values)
        assert np.array_equal(whole * scale, values)


def test_no_numbers_are_not_stored_as_bytes_and_whole_numbers_stay_what_they_are():
    values = np.full((3, 4), np.nan, np.float32)
    assert as_bytes(values) is None
    assert as_bytes(np.zeros((0, 4), np.float32)) is None
    table = torch.arange(8000).view(80, 100)
    assert torch.equal(restored(compacted({"table": table}))["table"], table)
