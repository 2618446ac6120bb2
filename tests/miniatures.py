"""Every published data set in its true layout and with its true quirks, a few rows each: `MINIATURES[name](folder)`.

Each writes the data set's own files into a folder and returns what reading it has to give, one row an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat


class Expected(NamedTuple):
    """A row of Ratings.table."""

    image: str
    mos: float
    split: str | None
    group: str


def images(root: Path, names: Sequence[str]) -> None:
    """Small pictures, each another one."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (29, 37, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)


def alone(pairs: Sequence[tuple[str, float]], split: str | None = None) -> list[Expected]:
    return [Expected(name, mos, split, name) for name, mos in pairs]


def kadid10k(folder: Path) -> list[Expected]:
    names = ["I01_01_01.png", "I01_25_05.png", "I02_01_01.png"]
    images(folder / "images", names)
    rows = "I01_01_01.png,I01.png,4.57,0.496\nI01_25_05.png,I01.png,1.1,0.3\nI02_01_01.png,I02.png,4.33,0.5\n"
    (folder / "dmos.csv").write_text(f"dist_img,ref_img,dmos,var\n{rows}")
    return [
        Expected(n, m, None, g)
        for n, m, g in zip(names, (4.57, 1.1, 4.33), ("I01.png", "I01.png", "I02.png"), strict=True)
    ]


def agiqa3k(folder: Path) -> list[Expected]:
    names = ["AttnGAN_normal_000.jpg", "DALLE2_000.jpg", "glide_normal_001.jpg"]
    images(folder, names)
    header = "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align"
    rows = [
        f"{names[0]},statue of a man,,,,0.965602553,0.22,0.41,0.62",
        f'{names[1]},"statue, of a man",sharp detail,,baroque style,3.5,0.2,4.1,0.6',
        f"{names[2]},statue of a man,,,,4.25,0.2,1.1,0.6",
    ]
    (folder / "data.csv").write_text("\n".join([header, *rows]))
    prompts = ("statue of a man", "statue, of a man", "statue of a man")
    return [Expected(n, m, None, p) for n, m, p in zip(names, (0.965602553, 3.5, 4.25), prompts, strict=True)]


def clive(folder: Path) -> list[Expected]:
    training = [f"t{number}.bmp" for number in range(1, 8)]
    names = ["3.bmp", "10.bmp", "1164.JPG"]
    images(folder / "Images", names)
    images(folder / "Images" / "trainingImages", training)
    (folder / "Data").mkdir()
    cells = np.array([[name] for name in [*training, *names]], dtype=object)
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    mos = np.array([[50.0, 51, 52, 53, 54, 55, 56, 63.9634, 25.3353, 92.4325]])
    savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": mos})
    return alone(list(zip(names, (63.9634, 25.3353, 92.4325), strict=True)))


def flive(folder: Path) -> list[Expected]:
    names = ["voc_emotic_ava/AVA__149.jpg", "EE371R/cj23478+019.jpg", "blur_dataset/motion0001.jpg"]
    images(folder / "database", names)
    header = "name,mos,zscores"
    rows = [f"{name},{mos},0.1" for name, mos in zip(names, (72.5, 61.25, 33), strict=True)]
    (folder / "database" / "labels_image.csv").write_text("\n".join([header, *rows]))
    small = f"name_image,is_valid\n{names[0]},False\n{names[1]},True\n"
    (folder / "database" / "labels<=640_padded.csv").write_text(small)
    (folder / "database" / "labels>640.csv").write_text(f"name_image,is_valid\n{names[2]},False\n")
    splits = ("train", "validation", "test")
    return [Expected(n, m, s, n) for n, m, s in zip(names, (72.5, 61.25, 33), splits, strict=True)]


def bid(folder: Path) -> list[Expected]:
    names = ["DatabaseImage0001.JPG", "DatabaseImage0012.JPG", "DatabaseImage0586.JPG"]
    images(folder / "ImageDatabase", names)
    grades = (2.7083, 4.5, 0.1)
    table = pd.DataFrame({"Image Number": [1, 12, 586], "Average Subjective Grade": grades})
    table.to_excel(folder / "DatabaseGrades.xlsx", index=False)
    return alone(list(zip(names, grades, strict=True)))


