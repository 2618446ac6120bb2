"""The time that steps wait for their batch: that alone, added up, and under the name that Lightning gives it."""

import time

import lightning
import pytest
import torch

from fusiqa.training.waiting import WAITING, WaitingTime


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


def test_waiting_adds_up_and_nothing_else_counts(monkeypatch):
    clock = iter([10.0, 12.0, 20.0, 25.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    waiting = WaitingTime()
    for action in (WAITING, "run_training_batch", WAITING):
        with waiting.profile(action):
            pass
    assert waiting.seconds == 7


@pytest.mark.filterwarnings("ignore")  # as in a fit: Lightning's advice, and what it uses of older libraries
def test_lightning_still_calls_it_by_that_name(tmp_path):
    waiting = WaitingTime()
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, profiler=waiting, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    started = time.perf_counter()
    trainer.fit(Line(), torch.utils.data.DataLoader(Slow()))
    assert 4 * 0.02 <= waiting.seconds < time.perf_counter() - started - 4 * 0.05
