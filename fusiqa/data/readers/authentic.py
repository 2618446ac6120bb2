"""Sets of images as people took them: one rating each, no references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.data.readers.rated import Rated, first_there, need, rated, splits_of
from fusiqa.data.table_files import as_list, read_mat, read_table
from fusiqa.data.tables import Place, column, first_column, image_names
from fusiqa.errors import FusiqaError

SPAQ_SHEETS = (
    "Annotations/MOS and Image attribute scores.xlsx",
    "Annotations/MOS and Image attribute scores.csv",
    "Annotations/spaq_mos.csv",
    "spaq_mos.csv",
)
BIQ2021_SHEETS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}
CLIVE_TRAINING_IMAGES = 7  # shown to the viewers to learn the task; the field leaves them out
FLIVE_SMALL = ("labels<=640_padded.csv", "labels=640_padded.csv")  # copies lose the signs that some disks forbid
FLIVE_LARGE = ("labels>640.csv", "labels640.csv")
BID_SHEETS = ("DatabaseGrades.xlsx", "DatabaseGrades.csv")
UHD_SHEETS = ("uhd-iqa-metadata.csv", "uhd-iqa-training-metadata.csv")


def spaq(place: Place) -> Rated:
    """SPAQ: its spreadsheet, or a CSV with the same columns, and TestImage/."""
    path = need(place.folder, SPAQ_SHEETS, of="spaq")
    rows = read_table(path)
    names = image_names(column(rows, path, "Image name"), path)
    return rated(place.folder / "TestImage", names, column(rows, path, "MOS"))


def biq2021(place: Place) -> Rated:
    """BIQ2021: one sheet per split, and Images/."""
    root = place.folder / "Images"
    parts = []
    for split, sheet in BIQ2021_SHEETS.items():
        path = place.folder / sheet
        rows = read_table(path)
        names = image_names(column(rows, path, "Image Name"), path)
        parts.append(rated(root, names, column(rows, path, "MOS"), splits=[split] * len(names)).table)
    return Rated(pd.concat(parts, ignore_index=True), root)


def clive(place: Place) -> Rated:
    """LIVE in the Wild: two .mat files under Data/, and Images/; without the seven images of the viewers' training."""
    images = place.folder / "Data" / "AllImages_release.mat"
    scores = place.folder / "Data" / "AllMOS_release.mat"
    names = as_list(read_mat(images, "AllImages_release"))[CLIVE_TRAINING_IMAGES:]
    mos = as_list(read_mat(scores, "AllMOS_release"))[CLIVE_TRAINING_IMAGES:]
    if len(names) != len(mos):
        raise FusiqaError(f"clive: {images.name} names {len(names)} images and {scores.name} rates {len(mos)}")
    return rated(place.folder / "Images", [str(name) for name in names], mos)


def flive(place: Place) -> Rated:
    """FLIVE (PaQ-2-PiQ): labels_image.csv, whose names start from its own folder, or from database/ beside it.

    The published split stands in two lists: images with a side above 640 pixels are the test, and of the others
    those marked is_valid the validation. Where the lists are not there, there is no split.
    """
    path = need(place.folder, ("labels_image.csv", "database/labels_image.csv"), of="flive")
    rows = read_table(path)
    names = image_names(column(rows, path, "name"), path)
    roots = [folder for folder in (path.parent, path.parent / "database") if (folder / names[0]).parent.is_dir()]
    if not roots:
        raise FusiqaError(f"flive: no images in {path.parent}; expected the folder {names[0].rpartition('/')[0]}")
    return rated(roots[0], names, column(rows, path, "mos"), splits=_flive_splits(path.parent, names))


def _flive_splits(folder: Path, names: Sequence[str]) -> list[str] | None:
    there = [first_there(folder, ways) for ways in (FLIVE_SMALL, FLIVE_LARGE)]
    if there[0] is None or there[1] is None:
        return None
    small, large = folder / there[0], folder / there[1]
    rows = read_table(small)
    pairs = zip(column(rows, small, "name_image"), column(rows, small, "is_valid"), strict=True)
    validation = {str(name) for name, valid in pairs if str(valid).strip().lower() in ("true", "1", "1.0")}
    test = {str(name) for name in column(read_table(large), large, "name_image")}
    return ["test" if name in test else "validation" if name in validation else "train" for name in names]


def bid(place: Place) -> Rated:
    """BID: DatabaseGrades with the number and the grade of each image, and ImageDatabase/DatabaseImage0001.JPG."""
    path = need(place.folder, BID_SHEETS, of="bid")
    rows = read_table(path)
    numbers = first_column(rows, path, ("Image Number", "Image number", "Image"), place=0)
    grades = first_column(rows, path, ("Average Subjective Grade", "Average subjective grade", "MOS"), place=1)
    names = [f"DatabaseImage{_number(cell, path.name):04d}.JPG" for cell in numbers]
    return rated(need(place.folder, ("ImageDatabase", "ImageDatabase1", "."), of="bid"), names, grades)


def _number(cell: object, sheet: str) -> int:
    try:
        return int(float(str(cell)))
    except ValueError as reason:
        raise FusiqaError(f"bid: {sheet} has {cell!r} where the number of an image is expected") from reason


def uhd_iqa(place: Place) -> Rated:
    """UHD-IQA: its metadata, and a folder of images per split: training/, validation/, test/."""
    path = need(place.folder, UHD_SHEETS, of="uhd-iqa")
    rows = read_table(path)
    names = image_names(column(rows, path, "image_name"), path)
    sets = [str(cell).strip().lower() for cell in column(rows, path, "set")]
    inside = [f"{part}/{name}" for part, name in zip(sets, names, strict=True)]
    mos = column(rows, path, "quality_mos")
    return rated(place.folder, inside, mos, splits=splits_of(pd.Series(sets), path))


def agiqa3k(place: Place) -> Rated:
    """AGIQA-3K, of generated images: data.csv, and the images beside it or in images/; one prompt is one content."""
    path = need(place.folder, ("data.csv", "agiqa3k_data.csv"), of="agiqa-3k")
    rows = read_table(path)
    names = image_names(column(rows, path, "name"), path)
    root = next((folder for folder in (place.folder / "images", place.folder) if (folder / names[0]).is_file()), None)
    mos = column(rows, path, "mos_quality")
    return rated(root or place.folder, names, mos, groups=column(rows, path, "prompt"))
