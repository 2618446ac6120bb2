"""The images that the packaged model learns from: photographs, sharp photographs, and distorted versions of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fusiqa.data import catalog, splits
from fusiqa.data.distortions import DISTORTIONS, distort, to_bytes, to_unit
from fusiqa.data.opinions import OPINION_RANGE, UNCHANGED
from fusiqa.data.opinions import opinion as opinion_at
from fusiqa.scoring.duplicates import perceptual_hash
from fusiqa.scoring.image import decode

RARELY_SEEN = (
    "color_diffusion", "color_shift", "color_saturation_hsv", "color_saturation_lab", "color_block",
    "brighten", "darken", "mean_shift", "contrast_change", "non_eccentricity_patch", "high_sharpen",
)  # fmt: skip
"""Distortions of colour and exposure, which ImageNet's features see least: made half as often again, drawn twice as
often."""
LIGHT = {"jpeg": (0.1, 0.3, 0.55, 1.0), "gaussian_blur": (1.5, 2.0, 2.5, 3.0)}
"""Levels that viewers hardly saw: JPEG of quality 94, 83, 69 and 43, blur of 0.3, 0.5, 0.75 and 1 pixels."""
DIM = "dim"
"""No distortion of KADID-10k's: all values times the number that leaves the mean of `darken` at the same level, by
whose opinions it is labelled too. No shadow is lost, so it looks like a photograph that was under-exposed."""
LABELLED_AS = {DIM: "darken"}
A_QUARTER = 4.5  # the level of `DIM` that leaves about a quarter of the light
REDUCED = 2000  # photographs that are learned from in a smaller size too, as sharp images
ALIKE = 8  # of the 64 bits of two perceptual hashes, that differ at most where two photographs are one


def tables(biq2021: Path, sharp: Path, work: Path) -> dict[str, pd.DataFrame]:
    """Rows of all images: what is learned from (photographs, sharp, own) and what validates, in turn of computing."""
    rated, contents = photographs(biq2021), sharp_contents(sharp, work)
    further = cuts(contents, sharp, work)
    (learned, cuts_learned), (held_out, cuts_held_out) = (
        [table[table["split"] == part] for table in (contents, further)] for part in ("train", "validation")
    )
    training = rated[rated["split"] == "train"]
    smaller = reduced(training, work)
    made_of_sharp = [
        distorted(learned, kinds=14, clean=True, seed=11).assign(ladder=False),
        ladders(learned, seed=13),
        distorted(cuts_learned, kinds=3, clean=True, seed=41).assign(ladder=False),
        lightly("jpeg", cuts_learned),
        distorted(smaller, kinds=2, clean=True, seed=51).assign(ladder=False),
        lightly("jpeg", smaller[::2]),
        lightly("gaussian_blur", smaller[1::2]),
        dimmed(pd.concat([learned, cuts_learned, smaller[::2]]), seed=71),
    ]
    undistorted = cuts_held_out.assign(distortion="", level=0.0)
    dim = cuts_held_out.assign(distortion=DIM, level=A_QUARTER)
    return {
        "photographs": training,
        "validation": rated[rated["split"] == "validation"],
        "sharp": pd.concat(made_of_sharp, ignore_index=True),
        "sharp_validation": every_cell(held_out.drop_duplicates("source")[:10]),
        "light": pd.concat([undistorted, lightly("jpeg", cuts_held_out), dim], ignore_index=True),
        "own": distorted(training.sample(min(1500, len(training)), random_state=3), kinds=1, clean=False, seed=12),
    }


def photographs(folder: Path) -> pd.DataFrame:
    """BIQ2021's official training split: path, mos (0-1), split (train or validation, as `fusiqa train` draws it)."""
    ratings = splits.assign(catalog.read("biq2021", data_dir=folder), validation_fraction=0.1, seed=0)
    table = ratings.table[ratings.table["split"] != "test"]
    return table.assign(path=[str(folder / "Images" / name) for name in table["image"]], distortion="", level=0.0)


