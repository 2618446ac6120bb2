"""Paired comparisons of models: over test images (bootstrap) and over training seeds (t-test, Holm, power).

An interval over images holds for the trained networks at hand; how far another seed would move them is not in it. An
interval over seeds covers another training on one split; other images are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.intervals import CONFIDENCE, Estimate, Mean, mean_interval
from fusiqa.stats.metrics import MetricName, measure, paired_difference

PREDICTION_COLUMNS = ("image", "mos", "score")
COMPARED: tuple[MetricName, ...] = ("srcc", "plcc")
MOS_TOLERANCE = 1e-6  # relative: what a CSV with seven digits loses

POWER = 0.8
FEWEST_SEEDS = 5  # that a claim about a design should rest on
MOST_SEEDS = 1000  # a difference that needs more is as good as none
LARGEST_EFFECT = 10.0  # sd; five seeds detect it for certain, and far larger ones overflow the noncentral t


# --- over images -----------------------------------------------------------------------------------------------------


def compare_predictions(predictions: dict[str, pd.DataFrame], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
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
        raise FusiqaError(f"a comparison needs at least two runs, got {listed(list(predictions)) or 'none'}")
    aligned = _aligned(predictions)
    first, reference = next(iter(aligned.items()))
    rows = []
    for run, table in aligned.items():
        try:
            measured = measure(table["score"], table["mos"], resamples=resamples, seed=seed)
        except FusiqaError as error:
            raise FusiqaError(f"{run}: {error}") from error
        differences = {name: Estimate(np.nan, np.nan, np.nan) for name in COMPARED}
        verdict = "reference of the comparison"
        if run != first:
            scores, mos = (table["score"], reference["score"]), reference["mos"]
            differences = {
                name: paired_difference(*scores, mos, metric=name, resamples=resamples, seed=seed) for name in COMPARED
            }
            verdict = verdict_over_images(run, first, differences["srcc"])
        row: dict[str, object] = {"run": run, "n": measured.n}
        for name in COMPARED:
            row |= getattr(measured, name).columns(name)
        for name in COMPARED:
            row |= differences[name].columns(f"{name}_difference")
        rows.append(row | {"verdict": verdict})
    return pd.DataFrame(rows)


def verdict_over_images(run: str, reference: str, difference: Estimate) -> str:
    """The paired difference of SRCC of a run and a reference over images, in words.

    Example:
        >>> verdict_over_images("new", "old", Estimate(0.002, -0.001, 0.005))
        'SRCC of new minus old is +0.0020 [-0.0010, +0.0050]: no significant difference; one seed each'
        >>> verdict_over_images("new", "old", Estimate(0.02, 0.01, 0.03)).partition(": ")[2]
        'new is significantly higher on these images; one seed each, another training may reverse it'
    """
    amount = f"SRCC of {run} minus {reference} is {difference:+.4f}"
    if difference.low <= 0 <= difference.high:
        return f"{amount}: no significant difference; one seed each"
    side = "higher" if difference.value > 0 else "lower"
    return f"{amount}: {run} is significantly {side} on these images; one seed each, another training may reverse it"


def _aligned(predictions: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Every run's rows by image, in the order of the first run's, with the same mos."""
    indexed = {run: _by_image(run, table) for run, table in predictions.items()}
    first, reference = next(iter(indexed.items()))
    for run, table in indexed.items():
        lacking = reference.index.difference(table.index).tolist()
        extra = table.index.difference(reference.index).tolist()
        if lacking or extra:
            raise FusiqaError(
                f"{first} and {run} were tested on different images: only {first} has {listed(lacking) or 'none'}; "
                f"only {run} has {listed(extra) or 'none'}. Evaluate both on one split"
            )
        indexed[run] = table.loc[reference.index]
        mos, expected = indexed[run]["mos"], reference["mos"]
        other = ~np.isclose(mos, expected, rtol=MOS_TOLERANCE, atol=0, equal_nan=True)
        if other.any():
            pairs = zip(reference.index[other], expected[other], mos[other], strict=True)
            offenders = [f"{image} ({ours:g} and {theirs:g})" for image, ours, theirs in pairs]
            raise FusiqaError(f"{first} and {run} have different mos for the same images: {listed(offenders)}")
    return indexed


def _by_image(run: str, table: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in PREDICTION_COLUMNS if column not in table.columns]
    if missing:
        raise FusiqaError(f"{run}: the predictions lack the columns {listed(missing)}")
    names = table["image"].astype(str)
    if names.duplicated().any():
        raise FusiqaError(f"{run}: predicted more than once: {listed(names[names.duplicated()].tolist())}")
    return table.set_index(names)


# --- over seeds ------------------------------------------------------------------------------------------------------


