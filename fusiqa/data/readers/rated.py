"""What every reader gives: images, ratings, splits and groups, and the folder that the names start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fusiqa.data.tables import Place, as_on_disk, numbers
from fusiqa.errors import FusiqaError, listed

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""How data sets and users call the three splits."""


class Rated(NamedTuple):
    """What a reader gives: the columns of Ratings.table, as published, and the folder that the image names start from.

    A `mos` is in the published direction: catalog.py turns those in which lower is better.
    """

    table: pd.DataFrame
    root: Path


Reader = Callable[[Place], Rated]


def rated(
    root: Path,
    names: Sequence[str],
    mos: Iterable[object],
    *,
    splits: Sequence[str] | None = None,
    groups: Iterable[object] | None = None,
) -> Rated:
    """The images of a data set; an image without a group is a group of its own.

    Args:
        root: the folder that the names start from.
        names: of the images; matched to their files in any case.
        mos: their ratings, as they are written.
        splits: train, validation or test for each; None where nothing is published.
        groups: the content of each; None where the set has none.

    Raises:
        FusiqaError: there is no such folder.
    """
    if not root.is_dir():
        raise FusiqaError(f"no images found: there is no folder {root}")
    images = as_on_disk(root, names)
    said = [""] * len(images) if groups is None else [str(group).strip() for group in groups]
    table = pd.DataFrame(
        {
            "image": pd.Series(images, dtype=object),
            "mos": numbers(mos),
            "split": pd.Series(splits if splits is not None else [None] * len(images), dtype=object),
            "group": pd.Series([group or image for group, image in zip(said, images, strict=True)], dtype=object),
        }
    )
    return Rated(table, root)


def splits_of(cells: pd.Series, path: Path) -> list[str] | None:
    """The split of each row, or None if the column is empty. Raises FusiqaError for words that name no split."""
    words = [str(cell).strip().lower() for cell in cells]
    if not any(words):
        return None
    unknown = [f"{word!r} in row {row}" for row, word in enumerate(words, start=1) if word not in SPLIT_WORDS]
    if unknown:
        raise FusiqaError(f"{path}: no split is called {listed(unknown)}; allowed are {', '.join(SPLIT_WORDS)}")
    return [SPLIT_WORDS[word] for word in words]


def first_there(root: Path, ways: Sequence[str]) -> str | None:
    """The first of some paths that is there, as it was given."""
    return next((way for way in ways if (root / way).exists()), None)


def need(root: Path, ways: Sequence[str], *, of: str) -> Path:
    """The first of some paths that is there. Raises FusiqaError naming all of them."""
    there = first_there(root, ways)
    if there is None:
        raise FusiqaError(f"{of}: there is no {' or '.join(ways)} in {root}")
    return root / there
