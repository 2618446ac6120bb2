"""Data sets of images as they were taken or generated, each rated on its own: no references."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.data.readers.files import read_mat, read_records
from fusiqa.data.readers.labels import Labels, Place, first_existing, labels, labels_of_table, splits_of
from fusiqa.data.table import column, find_column, image_names, read_cells
from fusiqa.errors import FusiqaError, listed

logger = logging.getLogger(__name__)

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
CLIVE_TRAINING_IMAGES = 7  # shown to the viewers to learn the task; usually left out
FLIVE_SMALL = ("labels<=640_padded.csv", "labels=640_padded.csv")  # some file systems do not allow < and > in names
FLIVE_LARGE = ("labels>640.csv", "labels640.csv")
BID_SHEETS = ("DatabaseGrades.xlsx", "DatabaseGrades.csv")
UHD_SHEETS = ("uhd-iqa-metadata.csv", "uhd-iqa-training-metadata.csv")


def koniq10k(place: Place) -> Labels:
    """KonIQ-10k by its sets file (training, validation, test), else by the older pair of JSON lists (train, test)."""
    path = place.folder / KONIQ_SHEET
    if not path.is_file():
        return _koniq10k_lists(place)
    root = place.folder / _koniq_size(place)
    return labels_of_table(path, root, image=["image_name"], mos=["MOS"], split=["set"])


def _koniq_size(place: Place) -> str:
    """Which of the two published sizes to read: the one pointed at, else the smaller, which the protocol asks for."""
    sizes = [size for size in KONIQ_SIZES if (place.folder / size).is_dir()]
    if not sizes:
        raise FusiqaError(f"koniq-10k: no images in {place.folder}; expected a folder {' or '.join(KONIQ_SIZES)}")
    size = place.pointed.name if place.pointed.name in sizes else sizes[0]
    if len(sizes) > 1:
        logger.warning("koniq-10k: found %s; reading %s (--data_dir chooses the other)", " and ".join(sizes), size)
    return size


def _koniq10k_lists(place: Place) -> Labels:
    """The 7,046 / 2,010 split, as public re-implementations of HyperIQA ship it.

    Two lists of {"image": "any/path/1.jpg", "score": 68.7}, with the images in train/ and test/ (or koniq_train/ and
    koniq_test/), or in a folder of the published sizes.
    """
    logger.warning("koniq-10k: no %s in %s; reading %s and %s", KONIQ_SHEET, place.folder, *KONIQ_LISTS)
    own = [_first_folder(place.folder, split, f"koniq_{split}") for split in ("train", "test")]
    size = None if all(own) else _koniq_size(place)
    rows = [
        (f"{folder or size}/{name}", score, split, name)
        for file, split, folder in zip(KONIQ_LISTS, ("train", "test"), own, strict=True)
        for name, score in _koniq10k_list(place.folder, file)
    ]
    names, scores, splits, groups = zip(*rows, strict=True)
    return labels(place.folder, names, scores, splits=splits, groups=groups)


def _first_folder(root: Path, *names: str) -> str | None:
    return next((name for name in names if (root / name).is_dir()), None)


def _koniq10k_list(root: Path, name: str) -> list[tuple[str, Any]]:
    path = next((path for path in (root / name, root / "metas" / name) if path.exists()), None)
    if path is None:
        raise FusiqaError(f"koniq-10k: {' and '.join(KONIQ_LISTS)} belong together, and {name} is not in {root}")
    image, score = ("image", "image_name", "path"), ("score", "gt_score", "mos", "MOS")
    return [(Path(str(_first(each, image, path))).name, _first(each, score, path)) for each in read_records(path)]


def _first(record: dict, keys: Sequence[str], path: Path) -> object:
    """The value of the first key that the record has."""
    for key in keys:
        if key in record:
            return record[key]
    raise FusiqaError(f"{path}: an entry has none of the keys {', '.join(keys)}; its keys are {listed(list(record))}")


def spaq(place: Place) -> Labels:
    """SPAQ: its spreadsheet, or a CSV with the same columns, and TestImage/."""
    path = first_existing(place.folder, SPAQ_SHEETS, of="spaq")
    return labels_of_table(path, place.folder / "TestImage", image=["Image name"], mos=["MOS"])


def biq2021(place: Place) -> Labels:
    """BIQ2021: one sheet per split, and Images/."""
    root, parts = place.folder / "Images", []
    for split, sheet in BIQ2021_SHEETS.items():
        part = labels_of_table(place.folder / sheet, root, image=["Image Name"], mos=["MOS"]).table
        parts.append(part.assign(split=split))
    return Labels(pd.concat(parts, ignore_index=True), root)


def clive(place: Place) -> Labels:
    """LIVE in the Wild: two .mat files in Data/, and Images/; without the seven images of the viewers' training."""
    images = place.folder / "Data" / "AllImages_release.mat"
    scores = place.folder / "Data" / "AllMOS_release.mat"
    names = read_mat(images, "AllImages_release")[CLIVE_TRAINING_IMAGES:]
    mos = read_mat(scores, "AllMOS_release")[CLIVE_TRAINING_IMAGES:]
    if len(names) != len(mos):
        raise FusiqaError(f"clive: {images.name} names {len(names)} images and {scores.name} rates {len(mos)}")
    return labels(place.folder / "Images", [str(name) for name in names], mos)


