"""What every reader returns: images, ratings, splits, groups, and the folder of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fusiqa.data.table import column, find_column, image_names, names_on_disk, numbers, read_cells
from fusiqa.errors import FusiqaError, listed

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names that data sets and users give the three splits."""
IMAGE_COLUMNS = ("image", "image_name", "filename", "file_name", "file", "path", "name")
MOS_COLUMNS = ("mos", "mos_zscore", "quality_mos", "mos_quality")
"""Columns of a custom table, the first that exists."""


class Place(NamedTuple):
    """Where a data set is.

    Attributes:
        folder: the folder that holds its rating files.
        pointed: the folder that was asked for, which may be one above or below.
    """

    folder: Path
    pointed: Path


class Labels(NamedTuple):
    """The columns of Ratings.table as published, ratings in the published direction, and the folder of the images."""

    table: pd.DataFrame
    root: Path


Reader = Callable[[Place], Labels]


def labels(
    root: Path,
    names: Sequence[str],
    mos: Iterable[object],
    *,
    splits: Sequence[str] | None = None,
    groups: Iterable[object] | None = None,
) -> Labels:
    """The labels of a data set; an image without a group is its own group.

    Args:
        root: the folder that the names are relative to.
        names: of the images; matched to their files in any case.
        mos: their ratings, as written.
        splits: train, validation or test for each; None if no split is published.
        groups: the content of each; None if the data set has none.

    Raises:
        FusiqaError: there is no such folder.
    """
    if not root.is_dir():
        raise FusiqaError(f"no images found: there is no folder {root}")
    images = names_on_disk(root, names)
    given = [""] * len(images) if groups is None else [str(group).strip() for group in groups]
    table = pd.DataFrame(
        {
            "image": pd.Series(images, dtype=object),
            "mos": numbers(mos),
            "split": pd.Series(splits if splits is not None else [None] * len(images), dtype=object),
            "group": pd.Series([group or image for group, image in zip(given, images, strict=True)], dtype=object),
        }
    )
    return Labels(table, root)


def labels_of_table(
    path: Path,
    root: Path,
    *,
    image: Sequence[str],
    mos: Sequence[str],
    split: Sequence[str] = (),
    group: Sequence[str] = (),
) -> Labels:
    """The labels in a table that has a column of each; of several names of a column, the first that exists counts.

    Raises:
        FusiqaError: as `read_cells`, a missing image or rating column, or an unknown split.
    """
    rows = read_cells(path)
    splits, groups = find_column(rows, path, split), find_column(rows, path, group)
    return labels(
        root,
        image_names(column(rows, path, *image), path),
        column(rows, path, *mos),
        splits=None if splits is None else splits_of(splits, path),
        groups=groups,
    )


def custom_table(path: Path, root: Path) -> Labels:
    """Your own ratings: columns image and mos, optionally split and group, in any case."""
    return labels_of_table(path, root, image=IMAGE_COLUMNS, mos=MOS_COLUMNS, split=("split",), group=("group",))


def splits_of(cells: Iterable[object], path: Path) -> list[str] | None:
    """The split of each row, or None if the column is empty. Raises FusiqaError for unknown splits."""
    words = [str(cell).strip().lower() for cell in cells]
    if not any(words):
        return None
    unknown = [f"{word!r} in row {row}" for row, word in enumerate(words, start=1) if word not in SPLIT_WORDS]
    if unknown:
        raise FusiqaError(f"{path}: unknown split {listed(unknown)}; expected one of {', '.join(SPLIT_WORDS)}")
    return [SPLIT_WORDS[word] for word in words]


def first_existing(root: Path, ways: Sequence[str], *, of: str) -> Path:
    """The first of some paths in a folder that exists. Raises FusiqaError naming all of them."""
    for way in ways:
        if (root / way).exists():
            return root / way
    raise FusiqaError(f"{of}: there is no {' or '.join(ways)} in {root}")
