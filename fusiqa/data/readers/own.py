"""Ratings of one's own: a CSV or Parquet with the columns image and mos."""

from __future__ import annotations

from pathlib import Path

from fusiqa.data.readers.rated import Rated, rated, splits_of
from fusiqa.data.table_files import read_table
from fusiqa.data.tables import column, image_names, optional_column


def own_table(path: Path, root: Path) -> Rated:
    """Columns image and mos, where there are such columns also split and group, in any case."""
    rows = read_table(path)
    splits, groups = (optional_column(rows, path, name) for name in ("split", "group"))
    return rated(
        root,
        image_names(column(rows, path, "image"), path),
        column(rows, path, "mos"),
        splits=None if splits is None else splits_of(splits, path),
        groups=groups,
    )
