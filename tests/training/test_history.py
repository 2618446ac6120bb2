"""history.csv: its figures by hand, the best epoch, and the time that steps waited."""

import time
from types import SimpleNamespace

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.profilers import SimpleProfiler

from fusiqa.training.fit import HISTORY_FILE, WAITING, KeepBest, validation_figures


def row(epoch, val_srcc):
    return {"epoch": epoch, "train_mae": 7.5, "val_srcc": val_srcc, "val_plcc": 0.5, "val_mae": 3.0}


class Epoch:
    """What a module has after an epoch; its model notes when it is saved."""

    def __init__(self, row):
        self.epoch_row, self.model, self.saved = row, self, False
        self.provenance = {}

    def save_pretrained(self, folder):
        self.saved = True

    def calibrations(self):
        return {}


def kept_after(rows, callback):
    """Whether the model of each epoch was kept."""
    epochs = [Epoch(row) for row in rows]
    for epoch in epochs:
        callback.on_validation_end(SimpleNamespace(is_global_zero=True), epoch)
    return [epoch.saved for epoch in epochs]


def test_rows_are_read_back_and_go_on_after_a_resume(tmp_path):
    before, after = KeepBest(tmp_path, print), KeepBest(tmp_path, print)
    assert kept_after([row(1, 0.5)], before) == [True]
    after.load_state_dict(before.state_dict())
    assert kept_after([row(2, 0.25)], after) == [False]
    assert pd.read_csv(tmp_path / HISTORY_FILE).to_dict("records") == [row(1, 0.5), row(2, 0.25)]


def test_the_best_epoch_is_the_first_of_the_highest(tmp_path):
    callback = KeepBest(tmp_path, print)
    rows = [row(n, val_srcc) for n, val_srcc in enumerate([0.2, 0.7, 0.7, 0.4], start=1)]
    assert kept_after(rows, callback) == [True, True, False, False]
    assert callback.best == {"epoch": 2, "val_srcc": 0.7, "val_plcc": 0.5, "val_mae": 3}


def test_a_strongly_negative_srcc_asks_for_the_direction_of_the_ratings(tmp_path):
    said = []
    kept_after([row(1, -0.83), row(2, -0.3)], KeepBest(tmp_path, said.append))
    asked = ": strongly negative, do the ratings run the other way (`lower_is_better`)?"
    assert [line.endswith(f"validation SRCC -0.8300{asked}") for line in said] == [True, False]
    assert said[1].endswith("validation SRCC -0.3000")


def test_the_figures_of_a_validation_split_by_hand():
    """Of the three pairs of ranks one is turned: 1 - 6 * 2 / (3 * 8) = 0.5."""
    found = validation_figures(np.array([1.0, 3.0, 2.0]), np.array([10.0, 20.0, 30.0]))
    assert found == pytest.approx({"val_srcc": 0.5, "val_plcc": 0.5, "val_mae": 18})


def test_the_figures_of_several_sets_are_means_of_theirs():
    """SRCC 0.5 in one set, -1 in the other; errors over all images."""
    scores, mos = np.array([1.0, 3.0, 2.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0])
    found = validation_figures(scores, mos, ["a"] * 3 + ["b"] * 3)
    ranks = {"val_srcc": -0.25, "val_srcc_a": 0.5, "val_srcc_b": -1}
    assert found == pytest.approx({**ranks, "val_plcc": -0.25, "val_mae": 1})


class Slow(torch.utils.data.Dataset):
    """Five numbers, each of which takes a fiftieth of a second to come; Lightning may fetch one beforehand."""

    def __len__(self):
        return 5

    def __getitem__(self, row):
        time.sleep(0.02)
        return torch.ones(1)


class Line(lightning.LightningModule):
    """The least that Lightning fits."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, _):
        time.sleep(0.05)
        return (self.slope * batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")  # as in a fit: Lightning's advice, and what it uses of older libraries
def test_lightning_still_calls_it_by_that_name(tmp_path):
    profiler = SimpleProfiler()
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, profiler=profiler, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    started = time.perf_counter()
    trainer.fit(Line(), torch.utils.data.DataLoader(Slow()))
    waited = sum(profiler.recorded_durations[WAITING])
    assert 4 * 0.02 <= waited < time.perf_counter() - started - 4 * 0.05
