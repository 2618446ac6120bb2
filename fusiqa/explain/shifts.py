"""How the scale weights of an image move when it is distorted: paired, with intervals. It distorts nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError
from fusiqa.explain.scale_weights import SCALES, weights_of
from fusiqa.stats.intervals import mean_interval

ROUNDING = 1e-5
"""An image whose weights all move by less has not moved: its batch alone changes the last digits of a float."""
COLUMNS = ("group", "scale", "n", "shift", "low", "high", "effect", "p_value")


def scale_shifts(table: pd.DataFrame, *, reference: str) -> pd.DataFrame:
    """Weight of each scale in each group less that of the same image in the reference group, averaged.

    Args:
        table: one row an image: `image` (which images of one image share), `group`, scale_0 .. scale_3.
        reference: the group of undistorted images.

    Returns:
        One row a group and scale: group, scale, n images, shift (mean difference, -1 to 1), low and high (95 %
        interval of the mean, Student's t; NaN for one image), effect (mean over standard deviation; NaN for one,
        0 where nothing moves), p_value (paired t-test, two-sided). The shifts of a group sum to zero.

    Raises:
        FusiqaError: no reference group, or an image that is not in every group exactly once.
    """
    groups = list(dict.fromkeys(table["group"]))
    if reference not in groups:
        raise FusiqaError(f"no group {reference!r} to compare with; the groups are {', '.join(map(str, groups))}")
    per_group = {group: part.set_index("original").sort_index() for group, part in table.groupby("group", sort=False)}
    images = per_group[reference].index
    if any(part.index.has_duplicates or not part.index.equals(images) for part in per_group.values()):
        raise FusiqaError("shifts of scale weights are paired: every image has to be in every group once")
    before = weights_of(per_group[reference])
    rows = []
    for group in groups:
        if group == reference:
            continue
        moved = weights_of(per_group[group]) - before
        moved[np.abs(moved).max(axis=1) < ROUNDING] = 0
        rows += [(group, scale, *_described(moved[:, scale])) for scale in range(len(SCALES))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _described(differences: np.ndarray) -> tuple[int, float, float, float, float, float]:
    """n, mean, low, high, effect and p of paired differences."""
    found = mean_interval(differences)
    return found.n, found.mean, found.low, found.high, found.effect, found.p_value


def readable(shifts: pd.DataFrame) -> pd.DataFrame:
    """One row a group for reading: the shift of each scale with its interval, and the scale that gains most."""
    rows = []
    for group, part in shifts.groupby("group", sort=False):
        cells = {f"scale {r.scale}": f"{r.shift:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in part.itertuples()}
        place = int(part["shift"].to_numpy().argmax())
        most = f"scale {place}" if part["low"].to_numpy()[place] > 0 else "none that can be told"
        rows.append({"group": group, **cells, "gains most": most})
    return pd.DataFrame(rows)
