"""Runs of several designs over the same seeds: their means, and whether two designs differ. It reads no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.stats.student import CONFIDENCE, distance_from_zero, mean_of, quantile

POWER = 0.8
FEWEST_SEEDS = 5  # that a claim on a design should rest on
SEEDS_AT_MOST = 1000
"""More seeds than this nobody runs; a difference that would need them is as good as none."""


@dataclass(frozen=True)
class SeedDifference:
    """The mean difference of two designs over paired seeds.

    Attributes:
        n: seeds.
        mean: of the differences.
        low, high: bounds of the 95 % interval of the mean, by Student's t; NaN with one seed.
        p_value: of the paired t-test, two-sided; NaN with one seed.
        sd: standard deviation of the differences; NaN with one seed.
        effect: mean over sd (Cohen's d of paired data); NaN with one seed, infinite where all seeds agree.
    """

    n: int
    mean: float
    low: float
    high: float
    p_value: float
    sd: float
    effect: float

    @property
    def told(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_over_seeds(values: ArrayLike, reference: ArrayLike) -> SeedDifference:
    """Compare one figure of two designs, seed by seed: the same split and the same seeds for both.

    Args:
        values: (seeds,) of the design in question.
        reference: (seeds,) of the one that it is compared with, in the same order.

    Raises:
        FusiqaError: other lengths, no seed, or a value that is not finite.

    Example:
        >>> difference = paired_over_seeds([0.87, 0.88, 0.86], [0.86, 0.86, 0.85])
        >>> round(difference.mean, 4), difference.told
        (0.0133, False)

    Source: Student, Biometrika 6, 1908; Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
    """
    first, second = np.asarray(values, float), np.asarray(reference, float)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise FusiqaError(f"paired seeds need one value of each design a seed; {first.shape} and {second.shape} came")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise FusiqaError("paired seeds need finite values: a run without a result has to be left out of both designs")
    differences = first - second
    n, mean, sd, low, high = mean_of(differences)
    effect, p_value = distance_from_zero(differences)
    return SeedDifference(n, mean, low, high, p_value, sd, effect)


def seeds_needed(effect: float, *, comparisons: int = 1) -> int | None:
    """Seeds with which a paired t-test at 5 % finds an effect of this size (mean over sd) with a chance of 80 %.

    Args:
        effect: mean over standard deviation.
        comparisons: among which it has to stand; the test is then one at 5 % over their number (Bonferroni).

    Returns:
        The number, at least FEWEST_SEEDS, on which a claim should rest; None where it is over 1,000 or cannot be said.

    Example:
        >>> seeds_needed(1.0)
        10
    """
    if math.isinf(effect):
        return FEWEST_SEEDS
    if math.isnan(effect) or power(effect, SEEDS_AT_MOST, comparisons) < POWER:
        return None
    low, high = FEWEST_SEEDS - 1, SEEDS_AT_MOST  # low is too few, high is enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, comparisons) >= POWER else (middle, high)
    return high


def power(effect: float, seeds: int, comparisons: int = 1) -> float:
    """Chance that a two-sided paired t-test, at 5 % over the comparisons, finds an effect (mean over sd)."""
    if seeds < 2:
        return 0.0
    bound = quantile(seeds, confidence=1 - (1 - CONFIDENCE) / comparisons)
    shift = abs(effect) * math.sqrt(seeds)
    found = stats.nct.sf(bound, seeds - 1, shift) + stats.nct.cdf(-bound, seeds - 1, shift)
    return 1.0 if math.isnan(found) else float(found)  # so far out that scipy has no number for it


def holm(p_values: Sequence[float]) -> list[float]:
    """p of each of several comparisons, corrected for their number: below 5 %, all such stand together at 5 %.

    Args:
        p_values: of the comparisons; one that is NaN stays so, and does not count.

    Example:
        >>> [round(p, 3) for p in holm([0.04, 0.01, 0.03])]
        [0.06, 0.03, 0.06]

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    corrected = np.asarray(p_values, float).copy()
    known = np.flatnonzero(~np.isnan(corrected))
    order = known[np.argsort(corrected[known], kind="stable")]
    stepped = np.maximum.accumulate(corrected[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def verdict(
    name: str,
    reference: str,
    difference: SeedDifference,
    *,
    metric: str = "SRCC",
    comparisons: int = 1,
    corrected: float | None = None,
) -> str:
    """What may be said of two designs after so many seeds, in words.

    Args:
        name: of the design in question.
        reference: of the one that it is compared with.
        difference: of the two.
        metric: what was compared.
        comparisons: how many designs were compared with the reference.
        corrected: p after `holm` over those; without it the comparison is taken alone.
    """
    if difference.n == 1:
        return (
            f"{metric} of {name} minus {reference} is {difference.mean:+.4f} with one seed each: nothing can be told, "
            "for another seed would move it. Run at least five"
        )
    if difference.sd == 0 and difference.mean == 0:
        return (
            f"{metric} of {name} and {reference} is the same in each of {difference.n} seeds: what they differ in made "
            "no difference"
        )
    if difference.sd == 0:
        return (
            f"{metric} of {name} minus {reference} is {difference.mean:+.4f} in each of {difference.n} paired seeds: "
            "without any spread nothing can be told. Run more seeds, or test on more images"
        )
    alone = corrected is None or comparisons == 1
    among = "" if alone else f", {corrected:.2g} among {comparisons} comparisons"
    amount = (
        f"{metric} of {name} minus {reference} is {difference.mean:+.4f} [{difference.low:+.4f}, "
        f"{difference.high:+.4f}] over {difference.n} paired seeds (t-test, p = {difference.p_value:.2g}{among})"
    )
    if difference.told:
        few = f"; {FEWEST_SEEDS} seeds and more should say so" if difference.n < FEWEST_SEEDS else ""
        told = f"{name} is {'higher' if difference.mean > 0 else 'lower'} on this split"
        if alone or (corrected is not None and corrected < 1 - CONFIDENCE):
            return f"{amount}: {told}{few}"
        return (
            f"{amount}: {told} taken alone, but among so many chance may have done it; {_more(difference, comparisons)}"
        )
    return f"{amount}: no difference can be told; {_more(difference, comparisons)}"


def _more(difference: SeedDifference, comparisons: int) -> str:
    """How many more seeds would tell a difference of this size, among so many comparisons."""
    needed = seeds_needed(difference.effect, comparisons=comparisons)
    if needed is None:
        return f"one so small would need more than {SEEDS_AT_MOST:,} seeds"
    guess = f", as far as {difference.n} seeds can say" if difference.n < FEWEST_SEEDS else ""
    return f"one of this size would need {needed} seeds, {max(0, needed - difference.n)} more{guess}"
