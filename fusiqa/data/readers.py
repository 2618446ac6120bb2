"""Readers of data sets whose ratings are more than one plain table, from a folder to the labels of its images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fusiqa.data import table
from fusiqa.data.table import Labels
from fusiqa.errors import FusiqaError

logger = logging.getLogger(__name__)

KONIQ_SIZES = ("512x384", "1024x768")
BIQ2021_SHEETS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}
CLIVE_TRAINING_IMAGES = 7  # shown to the viewers to learn the task; usually left out
FLIVE_SMALL = ("labels<=640_padded.csv", "labels=640_padded.csv")  # some file systems do not allow < and > in names
FLIVE_LARGE = ("labels>640.csv", "labels640.csv")
CSIQ_WORDS = {"noise": "AWGN", "blur": "BLUR", "contrast": "contrast", "fnoise": "fnoise", "jpeg": "JPEG"}
CSIQ_WORDS |= {"jpeg 2000": "jpeg2000"}  # name in the sheet: word in the images' names; in lower case, their folder
LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
PIPAL_IMAGES = ("Train_Dis", "Train_Dist", "Dist_Imgs", "Distortion_1")


class Place(NamedTuple):
    """Where a data set is."""

    folder: Path  # that holds its rating files
    ratings: Path  # the first of `DatasetInfo.rating_files` that is there
    pointed: Path  # the folder that was asked for, which may be one above or below


def _there(root: Path, ways: Sequence[str]) -> Path | None:
    """The first of some paths in a folder that exists."""
    return next((root / way for way in ways if (root / way).exists()), None)


def _first(root: Path, ways: Sequence[str], *, of: str) -> Path:
    """As `_there`, but a FusiqaError where none exists."""
    if found := _there(root, ways):
        return found
    raise FusiqaError(f"{of}: there is no {' or '.join(ways)} in {root}")


def koniq10k(place: Place) -> Labels:
    """KonIQ-10k by its sets file (training, validation, test), else by the older pair of JSON lists (train, test)."""
    if place.ratings.suffix == ".json":
        return _koniq10k_lists(place)
    root = place.folder / _koniq_size(place)
    return table.labels_of_table(place.ratings, root, {"image": ["image_name"], "mos": ["MOS"], "split": ["set"]})


def _koniq_size(place: Place) -> str:
    """Which of the two published sizes to read: the one pointed at, else the smaller, which the protocol asks for."""
    sizes = [size for size in KONIQ_SIZES if (place.folder / size).is_dir()]
    if not sizes:
        raise FusiqaError(f"koniq-10k: no images in {place.folder}; expected a folder {' or '.join(KONIQ_SIZES)}")
    size = place.pointed.name if place.pointed.name in sizes else sizes[0]
    if len(sizes) > 1:
        logger.warning("koniq-10k: found %s; reading %s (`data_dir` chooses the other)", " and ".join(sizes), size)
    return size


def _koniq10k_lists(place: Place) -> Labels:
    """The 7,046 / 2,010 split of re-implementations of HyperIQA: two lists of {"image": "any/1.jpg", "score": 68.7}.

    The images are in train/ and test/ (or koniq_train/ and koniq_test/), or in a folder of the published sizes.
    """
    root, parts = place.folder, []
    logger.warning("koniq-10k: no sets file in %s; reading koniq_train.json and koniq_test.json", root)
    folders = {split: _there(root, (split, f"koniq_{split}")) for split in ("train", "test")}
    size = None if all(folders.values()) else _koniq_size(place)
    for split, own in folders.items():
        path = _first(root, (f"koniq_{split}.json", f"metas/koniq_{split}.json"), of="koniq-10k needs both lists")
        rows = table.read_table(path)
        files = [Path(image).name for image in rows.images("image", "image_name", "path")]
        inside = [f"{own.name if own else size}/{file}" for file in files]
        score = rows.column("score", "gt_score", "mos")
        parts.append(table.labels(root, inside, score, splits=[split] * len(files), groups=files).table)
    return Labels(pd.concat(parts, ignore_index=True), root)


def biq2021(place: Place) -> Labels:
    """BIQ2021: one sheet per split, and Images/."""
    root, parts = place.folder / "Images", []
    for split, sheet in BIQ2021_SHEETS.items():
        part = table.labels_of_table(place.folder / sheet, root, {"image": ["Image Name"], "mos": ["MOS"]}).table
        parts.append(part.assign(split=split))
    return Labels(pd.concat(parts, ignore_index=True), root)


def clive(place: Place) -> Labels:
    """LIVE in the Wild: two .mat files in Data/, and Images/; without the seven images of the viewers' training."""
    files = [place.folder / "Data" / f"{name}.mat" for name in ("AllImages_release", "AllMOS_release")]
    names, mos = (table.read_mat(file, file.stem)[CLIVE_TRAINING_IMAGES:] for file in files)
    if len(names) != len(mos):
        raise FusiqaError(f"clive: {len(names)} images in AllImages_release.mat, {len(mos)} in AllMOS_release.mat")
    return table.labels(place.folder / "Images", [str(name) for name in names], mos)


