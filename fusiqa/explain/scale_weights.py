"""Scale weights as tables: how many scales an image uses, and what each group of images uses. It draws nothing.

A table of weights has one row an image: `image`, `mos` (may be NaN), `score`, `group` and `scale_0` to `scale_3`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fusiqa.errors import FusiqaError, listed
from fusiqa.stats.intervals import mean_interval

Weights = NDArray[np.float64]

SCALES = ("scale_0", "scale_1", "scale_2", "scale_3")
DOMINANT, MOST = 0.9, 0.5  # a weight that leaves nothing to the others; the share of images from which it is a collapse
SUM_TOLERANCE = 0.01  # what half precision and four decimals in a CSV lose of a row's sum, generously
PARTS = {2: "half", 3: "third", 4: "quarter", 5: "fifth"}
ORDINALS = ("lowest", "second", "third", "fourth")


def collapse(weights: ArrayLike) -> str | None:
    """What to say of weights that lie on one scale for most images; None where they do not.

    Args:
        weights: (images, 4), each row 0-1 and summing to 1.

    Example:
        >>> collapse([[0.95, 0.05, 0, 0], [0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]]).partition(":")[0]
        'the scale weights have collapsed'
        >>> collapse([[0.25, 0.25, 0.25, 0.25]]) is None
        True
    """
    given = np.asarray(weights, np.float64)
    dominated = (given > DOMINANT).mean(axis=0) if len(given) else np.zeros(len(SCALES))
    scale = int(dominated.argmax())
    if dominated[scale] <= MOST:
        return None
    return (
        f"the scale weights have collapsed: {dominated[scale]:.0%} of {len(given):,} images put more than {DOMINANT:g} "
        f"on scale {scale}, so they tell next to nothing of the single image. The scores may be good all the same; "
        "--entropy_weight 0.05 keeps weights even (docs/ablation.md)"
    )


def effective_scales(weights: ArrayLike) -> Weights:
    """The number of scales that an image really uses: exp(-sum_i w_i ln w_i), from 1 (one scale) to 4 (all alike).

    Args:
        weights: (images, 4), each row 0-1 and summing to 1.

    Returns:
        (images,), in scales; empty for no images.

    Raises:
        FusiqaError: a weight is negative or not finite, or a row does not sum to 1.

    Example:
        >>> effective_scales([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
        array([4., 2., 1.])

    Source: Hill, 1973 (diversity number of order 1).
    """
    checked = np.asarray(weights, np.float64)
    if checked.ndim != 2 or checked.shape[1] != len(SCALES):
        raise FusiqaError(f"scale weights must have the shape (images, {len(SCALES)}); they have {checked.shape}")
    sound = np.isfinite(checked).all(axis=1) & (checked >= 0).all(axis=1)
    sound &= np.abs(checked.sum(axis=1) - 1) <= SUM_TOLERANCE
    if not sound.all():
        broken = [f"row {row}: {checked[row].tolist()}" for row in np.flatnonzero(~sound)]
        raise FusiqaError(
            f"scale weights must be 0 to 1 and sum to 1 for every image; they are not in {listed(broken)}"
        )
    return np.exp(special.entr(checked).sum(axis=1))


def weights_of(table: pd.DataFrame) -> Weights:
    """The weights (images, 4) of a table.

    Raises:
        FusiqaError: a scale column is missing, or the table has no rows.
    """
    missing = [column for column in SCALES if column not in table.columns]
    if missing:
        raise FusiqaError(
            f"the table of scale weights lacks the columns {listed(missing)}; expected {', '.join(SCALES)}"
        )
    if table.empty:
        raise FusiqaError("the table of scale weights has no rows: there is no image to explain")
    return table[list(SCALES)].to_numpy(np.float64)


def summarise(table: pd.DataFrame, by: str = "group") -> pd.DataFrame:
    """What each group of images uses of each scale, over all of its images.

    Args:
        table: one row an image, as above.
        by: the column that names the group. Groups keep its order if it is categorical, else come as they appear.

    Returns:
        One row per group and scale: `by`, `n` (images), `scale` (0-3), `mean` (0-1), `low` and `high` (95 % interval of
        the mean by Student's t, images taken as independent, cut to 0-1; NaN for a group of one image) and
        `effective` (mean over the group's images of `effective_scales`: 4 in no way follows from equal means).

    Raises:
        FusiqaError: a column is missing, a group is not named, or a row's weights are not weights.

    Example:
        >>> table = pd.DataFrame({"group": ["blur", "blur"], "scale_0": [0.4, 0.6], "scale_1": [0.6, 0.4],
        ...                       "scale_2": 0.0, "scale_3": 0.0})
        >>> summarise(table)[["group", "n", "scale", "mean"]].head(2)
          group  n  scale  mean
        0  blur  2      0   0.5
        1  blur  2      1   0.5
    """
    weights = weights_of(table)
    if by not in table.columns:
        columns = listed([str(column) for column in table.columns])
        raise FusiqaError(f"the table of scale weights has no column {by!r} to group by; it has {columns}")
    if table[by].isna().any():
        rows = [str(row) for row in np.flatnonzero(table[by].isna())]
        raise FusiqaError(f"every image needs a {by}; there is none in row {listed(rows)} (rows count from 0)")
    effective = effective_scales(weights)
    parts = []
    for name in _in_order(table[by]):
        members = (table[by] == name).to_numpy()
        parts.append(_summary_of(weights[members], effective[members]).assign(**{by: name}))
    summary = pd.concat(parts, ignore_index=True)[[by, "n", "scale", "mean", "low", "high", "effective"]]
    return summary.astype({by: table[by].dtype})


def quality_bands(scores: ArrayLike, bands: int = 3) -> pd.Series:
    """Name each image's band of quality: equally many images in each (sizes differ by one at most).

    Ties are parted in the order in which they come.

    Args:
        scores: (images,), higher is better; mos serves as well.
        bands: 2 to 5.

    Returns:
        (images,) ordered categories, lowest first, such as "lowest third", "middle third", "highest third"; counted
        from 0 whatever the index of `scores`.

    Raises:
        FusiqaError: fewer images than bands, a score that is not finite, scores all equal, or another number of bands.

    Example:
        >>> list(quality_bands([0.9, 0.1, 0.5, 0.7], bands=2))
        ['upper half', 'lower half', 'lower half', 'upper half']
    """
    values = np.asarray(scores, np.float64)
    if bands not in PARTS:
        raise FusiqaError(f"{bands} bands of quality have no names; allowed are {min(PARTS)} to {max(PARTS)}")
    if len(values) < bands:
        raise FusiqaError(f"{len(values)} images cannot fill {bands} bands of quality; give more images or fewer bands")
    if not np.isfinite(values).all():
        broken = [f"{values[row]} in row {row}" for row in np.flatnonzero(~np.isfinite(values))]
        raise FusiqaError(f"bands of quality need finite scores; found {listed(broken)} (rows count from 0)")
    if np.ptp(values) == 0:
        raise FusiqaError(f"all {len(values)} scores are {values[0]:g}: there are no bands of quality among them")
    place = np.empty(len(values), np.int64)
    place[np.argsort(values, kind="stable")] = np.arange(len(values))
    names = pd.Index(_band_names(bands))
    return pd.Series(pd.Categorical.from_codes(place * bands // len(values), names, ordered=True))


def _band_names(bands: int) -> list[str]:
    """From lowest to highest; the middle one of three is "middle third"."""
    part = PARTS[bands]
    if bands == 2:
        return [f"lower {part}", f"upper {part}"]
    if bands == 3:
        return [f"lowest {part}", f"middle {part}", f"highest {part}"]
    return [f"{ordinal} {part}" for ordinal in ORDINALS[: bands - 1]] + [f"highest {part}"]


def _in_order(groups: pd.Series) -> list[str]:
    """The groups that have images: in the order of the categories, or of appearance."""
    present = groups.unique()
    if isinstance(groups.dtype, pd.CategoricalDtype):
        return [name for name in groups.dtype.categories if name in present]
    return list(present)


def _summary_of(weights: Weights, effective: Weights) -> pd.DataFrame:
    """One row per scale for the images (images, 4) of one group."""
    found = [mean_interval(weights[:, scale]) for scale in range(len(SCALES))]
    return pd.DataFrame(
        {
            "n": len(weights),
            "scale": range(len(SCALES)),
            "mean": [each.mean for each in found],
            "low": np.maximum([each.low for each in found], 0),
            "high": np.minimum([each.high for each in found], 1),
            "effective": effective.mean(),
        }
    )
