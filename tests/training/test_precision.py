"""The precision that is recorded is the one that training runs in, or there is no training."""

import pytest
import torch

from fusiqa.config import TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.runs.train import train
from fusiqa.training.fit import choose_precision


@pytest.mark.parametrize(
    ("accelerator", "bf16", "frozen", "chosen"),
    [
        ("gpu", True, False, "bf16"),
        ("gpu", True, True, "bf16"),
        ("gpu", False, False, "fp16"),
        ("gpu", False, True, "32"),
        ("cpu", True, True, "bf16"),
        ("cpu", False, False, "32"),
        ("cpu", False, True, "32"),
    ],
)
def test_auto_is_what_the_hardware_and_the_training_have(accelerator, bf16, frozen, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16}, raising=False)
    assert choose_precision(TrainConfig(freeze_backbone=frozen), accelerator) == chosen


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_precision_that_there_is_is_taken_anywhere(precision, frozen):
    config = TrainConfig(precision=precision, freeze_backbone=frozen)
    assert {choose_precision(config, accelerator) for accelerator in ("cpu", "gpu")} == {precision}
    assert choose_precision(TrainConfig(precision="fp16"), "gpu") == "fp16"


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (False, " needs a GPU; on a CPU use 32, bf16 or auto"),
        (True, ": heads on a frozen backbone train in 32 or bf16"),
    ],
)
def test_fp16_is_refused_where_nothing_trains_in_it_and_a_run_is_not_discarded_for_it(frozen, message, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = TrainConfig(
        precision="fp16", accelerator="cpu", freeze_backbone=frozen, run_dir=tmp_path, overwrite=True
    )  # fmt: skip
    with pytest.raises(FusiqaError, match=f"--precision fp16{message}"):
        train(config)
    assert (tmp_path / "config.json").exists()
