"""Tables of scale weights, one row an image: `image`, `mos` (may be NaN), `score`, `group`, `scale_0` to `scale_3`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import special

from fusiqa.data.catalog import SYNTHETIC, kinds
from fusiqa.errors import FusiqaError, listed
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.stats.intervals import Mean, as_floats, mean_interval

Gates = Float[np.ndarray, "crops scales rows columns"]
DOMINANT = 0.9  # a weight that leaves nothing to the other scales
SUM_TOLERANCE = 0.01  # what half precision and four decimals in a CSV lose of a row's sum, generously
THIRDS = ("lowest third", "middle third", "highest third")


def collapse_warning(weights: ArrayLike) -> str | None:
    """A warning if one scale dominates most images, else None. Weights: (images, 4), each row 0-1 and summing to 1."""
    given = as_floats(weights, "weights")
    dominated = (given > DOMINANT).sum(axis=0) / max(1, len(given))
    scale, most = int(dominated.argmax()), dominated.max()
    if most <= 0.5:
        return None
    found = f"{most:.0%} of {len(given):,} images put more than {DOMINANT:g} on scale {scale}"
    meaning = "they say almost nothing about a single image, though scores may still be good"
    advice = "an `entropy_weight` of 0.05 in training keeps the weights even (docs/compare.md)"
    return f"the scale weights have collapsed: {found}, so {meaning}; {advice}"


def effective_scales(weights: ArrayLike) -> Float[np.ndarray, " images"]:
    """Number of scales in effect for each image: exp(-sum_i w_i ln w_i), from 1 (one scale) to 4 (equal weights).

    Weights: (images, 4). FusiqaError: a weight is negative or not finite, or a row does not sum to 1.

    Example:
        >>> effective_scales([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
        array([4., 2., 1.])

    Source: Hill, Diversity and evenness, Ecology 54, 1973, https://doi.org/10.2307/1934352 (order 1).
    """
    given = as_floats(weights, "weights")
    if given.ndim != 2 or given.shape[1] != len(SCALE_COLUMNS):
        raise FusiqaError(f"scale weights must have the shape (images, {len(SCALE_COLUMNS)}), got {given.shape}")
    sound = (given >= 0).all(axis=1) & (np.abs(given.sum(axis=1) - 1) <= SUM_TOLERANCE)  # NaN is neither
    if broken := [f"row {row}: {given[row].tolist()}" for row in np.flatnonzero(~sound)]:
        raise FusiqaError(f"scale weights must be 0 to 1 and sum to 1 for each image, got {listed(broken)}")
    return np.exp(special.entr(given).sum(axis=1))


def weights_array(table: pd.DataFrame) -> Float[np.ndarray, "images 4"]:
    """The weights of a table. FusiqaError: a scale column is missing, or the table has no rows."""
    if missing := [column for column in SCALE_COLUMNS if column not in table.columns]:
        needed = ", ".join(SCALE_COLUMNS)
        raise FusiqaError(f"a table of scale weights needs the columns {needed}; missing: {listed(missing)}")
    if table.empty:
        raise FusiqaError("a table of scale weights needs at least one row, got none")
    return table[list(SCALE_COLUMNS)].to_numpy(np.float64)


def summarise_weights(table: pd.DataFrame) -> pd.DataFrame:
    """Mean weight of each scale in each group of images.

    Groups keep their order if they are categorical, else come as they appear. FusiqaError: a column is missing, an
    image has no group, or a row's weights are not weights.

    Returns:
        One row a group and scale: `group`, `n` (images), `scale` (0-3), `mean` (0-1), `low` and `high` (95 % t
        interval over images, clipped to 0-1; NaN for one image) and `effective` (mean of `effective_scales`).
    """
    table = table.assign(effective=effective_scales(weights_array(table)))
    if "group" not in table.columns:
        raise FusiqaError(f"a summary needs a column 'group'; the table has {listed(list(map(str, table.columns)))}")
    if ungrouped := [str(row) for row in np.flatnonzero(table["group"].isna())]:
        raise FusiqaError(f"every image needs a group; row {listed(ungrouped)} has none")
    kind = table["group"].dtype
    rows = [
        (group, scale, *mean_interval(part[column]), part["effective"].mean())
        for group, part in table.groupby("group", sort=isinstance(kind, pd.CategoricalDtype), observed=True)
        for scale, column in enumerate(SCALE_COLUMNS)
    ]
    summary = pd.DataFrame(rows, columns=["group", "scale", *Mean._fields, "effective"]).astype({"group": kind})
    summary[["low", "high"]] = summary[["low", "high"]].clip(0, 1)
    return summary[["group", "n", "scale", "mean", "low", "high", "effective"]]


def format_weights(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a group for reading: images, mean weight of each scale with its interval, effective number of scales."""
    rows = [
        {"group": group, "images": int(part["n"].iloc[0])}
        | {f"scale {row.scale}": f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in part.itertuples()}
        | {"effective scales": float(part["effective"].iloc[0])}
        for group, part in summary.groupby("group", sort=False, observed=True)
    ]
    return pd.DataFrame(rows)


def with_groups(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Add a column `group`: the distortion of each image of the synthetic set, else thirds by quality."""
    known = kinds(dataset, table["image"].tolist()) if dataset == SYNTHETIC else None
    return with_quality_thirds(table) if known is None else table.assign(group=known)


def with_quality_thirds(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column `group`: thirds by rating where every image has one, else by score; sizes differ by at most one.

    Ties are split in order; fewer than three images, or equal ones, are one group. FusiqaError: a score is not finite.
    """
    column, how = ("mos", "rated") if table["mos"].notna().all() else ("score", "scored")
    quality = table[column].to_numpy(np.float64)
    if broken := [f"{quality[row]} in row {row}" for row in np.flatnonzero(~np.isfinite(quality))]:
        raise FusiqaError(f"groups by quality need finite scores, got {listed(broken)}")
    if len(table) < len(THIRDS) or np.ptp(quality) == 0:
        return table.assign(group="all images")
    codes = np.argsort(np.argsort(quality, kind="stable")) * len(THIRDS) // len(table)
    names = pd.Index([f"{how} {third}" for third in THIRDS])
    return table.assign(group=pd.Categorical.from_codes(codes, names, ordered=True))


def stitch_gates(
    gates: Gates, corners: Sequence[tuple[int, int]], *, height: int, width: int, crop_size: int
) -> Float[np.ndarray, "scales height width"]:
    """Combine the gates of an image's crops into one map for each scale; overlapping crops are averaged.

    Gates are on a grid over each crop; corners are (top, left) of each, in pixels. FusiqaError: a pixel in no crop.
    """
    scales, rows, columns = gates.shape[1:]
    down, across = np.arange(crop_size) * rows // crop_size, np.arange(crop_size) * columns // crop_size
    total, times = np.zeros((scales, height, width)), np.zeros((height, width))
    for of_crop, (top, left) in zip(gates, corners, strict=True):
        place = np.s_[top : top + crop_size, left : left + crop_size]
        total[:, *place] += of_crop[:, down][:, :, across]
        times[place] += 1
    if not times.all():
        raise FusiqaError(f"the crops leave out {int((times == 0).sum())} pixels of an image {height} by {width}")
    return total / times


def mean_matrices(matrices: Float[np.ndarray, "images 4 4"], groups: Sequence[str]) -> pd.DataFrame:
    """Mean attention of each scale (row of a matrix, which sums to one) to each scale, in each group of images.

    Returns:
        One row a group and pair of scales: group, scale, attends_to (0-3), n images, mean (0-1), low and high (95 % t
        interval over images; NaN for one).
    """
    cells = [(group, pair) for group in dict.fromkeys(groups) for pair in np.ndindex(matrices.shape[1:])]
    rows = [(group, *pair, *mean_interval(matrices[np.array(groups) == group][:, *pair])) for group, pair in cells]
    return pd.DataFrame(rows, columns=["group", "scale", "attends_to", *Mean._fields]).drop(columns=["sd", "p_value"])
