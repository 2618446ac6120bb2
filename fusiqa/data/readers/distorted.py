"""Data sets of distorted images: each content was distorted in many ways, and all its images are one group."""

from __future__ import annotations

from pathlib import Path

from fusiqa.data.readers.files import read_mat, read_pairs, read_table_below
from fusiqa.data.readers.labels import Labels, Place, first_existing, labels, labels_of_table
from fusiqa.errors import FusiqaError

CSIQ_FOLDERS = {  # name in the sheet: folder of the images, and the word in their names
    "noise": ("awgn", "AWGN"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
    "fnoise": ("fnoise", "fnoise"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
}
LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
PIPAL_IMAGES = ("Train_Dis", "Train_Dist", "Dist_Imgs", "Distortion_1")


def kadid10k(place: Place) -> Labels:
    """KADID-10k: dmos.csv, in which higher is better despite its name, and images/."""
    path = place.folder / "dmos.csv"
    return labels_of_table(path, place.folder / "images", image=["dist_img"], mos=["dmos"], group=["ref_img"])


def tid2013(place: Place) -> Labels:
    """TID2013: mos_with_names.txt ("5.51429 I01_01_1.bmp"), and distorted_images/, whose names differ in case."""
    path = place.folder / "mos_with_names.txt"
    rows = read_pairs(path, separator=None)
    names = [name for _, name in rows]
    groups = [name.partition("_")[0].upper() for name in names]
    return labels(place.folder / "distorted_images", names, [mos for mos, _ in rows], groups=groups)


def csiq(place: Place) -> Labels:
    """CSIQ: csiq.DMOS.xlsx (or csiq_label.txt, "1600.AWGN.1.png 0.062"), and dst_imgs/ with a folder per distortion."""
    sheet = place.folder / "csiq.DMOS.xlsx"
    rows = _csiq_sheet(sheet) if sheet.is_file() else read_pairs(place.folder / "csiq_label.txt", separator=None)
    root = first_existing(place.folder, ("dst_imgs", "dst_imgs_all"), of="csiq")
    folders = {word: f"{folder}/" for folder, word in CSIQ_FOLDERS.values()}
    names = [f"{folders.get(name.partition('.')[2].partition('.')[0], '')}{name}" for name, _ in rows]
    if not (root / names[0]).parent.is_dir():  # all images in one folder
        names = [name for name, _ in rows]
    return labels(root, names, [mos for _, mos in rows], groups=[name.partition(".")[0] for name, _ in rows])


def _csiq_sheet(path: Path) -> list[tuple[str, str]]:
    """Name and score of each image; the sheet has the parts of the name."""
    rows = read_table_below(path, sheet="all_by_image", header=("image", "dst_type", "dst_lev", "dmos"))
    unknown = sorted({str(kind) for kind in rows["dst_type"] if str(kind).strip() not in CSIQ_FOLDERS})
    if unknown:
        raise FusiqaError(f"{path}: unknown distortion {unknown[0]!r}; known are {', '.join(CSIQ_FOLDERS)}")
    words = [CSIQ_FOLDERS[str(kind).strip()][1] for kind in rows["dst_type"]]
    parts = zip(rows["image"], words, rows["dst_lev"], rows["dmos"], strict=True)
    return [(f"{image}.{word}.{level}.png", str(dmos)) for image, word, level, dmos in parts]


def live(place: Place) -> Labels:
    """LIVE, release 2: the realigned scores if present, else dmos.mat; the 779 distorted of its 982 images."""
    path = first_existing(place.folder, ("dmos_realigned.mat", "dmos.mat"), of="live")
    dmos = read_mat(path, "dmos_new" if path.name == "dmos_realigned.mat" else "dmos")
    originals = read_mat(path, "orgs")
    references = read_mat(place.folder / "refnames_all.mat", "refnames_all")
    names = [f"{folder}/img{number}.bmp" for folder, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    if not len(names) == len(dmos) == len(originals) == len(references):
        counts = f"{len(dmos)} scores, {len(originals)} flags and {len(references)} references"
        raise FusiqaError(f"live: expected {len(names)} images; {path.name} and refnames_all.mat have {counts}")
    distorted = [row for row, original in enumerate(originals) if int(original) == 0]
    return labels(
        place.folder,
        [names[row] for row in distorted],
        [dmos[row] for row in distorted],
        groups=[references[row] for row in distorted],
    )


def pipal(place: Place) -> Labels:
    """PIPAL, whose scores are public for the training part: Train_Label/*.txt, and the images in one folder or four."""
    lists = sorted((place.folder / "Train_Label").glob("*.txt"))
    if not lists:
        raise FusiqaError(f"pipal: no labels in {place.folder / 'Train_Label'}; expected one .txt for each reference")
    rows = [pair for path in lists for pair in read_pairs(path, separator=",")]
    names = [name for name, _ in rows]
    groups = [name.partition("_")[0] for name in names]
    images = first_existing(place.folder, PIPAL_IMAGES, of="pipal")
    if images.name == "Distortion_1":  # the four archives, unpacked side by side
        parts = sorted(place.folder.glob("Distortion_[1-4]"))
        folder_of = {file.name: part.name for part in parts for file in part.iterdir()}
        inside = [f"{folder_of.get(name, 'Distortion_1')}/{name}" for name in names]
        return labels(place.folder, inside, [score for _, score in rows], groups=groups)
    return labels(images, names, [score for _, score in rows], groups=groups)
