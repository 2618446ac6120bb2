"""Which images an explanation shows together: by distortion where it is known, else by band of quality."""

from __future__ import annotations

import pandas as pd

from fusiqa.analysis.explain import with_quality_bands
from fusiqa.data.facts import SYNTHETIC


def with_groups(predictions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Predictions with a `group` column."""
    if dataset == SYNTHETIC:
        from fusiqa.data.synthetic import distortion_of  # it draws photographs: heavy, and needed by few

        return predictions.assign(group=[distortion_of(str(image)) for image in predictions["image"]])
    return with_quality_bands(predictions)
