"""What a fusion attended to: gates of crops put together over an image, matrices averaged. It runs no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from fusiqa.errors import FusiqaError
from fusiqa.explain.scale_weights import SCALES
from fusiqa.stats.intervals import mean_interval

MATRIX_COLUMNS = ("group", "looks", "looked_at", "n", "mean", "low", "high")


def stitched(
    gates: Float[np.ndarray, "crops scales rows columns"],
    corners: Sequence[tuple[int, int]],
    *,
    height: int,
    width: int,
    crop: int,
) -> Float[np.ndarray, "scales height width"]:
    """The gates of an image's crops as one map for each scale; where crops overlap, their mean.

    Args:
        gates: of each crop, on a grid over it.
        corners: (top, left) of each crop, pixels.
        height: of the image, pixels.
        width: of the image, pixels.
        crop: side of a crop, pixels.

    Raises:
        FusiqaError: crops that leave a pixel out.

    Example:
        >>> left, right = np.full((2, 1, 1, 1), 0.2), np.full((2, 1, 1, 1), 0.6)
        >>> gates = np.concatenate([left[:1], right[:1]])
        >>> stitched(gates, [(0, 0), (0, 1)], height=2, width=3, crop=2)[0].round(1).tolist()
        [[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]]
    """
    scales, rows, columns = gates.shape[1:]
    down, across = np.arange(crop) * rows // crop, np.arange(crop) * columns // crop
    total, times = np.zeros((scales, height, width)), np.zeros((height, width))
    for of_crop, (top, left) in zip(gates, corners, strict=True):
        place = np.s_[top : top + crop, left : left + crop]
        total[:, *place] += of_crop[:, down][:, :, across]
        times[place] += 1
    if not times.all():
        raise FusiqaError(f"the crops leave out {int((times == 0).sum())} pixels of an image {height} by {width}")
    return total / times


def mean_matrices(matrices: Float[np.ndarray, "images 4 4"], groups: Sequence[str]) -> pd.DataFrame:
    """How much each scale looked at each, averaged over the images of a group.

    Args:
        matrices: one an image; row i says where scale i looked, and sums to one.
        groups: of each image.

    Returns:
        One row a group, scale that looks and scale looked at: group, looks, looked_at (0-3), n images, mean (0-1), low
        and high (95 % interval by Student's t, images taken as independent; NaN for one). The means of a row of the
        matrix sum to one.
    """
    rows = []
    for group in dict.fromkeys(groups):
        members = matrices[np.array([name == group for name in groups])]
        for looks, looked_at in np.ndindex(len(SCALES), len(SCALES)):
            found = mean_interval(members[:, looks, looked_at])
            rows.append((group, looks, looked_at, found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=list(MATRIX_COLUMNS))