def flive(place: Place) -> Labels:
    """FLIVE (PaQ-2-PiQ): labels_image.csv, whose names are relative to its own folder, or to database/ beside it.

    The published split is in two lists: images with a side above 640 pixels are the test split, and of the others
    those marked is_valid the validation split. Without the lists there is no split.
    """
    path = first_existing(place.folder, ("labels_image.csv", "database/labels_image.csv"), of="flive")
    rows = read_cells(path)
    names = image_names(column(rows, path, "name"), path)
    roots = [folder for folder in (path.parent, path.parent / "database") if (folder / names[0]).parent.is_dir()]
    if not roots:
        raise FusiqaError(f"flive: no images in {path.parent}; expected the folder {names[0].rpartition('/')[0]}")
    return labels(roots[0], names, column(rows, path, "mos"), splits=_flive_splits(path.parent, names))


def _flive_splits(folder: Path, names: Sequence[str]) -> list[str] | None:
    small = next((folder / name for name in FLIVE_SMALL if (folder / name).exists()), None)
    large = next((folder / name for name in FLIVE_LARGE if (folder / name).exists()), None)
    if small is None or large is None:
        return None
    rows = read_cells(small)
    pairs = zip(column(rows, small, "name_image"), column(rows, small, "is_valid"), strict=True)
    validation = {str(name) for name, valid in pairs if str(valid).strip().lower() in ("true", "1", "1.0")}
    test = {str(name) for name in column(read_cells(large), large, "name_image")}
    return ["test" if name in test else "validation" if name in validation else "train" for name in names]


def bid(place: Place) -> Labels:
    """BID: DatabaseGrades with the number and the grade of each image, and ImageDatabase/DatabaseImage0001.JPG."""
    path = first_existing(place.folder, BID_SHEETS, of="bid")
    rows = read_cells(path)
    if len(rows.columns) < 2:
        raise FusiqaError(f"{path}: expected a column of image numbers and one of grades")
    number = find_column(rows, path, ["Image Number", "Image"])
    grade = find_column(rows, path, ["Average Subjective Grade", "MOS"])
    number, grade = (rows.iloc[:, i] if found is None else found for i, found in enumerate((number, grade)))
    names = [f"DatabaseImage{_number(cell, path.name):04d}.JPG" for cell in number]
    return labels(first_existing(place.folder, ("ImageDatabase", "ImageDatabase1", "."), of="bid"), names, grade)


def _number(cell: object, sheet: str) -> int:
    try:
        return int(float(str(cell)))
    except ValueError as reason:
        raise FusiqaError(f"bid: {sheet} has {cell!r} where the number of an image is expected") from reason


def uhd_iqa(place: Place) -> Labels:
    """UHD-IQA: its metadata, and a folder of images per split: training/, validation/, test/."""
    path = first_existing(place.folder, UHD_SHEETS, of="uhd-iqa")
    rows = read_cells(path)
    names = image_names(column(rows, path, "image_name"), path)
    sets = [str(cell).strip().lower() for cell in column(rows, path, "set")]
    inside = [f"{part}/{name}" for part, name in zip(sets, names, strict=True)]
    return labels(place.folder, inside, column(rows, path, "quality_mos"), splits=splits_of(sets, path))


def agiqa3k(place: Place) -> Labels:
    """AGIQA-3K, of generated images: data.csv, and the images beside it or in images/; one prompt is one content."""
    path = first_existing(place.folder, ("data.csv", "agiqa3k_data.csv"), of="agiqa-3k")
    root = place.folder / (_first_folder(place.folder, "images") or ".")
    return labels_of_table(path, root, image=["name"], mos=["mos_quality"], group=["prompt"])
