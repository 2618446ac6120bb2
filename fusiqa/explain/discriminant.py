"""Whether scale weights alone tell flaws apart: a linear discriminant, tested on images that it did not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from fusiqa.explain.opinions import CLEAR, flaw_made
from fusiqa.explain.weights import weights_array
from fusiqa.stats.intervals import Mean, mean_interval

LEAST_VARIANCE = 1e-9  # of weights, added so that equal ones can be inverted


class Separation(NamedTuple):
    """How often the flaw of an image's distorted version follows from its scale weights."""

    flaws: int
    accuracy: Mean  # over images: the mean over flaws of the share that is told rightly; by chance 1 / flaws

    def __str__(self) -> str:
        a, of = self.accuracy, f"{self.flaws} flaws (level {CLEAR} and up)"
        return f"tells {of} apart with a balanced accuracy of {a.estimate:.3f}, n = {a.n}; chance {1 / self.flaws:.3f}"


def tell_flaws(table: pd.DataFrame) -> Separation | None:
    """Test the discriminant with equal priors on each image in turn, its versions left out of what it is fitted to.

    Table: one row an image: original, distortion, level, scale_0 .. scale_3. None for fewer than two originals or
    flaws.

    Source: Fisher, Annals of Eugenics 7, 1936, https://doi.org/10.1111/j.1469-1809.1936.tb02137.x.
    """
    table = table.assign(flaw=flaw_made(table)).dropna(subset="flaw")
    flaws, originals = table["flaw"].to_numpy(), table["original"].to_numpy()
    if min(len(set(flaws)), len(set(originals))) < 2:
        return None
    weights = weights_array(table)[:, :-1]  # of four that sum to 1, the fourth says nothing more
    shares = []
    for original in dict.fromkeys(originals):
        mine = originals == original
        right = _nearest(weights[mine], weights[~mine], flaws[~mine]) == flaws[mine]
        shares.append(pd.Series(right).groupby(flaws[mine]).mean().mean())
    return Separation(len(set(flaws)), mean_interval(shares))


def describe_separation(runs: Mapping[str, Separation | None]) -> str:
    """What was found of each run, as a section of `hypothesis.md`; nothing of a single image."""
    items = "".join(f"- {run} {found}\n" for run, found in runs.items() if found)
    return (
        items
        and f"""
## Whether the weights tell flaws apart

A linear discriminant on the four weights alone, with equal priors, tested on the versions of each image in turn and
fitted to those of the others. Near chance, weights taken by themselves do not say, in this way, what is wrong with an
image.

{items}"""
    )


def _nearest(
    weights: Float[np.ndarray, "images 3"], known: Float[np.ndarray, "others 3"], flaws: np.ndarray
) -> np.ndarray:
    """The flaw whose mean is nearest by the covariance within flaws, of each image."""
    names, place = np.unique(flaws, return_inverse=True)
    means = np.array([known[flaws == name].mean(axis=0) for name in names])
    within = np.cov((known - means[place]).T, bias=True) + LEAST_VARIANCE * np.eye(known.shape[1])
    apart = weights[:, None] - means
    return names[np.einsum("ifa,ab,ifb->if", apart, np.linalg.inv(within), apart).argmin(axis=1)]
