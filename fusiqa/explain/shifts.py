"""How distortions shift the scale weights of the same images: paired differences with intervals, p and q values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.weights import weights_array
from fusiqa.stats.intervals import mean_interval

ROUNDING = 1e-5
"""Smaller shifts count as 0: the batch alone changes the last digits of a float."""
UNDISTORTED = "none"
SIGNIFICANT_BELOW = 0.05
"""False discovery rate: of the shifts with a smaller q, 5 % are expected to be none."""


def scale_shifts(table: pd.DataFrame, *, reference: str) -> pd.DataFrame:
    """Mean difference of each scale's weight between each group and the reference group, on the same images.

    Args:
        table: one row an image: `original` (what an image is a version of), `group`, scale_0 .. scale_3.
        reference: the group of undistorted images.

    Returns:
        One row a group and scale: group, scale, n images, shift (mean difference, -1 to 1), low and high (95 %
        interval of the mean, Student's t; NaN for one image), effect (mean over standard deviation; NaN for one
        image, 0 where nothing shifts), p_value (paired t-test, two-sided). The shifts of a group sum to zero.

    Raises:
        FusiqaError: no reference group, or an original that is not in every group exactly once.
    """
    per_group = {group: part.set_index("original").sort_index() for group, part in table.groupby("group", sort=False)}
    if reference not in per_group:
        raise FusiqaError(f"no reference group {reference!r}; the groups are {', '.join(map(str, per_group))}")
    originals = per_group[reference].index
    if any(part.index.has_duplicates or not part.index.equals(originals) for part in per_group.values()):
        raise FusiqaError("paired shifts need every original in every group exactly once")
    before = weights_array(per_group.pop(reference))
    rows = []
    for group, part in per_group.items():
        shifted = weights_array(part) - before
        shifted[np.abs(shifted).max(axis=1) < ROUNDING] = 0
        for scale, differences in enumerate(shifted.T):
            found = mean_interval(differences)
            rows.append((group, scale, found.n, found.mean, found.low, found.high, found.effect, found.p_value))
    return pd.DataFrame(rows, columns=["group", "scale", "n", "shift", "low", "high", "effect", "p_value"])


def distortion_shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Shift of each scale's weight under each distortion and level.

    Args:
        table: one row an image: `original`, `kind`, `distortion`, `level` and scale_0 .. scale_3; every original once
            under each distortion and level, and once with the distortion "none".

    Returns:
        One row a distortion, level and scale, in the order of the table: kind, distortion, level, scale, the columns
        of `scale_shifts`, and q_value: the p-values of all rows after Benjamini and Hochberg. NaN for one image.

    Raises:
        FusiqaError: no undistorted images, or an original that is not in every group exactly once.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, Journal of the Royal Statistical Society B 57,
    1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.
    """
    labels = [f"{name} {level}".removesuffix(" 0") for name, level in table[["distortion", "level"]].to_numpy()]
    table = table.assign(group=labels)
    found = scale_shifts(table, reference=UNDISTORTED)
    keys = table.drop_duplicates("group").set_index("group")[["kind", "distortion", "level"]]
    p_values = found["p_value"]
    q_values = stats.false_discovery_control(p_values) if p_values.notna().all() else p_values
    return pd.concat([keys.loc[found["group"]].reset_index(drop=True), found.drop(columns="group")], axis=1).assign(
        q_value=q_values
    )


def format_shifts(shifts: pd.DataFrame) -> pd.DataFrame:
    """One row a group for reading: the shift of each scale with its interval, and the scale that gains most."""
    rows = []
    for group, part in shifts.groupby("group", sort=False):
        cells = {f"scale {r.scale}": f"{r.shift:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in part.itertuples()}
        most = part.iloc[int(part["shift"].to_numpy().argmax())]
        gains = f"scale {most['scale']}" if most["low"] > 0 else "none significantly"
        rows.append({"group": group, **cells, "gains most": gains})
    return pd.DataFrame(rows)
