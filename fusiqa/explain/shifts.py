"""How distortions shift the scale weights of the same images: paired differences with intervals, p and q values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from fusiqa.data.distortions import KIND_OF_DISTORTION, treatment_of
from fusiqa.errors import FusiqaError
from fusiqa.explain.weights import weights_array
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.stats.intervals import mean_interval

ROUNDING = 1e-5  # smaller shifts count as 0: the batch alone changes the last digits of a float
UNDISTORTED = "none"
SIGNIFICANT_BELOW = 0.05  # false discovery rate: of the shifts with a smaller q, 5 % are expected to be none


def scale_shifts(table: pd.DataFrame, *, reference: str) -> pd.DataFrame:
    """Mean difference of each scale's weight between each group and the reference group, on the same images.

    Table: one row an image: `original` (what it is a version of), `group`, scale_0 .. scale_3. FusiqaError: no
    reference group, or an original that is not in every group exactly once.

    Returns:
        One row a group and scale: group, scale, n images, shift (mean difference, -1 to 1; of a group they sum to 0),
        low and high (95 % interval), effect (mean over standard deviation, 0 where nothing shifts), p_value (paired
        t-test, two-sided). Of one image, the last four are NaN.
    """
    parts = {group: part.set_index("original").sort_index() for group, part in table.groupby("group", sort=False)}
    if reference not in parts:
        raise FusiqaError(f"no reference group {reference!r}; the groups are {', '.join(map(str, parts))}")
    originals, before = parts[reference].index, weights_array(parts[reference])
    if any(part.index.has_duplicates or not part.index.equals(originals) for part in parts.values()):
        raise FusiqaError("paired shifts need every original in every group exactly once")
    rows = []
    for group in (group for group in parts if group != reference):
        shifted = weights_array(parts[group]) - before
        shifted[np.abs(shifted).max(axis=1) < ROUNDING] = 0
        found = [mean_interval(shifted[:, scale]) for scale in range(len(SCALE_COLUMNS))]
        rows += [(group, scale, m.n, *m.estimate, m.effect, m.p_value) for scale, m in enumerate(found)]
    return pd.DataFrame(rows, columns=["group", "scale", "n", "shift", "low", "high", "effect", "p_value"])


def with_treatments(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns original, kind, distortion and level; "none" and 0 for undistorted images."""
    originals, names, levels = zip(*map(treatment_of, table["image"]), strict=True)
    kinds = [KIND_OF_DISTORTION.get(name, UNDISTORTED) for name in names]
    shown = [name or UNDISTORTED for name in names]
    return table.assign(original=originals, kind=kinds, distortion=shown, level=list(map(int, levels)))


def distortion_shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Shift of each scale's weight under each distortion and level.

    Table: as for `scale_shifts`, with `kind`, `distortion` and `level` in place of the group; every original once under
    each distortion and level, and once with the distortion "none", else FusiqaError.

    Returns:
        One row a distortion, level and scale, in the order of the table: kind, distortion, level, scale, the columns
        of `scale_shifts`, and q_value: the p-values of all rows after Benjamini and Hochberg. NaN for one image.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.
    """
    labels = [f"{name} {level}".removesuffix(" 0") for name, level in table[["distortion", "level"]].to_numpy()]
    table = table.assign(group=labels)
    found = scale_shifts(table, reference=UNDISTORTED)
    keys = table.drop_duplicates("group")[["group", "kind", "distortion", "level"]]
    p = found["p_value"]
    q = stats.false_discovery_control(p) if p.notna().all() else p
    return keys.merge(found.assign(q_value=q), on="group").drop(columns="group")


def format_shifts(shifts: pd.DataFrame) -> pd.DataFrame:
    """One row a group for reading: the shift of each scale with its interval, and the scale that gains most."""
    rows = []
    for group, part in shifts.groupby("group", sort=False):
        cells = {f"scale {r.scale}": f"{r.shift:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in part.itertuples()}
        most = part.iloc[int(part["shift"].to_numpy().argmax())]
        gains = f"scale {most['scale']}" if most["low"] > 0 else "none significantly"
        rows.append({"group": group, **cells, "gains most": gains})
    return pd.DataFrame(rows)
