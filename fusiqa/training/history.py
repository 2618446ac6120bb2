"""history.csv, one row per finished epoch, and which epoch is the best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lightning.pytorch.profilers import Profiler

from fusiqa.io import write_csv
from fusiqa.stats.metrics import plcc, srcc

HISTORY_FILE = "history.csv"
KEPT_OF_THE_BEST = ("epoch", "val_srcc", "val_plcc", "val_mae")
WAITING = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning calls waiting for a training batch

Row = dict[str, float]
"""A row of history.csv: epoch (from 1), train_mae and val_mae (on the score range), val_srcc, val_plcc, learning rates
at the epoch's end, mean scale weights of the validation images (NaN where the fusion has none), times."""


def validation_figures(scores: np.ndarray, mos: np.ndarray) -> Row:
    """val_srcc, val_plcc and val_mae, the last on the score range."""
    return {
        "val_srcc": float(srcc(scores, mos)),
        "val_plcc": float(plcc(scores, mos)),
        "val_mae": float(abs(scores - mos).mean()),
    }


def epoch_line(row: Row) -> str:
    """A row for reading."""
    return f"epoch {row['epoch']:.0f}: train_mae {row['train_mae']:.4g}, validation SRCC {row['val_srcc']:.4f}"


def is_best(row: Row, best: Row) -> bool:
    """Whether the validation SRCC is higher than that of the best epoch so far, which is empty before the first."""
    return not best or row["val_srcc"] > best["val_srcc"]


def figures_of_the_best(row: Row) -> Row:
    """The part of a row that is kept with the model."""
    return {name: row[name] for name in KEPT_OF_THE_BEST}


def write_history(rows: Sequence[Row], folder: Path) -> None:
    """Replace history.csv in a run folder.

    Not Lightning's CSVLogger: it deletes the rows of the epochs before a resume, and writes training and validation
    figures of one epoch into two rows.
    """
    write_csv(pd.DataFrame(rows), folder / HISTORY_FILE)


class WaitingTime(Profiler):
    """How long training steps wait for their batch; Lightning's own profiler keeps every duration of every action.

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
