"""Runs measured on the same images, each against the first. It knows their predictions, not the models that made them.

The interval of a difference is over images. It holds for these trained networks: another seed would give others, and
how far those differ is not in it.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.bootstrap import MetricName
from fusiqa.stats.metrics import Estimate, measure, paired_difference

COLUMNS = ("image", "mos", "score")
COMPARED: tuple[MetricName, ...] = ("srcc", "plcc")
VERDICT_ON: MetricName = "srcc"
ONE_SEED = "one seed each"
MOS_TOLERANCE = 1e-6  # relative: what a CSV with seven digits loses


def compare(predictions: dict[str, pd.DataFrame], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Measure every run, and the difference of each later run from the first on the same images.

    Args:
        predictions: at least two runs by name, the reference first; each with the columns `image`, `mos`, `score`, one
            row an image, in any order of rows.
        resamples: of the bootstrap over images.
        seed: of the bootstrap; the same resamples serve every run.

    Returns:
        One row a run: `run`, `n`, for srcc and plcc the value with `_low` and `_high` (95 % interval) and the
        `_difference` (run minus first) with its own interval (NaN for the first), and a `verdict` in words.

    Raises:
        FusiqaError: fewer than two runs, missing columns, repeated images, runs on other images or with other mos,
            or predictions that `measure` refuses.
    """
    if len(predictions) < 2:
        raise FusiqaError(f"a comparison needs at least two runs; got {listed(list(predictions)) or 'none'}")
    aligned = _aligned(predictions)
    first = next(iter(aligned))
    rows = [_measured(run, table, resamples, seed) for run, table in aligned.items()]
    for row, (run, table) in zip(rows, aligned.items(), strict=True):
        if run == first:
            row["verdict"] = "the run that the others are compared with"
            continue
        differences = {name: _difference(name, table, aligned[first], resamples, seed) for name in COMPARED}
        row |= dict(chain.from_iterable(_cells(f"{name}_difference", differences[name]) for name in COMPARED))
        row["verdict"] = verdict(run, first, differences[VERDICT_ON])
    return pd.DataFrame(rows, columns=_columns())


def verdict(run: str, reference: str, difference: Estimate, metric: MetricName = VERDICT_ON) -> str:
    """What the paired interval allows to be said about two runs.

    Example:
        >>> verdict("new", "old", Estimate(0.002, -0.001, 0.005))
        'SRCC of new minus old is +0.0020 [-0.0010, +0.0050]: no difference can be told from this; one seed each'
        >>> verdict("new", "old", Estimate(0.02, 0.01, 0.03)).partition(": ")[2]
        'new is higher on images like these; one seed each, so another training could turn it'
    """
    amount = f"{metric.upper()} of {run} minus {reference} is {_signed(difference)}"
    if difference.low <= 0 <= difference.high:
        return f"{amount}: no difference can be told from this; {ONE_SEED}"
    side = "higher" if difference.value > 0 else "lower"
    return f"{amount}: {run} is {side} on images like these; {ONE_SEED}, so another training could turn it"


def readable(comparison: pd.DataFrame) -> pd.DataFrame:
    """The table of `compare` for reading: each number with its interval in one cell, "0.868 [0.855, 0.880]"."""
    table = comparison[["run", "n"]].copy()
    for name in COMPARED:
        table[name.upper()] = [_shown(row, name, ".3f") for _, row in comparison.iterrows()]
    for name in COMPARED:
        cells = [_shown(row, f"{name}_difference", "+.4f") for _, row in comparison.iterrows()]
        table[f"{name.upper()} minus first"] = cells
    return table.assign(verdict=comparison["verdict"])


# --- the same images, in the same order ------------------------------------------------------------------------------


def _aligned(predictions: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Every run's rows by image, in the order of the first run's."""
    indexed = {run: _indexed(run, table) for run, table in predictions.items()}
    first, reference = next(iter(indexed.items()))
    for run, table in indexed.items():
        _refuse_other_images(first, reference.index, run, table.index)
        indexed[run] = table.loc[reference.index]
        _refuse_other_mos(first, reference, run, indexed[run])
    return indexed


def _indexed(run: str, table: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise FusiqaError(f"{run}: the predictions lack the columns {listed(missing)}; expected {', '.join(COLUMNS)}")
    names = table["image"].astype(str)
    if names.duplicated().any():
        raise FusiqaError(f"{run}: predicted more than once: {listed(names[names.duplicated()].tolist())}")
    return table.set_index(names)


def _refuse_other_images(first: str, expected: pd.Index, run: str, came: pd.Index) -> None:
    lacking, extra = expected.difference(came).tolist(), came.difference(expected).tolist()
    if lacking or extra:
        raise FusiqaError(
            f"{first} and {run} were not tested on the same images, so they cannot be compared: only {first} has "
            f"{listed(lacking) or 'none'}; only {run} has {listed(extra) or 'none'}. Evaluate both on one split"
        )


def _refuse_other_mos(first: str, expected: pd.DataFrame, run: str, came: pd.DataFrame) -> None:
    same = np.isclose(came["mos"], expected["mos"], rtol=MOS_TOLERANCE, atol=0, equal_nan=True)
    if not same.all():
        pairs = zip(expected.index[~same], expected["mos"][~same], came["mos"][~same], strict=True)
        offenders = [f"{image} ({ours:g} and {theirs:g})" for image, ours, theirs in pairs]
        raise FusiqaError(f"{first} and {run} have different mos for the same images: {listed(offenders)}")


# --- one row, one cell -----------------------------------------------------------------------------------------------


def _measured(run: str, table: pd.DataFrame, resamples: int, seed: int) -> dict[str, object]:
    try:
        metrics = measure(table["score"], table["mos"], resamples=resamples, seed=seed)
    except FusiqaError as error:
        raise FusiqaError(f"{run}: {error}") from error
    cells = chain.from_iterable(_cells(name, getattr(metrics, name)) for name in COMPARED)
    return {"run": run, "n": metrics.n} | dict(cells)


def _difference(
    metric: MetricName, table: pd.DataFrame, reference: pd.DataFrame, resamples: int, seed: int
) -> Estimate:
    scores, first = table["score"], reference["score"]
    return paired_difference(scores, first, reference["mos"], metric=metric, resamples=resamples, seed=seed)


def _cells(name: str, estimate: Estimate) -> list[tuple[str, float]]:
    return [(name, estimate.value), (f"{name}_low", estimate.low), (f"{name}_high", estimate.high)]


def _columns() -> list[str]:
    values = [*COMPARED, *(f"{name}_difference" for name in COMPARED)]
    return ["run", "n", *chain.from_iterable((name, f"{name}_low", f"{name}_high") for name in values), "verdict"]


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _shown(row: pd.Series, name: str, digits: str) -> str:
    if pd.isna(row[name]):
        return ""
    return f"{row[name]:{digits}} [{row[f'{name}_low']:{digits}}, {row[f'{name}_high']:{digits}}]"
