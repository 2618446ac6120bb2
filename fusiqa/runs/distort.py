"""Images under KADID-10k's distortions: `fusiqa distort`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from fusiqa.config import DistortConfig
from fusiqa.data.catalog import read_images
from fusiqa.data.distortions import DISTORTIONS, distort, image_seed
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import check_output
from fusiqa.progress import Say, progress_bar
from fusiqa.runs.data import usable
from fusiqa.scoring.image import Resize
from fusiqa.scoring.inputs import image_files
from fusiqa.scoring.sheet import Shown, contact_sheet, write_picture


def distort_images(config: DistortConfig, *, say: Say = print) -> Path:
    """Write every image under every distortion and level, or one sheet of them each.

    Unreadable images are skipped, and so are those that an earlier run wrote to an output folder among them.
    """
    unknown = [name for name in config.distortion if name not in DISTORTIONS]
    if unknown:
        raise FusiqaError(f"`distortion`: unknown {listed(unknown)}; there are {', '.join(DISTORTIONS)}")
    names, levels = dict.fromkeys(config.distortion or DISTORTIONS), dict.fromkeys(config.level)
    versions = [(name, level) for name in names for level in levels]
    images, inputs = read_images(config.images, say=say), image_files(config.images)
    pairs = zip(images.table["image"], inputs, strict=True)
    output = config.output.resolve()
    within = any(path.resolve().is_relative_to(output) for path in config.images)
    earlier = [] if within else [image for image, file in pairs if file.is_relative_to(output)]
    ratings = usable(images.without(earlier), rated=False, progress=False, say=say).ratings
    files = ratings.table["image"].tolist()
    outputs = [output_path(config, image, *each) for image in files for each in ([()] if config.sheet else versions)]
    if twice := [path for path, count in Counter(str(path).casefold() for path in outputs).items() if count > 1]:
        raise FusiqaError(f"two of the images would be written to {twice[0]}, or differ in case alone; rename one")
    for path in outputs:
        check_output(path, replace=True, inputs=inputs)
    resize = Resize.parse(config.resize)
    for image in progress_bar(files, what="distorting", shown=config.progress):
        pixels, seed = resize.apply(ratings.images.read(image)), image_seed(image, config.seed)
        made = ((version, distort(pixels, *version, seed=seed)) for version in versions)
        if config.sheet:
            shown = [Shown(pixels, (f"{name}, level {level}",)) for (name, level), pixels in made]
            contact_sheet(shown, output_path(config, image), columns=len(levels), title=Path(image).name)
            continue
        for version, distorted in made:
            write_picture(Image.fromarray(distorted), output_path(config, image, *version))
    say(f"{len(files)} images under {len(names)} distortions at {len(levels)} levels are in {config.output}")
    return config.output


def output_path(config: DistortConfig, image: str, *version: str | int) -> Path:
    """Where a version of an image goes, or the sheet of all; of a.jpg and a.png each has its own."""
    name = image if image.lower().endswith(".png") else f"{image}.png"
    return config.output.joinpath(*map(str, version), name)
