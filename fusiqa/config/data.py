"""What a run is trained and tested on, and how its images are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fusiqa.config.checks import FRACTION, NOT_NEGATIVE, SEED, check_fields


@dataclass(frozen=True)
class DataSettings:
    """What a run is trained and tested on, and how its images are read."""

    dataset: str = "synthetic"
    """Name of a data set (`fusiqa data list`), or a CSV, Excel or Parquet file with the columns image and mos."""
    data_dir: Path | None = None
    """Folder of the data set; by default $FUSIQA_DATA/<dataset> or ./data/<dataset>, for a table its own folder."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest possible rating; by default the data set's, for a table its smallest and largest rating."""
    lower_is_better: bool = False
    """A table's ratings are of distortion, as DMOS: invert them within the score range. Published sets are known."""
    resize: str = "auto"
    """Resize before cropping: auto (the data set's protocol; a table: 384), none, a short side in pixels, or
    WIDTHxHEIGHT."""
    validation_fraction: Annotated[float, FRACTION] = 0.1
    """Fraction of the training split held out for validation, where none is published."""
    split_seed: Annotated[int, SEED] = 0
    """Seed of the splits that are drawn; runs with another `--seed` share their split."""
    split_file: Path | None = None
    """CSV with the columns image and split (such as a run's split.csv) to use instead."""
    skip_broken: bool = False
    """Leave out rows that cannot be used, instead of stopping before training."""
    cache_dir: Path | None = None
    """Folder of the cache of resized images; by default $FUSIQA_CACHE or ~/.cache/fusiqa."""
    cache_gb: Annotated[float, NOT_NEGATIVE] = 20.0
    """Largest size of the cache, GB; 0 decodes every image anew in every epoch."""
    num_workers: Annotated[int | None, NOT_NEGATIVE] = None
    """Processes per device that read images; by default the spare cores, at most 8."""

    def __post_init__(self) -> None:
        check_fields(self)
