"""Training where the memory does not suffice for a batch: it is halved, with the same steps, which is said once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import TINY_RUN

from fusiqa.cli import USER_MISTAKE, main
from fusiqa.training import fit, frozen

FULL = RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
NOTICE = "notice: out of memory; using micro-batches, the effective batch size is still 8"
# Without batch normalisation and what is drawn, parts of a batch have the gradient of the whole.
SETTINGS = [
    *TINY_RUN, "--backbone", "test_convnext", "--precision", "32", "--attention_fusion", "--attention_dropout", "0",
    "--dropout", "0", "--drop_path", "0",
]  # fmt: skip


class FullInBackward(torch.autograd.Function):
    """The identity, whose gradient needs memory that is not there."""

    @staticmethod
    def forward(_, crops):
        return crops.clone()

    @staticmethod
    def backward(_, gradient):
        raise FULL


class Small:
    """A function of crops that has memory for so many of them, after so many calls without a limit."""

    def __init__(self, function, *, most: int, calls: int = 0, backward: bool = False) -> None:
        self.function, self.most, self.calls, self.backward = function, most, calls, backward

    def __call__(self, *inputs):
        *model, crops = inputs
        self.calls -= torch.is_grad_enabled()
        lacking = self.calls < 0 and torch.is_grad_enabled() and len(crops) > self.most
        if lacking and not self.backward:
            raise FULL
        made = self.function(*model, crops)
        return FullInBackward.apply(made.requires_grad_()) if lacking else made


def trained(data: Path, folder: Path, *more: str) -> pd.DataFrame:
    main(["train", *SETTINGS, "--data_dir", str(data), "--run_dir", str(folder), *more])
    return pd.read_csv(folder / "predictions.csv")


@pytest.fixture(scope="module")
def undisturbed(biq2021, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    return {more: trained(biq2021, folder / f"run{len(more)}", *more) for more in ((), ("--freeze_backbone",))}


@pytest.mark.parametrize(
    ("place", "name", "more", "how"),
    [
        (frozen, "score_packed", ("--freeze_backbone",), {"most": 3}),
        (frozen, "score_packed", ("--freeze_backbone",), {"most": 3, "calls": 4}),
        (fit, "to_unit_range", (), {"most": 4, "backward": True}),
    ],
    ids=["heads", "in the second epoch", "while gradients are computed"],
)
def test_a_batch_in_parts_makes_the_step_of_the_whole_batch(
    biq2021, tmp_path, undisturbed, monkeypatch, capsys, place, name, more, how
):
    small = Small(getattr(place, name), **how)
    monkeypatch.setattr(place, name, small)
    scored = trained(biq2021, tmp_path / "run", *more)
    assert capsys.readouterr().out.count(NOTICE) == 1
    np.testing.assert_allclose(scored["score"], undisturbed[more]["score"], rtol=1e-4)
    assert pd.read_csv(tmp_path / "run" / "history.csv")["epoch"].tolist() == [1, 2]


def test_memory_that_does_not_suffice_for_two_crops_is_one_line(biq2021, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit, "to_unit_range", Small(fit.to_unit_range, most=1))
    with pytest.raises(SystemExit) as end:
        trained(biq2021, tmp_path / "run")
    assert end.value.code == USER_MISTAKE
    assert "out of memory in training; use a smaller --batch_size than 8" in capsys.readouterr().err


def test_micro_batches_in_bfloat16_repeat_the_forward_pass_with_the_faster_gradients(biq2021, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "to_unit_range", Small(fit.to_unit_range, most=4, backward=True))
    trained(biq2021, tmp_path / "run", "--backbone", "test_efficientnet", "--precision", "bf16")
    assert pd.read_csv(tmp_path / "run" / "history.csv")["epoch"].tolist() == [1, 2]
