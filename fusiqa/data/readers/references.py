"""Sets of distorted images: each content was distorted in many ways, and all its images are one group."""

from __future__ import annotations

from pathlib import Path

from fusiqa.data.readers.rated import Rated, need, rated
from fusiqa.data.table_files import as_list, read_mat, read_pairs, read_sheet_below, read_table
from fusiqa.data.tables import Place, column, image_names
from fusiqa.errors import FusiqaError

CSIQ_FOLDERS = {  # as its sheet calls a distortion: the folder of its images, and the word in their names
    "noise": ("awgn", "AWGN"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
    "fnoise": ("fnoise", "fnoise"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
}
LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
PIPAL_IMAGES = ("Train_Dis", "Train_Dist", "Dist_Imgs", "Distortion_1")


def kadid10k(place: Place) -> Rated:
    """KADID-10k: dmos.csv, in which higher is better whatever it is called, and images/."""
    path = place.folder / "dmos.csv"
    rows = read_table(path)
    names = image_names(column(rows, path, "dist_img"), path)
    return rated(place.folder / "images", names, column(rows, path, "dmos"), groups=column(rows, path, "ref_img"))


def tid2013(place: Place) -> Rated:
    """TID2013: mos_with_names.txt ("5.51429 I01_01_1.bmp"), and distorted_images/, whose names differ in case."""
    path = place.folder / "mos_with_names.txt"
    rows = read_pairs(path, separator=None)
    names = [name for _, name in rows]
    groups = [name.partition("_")[0].upper() for name in names]
    return rated(place.folder / "distorted_images", names, [mos for mos, _ in rows], groups=groups)


def csiq(place: Place) -> Rated:
    """CSIQ: csiq.DMOS.xlsx (or csiq_label.txt, "1600.AWGN.1.png 0.062"), and dst_imgs/ with a folder a distortion."""
    sheet = place.folder / "csiq.DMOS.xlsx"
    labels: list[tuple[str, object]] = []
    if sheet.is_file():
        labels += _csiq_sheet(sheet)
    else:
        labels += read_pairs(place.folder / "csiq_label.txt", separator=None)
    root = need(place.folder, ("dst_imgs", "dst_imgs_all"), of="csiq")
    folders = {word: f"{folder}/" for folder, word in CSIQ_FOLDERS.values()}
    names = [f"{folders.get(name.split('.')[1], '')}{name}" for name, _ in labels]
    if not (root / names[0]).parent.is_dir():  # all images in one folder
        names = [name for name, _ in labels]
    return rated(root, names, [mos for _, mos in labels], groups=[name.partition(".")[0] for name, _ in labels])


def _csiq_sheet(path: Path) -> list[tuple[str, object]]:
    """Name and score of each image; the sheet has the parts of the name."""
    rows = read_sheet_below(path, sheet="all_by_image", header=("image", "dst_type", "dst_lev", "dmos"))
    unknown = sorted({str(kind) for kind in rows["dst_type"] if str(kind).strip() not in CSIQ_FOLDERS})
    if unknown:
        raise FusiqaError(f"{path}: unknown distortion {unknown[0]!r}; known are {', '.join(CSIQ_FOLDERS)}")
    words = [CSIQ_FOLDERS[str(kind).strip()][1] for kind in rows["dst_type"]]
    parts = zip(rows["image"], words, rows["dst_lev"], rows["dmos"], strict=True)
    return [(f"{image}.{word}.{level}.png", dmos) for image, word, level, dmos in parts]


def live(place: Place) -> Rated:
    """LIVE, release 2: the realigned scores where they are, else dmos.mat; the 779 distorted of its 982 images."""
    path = need(place.folder, ("dmos_realigned.mat", "dmos.mat"), of="live")
    dmos = as_list(read_mat(path, "dmos_new" if path.name == "dmos_realigned.mat" else "dmos"))
    originals = as_list(read_mat(path, "orgs"))
    references = as_list(read_mat(place.folder / "refnames_all.mat", "refnames_all"))
    names = [f"{folder}/img{number}.bmp" for folder, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    if not len(names) == len(dmos) == len(originals) == len(references):
        counts = f"{len(dmos)} scores, {len(originals)} flags and {len(references)} references"
        raise FusiqaError(f"live: expected {len(names)} images; {path.name} and refnames_all.mat have {counts}")
    distorted = [row for row, original in enumerate(originals) if int(original) == 0]
    return rated(
        place.folder,
        [names[row] for row in distorted],
        [dmos[row] for row in distorted],
        groups=[references[row] for row in distorted],
    )


def pipal(place: Place) -> Rated:
    """PIPAL, whose training part alone has public scores: Train_Label/*.txt, and all images in one folder or four."""
    labels = sorted((place.folder / "Train_Label").glob("*.txt"))
    if not labels:
        raise FusiqaError(f"pipal: no labels in {place.folder / 'Train_Label'}; expected one .txt for each reference")
    rows = [pair for path in labels for pair in read_pairs(path, separator=",")]
    names = [name for name, _ in rows]
    groups = [name.partition("_")[0] for name in names]
    images = need(place.folder, PIPAL_IMAGES, of="pipal")
    if images.name == "Distortion_1":  # the four archives, unpacked side by side
        parts = sorted(place.folder.glob("Distortion_[1-4]"))
        folder_of = {file.name: part.name for part in parts for file in part.iterdir()}
        inside = [f"{folder_of.get(name, 'Distortion_1')}/{name}" for name in names]
        return rated(place.folder, inside, [score for _, score in rows], groups=groups)
    return rated(images, names, [score for _, score in rows], groups=groups)
