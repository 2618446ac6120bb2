"""history.csv: one row an epoch, alike for a whole network and for heads alone. It trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fusiqa.io import write_atomically
from fusiqa.stats.metrics import plcc, srcc
from fusiqa.training.recipe import Rates

HISTORY_FILE = "history.csv"
KEPT_OF_THE_BEST = ("epoch", "val_srcc", "val_plcc", "val_mae")

Row = dict[str, float]


def validation_figures(scores: np.ndarray, mos: np.ndarray) -> Row:
    """What a row says of the validation split: val_srcc, val_plcc and val_mae, the last on the score range."""
    return {
        "val_srcc": float(srcc(scores, mos)),
        "val_plcc": float(plcc(scores, mos)),
        "val_mae": float(abs(scores - mos).mean()),
    }


def history_row(
    *,
    epoch: int,
    train_mae: float,
    validation: Row,
    rates: Rates,
    scale_weights: Sequence[float],
    train_seconds: float,
    validation_seconds: float,
    crops: int,
) -> Row:
    """One row of history.csv.

    Args:
        epoch: counted from 1.
        train_mae: mean absolute error of the training crops, on the score range.
        validation: the figures of the validation split.
        rates: learning rates at the epoch's end.
        scale_weights: means over the validation images; NaN for a fusion that does not weigh.
        train_seconds: that training took.
        validation_seconds: that validation took.
        crops: that were trained on, over all processes.
    """
    return {
        "epoch": epoch,
        "train_mae": train_mae,
        **validation,
        "lr_backbone": rates.backbone,
        "lr_head": rates.head,
        **{f"scale_{scale}": float(weight) for scale, weight in enumerate(scale_weights)},
        "train_seconds": round(train_seconds, 2),
        "validation_seconds": round(validation_seconds, 2),
        "crops_per_second": round(crops / train_seconds, 2),
    }


def epoch_line(row: Row) -> str:
    """A row for reading."""
    return f"epoch {row['epoch']:.0f}: train_mae {row['train_mae']:.4g}, validation SRCC {row['val_srcc']:.4f}"


def is_best(row: Row, best: Row) -> bool:
    """Whether the row's validation SRCC is higher than that of the best so far, which is empty before the first."""
    return not best or row["val_srcc"] > best["val_srcc"]


def figures_of_the_best(row: Row) -> Row:
    """What of a row is kept with the model."""
    return {name: row[name] for name in KEPT_OF_THE_BEST}


def write_history(rows: Sequence[Row], folder: Path) -> None:
    """Replace history.csv in a run folder."""
    write_atomically(folder / HISTORY_FILE, lambda path: pd.DataFrame(rows).to_csv(path, index=False))
