"""Rows of history.csv: by hand, and which of them is the best."""

import numpy as np
import pandas as pd
import pytest

from fusiqa.training.history import (
    HISTORY_FILE,
    figures_of_the_best,
    history_row,
    is_best,
    validation_figures,
    write_history,
)
from fusiqa.training.recipe import Rates


def row(epoch, val_srcc):
    return history_row(
        epoch=epoch,
        train_mae=7.5,
        validation={"val_srcc": val_srcc, "val_plcc": 0.5, "val_mae": 3.0},
        rates=Rates(0.0, 1e-3),
        scale_weights=[0.1, 0.2, 0.3, 0.4],
        train_seconds=2.504,
        validation_seconds=0.25,
        crops=313,
    )


def test_a_row_by_hand(tmp_path):
    write_history([row(1, 0.25), row(2, 0.5)], tmp_path)
    table = pd.read_csv(tmp_path / HISTORY_FILE)
    assert table.iloc[1].to_dict() == {
        "epoch": 2, "train_mae": 7.5, "val_srcc": 0.5, "val_plcc": 0.5, "val_mae": 3, "lr_backbone": 0, "lr_head": 1e-3,
        "scale_0": 0.1, "scale_1": 0.2, "scale_2": 0.3, "scale_3": 0.4, "train_seconds": 2.5,
        "validation_seconds": 0.25, "crops_per_second": 125,
    }  # fmt: skip


def test_the_figures_of_a_validation_split_by_hand():
    """Of the three pairs of ranks one is turned: 1 - 6 * 2 / (3 * 8) = 0.5."""
    found = validation_figures(np.array([1.0, 3.0, 2.0]), np.array([10.0, 20.0, 30.0]))
    assert found == pytest.approx({"val_srcc": 0.5, "val_plcc": 0.5, "val_mae": 18})


def test_the_best_epoch_is_the_first_of_the_highest():
    best = {}
    for epoch, val_srcc in enumerate([0.2, 0.7, 0.7, 0.4], start=1):
        if is_best(row(epoch, val_srcc), best):
            best = figures_of_the_best(row(epoch, val_srcc))
    assert best == {"epoch": 2, "val_srcc": 0.7, "val_plcc": 0.5, "val_mae": 3}
