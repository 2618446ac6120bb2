"""The images that the packaged model learns from: photographs, sharp photographs, and distorted versions of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fusiqa.data import catalog, splits
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.opinions import OPINION_RANGE
from fusiqa.data.opinions import opinion as opinion_at
from fusiqa.scoring.duplicates import perceptual_hash
from fusiqa.scoring.image import decode

CLEAN = 4.62  # the mean opinion, 1-5, of cells whose distortion nobody sees
RARELY_SEEN = (
    "color_diffusion", "color_shift", "color_saturation_hsv", "color_saturation_lab", "color_block",
    "brighten", "darken", "mean_shift", "contrast_change", "non_eccentricity_patch", "high_sharpen",
)  # fmt: skip
"""Distortions of colour and exposure, which ImageNet's features see least: made half as often again, drawn twice as
often."""
ALIKE = 8  # of the 64 bits of two perceptual hashes, that differ at most where two photographs are one


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

    def scaled(factor: float) -> np.ndarray:
        size = (round(pixels.shape[1] / factor), round(pixels.shape[0] / factor))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))

    longest, shortest = max(pixels.shape[:2]), min(pixels.shape[:2])
    whole = scaled(shortest / int(random.choice([352, 384, 384, 416])))
    if longest < 2000:
        return [whole]
    large = scaled(2 if longest < 3000 else 3 if longest < 4500 else 4)
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


def every_cell(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of every image, and of it in each of the 125 cells of distortion and level."""
    cells = [("", 0.0), *((name, float(level)) for name in DISTORTIONS for level in range(1, 6))]
    return pd.DataFrame(
        [{**row, "distortion": name, "level": level} for row in table.to_dict("records") for name, level in cells]
    )


def opinion(name: str, level: float) -> float:
    """What viewers thought on average, on 0-1; linear between levels."""
    if not name:
        return OPINION_RANGE.to_unit(CLEAN)
    return OPINION_RANGE.to_unit(opinion_at(name, level))
