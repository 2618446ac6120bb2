"""Paired comparisons of models: over test images (bootstrap) and over training seeds (t-test, Holm, power).

An interval over images does not cover another training of the networks; one over seeds does not cover other images.
"""

from __future__ import annotations

from itertools import compress

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.intervals import CONFIDENCE, Estimate, Mean, as_floats, mean_interval
from fusiqa.stats.metrics import MetricName, estimate, paired_difference

COMPARED: tuple[MetricName, ...] = ("srcc", "plcc")
FEWEST_SEEDS = 5  # that a claim about a design should rest on
MOST_SEEDS = 1000  # a difference that needs more is as good as none


# --- over images -----------------------------------------------------------------------------------------------------


def compare_predictions(predictions: dict[str, pd.DataFrame], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Measure every run, and the difference of each later run from the first on the same images.

    Args:
        predictions: runs by name, the reference first; each with `image`, `mos`, `score`, one row an image.
        resamples: of the bootstrap over images.
        seed: of the bootstrap; the same resamples serve every run.

    Returns:
        One row a run: `run`, `n`, for srcc and plcc the value with `_low` and `_high` (95 % interval) and the
        `_difference` (run minus first) with its own interval (NaN for the first), and a `verdict` in words.

    FusiqaError: under two runs, missing columns, repeated images, other images or mos, or as `measure`.
    """
    if len(predictions) < 2:
        raise FusiqaError(f"a comparison needs at least two runs, got {listed(list(predictions)) or 'none'}")
    aligned, rows = _aligned(predictions), []
    first, reference = next(iter(aligned.items()))
    pair, draws = (reference["score"], reference["mos"]), {"resamples": resamples, "seed": seed}
    for run, table in aligned.items():
        row: dict[str, object] = {"run": run, "n": len(table)}
        differences, verdict = dict.fromkeys(COMPARED, Estimate(np.nan, np.nan, np.nan)), "reference of the comparison"
        try:
            for name in COMPARED:
                row |= estimate(table["score"], table["mos"], metric=name, **draws).columns(name)
        except FusiqaError as error:
            raise FusiqaError(f"{run}: {error}") from error
        if run != first:
            differences = {name: paired_difference(table["score"], *pair, metric=name, **draws) for name in COMPARED}
            verdict = verdict_over_images(run, first, differences["srcc"])
        for name, difference in differences.items():
            row |= difference.columns(f"{name}_difference")
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
    found = f"{run} is significantly {'higher' if difference.value > 0 else 'lower'} on these images"
    return f"{amount}: {found}; one seed each, another training may reverse it"


def _aligned(predictions: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Every run's rows by image, in the order of the first run's, with the same mos."""
    found: dict[str, pd.DataFrame] = {}
    for run, table in predictions.items():
        if missing := [column for column in ("image", "mos", "score") if column not in table.columns]:
            raise FusiqaError(f"{run}: the predictions lack the columns {listed(missing)}")
        table = table.set_index(table["image"].astype(str))
        if table.index.has_duplicates:
            raise FusiqaError(f"{run}: predicted more than once: {listed(list(table.index[table.index.duplicated()]))}")
        first, reference = next(iter(found.items()), (run, table))
        lacking, extra = reference.index.difference(table.index), table.index.difference(reference.index)
        if len(lacking) + len(extra):
            theirs, mine = (listed(list(names)) or "none" for names in (lacking, extra))
            only = f"only {first} has {theirs}; only {run} has {mine}"
            raise FusiqaError(f"{first} and {run} were tested on different images: {only}")
        table = found[run] = table.loc[reference.index]
        both = zip(table.index, reference["mos"], table["mos"], strict=True)
        differ = ~np.isclose(table["mos"], reference["mos"], rtol=1e-6, atol=0, equal_nan=True)  # as a CSV rounds
        if offenders := [f"{name} ({mos:g} and {other:g})" for name, mos, other in compress(both, differ)]:
            raise FusiqaError(f"{first} and {run} have different mos for the same images: {listed(offenders)}")
    return found


# --- over seeds ------------------------------------------------------------------------------------------------------


def compare_over_seeds(values: pd.DataFrame, reference: str, *, metric: str = "SRCC") -> pd.DataFrame:
    """The difference of each design from the reference, over the seeds that both have.

    Args:
        values: of a metric, a row a seed and a column a design; NaN where a seed is missing.
        reference: its design; without a column of that name there is no row.
        metric: its name.

    Returns:
        One row for each other design: `variant`, `difference` with `low` and `high` (95 % interval over seeds) and
        `p_value` (NaN with one seed), `p_holm`, `seeds`, `seeds_needed` for a power of 80 %, and a `verdict` in words.
    """
    others = [name for name in map(str, values) if name != reference and reference in values]
    both = {name: values[[name, reference]].dropna() for name in others}
    found = {name: paired_over_seeds(part[name], part[reference]) for name, part in both.items() if len(part)}
    family = max(1, sum(each.n > 1 for each in found.values()))
    rows = []
    for (name, each), corrected in zip(found.items(), holm([each.p_value for each in found.values()]), strict=True):
        needed = seeds_needed(each.effect, comparisons=family)
        words = verdict_over_seeds(name, reference, each, metric=metric, comparisons=family, corrected=corrected)
        rows.append((name, each.mean, each.low, each.high, each.p_value, corrected, each.n, needed, words))
    columns = ["variant", "difference", "low", "high", "p_value", "p_holm", "seeds", "seeds_needed", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def paired_over_seeds(values: ArrayLike, reference: ArrayLike) -> Mean:
    """The mean difference of two designs over paired seeds: the same split and the same seeds for both.

    Values and reference: (seeds,) each, in the same order. FusiqaError: different lengths, none, or not finite.

    Example:
        >>> difference = paired_over_seeds([0.87, 0.88, 0.86], [0.86, 0.86, 0.85])
        >>> round(difference.mean, 4), difference.significant
        (0.0133, False)
    """
    first, second = as_floats(values, "values"), as_floats(reference, "reference")
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise FusiqaError(f"paired seeds need one value each of both designs, got shapes {first.shape}, {second.shape}")
    if not np.isfinite([first, second]).all():
        raise FusiqaError("paired seeds need finite values: leave a run without a result out of both designs")
    return mean_interval(first - second)


def holm(p_values: ArrayLike) -> list[float]:
    """The p-values of several comparisons, corrected for their number: those below 5 % hold together at 5 %.

    P-values: 0 to 1; NaN (one seed) stays NaN and is not counted.

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

    Effect: mean over standard deviation of the differences, at most 10. Seeds: 2 or more, an array of any shape.

    Example:
        >>> power(1.0, [5, 10]).round(2)
        array([0.4, 0.8])
    """
    from statsmodels.stats.power import ttest_power

    level = (1 - CONFIDENCE) / comparisons
    found = ttest_power(min(abs(effect), 10), np.asarray(seeds, float), level)  # far larger ones overflow
    return np.asarray(np.nan_to_num(found, nan=1.0))  # where the noncentral t overflows, the power is 1


def seeds_needed(effect: float, *, comparisons: int = 1) -> int | None:
    """Seeds for a `power` of 80 %: at least 5, which a claim should rest on; None above 1,000 or for an effect of NaN.

    Example:
        >>> seeds_needed(1.0)
        10
    """
    if np.isnan(effect):
        return None
    seeds = np.arange(FEWEST_SEEDS, MOST_SEEDS + 1)
    enough = seeds[power(effect, seeds, comparisons=comparisons) >= 0.8]
    return int(enough[0]) if len(enough) else None


def verdict_over_seeds(
    name: str, reference: str, difference: Mean, *, metric="SRCC", comparisons=1, corrected: float | None = None
) -> str:
    """The paired difference of a design and a reference over seeds, in words.

    The difference is from `paired_over_seeds`; `corrected` is its p-value after `holm` over so many comparisons.

    Example:
        >>> verdict_over_seeds("new", "old", paired_over_seeds([0.9, 0.9, 0.9], [0.8, 0.81, 0.79]))
        'SRCC of new minus old is +0.1000 [+0.0752, +0.1248] over 3 paired seeds (t-test, p = 0.0033): new is
        significantly higher on this split; confirm it with at least 5 seeds'
    """
    n, what = difference.n, f"{metric} of {name} minus {reference} is"
    amount = f"{what} {difference.mean:+.4f}"
    if n == 1:
        return f"{amount} with one seed each: inconclusive, another seed would change it. Run at least {FEWEST_SEEDS}"
    if difference.sd == difference.mean == 0:
        both = f"{metric} of {name} and {reference}"
        return f"{both} is identical in each of {n} seeds: their settings make no difference"
    if difference.sd == 0:
        advice = "Run more seeds or test more images"
        return f"{amount} in each of {n} paired seeds: inconclusive without any spread. {advice}"
    p_value = difference.p_value if corrected is None else corrected
    after = "" if comparisons == 1 else f"; {p_value:.2g} after Holm correction for {comparisons} comparisons"
    tested = f"t-test, p = {difference.p_value:.2g}{after}"
    found, few = f"{what} {difference.estimate:+.4f} over {n} paired seeds ({tested})", n < FEWEST_SEEDS
    if p_value < 1 - CONFIDENCE:
        more = f"; confirm it with at least {FEWEST_SEEDS} seeds" if few else ""
        return f"{found}: {name} is significantly {'higher' if difference.mean > 0 else 'lower'} on this split{more}"
    outcome = "not significant after Holm correction" if difference.significant else "no significant difference"
    needed = seeds_needed(difference.effect, comparisons=comparisons)
    if needed is None:
        return f"{found}: {outcome}; a difference of this size needs more than {MOST_SEEDS:,} seeds"
    guess = f" (a rough estimate from {n})" if few else ""
    return f"{found}: {outcome}; a difference of this size needs {needed} seeds, {max(0, needed - n)} more{guess}"
