"""KonIQ-10k, by its own sets file or by the older pair of lists."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.data.readers.rated import Rated, first_there, rated, splits_of
from fusiqa.data.table_files import read_records, read_table
from fusiqa.data.tables import Place, column, image_names
from fusiqa.errors import FusiqaError, listed

logger = logging.getLogger(__name__)

KONIQ_SHEET = "koniq10k_distributions_sets.csv"
KONIQ_LISTS = ("koniq_train.json", "koniq_test.json")
KONIQ_SIZES = ("512x384", "1024x768")


def koniq10k(place: Place) -> Rated:
    """KonIQ-10k by its sets file (training, validation, test), else by the older pair of JSON lists (train, test)."""
    path = place.folder / KONIQ_SHEET
    if not path.is_file():
        return _koniq10k_lists(place)
    rows = read_table(path)
    names = image_names(column(rows, path, "image_name"), path)
    root = place.folder / _koniq_size(place)
    return rated(root, names, column(rows, path, "MOS"), splits=splits_of(column(rows, path, "set"), path))


def _koniq_size(place: Place) -> str:
    """Which of the two published sizes to read: the one pointed at, else the smaller, which the protocol asks for."""
    sizes = [size for size in KONIQ_SIZES if (place.folder / size).is_dir()]
    if not sizes:
        raise FusiqaError(f"koniq-10k: no images in {place.folder}; expected a folder {' or '.join(KONIQ_SIZES)}")
    size = place.pointed.name if place.pointed.name in sizes else sizes[0]
    if len(sizes) > 1:
        logger.warning("koniq-10k: %s are there; reading %s (point --data_dir at the other)", " and ".join(sizes), size)
    return size


def _koniq10k_lists(place: Place) -> Rated:
    """The 7,046 / 2,010 split, as public re-implementations of HyperIQA ship it.

    Two lists of {"image": "anywhere/1.jpg", "score": 68.7}, with the images under train/ and test/ (or
    koniq_train/ and koniq_test/), or under a folder of the published sizes.
    """
    logger.warning("koniq-10k: no %s in %s; reading %s and %s", KONIQ_SHEET, place.folder, *KONIQ_LISTS)
    own = [first_there(place.folder, (split, f"koniq_{split}")) for split in ("train", "test")]
    size = None if all(own) else _koniq_size(place)
    parts = [
        _koniq10k_list(place.folder, name, split, folder or size)
        for name, split, folder in zip(KONIQ_LISTS, ("train", "test"), own, strict=True)
    ]
    return Rated(pd.concat(parts, ignore_index=True), place.folder)


def _koniq10k_list(root: Path, list_name: str, split: str, folder: str | None) -> pd.DataFrame:
    there = first_there(root, (list_name, f"metas/{list_name}"))
    if there is None:
        raise FusiqaError(f"koniq-10k: {' and '.join(KONIQ_LISTS)} belong together, and {list_name} is not in {root}")
    path = root / there
    records = read_records(path)
    names = [Path(str(_first(record, ("image", "image_name", "path"), path))).name for record in records]
    scores = [_first(record, ("score", "gt_score", "mos", "MOS"), path) for record in records]
    inside = [f"{folder}/{name}" for name in names]
    return rated(root, inside, scores, splits=[split] * len(names), groups=names).table


def _first(record: dict, keys: Sequence[str], path: Path) -> object:
    """The value of the first key that the record has."""
    for key in keys:
        if key in record:
            return record[key]
    raise FusiqaError(f"{path}: an entry has none of the keys {', '.join(keys)}; its keys are {listed(list(record))}")