def flive(place: Place) -> Labels:
    """FLIVE (PaQ-2-PiQ): labels_image.csv, whose names are relative to its own folder, or to database/ beside it.

    Two lists split it, if they are there: sides above 640 pixels are tested, is_valid of the others is validation.
    """
    path, splits = place.ratings, None
    rows = table.read_table(path)
    names = rows.images("name")
    roots = [folder for folder in (path.parent, path.parent / "database") if (folder / names[0]).parent.is_dir()]
    if not roots:
        raise FusiqaError(f"flive: no images in {path.parent}; expected the folder {names[0].rpartition('/')[0]}")
    small, large = _there(path.parent, FLIVE_SMALL), _there(path.parent, FLIVE_LARGE)
    if small is not None and large is not None:
        listed, test = table.read_table(small), set(table.read_table(large).images("name_image"))
        valid = listed.column("is_valid").astype(str).str.strip().str.lower().isin(["true", "1", "1.0"])
        validation = set(listed.column("name_image")[valid].astype(str))
        splits = ["test" if name in test else "validation" if name in validation else "train" for name in names]
    return table.labels(roots[0], names, rows.column("mos"), splits=splits)


def bid(place: Place) -> Labels:
    """BID: DatabaseGrades with the number and the grade of each image, and ImageDatabase/DatabaseImage0001.JPG."""
    sheet = table.read_table(place.ratings)
    if len(sheet.rows.columns) < 2:
        raise FusiqaError(f"{place.ratings}: expected a column of image numbers and one of grades")
    known = (["Image Number", "Image"], ["Average Subjective Grade", "MOS"])  # else the first two columns
    named = [sheet.find(*names) for names in known]
    number, grade = (sheet.rows.iloc[:, i] if found is None else found for i, found in enumerate(named))
    numbers = table.numbers(number)
    if numbers.isna().any():
        wrong = number[numbers.isna()].iloc[0]
        raise FusiqaError(f"bid: {place.ratings.name} has {wrong!r} where the number of an image is expected")
    names = [f"DatabaseImage{int(each):04d}.JPG" for each in numbers]
    return table.labels(_first(place.folder, ("ImageDatabase", "ImageDatabase1", "."), of="bid"), names, grade)


def uhd_iqa(place: Place) -> Labels:
    """UHD-IQA: its metadata, and a folder of images per split: training/, validation/, test/."""
    rows = table.read_table(place.ratings)
    parts = zip(rows.column("set"), rows.images("image_name"), strict=True)
    names = [f"{str(part).strip().lower()}/{image}" for part, image in parts]
    return table.labels(place.folder, names, rows.column("quality_mos"), splits=rows.splits("set"))