def paired_over_seeds(values: ArrayLike, reference: ArrayLike) -> Mean:
    """The mean difference of two designs over paired seeds: the same split and the same seeds for both.

    Args:
        values: (seeds,) of the design in question.
        reference: (seeds,) of the one that it is compared with, in the same order.

    Raises:
        FusiqaError: different lengths, no seed, or a value that is not finite.

    Example:
        >>> difference = paired_over_seeds([0.87, 0.88, 0.86], [0.86, 0.86, 0.85])
        >>> round(difference.mean, 4), difference.significant
        (0.0133, False)
    """
    first, second = np.asarray(values, float), np.asarray(reference, float)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise FusiqaError(
            f"paired seeds need one value a seed of each design, got shapes {first.shape}, {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise FusiqaError("paired seeds need finite values: leave a run without a result out of both designs")
    return mean_interval(first - second)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several comparisons, corrected for their number: those below 5 % hold together at 5 %.

    Args:
        p_values: 0 to 1; NaN (one seed) stays NaN and is not counted.

    Example:
        >>> [round(p, 3) for p in holm([0.04, 0.01, 0.03])]
        [0.06, 0.03, 0.06]

    Source: Holm, Scandinavian Journal of Statistics 6, 1979, https://www.jstor.org/stable/4615733.
    """
    from statsmodels.stats.multitest import multipletests  # 1.5 s to import, which only an ablation needs

    corrected = np.array(p_values, float)
    known = ~np.isnan(corrected)
    if known.any():
        corrected[known] = multipletests(corrected[known], method="holm")[1]
    return corrected.tolist()


def power(effect: float, seeds: ArrayLike, *, comparisons: int = 1) -> Float[np.ndarray, "*seeds"]:
    """Probability that a two-sided paired t-test finds an effect, at 5 % over the number of comparisons (Bonferroni).

    Args:
        effect: mean over standard deviation of the differences; more than 10 counts as 10.
        seeds: 2 or more, an array of any shape.
        comparisons: number of tests in the family.

    Example:
        >>> power(1.0, [5, 10]).round(2)
        array([0.4, 0.8])
    """
    from statsmodels.stats.power import ttest_power

    level = (1 - CONFIDENCE) / comparisons
    found = ttest_power(min(abs(effect), LARGEST_EFFECT), np.asarray(seeds, float), level)
    return np.nan_to_num(found, nan=1.0)  # where the noncentral t overflows, the power is 1


def seeds_needed(effect: float, *, comparisons: int = 1) -> int | None:
    """Seeds with which a paired t-test at 5 % finds an effect with a probability of 80 %.

    Args:
        effect: mean over standard deviation of the differences.
        comparisons: number of tests in the family; each is then made at 5 % over their number (Bonferroni).

    Returns:
        At least 5, on which a claim should rest; None for more than 1,000, or an effect of NaN.

    Example:
        >>> seeds_needed(1.0)
        10
    """
    if np.isnan(effect):
        return None
    seeds = np.arange(FEWEST_SEEDS, MOST_SEEDS + 1)
    enough = seeds[power(effect, seeds, comparisons=comparisons) >= POWER]
    return int(enough[0]) if len(enough) else None


def verdict_over_seeds(
    name: str,
    reference: str,
    difference: Mean,
    *,
    metric: str = "SRCC",
    comparisons: int = 1,
    corrected: float | None = None,
) -> str:
    """The paired difference of a design and a reference over seeds, in words.

    Args:
        name: the design.
        reference: what it is compared with.
        difference: from `paired_over_seeds`.
        metric: what was compared.
        comparisons: number of designs that were compared with the reference.
        corrected: p-value after `holm` over those; None for a single comparison.

    Example:
        >>> verdict_over_seeds("new", "old", paired_over_seeds([0.9, 0.9, 0.9], [0.8, 0.81, 0.79]))
        'SRCC of new minus old is +0.1000 [+0.0752, +0.1248] over 3 paired seeds (t-test, p = 0.0033): new is
        significantly higher on this split; confirm it with at least 5 seeds'
    """
    amount, n = f"{metric} of {name} minus {reference} is {difference.mean:+.4f}", difference.n
    if n == 1:
        return f"{amount} with one seed each: inconclusive, another seed would change it. Run at least {FEWEST_SEEDS}"
    if difference.sd == 0 and difference.mean == 0:
        return (
            f"{metric} of {name} and {reference} is identical in each of {n} seeds: their settings make no difference"
        )
    if difference.sd == 0:
        return (
            f"{amount} in each of {n} paired seeds: inconclusive without any spread. Run more seeds, or test on more "
            "images"
        )
    single = corrected is None or comparisons == 1
    after = "" if single else f"; {corrected:.2g} after Holm correction for {comparisons} comparisons"
    interval = Estimate(difference.mean, difference.low, difference.high)
    found = (
        f"{metric} of {name} minus {reference} is {interval:+.4f} over {n} paired seeds (t-test, "
        f"p = {difference.p_value:.2g}{after})"
    )
    if difference.significant and (single or (corrected is not None and corrected < 1 - CONFIDENCE)):
        few = f"; confirm it with at least {FEWEST_SEEDS} seeds" if n < FEWEST_SEEDS else ""
        return f"{found}: {name} is significantly {'higher' if difference.mean > 0 else 'lower'} on this split{few}"
    outcome = "not significant after Holm correction" if difference.significant else "no significant difference"
    return f"{found}: {outcome}; {_more_seeds(difference, comparisons)}"


def _more_seeds(difference: Mean, comparisons: int) -> str:
    """How many more seeds would find a difference of this size, among so many comparisons."""
    needed = seeds_needed(difference.effect, comparisons=comparisons)
    if needed is None:
        return f"a difference of this size needs more than {MOST_SEEDS:,} seeds"
    guess = f" (a rough estimate from {difference.n})" if difference.n < FEWEST_SEEDS else ""
    return f"a difference of this size needs {needed} seeds, {max(0, needed - difference.n)} more{guess}"
