"""Figures of training runs: curves, scores against ratings, and the designs of an ablation over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.style import COLOURS, DASHED, INK, new_figure, new_grid, plain, saved, wrapped
from fusiqa.stats.metrics import logistic_fit, plcc, srcc

Curves = Float[np.ndarray, "distortions levels"]
Bins = Float[np.ndarray, " bins"]
LINE = 60  # characters of a line that fit below the differences; a name has half


def training_curves(history: pd.DataFrame, path: Path) -> Figure:
    """Error and validation SRCC over the epochs of history.csv, the best marked. FusiqaError: no finished epoch."""
    if history.empty:
        raise FusiqaError("training curves need at least one finished epoch, got none")
    figure, (error, rank) = new_figure(9.0, 4.0, widths=(1, 1))
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.8}
    error.plot(history["epoch"], history["train_mae"], color=COLOURS[1], label="training crops", **style)
    error.plot(history["epoch"], history["val_mae"], color=COLOURS[0], label="validation images", **style)
    error.set(ylabel="Mean absolute error (MOS)", title="Loss", ylim=(0, None))
    error.legend(frameon=False)
    rank.plot(history["epoch"], history["val_srcc"], color=COLOURS[0], **style)
    best = history.iloc[int(history["val_srcc"].argmax())]
    rank.plot(best["epoch"], best["val_srcc"], "o", markersize=11, markerfacecolor="none", color=COLOURS[5])
    rank.set(ylabel="Validation SRCC", title=f"Best: {best['val_srcc']:.4f} after epoch {best['epoch']:.0f}")
    for axes in (error, rank):
        axes.set_xlabel("Epoch")
        axes.locator_params("x", integer=True, min_n_ticks=1)  # whole epochs
        axes.margins(x=0.05)
    return saved(figure, path)


def score_scatter(scores: ArrayLike, mos: ArrayLike, path: Path) -> Figure:
    """Ratings (images,) against predicted scores (images,), with their `logistic_fit`, which refuses constants."""
    predicted, rated = np.asarray(scores, np.float64), np.asarray(mos, np.float64)
    curve = logistic_fit(predicted, rated)
    figure, (axes,) = new_figure(6.0, 5.4)
    alpha = float(np.clip(30 / np.sqrt(len(rated)), 0.15, 0.8))  # many points: darkness shows how many
    axes.scatter(predicted, rated, s=14, alpha=alpha, color=COLOURS[0], linewidths=0)
    along = np.linspace(predicted.min(), predicted.max(), 300)
    axes.plot(along, curve(along), color=COLOURS[5], linewidth=2.2, label="4-parameter logistic")
    axes.set(xlabel="Predicted score", ylabel="MOS")
    axes.legend(frameon=False, loc="upper left")
    raw, after = plcc(predicted, rated), plcc(curve(predicted), rated)
    figures = f"SRCC {srcc(predicted, rated):.3f}, PLCC {raw:.3f} ({after:.3f} after the logistic), n = {len(rated):,}"
    axes.set_title(figures, fontsize=10, pad=10)
    return saved(figure, path)


def seed_bars(summary: pd.DataFrame, results: pd.DataFrame, path: Path) -> Figure:
    """Test SRCC of each design: the mean over seeds with its 95 % interval, and every seed as a point.

    Summary: a row a design, `variant`, `srcc`, `srcc_low`, `srcc_high` (NaN with one seed); results: a row a run. An
    interval beyond -1 or 1, as two seeds may give, is clipped there and ends in an arrowhead.
    """
    figure, (axes,) = new_figure(max(5.0, 2 + 1.2 * len(summary)), 4.4)
    label = "Points: seeds; bar: mean with 95 % interval"
    for place, (mean, *ends) in enumerate(summary[["srcc", "srcc_low", "srcc_high"]].to_numpy(float)):
        values = results.loc[results["variant"] == summary["variant"].iloc[place], "srcc"].to_numpy(float)
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + spread, values, "o", color=COLOURS[0], alpha=0.55, markersize=4, markeredgewidth=0)
        axes.plot([place - 0.28, place + 0.28], [mean, mean], color=INK, linewidth=2)
        low, high = np.clip(ends, -1, 1)
        axes.errorbar(place, mean, [[mean - low], [high - mean]], fmt="none", ecolor=INK, capsize=5, elinewidth=1.2)
        for end, shown, arrowhead in zip(ends, (low, high), "v^", strict=True):
            if abs(end) > 1:
                axes.plot(place, shown, arrowhead, color=INK, markersize=8)
                label = "Points: seeds; bar: mean with 95 % interval\n(arrowhead: it extends beyond the range of SRCC)"
    crowded = len(summary) > 5 or summary["variant"].str.len().max() > 14  # characters that fit side by side
    names = [wrapped(name, LINE // 2) for name in summary["variant"]]
    turned: dict[str, Any] = {"rotation": 20, "ha": "right"} if crowded else {}
    axes.set_xticks(range(len(names)), names, **turned)
    axes.set(ylabel="Test SRCC", xlabel=label)
    axes.margins(x=0.08, y=0.12)
    lowest, highest = axes.get_ylim()
    axes.set_ylim(max(lowest, -1.05), min(highest, 1.05))  # room for the arrowhead at 1
    return saved(figure, path)


def difference_bars(differences: pd.DataFrame, *, reference: str, path: Path) -> Figure:
    """Paired differences of test SRCC from the reference, with 95 % intervals over seeds.

    Differences: one row a design: `variant`, `difference`, `low`, `high` (NaN with one seed).
    """
    figure, (axes,) = new_figure(7.0, 1.6 + 0.55 * len(differences))
    axes.axvline(0, **DASHED)
    mean, places = differences["difference"].astype(float), np.arange(len(differences))[::-1]
    errors = np.stack([mean - differences["low"], differences["high"] - mean]).astype(float)
    style: dict[str, Any] = {"color": COLOURS[0], "markersize": 7, "capsize": 4, "elinewidth": 1.8}
    axes.errorbar(mean, places, xerr=errors, fmt="o", **style)
    axes.set_yticks(places, [wrapped(name, LINE // 2) for name in differences["variant"]])
    label = f"Test SRCC minus that of {reference} (paired over seeds, 95 % interval)"
    axes.set(xlabel=wrapped(label, LINE))
    axes.margins(x=0.1, y=0.25)
    return saved(figure, path)


def validation_curves(histories: Sequence[tuple[str, pd.DataFrame]], path: Path) -> Figure:
    """Validation SRCC by epoch, from (design, history.csv) of each run: mean over seeds, with extremes as a band."""
    figure, (axes,) = new_figure(7.0, 4.4)
    for number, name in enumerate(dict.fromkeys(name for name, _ in histories)):
        runs = [history.set_index("epoch")["val_srcc"] for own, history in histories if own == name]
        table = pd.concat(runs, axis=1)
        colour, line = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else "--"
        mean = table.mean(axis=1, skipna=False)  # where one has stopped early, the mean of the others would jump
        axes.plot(mean.index, mean, line, marker="o", markersize=3, color=colour, linewidth=1.8, label=plain(name))
        axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("Epoch (line: mean over seeds, while all train; band: minimum to maximum)")
    axes.set_ylabel("Validation SRCC")
    axes.locator_params("x", integer=True, min_n_ticks=1)  # whole epochs
    axes.legend(frameon=False, fontsize=9)
    return saved(figure, path)


def level_curves(scores: Curves, opinions: Curves, score_range: ScoreRange, names: Sequence[str], path: Path) -> Figure:
    """Mean score by level of each distortion, and the mean opinion, 1-5, brought to the score range; five in a row."""
    figure, rows = new_grid(11, 10, -(-len(names) // 5), 5, sharex=True, sharey=True)
    levels = np.arange(1, scores.shape[1] + 1)
    for axes, name, mine, theirs in zip(chain.from_iterable(rows), names, scores, opinions, strict=False):
        axes.plot(levels, score_range.from_unit((theirs - 1) / 4), **DASHED, label="viewers")
        axes.plot(levels, mine, "o-", color=COLOURS[0], markersize=3, label="model")
        axes.set_title(plain(name.replace("_", " ")), fontsize=9)
        axes.set(ylim=score_range, xticks=levels)
        axes.spines[["top", "right"]].set_visible(False)
    rows[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("Level of the distortion")
    figure.supylabel("Score")
    return saved(figure, path)


def reliability(stated: Bins, there: Bins, number: Bins, path: Path) -> Figure:
    """How often a flaw was there against its stated probability, in bins of it, and how many statements each has."""
    figure, (axes, counts) = new_figure(8, 3.6, (1, 1))
    filled = number > 0
    axes.plot([0, 1], [0, 1], **DASHED, label="calibrated")
    axes.plot(stated[filled] / number[filled], there[filled] / number[filled], "o-", color=COLOURS[0], label="model")
    axes.set(xlabel="Stated probability of a flaw", ylabel="Fraction of images that have it")
    axes.legend(frameon=False)
    edges = (np.arange(len(number)) + 0.5) / len(number)
    counts.bar(edges, number, width=0.9 / len(number), color=COLOURS[0])
    counts.set(xlabel="Stated probability of a flaw", ylabel="Statements", yscale="log")
    return saved(figure, path)
