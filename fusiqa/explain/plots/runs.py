"""Figures of runs: training curves, and scores against ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.style import COLOURS, new_figure, saved
from fusiqa.stats.metrics import logistic_fit, plcc, srcc


def training_curves(history: pd.DataFrame, path: Path) -> Figure:
    """Error and validation SRCC over the epochs, the best epoch marked.

    Args:
        history: one row an epoch, as history.csv: `epoch`, `train_mae`, `val_mae` (in the unit of mos), `val_srcc`.
        path: the file to write.

    Raises:
        FusiqaError: no finished epoch.
    """
    if history.empty:
        raise FusiqaError("no epoch has finished, so there are no training curves")
    figure, (error, rank) = new_figure(9.0, 4.0, widths=(1, 1))
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.8}
    error.plot(history["epoch"], history["train_mae"], color=COLOURS[1], label="training crops", **style)
    error.plot(history["epoch"], history["val_mae"], color=COLOURS[0], label="validation images", **style)
    error.set(ylabel="Mean absolute error (unit of mos)", title="Loss", ylim=(0, None))
    error.legend(frameon=False)
    rank.plot(history["epoch"], history["val_srcc"], color=COLOURS[0], **style)
    best = history.iloc[int(history["val_srcc"].argmax())]
    rank.plot(best["epoch"], best["val_srcc"], "o", markersize=11, markerfacecolor="none", color=COLOURS[5])
    rank.set(ylabel="Validation SRCC", title=f"Best: {best['val_srcc']:.4f} after epoch {best['epoch']:.0f}")
    for axes in (error, rank):
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.05)
    return saved(figure, path)


def score_scatter(scores: ArrayLike, mos: ArrayLike, path: Path) -> Figure:
    """Ratings (images,) against predicted scores (images,), with the fitted 4-parameter logistic.

    Raises:
        FusiqaError: whatever `metrics.srcc` refuses: constants, NaN, other lengths, fewer than 3 images.
    """
    predicted, rated = np.asarray(scores, np.float64), np.asarray(mos, np.float64)
    curve = logistic_fit(predicted, rated)
    figure, (axes,) = new_figure(6.0, 5.4)
    alpha = float(np.clip(30 / np.sqrt(len(rated)), 0.15, 0.8))  # many points: darkness shows how many
    axes.scatter(predicted, rated, s=14, alpha=alpha, color=COLOURS[0], linewidths=0)
    along = np.linspace(predicted.min(), predicted.max(), 300)
    axes.plot(along, curve(along), color=COLOURS[5], linewidth=2.2, label="4-parameter logistic")
    axes.set(xlabel="Predicted score", ylabel="Rated (mos)")
    axes.legend(frameon=False, loc="upper left")
    raw, after = plcc(predicted, rated), plcc(curve(predicted), rated)
    figures = f"SRCC {srcc(predicted, rated):.3f}, PLCC {raw:.3f} ({after:.3f} after the logistic), n = {len(rated):,}"
    axes.set_title(figures, fontsize=10, pad=10)
    return saved(figure, path)
