"""How every distortion at every level moves the scale weights: a table of paired shifts. It distorts nothing."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from fusiqa.explain.shifts import scale_shifts

UNDISTORTED = "none"
KEYS = ("kind", "distortion", "level")
FOUND_BELOW = 0.05
"""A shift whose q is below this is told from none; of all that are, 5 % are expected to be none."""


def distortion_shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Shift of each scale's weight under each distortion and level, against the same image undistorted.

    Args:
        table: one row an image: `image`, `kind`, `distortion`, `level` and scale_0 .. scale_3; every image
            once under each distortion and level, and once with the distortion "none".

    Returns:
        One row a distortion, level and scale, in the order of the table: kind, distortion, level, scale, the columns
        of `scale_shifts`, and q_value: the p-values after Benjamini and Hochberg, over all rows. NaN for one
        image.

    Raises:
        FusiqaError: as `scale_shifts`.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995.
    """
    labels = [f"{name} {level}" for name, level in zip(table["distortion"], table["level"], strict=True)]
    table = table.assign(group=labels)
    undistorted = table.loc[table["distortion"] == UNDISTORTED, "group"]
    found = scale_shifts(table, reference=UNDISTORTED if undistorted.empty else undistorted.iloc[0])
    keys = table.drop_duplicates("group").set_index("group")[list(KEYS)].loc[found["group"]].reset_index(drop=True)
    known = found["p_value"].notna().all()
    q_value = stats.false_discovery_control(found["p_value"]) if known else found["p_value"]
    return pd.concat([keys, found.drop(columns="group")], axis=1).assign(q_value=q_value)