def sharp_sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of sharp photographs whose licences allow it, and the licence."""
    for name, licence in (("kodak", "unrestricted use"), ("clic2025", "Unsplash License")):
        for path in sorted((folder / "codec-corpus" / name).rglob("*.png")):
            yield path, licence
    free = folder / "quantette" / "img" / "CQ100"
    stated = pd.read_csv(free / "metadata.csv")
    stated = stated[~stated["License"].str.contains("SA")]
    for name, licence in zip(stated["Modified Filename"], stated["License"], strict=True):
        if name not in ("color_chart", "color_checker"):
            yield free / "img" / f"{name}.png", str(licence)
    for path in sorted((folder / "gb82-image-set" / "png").glob("*.png")):
        if path.name.split("-")[0] not in ("mc1", "mc2", "mc3", "pixel"):  # renderings
            yield path, "CC0 1.0"
    for path in sorted((folder / "budgie-backgrounds" / "backgrounds").glob("*.jpg")):
        if path.name != "abstract-spiral.jpg":
            yield path, "CC0 1.0"
    for path in sorted((folder / "wallpapers" / "original").glob("*.jpg")):
        yield path, "public domain"


def sharp_contents(folder: Path, work: Path) -> pd.DataFrame:
    """Contents of some 512x384 pixels, as PNG below `work`: path, source, licence, split by source."""
    table_file = work / "contents.csv"
    if table_file.exists():
        return pd.read_csv(table_file)
    (work / "contents").mkdir(parents=True, exist_ok=True)
    random, rows, hashes = np.random.default_rng(14), [], list[int]()
    for path, licence in sharp_sources(folder):
        pixels = decode(path.read_bytes())
        own = perceptual_hash(pixels)
        if any((own ^ other).bit_count() <= ALIKE for other in hashes):
            continue
        hashes.append(own)
        for number, content in enumerate(contents_of(pixels, random)):
            file = work / "contents" / f"{len(hashes):03d}_{number}.png"
            Image.fromarray(content).save(file)
            rows.append({"path": str(file), "source": f"{path.parent.name}/{path.stem}", "licence": licence})
    table = pd.DataFrame(rows)
    sources = np.random.default_rng(5).permutation(table["source"].unique())
    table["split"] = np.where(table["source"].isin(sources[: len(sources) // 5]), "validation", "train")
    table.to_csv(table_file, index=False)
    return table


def contents_of(pixels: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """The image with a short side of about 384, and two windows of a large one at half to a quarter of its size."""

    longest, shortest = max(pixels.shape[:2]), min(pixels.shape[:2])
    image = Image.fromarray(pixels)
    whole = np.asarray(shrink(image, shortest / int(random.choice([352, 384, 384, 416]))))
    if longest < 2000:
        return [whole]
    large = np.asarray(shrink(image, least_reduction(longest)))
    height, width = (384, 512) if large.shape[1] >= large.shape[0] else (512, 384)
    corners = [
        (int(random.integers(large.shape[0] - height + 1)), int(random.integers(large.shape[1] - width + 1)))
        for _ in range(24)
    ]
    detail = np.abs(np.diff(large.mean(axis=2), axis=1))
    corners.sort(key=lambda at: -detail[at[0] : at[0] + height, at[1] : at[1] + width].mean())
    first = corners[0]
    apart = [at for at in corners if abs(at[0] - first[0]) > height / 2 or abs(at[1] - first[1]) > width / 2]
    return [whole, *(large[top : top + height, left : left + width] for top, left in [first, *apart[:1]])]


def shrink(image: Image.Image, factor: float) -> Image.Image:
    return image.resize([round(side / factor) for side in image.size], Image.Resampling.LANCZOS)


def least_reduction(longest: int) -> float:
    """By what a photograph must be reduced so that what camera and compression left at its pixels is gone."""
    return 1.33 if longest < 1000 else 2 if longest < 3000 else 3 if longest < 4500 else 4


def cuts(contents: pd.DataFrame, folder: Path, work: Path) -> pd.DataFrame:
    """More windows of the sources of the contents, at random sizes, some mirrored or turned, as `sharp_contents` are.

    Four of each source to learn from, one of each to validate.
    """
    table_file = work / "cuts.csv"
    if table_file.exists():
        return pd.read_csv(table_file)
    (work / "cuts").mkdir(parents=True, exist_ok=True)
    random, rows = np.random.default_rng(31), list[dict[str, str]]()
    parts = dict(zip(contents["source"], contents["split"], strict=True))
    for path, licence in sharp_sources(folder):
        source = f"{path.parent.name}/{path.stem}"
        if source not in parts:
            continue
        image = Image.fromarray(decode(path.read_bytes()))
        least = least_reduction(max(image.size))
        for _ in range(4 if parts[source] == "train" else 1):
            factor = np.exp(random.uniform(np.log(least), np.log(max(1.01 * least, min(image.size) / 320))))
            scaled = shrink(image, factor)
            width, height = (min(int(random.integers(320, 513)), side) for side in scaled.size)
            left = int(random.integers(scaled.width - width + 1))
            top = int(random.integers(scaled.height - height + 1))
            cut = scaled.crop((left, top, left + width, top + height))
            if random.random() < 0.5:
                cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if random.random() < 0.25:
                cut = cut.transpose(random.choice([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270]))
            file = work / "cuts" / f"{len(rows):04d}.png"
            cut.save(file)
            rows.append({"path": str(file), "source": source, "licence": licence, "split": parts[source]})
    table = pd.DataFrame(rows)
    table.to_csv(table_file, index=False)
    return table


def best_third(rated: pd.DataFrame) -> pd.DataFrame:
    return rated.sort_values("mos", ascending=False, kind="stable")[: len(rated) // 3]


def reduced(training: pd.DataFrame, work: Path) -> pd.DataFrame:
    """`REDUCED` photographs of the third that is rated best, at half to 0.7 of their size: what compression left in
    them is gone, so they are sharp images of many more contents than there are sharp photographs."""
    (work / "reduced").mkdir(parents=True, exist_ok=True)
    best = best_third(training)
    random, rows = np.random.default_rng(61), list[dict[str, str]]()
    for path in best["path"].sample(min(REDUCED, len(best)), random_state=61):
        file, factor = work / "reduced" / f"{Path(path).stem}.png", random.uniform(1.4, 2)
        if not file.exists():
            image = Image.fromarray(decode(Path(path).read_bytes()))
            shrink(image, factor).save(file)
        rows.append({"path": str(file), "source": f"biq2021/{Path(path).stem}", "split": "train"})
    return pd.DataFrame(rows)


def two_levels(random: np.random.Generator) -> list[float]:
    """Two strengths of one distortion, 1-5, in order; two in five times the first lies between levels."""
    first = random.uniform(1, 5) if random.random() < 0.4 else float(random.integers(1, 6))
    second = float(random.integers(1, 6))
    return sorted((first, second if abs(first - second) >= 0.4 else second % 5 + 1))


def distorted(table: pd.DataFrame, *, kinds: int, clean: bool, seed: int) -> pd.DataFrame:
    """Rows of every image under `kinds` distortions at two levels each, after the image itself where `clean`."""
    random, rows = np.random.default_rng(seed), []
    weights = np.array([1.5 if name in RARELY_SEEN else 1.0 for name in DISTORTIONS])
    for row in table.to_dict("records"):
        if clean:
            rows.append({**row, "distortion": "", "level": 0.0})
        for name in random.choice(list(DISTORTIONS), kinds, replace=False, p=weights / weights.sum()):
            rows += [{**row, "distortion": name, "level": level} for level in two_levels(random)]
    return pd.DataFrame(rows)


def ladders(table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Rows of every image at all five levels of Gaussian blur, and of three of `RARELY_SEEN`."""
    random, rows = np.random.default_rng(seed), []
    for row in table.to_dict("records"):
        for name in ("gaussian_blur", *random.choice(RARELY_SEEN, 3, replace=False)):
            rows += [{**row, "distortion": name, "level": float(level), "ladder": True} for level in range(1, 6)]
    return pd.DataFrame(rows)


