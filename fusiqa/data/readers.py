"""One reader per data set: from its folder to images, ratings, splits and groups. It knows no defaults and no facts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fusiqa.data.tables import (
    Place,
    as_on_disk,
    column,
    image_names,
    numbers,
    optional_column,
    read_records,
    read_table,
)
from fusiqa.errors import FusiqaError, listed

logger = logging.getLogger(__name__)

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""How data sets and users call the three splits."""

KONIQ_SHEET = "koniq10k_distributions_sets.csv"
KONIQ_LISTS = ("koniq_train.json", "koniq_test.json")
KONIQ_SIZES = ("512x384", "1024x768")
SPAQ_SHEETS = (
    "Annotations/MOS and Image attribute scores.xlsx",
    "Annotations/MOS and Image attribute scores.csv",
    "Annotations/spaq_mos.csv",
    "spaq_mos.csv",
)
BIQ2021_SHEETS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


class Rated(NamedTuple):
    """What a reader gives: the columns of Ratings.table, and the folder that the image names start from."""

    table: pd.DataFrame
    root: Path


Reader = Callable[[Place], Rated]


def koniq10k(place: Place) -> Rated:
    """KonIQ-10k by its sets file (training, validation, test), else by the older pair of JSON lists (train, test)."""
    path = place.folder / KONIQ_SHEET
    if not path.is_file():
        return _koniq10k_lists(place)
    rows = read_table(path)
    names = image_names(column(rows, path, "image_name"), path)
    root = place.folder / _koniq_size(place)
    return Rated(_table(root, names, column(rows, path, "MOS"), splits=_splits(column(rows, path, "set"), path)), root)


def _koniq_size(place: Place) -> str:
    """Which of the two published sizes to read: the one pointed at, else the smaller, which the protocol asks for."""
    sizes = [size for size in KONIQ_SIZES if (place.folder / size).is_dir()]
    if not sizes:
        raise FusiqaError(f"koniq-10k: no photographs in {place.folder}; expected a folder {' or '.join(KONIQ_SIZES)}")
    size = place.pointed.name if place.pointed.name in sizes else sizes[0]
    if len(sizes) > 1:
        logger.warning("koniq-10k: %s are there; reading %s (point --data_dir at the other)", " and ".join(sizes), size)
    return size


def _koniq10k_lists(place: Place) -> Rated:
    """The 7,046 / 2,010 split, as public re-implementations of HyperIQA ship it.

    Two lists of {"image": "anywhere/1.jpg", "score": 68.7}, with the photographs under train/ and test/ (or
    koniq_train/ and koniq_test/), or under a folder of the published sizes.
    """
    logger.warning("koniq-10k: no %s in %s; reading %s and %s", KONIQ_SHEET, place.folder, *KONIQ_LISTS)
    own = [_first_there(place.folder, (split, f"koniq_{split}")) for split in ("train", "test")]
    size = None if all(own) else _koniq_size(place)
    parts = [
        _koniq10k_list(place.folder, name, split, folder or size)
        for name, split, folder in zip(KONIQ_LISTS, ("train", "test"), own, strict=True)
    ]
    return Rated(pd.concat(parts, ignore_index=True), place.folder)


def _koniq10k_list(root: Path, list_name: str, split: str, folder: str | None) -> pd.DataFrame:
    there = _first_there(root, (list_name, f"metas/{list_name}"))
    if there is None:
        raise FusiqaError(f"koniq-10k: {' and '.join(KONIQ_LISTS)} belong together, and {list_name} is not in {root}")
    path = root / there
    records = read_records(path)
    names = [Path(str(_first(record, ("image", "image_name", "path"), path))).name for record in records]
    scores = [_first(record, ("score", "gt_score", "mos", "MOS"), path) for record in records]
    return _table(root, [f"{folder}/{name}" for name in names], scores, splits=[split] * len(names), groups=names)


def _first_there(root: Path, ways: Sequence[str]) -> str | None:
    return next((way for way in ways if (root / way).exists()), None)


def _first(record: dict, keys: Sequence[str], path: Path) -> object:
    """The value of the first key that the record has."""
    for key in keys:
        if key in record:
            return record[key]
    raise FusiqaError(f"{path}: an entry has none of the keys {', '.join(keys)}; its keys are {listed(list(record))}")


def spaq(place: Place) -> Rated:
    """SPAQ: its spreadsheet, or a CSV with the same columns, and TestImage/."""
    path = next(place.folder / sheet for sheet in SPAQ_SHEETS if (place.folder / sheet).is_file())
    rows = read_table(path)
    root = place.folder / "TestImage"
    return Rated(_table(root, image_names(column(rows, path, "Image name"), path), column(rows, path, "MOS")), root)


def biq2021(place: Place) -> Rated:
    """BIQ2021: one sheet per split, and Images/."""
    root = place.folder / "Images"
    parts = []
    for split, sheet in BIQ2021_SHEETS.items():
        path = place.folder / sheet
        rows = read_table(path)
        names = image_names(column(rows, path, "Image Name"), path)
        parts.append(_table(root, names, column(rows, path, "MOS"), splits=[split] * len(names)))
    return Rated(pd.concat(parts, ignore_index=True), root)


def own_csv(path: Path, root: Path) -> Rated:
    """A CSV of one's own: columns image and mos, where there are such columns also split and group, in any case."""
    rows = read_table(path)
    splits, groups = (optional_column(rows, path, name) for name in ("split", "group"))
    return Rated(
        _table(
            root,
            image_names(column(rows, path, "image"), path),
            column(rows, path, "mos"),
            splits=None if splits is None else _splits(splits, path),
            groups=groups,
        ),
        root,
    )


def _table(
    root: Path,
    names: Sequence[str],
    mos: Iterable[object],
    *,
    splits: Sequence[str] | None = None,
    groups: Iterable[object] | None = None,
) -> pd.DataFrame:
    """The columns of Ratings.table; an image without a group is a group of its own."""
    if not root.is_dir():
        raise FusiqaError(f"no photographs found: there is no folder {root}")
    images = as_on_disk(root, names)
    said = [""] * len(images) if groups is None else [str(group).strip() for group in groups]
    return pd.DataFrame(
        {
            "image": pd.Series(images, dtype=object),
            "mos": numbers(mos),
            "split": pd.Series(splits if splits is not None else [None] * len(images), dtype=object),
            "group": pd.Series([group or image for group, image in zip(said, images, strict=True)], dtype=object),
        }
    )


def _splits(cells: pd.Series, path: Path) -> list[str] | None:
    """The split of each row, or None if the column is empty. Raises FusiqaError for words that name no split."""
    words = [str(cell).strip().lower() for cell in cells]
    if not any(words):
        return None
    unknown = [f"{word!r} in row {row}" for row, word in enumerate(words, start=1) if word not in SPLIT_WORDS]
    if unknown:
        raise FusiqaError(f"{path}: no split is called {listed(unknown)}; allowed are {', '.join(SPLIT_WORDS)}")
    return [SPLIT_WORDS[word] for word in words]
