"""Crops per second on one core, and memory, beside a plain "open, resize, crop" loop: python benchmarks/data.py

Every method runs in its own process, one after the other, on one core, over the same images. The plain loop is what
training scripts of the field do: every crop opens, decodes and resizes its image anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import PIL
import torch
import tyro
from PIL import Image

import fusiqa
from fusiqa.config import ScoreRange
from fusiqa.data.cache import cached
from fusiqa.data.loader import TrainingCrops, TrainingOrder, training_loader
from fusiqa.data.ratings import Ratings
from fusiqa.data.synthetic import dead_leaves
from fusiqa.scoring.image import FolderImages, Resize
from fusiqa.scoring.inputs import image_files

CROP = 224
BATCH = 32
LEAVES = 512  # side of the drawn picture that a generated image repeats, pixels


@dataclass(frozen=True)
class Settings:
    """Measure how fast crops are read."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Images, or folders of them, to measure beside the generated ones."""
    count: int = 100
    """Images of each kind; the 12-megapixel ones are a quarter as many."""
    crops_per_image: int = 20
    """Random crops of each image."""
    output: Path | None = None
    """JSON file for the figures; by default they are only printed."""


@dataclass(frozen=True)
class Kind:
    """Images to read, and the resize protocol for them."""

    name: str
    files: list[Path]
    resize: str


@dataclass(frozen=True)
class Measured:
    """The figures of one method."""

    kind: str
    way: str
    images: int
    crops: int
    seconds: float
    crops_per_second: float
    peak_memory_mb: float
    """Peak memory above that before the first image, MB."""