def lightly(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of every image under a distortion at all of its `LIGHT` levels."""
    rows = table.to_dict("records")
    return pd.DataFrame(
        [{**row, "distortion": name, "level": level, "ladder": True} for row in rows for level in LIGHT[name]]
    )


def dimmed(table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Rows of every image under `DIM` at two levels."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            {**row, "distortion": DIM, "level": level, "ladder": False}
            for row in table.to_dict("records")
            for level in two_levels(random)
        ]
    )


def every_cell(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of every image, and of it in each of the 125 cells of distortion and level."""
    cells = [("", 0.0), *((name, float(level)) for name in DISTORTIONS for level in range(1, 6))]
    return pd.DataFrame(
        [{**row, "distortion": name, "level": level} for row in table.to_dict("records") for name, level in cells]
    )


def pixels_of(row: Mapping[Any, Any], *, seed: int = 0) -> np.ndarray:
    """The image of a row, distorted as it states."""
    pixels = decode(Path(row["path"]).read_bytes())
    return made(pixels, row["distortion"], float(row["level"]), seed=seed) if row["distortion"] else pixels


def made(pixels: np.ndarray, name: str, level: float, *, seed: int) -> np.ndarray:
    """`fusiqa.data.distortions.distort`, `DIM`, and JPEG compression between quality 100 and that of level 1."""
    if name == DIM:
        darkened = distort(pixels, "darken", level, seed=seed)
        return to_bytes(to_unit(pixels) * (darkened.mean() / max(1.0, pixels.mean())))
    if level >= 1:
        return distort(pixels, name, level, seed=seed)
    quality = 100 + (DISTORTIONS[name].parameters[0] - 100) * level
    return to_bytes(DISTORTIONS[name].apply(to_unit(pixels), quality, np.random.default_rng(seed)))


def opinion(name: str, level: float) -> float:
    """What viewers thought on average, on 0-1; linear between levels, and from 0, undistorted, to 1."""
    clean = opinion_at(*UNCHANGED)
    if not name:
        return OPINION_RANGE.to_unit(clean)
    first = opinion_at(LABELLED_AS.get(name, name), max(level, 1))
    return OPINION_RANGE.to_unit(clean + (first - clean) * min(level, 1))