def tid2013(place: Place) -> Labels:
    """TID2013: mos_with_names.txt ("5.51429 I01_01_1.bmp"), and distorted_images/, whose names differ in case."""
    mos, names = table.read_pairs(place.ratings, separator=None)
    groups = [name.partition("_")[0].upper() for name in names]
    return table.labels(place.folder / "distorted_images", names, mos, groups=groups)


def csiq(place: Place) -> Labels:
    """CSIQ: csiq.DMOS.xlsx (or csiq_label.txt, "1600.AWGN.1.png 0.062"), and dst_imgs/ with a folder per distortion."""
    if place.ratings.suffix == ".xlsx":  # the sheet has the parts of each name
        columns = ("image", "dst_type", "dst_lev", "dmos")
        rows = table.read_table_below(place.ratings, sheet="all_by_image", header=columns)
        kinds = rows["dst_type"].astype(str).str.strip()
        unknown = sorted(set(kinds) - set(CSIQ_WORDS))
        if unknown:
            raise FusiqaError(f"{place.ratings}: unknown distortion {unknown[0]!r}; known are {', '.join(CSIQ_WORDS)}")
        parts = zip(rows["image"], kinds, rows["dst_lev"], strict=True)
        names, mos = [f"{image}.{CSIQ_WORDS[kind]}.{level}.png" for image, kind, level in parts], rows["dmos"].tolist()
    else:
        names, mos = table.read_pairs(place.ratings, separator=None)
    root = _first(place.folder, ("dst_imgs", "dst_imgs_all"), of="csiq")
    folders = {word: f"{word.lower()}/" for word in CSIQ_WORDS.values()}
    inside = [f"{folders.get(name.partition('.')[2].partition('.')[0], '')}{name}" for name in names]
    groups = [name.partition(".")[0] for name in names]
    return table.labels(root, inside if (root / inside[0]).parent.is_dir() else names, mos, groups=groups)


def live(place: Place) -> Labels:
    """LIVE, release 2: the realigned scores if present, else dmos.mat; the 779 distorted of its 982 images."""
    path = _first(place.folder, ("dmos_realigned.mat", "dmos.mat"), of="live")
    dmos = table.read_mat(path, "dmos_new" if path.stem == "dmos_realigned" else "dmos")
    originals, references = table.read_mat(path, "orgs"), table.read_mat(place.ratings, "refnames_all")
    names = [f"{folder}/img{number}.bmp" for folder, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    if not len(names) == len(dmos) == len(originals) == len(references):
        counts = f"{len(dmos)} scores, {len(originals)} flags and {len(references)} references"
        raise FusiqaError(f"live: expected {len(names)} images; {path.name} and refnames_all.mat have {counts}")
    rows = pd.DataFrame({"name": names, "dmos": dmos, "group": references})[[int(each) == 0 for each in originals]]
    return table.labels(place.folder, rows["name"].tolist(), rows["dmos"], groups=rows["group"])


def pipal(place: Place) -> Labels:
    """PIPAL, whose scores are public for the training part: Train_Label/*.txt, and the images in one folder or four."""
    names, scores = table.read_pairs(*sorted(place.ratings.parent.glob("*.txt")), separator=",")
    groups, root = [name.partition("_")[0] for name in names], _first(place.folder, PIPAL_IMAGES, of="pipal")
    if root.name == "Distortion_1":  # the four archives, unpacked side by side
        parts = sorted(place.folder.glob("Distortion_[1-4]"))
        folder_of = {file.name: part.name for part in parts for file in part.iterdir()}
        root, names = place.folder, [f"{folder_of.get(name, 'Distortion_1')}/{name}" for name in names]
    return table.labels(root, names, scores, groups=groups)


READERS: dict[str, Callable[[Place], Labels]] = {
    "koniq-10k": koniq10k, "biq2021": biq2021, "clive": clive, "flive": flive, "bid": bid, "uhd-iqa": uhd_iqa,
    "tid2013": tid2013, "csiq": csiq, "live": live, "pipal": pipal,
}  # fmt: skip
