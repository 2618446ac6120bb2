"""Which images an explanation shows together: by distortion where it is known, else by band of quality."""

from __future__ import annotations

import pandas as pd

from fusiqa.data.catalog import SYNTHETIC
from fusiqa.data.kinds import kinds
from fusiqa.explain.groups import with_quality_bands


def with_groups(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Predictions with a `group` column."""
    told = kinds(dataset, predictions["image"].tolist()) if dataset == SYNTHETIC else None
    return with_quality_bands(predictions) if told is None else predictions.assign(group=told)
