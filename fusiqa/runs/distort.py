"""Images under KADID-10k's distortions: `fusiqa distort`."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fusiqa.config import DistortConfig
from fusiqa.data.distortions import DISTORTIONS, distort
from fusiqa.data.folder import read_images
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import write_atomically
from fusiqa.progress import progress_bar
from fusiqa.runs.notices import Say, usable
from fusiqa.scoring.image import Resize
from fusiqa.scoring.sheet import Shown, contact_sheet


def distort_images(config: DistortConfig, *, say: Say = print) -> Path:
    """Write every image under every distortion and level asked for, or a sheet of them; unreadable ones are said.

    Returns:
        The folder that was written to.

    Raises:
        FusiqaError: an unknown distortion, or no image that can be read.
    """
    unknown = [name for name in config.distortion if name not in DISTORTIONS]
    if unknown:
        raise FusiqaError(f"--distortion: unknown are {listed(unknown)}; there are {', '.join(DISTORTIONS)}")
    names = config.distortion or tuple(DISTORTIONS)
    ratings = usable(read_images(config.images), rated=False, progress=False, say=say)
    resize, images = Resize.parse(config.resize), ratings.images
    files = ratings.table["image"].tolist()
    for image in progress_bar(files, what="distorting", shown=config.progress):
        pixels = resize.apply(images.read(image))
        seed = zlib.crc32(f"{config.seed} {image}".encode())
        if config.sheet:
            draw_sheet(pixels, image, names, config, seed)
        else:
            write_all(pixels, image, names, config, seed)
    say(f"{len(files)} images under {len(names)} distortions at {len(config.level)} levels are in {config.output}")
    return config.output


def write_all(pixels: np.ndarray, image: str, names: tuple[str, ...], config: DistortConfig, seed: int) -> None:
    """One PNG for each distortion and level, under the image's own path."""
    for name in names:
        for level in config.level:
            path = config.output / name / str(level) / as_png(image)
            picture = Image.fromarray(distort(pixels, name, level, seed=seed))
            write_atomically(path, picture.save)


def draw_sheet(pixels: np.ndarray, image: str, names: tuple[str, ...], config: DistortConfig, seed: int) -> None:
    """All distortions of an image on one sheet, a row each."""
    shown = [
        Shown(distort(pixels, name, level, seed=seed), (f"{name}, level {level}",))
        for name in names
        for level in config.level
    ]
    path = config.output / as_png(image)
    contact_sheet(shown, path, columns=len(config.level), title=Path(image).name)


def as_png(image: str) -> str:
    """The image's path, as a PNG: a.jpg and a.png stay two."""
    return image if image.lower().endswith(".png") else f"{image}.png"