def plain_loop(kind: Kind, crops_per_image: int, _: Path) -> Iterator[int]:
    """Open, resize, crop and turn into a tensor, crop by crop, in a shuffled order."""
    random = np.random.default_rng(0)
    resize = Resize.parse(kind.resize)
    crops = []
    for place in random.permutation(len(kind.files) * crops_per_image):
        with Image.open(kind.files[place // crops_per_image]) as image:
            picture = image.convert("RGB")
        height, width = resize.size(picture.height, picture.width)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = random.integers(width - CROP + 1), random.integers(height - CROP + 1)
        crop = picture.crop((left, top, left + CROP, top + CROP))
        crops.append(torch.from_numpy(np.array(crop).transpose(2, 0, 1).copy()))
        if len(crops) == BATCH:
            yield len(torch.stack(crops))
            crops = []
    yield len(crops)


def loader(kind: Kind, crops_per_image: int, cache: Path, *, gigabytes: float) -> Iterator[int]:
    """fusiqa's own training batches, read in the process itself."""
    root = Path(os.path.commonpath([file.parent for file in kind.files]))
    names = [str(file.relative_to(root)) for file in kind.files]
    resize = Resize.parse(kind.resize)
    contents = {name: name for name in names}  # the trainer hashes them while it checks the images
    source = cached(FolderImages(root), contents, resize, folder=cache, gigabytes=gigabytes)
    table = pd.DataFrame({"image": names, "mos": 0.5, "split": "train", "group": names})
    ratings = Ratings(kind.name, table, ScoreRange(0, 1), source, kind.resize)
    order = TrainingOrder(rows=range(len(names)), crops_per_image=crops_per_image, seed=0)
    batches = training_loader(TrainingCrops(ratings, CROP, 0), order, batch_size=BATCH, num_workers=0)
    yield from (len(batch.mos) for batch in batches)


def without_cache(kind: Kind, crops_per_image: int, cache: Path) -> Iterator[int]:
    return loader(kind, crops_per_image, cache, gigabytes=0)


def with_cache(kind: Kind, crops_per_image: int, cache: Path) -> Iterator[int]:
    return loader(kind, crops_per_image, cache, gigabytes=100)


WAYS: tuple[tuple[str, Callable[[Kind, int, Path], Iterator[int]]], ...] = (
    ("plain loop", plain_loop),
    ("without cache", without_cache),
    ("first epoch, filling the cache", with_cache),
    ("later epoch, from the cache", with_cache),
)


def measure(name: str, way: Callable, kind: Kind, crops_per_image: int, cache: Path) -> Measured:
    """Run one method in a new process on one core."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as process:
        crops, seconds, memory = process.apply(run, (way, kind, crops_per_image, cache))
    return Measured(
        kind.name, name, len(kind.files), crops, round(seconds, 3), round(crops / seconds, 1), round(memory / 1e6, 1)
    )


def run(way: Callable, kind: Kind, crops_per_image: int, cache: Path) -> tuple[int, float, int]:
    """Crops read, seconds, and peak memory above that at the start, bytes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    before = peak_memory()
    started = time.perf_counter()
    crops = sum(way(kind, crops_per_image, cache))
    return crops, time.perf_counter() - started, peak_memory() - before


def peak_memory() -> int:
    """Peak memory of this process so far, mapped files included, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def generate(folder: Path, *, width: int, height: int, count: int) -> list[Path]:
    """JPEGs of dead leaves, quality 90: detailed at every scale, as photographs are, so they take as long to decode."""
    folder.mkdir(parents=True)
    files = []
    pictures = [dead_leaves(seed, size=LEAVES) for seed in range(4)]
    for number in range(count):
        picture = np.roll(pictures[number % 4], 37 * number, axis=(0, 1))
        tiled = np.tile(picture, (-(-height // LEAVES), -(-width // LEAVES), 1))[:height, :width]
        files.append(folder / f"{number:04d}.jpg")
        Image.fromarray(tiled).save(files[-1], quality=90)
    return files


def kinds(settings: Settings, folder: Path) -> list[Kind]:
    few = max(2, settings.count // 4)
    found = [
        Kind("1024x768", generate(folder / "small", width=1024, height=768, count=settings.count), "512x384"),
        Kind("12 megapixels", generate(folder / "large", width=4000, height=3000, count=few), "512x384"),
    ]
    if settings.images:
        files = image_files(settings.images)[: settings.count]
        found.insert(0, Kind(str(settings.images[0].name), files, "320"))
    return found


def memory_by_number(settings: Settings, folder: Path) -> list[Measured]:
    """The same method over more and more images: the memory must not grow."""
    files = generate(folder / "many", width=1024, height=768, count=8 * settings.count)
    found = []
    for factor in (2, 4, 8):
        kind = Kind("1024x768", files[: factor * settings.count], "512x384")
        for name, way in WAYS[1:]:
            cache = folder / f"cache of {factor}"
            found.append(measure(f"memory: {name}", way, kind, settings.crops_per_image, cache))
            show(found[-1])
    return found


def show(measured: Measured) -> None:
    print(
        f"{measured.kind:16} {measured.way:40} {measured.images:6} images "
        f"{measured.crops_per_second:10.1f} crops/s {measured.peak_memory_mb:8.1f} MB",
        flush=True,
    )


def main() -> None:
    settings = tyro.cli(Settings)
    found: list[Measured] = []
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for kind in kinds(settings, Path(temporary)):
            part = []
            for name, way in WAYS:
                part.append(measure(name, way, kind, settings.crops_per_image, Path(temporary) / f"cache {kind.name}"))
                show(part[-1])
            ratios[kind.name] = {m.way: round(m.crops_per_second / part[0].crops_per_second, 2) for m in part[1:]}
            found += part
        found += memory_by_number(settings, Path(temporary))
    report = {
        "crops_per_image": settings.crops_per_image,
        "crop": CROP,
        "times_the_plain_loop": ratios,
        "measured": [asdict(measured) for measured in found],
        "versions": {
            "fusiqa": fusiqa.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pillow": PIL.__version__,
        },
        "machine": platform.machine(),
    }
    print(json.dumps(ratios, indent=2))
    if settings.output is not None:
        settings.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