def uhd_iqa(folder: Path) -> list[Expected]:
    rows = [("1.jpg", 0.61, "training"), ("20.jpg", 0.34, "validation"), ("300.jpg", 0.52, "test")]
    images(folder, [f"{part}/{name}" for name, _, part in rows])
    lines = [f"{name},{mos},{part}" for name, mos, part in rows]
    (folder / "uhd-iqa-metadata.csv").write_text("\n".join(["image_name,quality_mos,set", *lines]))
    words = {"training": "train", "validation": "validation", "test": "test"}
    return [Expected(f"{p}/{n}", m, words[p], f"{p}/{n}") for n, m, p in rows]


def tid2013(folder: Path) -> list[Expected]:
    images(folder / "distorted_images", ["i01_01_1.bmp", "I01_24_5.bmp", "I25_01_1.BMP"])
    (folder / "mos_with_names.txt").write_text("5.51429 I01_01_1.bmp\r\n1.2 i01_24_5.bmp\r\n4.05 I25_01_1.bmp\r\n")
    return [
        Expected("i01_01_1.bmp", 5.51429, None, "I01"),
        Expected("I01_24_5.bmp", 1.2, None, "I01"),
        Expected("I25_01_1.BMP", 4.05, None, "I25"),
    ]


def csiq(folder: Path) -> list[Expected]:
    names = ["awgn/1600.AWGN.1.png", "jpeg2000/1600.jpeg2000.5.png", "contrast/trolley.contrast.3.png"]
    images(folder / "dst_imgs", names)
    rows = [
        [""] * 9,
        ["", "", "", "DMOS by image"] + [""] * 5,
        [""] * 9,
        ["", "", "", "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
        ["", "", "", 1600, 1, "noise", 1, 0.061, 0.062],
        ["", "", "", 1600, 3, "jpeg 2000", 5, 0.05, 0.875],
        ["", "", "", "trolley", 6, "contrast", 3, 0.05, 0.25],
    ]
    with pd.ExcelWriter(folder / "csiq.DMOS.xlsx") as book:
        pd.DataFrame([["overview"]]).to_excel(book, sheet_name="all_by_distortion", header=False, index=False)
        pd.DataFrame(rows).to_excel(book, sheet_name="all_by_image", header=False, index=False)
    turned = (1 - 0.062, 1 - 0.875, 1 - 0.25)
    return [Expected(n, m, None, g) for n, m, g in zip(names, turned, ("1600", "1600", "trolley"), strict=True)]


def live(folder: Path) -> list[Expected]:
    counts = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
    names = [f"{kind}/img{number}.bmp" for kind, count in counts.items() for number in range(1, count + 1)]
    kept = {0: 43.5, 227: 100.25, 981: -2.5}  # of 982, all others are undistorted here
    images(folder, [names[row] for row in kept])
    dmos = np.zeros((1, 982))
    originals = np.ones((1, 982), dtype=np.uint8)
    for row, score in kept.items():
        dmos[0, row], originals[0, row] = score, 0
    savemat(folder / "dmos_realigned.mat", {"dmos_new": dmos, "orgs": originals, "dmos_std": dmos})
    references = np.array([["studentsculpture.bmp" if row < 900 else "woman.bmp" for row in range(982)]], dtype=object)
    savemat(folder / "refnames_all.mat", {"refnames_all": references})
    groups = ("studentsculpture.bmp", "studentsculpture.bmp", "woman.bmp")
    return [
        Expected(names[row], 109 - score, None, group)  # turned within -3 to 112
        for (row, score), group in zip(kept.items(), groups, strict=True)
    ]


def pipal(folder: Path) -> list[Expected]:
    names = ["A0001_00_00.bmp", "A0001_06_23.bmp", "A0185_02_01.bmp"]
    images(folder / "Train_Dis", names)
    (folder / "Train_Label").mkdir()
    (folder / "Train_Label" / "A0001.txt").write_text(f"{names[0]},1434.6407\n{names[1]},1023.5\n")
    (folder / "Train_Label" / "A0185.txt").write_text(f"{names[2]},1600.25\n")
    return [Expected(n, m, None, n[:5]) for n, m in zip(names, (1434.6407, 1023.5, 1600.25), strict=True)]


MINIATURES: dict[str, Callable[[Path], list[Expected]]] = {
    "agiqa-3k": agiqa3k,
    "bid": bid,
    "clive": clive,
    "csiq": csiq,
    "flive": flive,
    "kadid-10k": kadid10k,
    "live": live,
    "pipal": pipal,
    "tid2013": tid2013,
    "uhd-iqa": uhd_iqa,
}
