"""How long training steps wait for their batch, by Lightning's own hooks. It keeps one number, however long the fit."""

from __future__ import annotations

import time

from lightning.pytorch.profilers import Profiler

WAITING = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning calls waiting for a training batch


class WaitingTime(Profiler):
    """Adds up the seconds of that one action; Lightning's own profiler keeps every duration of every action.

    Attributes:
        seconds: waited since the fit began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since = 0.0

    def start(self, action_name: str) -> None:
        if action_name == WAITING:
            self._since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name == WAITING:
            self.seconds += time.perf_counter() - self._since
