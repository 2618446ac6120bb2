"""The precision that is recorded is the one that training runs in, or there is no training."""

import pytest
import torch

from fusiqa.config import TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.runs.train import train
from fusiqa.training.recipe import choose_precision


@pytest.mark.parametrize(
    ("device", "bf16", "frozen", "chosen"),
    [
        ("cuda", True, False, "bf16"),
        ("cuda", True, True, "bf16"),
        ("cuda", False, False, "fp16"),
        ("cuda", False, True, "32"),
        ("cpu", True, True, "bf16"),
        ("cpu", False, False, "32"),
        ("cpu", False, True, "32"),
    ],
)
def test_auto_is_what_the_hardware_and_the_training_have(device, bf16, frozen, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16}, raising=False)
    assert choose_precision("auto", device, frozen=frozen) == chosen


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_precision_that_there_is_is_taken_anywhere(precision, frozen):
    assert {choose_precision(precision, device, frozen=frozen) for device in ("cpu", "cuda")} == {precision}
    assert choose_precision("fp16", "cuda", frozen=False) == "fp16"


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (False, " needs a GPU; on a CPU use 32, bf16 or auto"),
        (True, " cannot train heads on a frozen backbone"),
    ],
)
def test_fp16_is_refused_where_nothing_trains_in_it_and_a_run_is_not_discarded_for_it(frozen, message, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = TrainConfig.of(
        precision="fp16", device="cpu", freeze_backbone=frozen, run_dir=tmp_path, overwrite=True
    )  # fmt: skip
    with pytest.raises(FusiqaError, match=f"`precision` fp16{message}"):
        train(config)
    assert (tmp_path / "config.json").exists()
