"""What models say of distortions that none of them has learned: python benchmarks/other_distortions.py --sharp FOLDER

Files of other codecs, and what cameras, transmission and software do beside KADID-10k's 25 distortions, each at five
strengths. The order of the strengths is known, a rating is not. Prints, for each model and distortion, the mean score
of the undistorted images and at each strength, and the share of neighbouring strengths, the undistorted image first, in
the right order.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageFilter
from scipy import ndimage

from fusiqa.data.catalog import read_images
from fusiqa.data.distortions import Pixels, to_bytes
from fusiqa.progress import progress_bar
from fusiqa.scoring.scorer import Scorer
from fusiqa.stats.intervals import bootstrap_interval

Random = np.random.Generator
Distortion = Callable[[Pixels, float, Random], Pixels]


@dataclass
class Options:
    """Score distortions that no model has learned."""

    sharp: Path
    """Folder of sharp images."""
    models: tuple[str, ...] = ("fusiqa-fast", "fusiqa-accurate")
    limit: int = 100
    """Images at most, evenly from all."""


def to_pixels(values: np.ndarray) -> Pixels:
    """Rounded and clipped to 0-255."""
    return to_bytes(values / 255)


def encoded(pixels: Pixels, quality: float, _: Random, *, codec: str) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, codec, quality=int(quality))
    return np.asarray(Image.open(file).convert("RGB"))


def filtered(pixels: Pixels, kind: ImageFilter.Filter) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(kind))


def enlarged(pixels: Pixels, factor: float, _: Random) -> Pixels:
    """Made smaller, and as large as before by bicubic interpolation."""
    image = Image.fromarray(pixels)
    small = image.resize((round(image.width / factor), round(image.height / factor)), Image.Resampling.LANCZOS)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def blurred_and_noisy(pixels: Pixels, sigma: float, random: Random) -> Pixels:
    return to_pixels(filtered(pixels, ImageFilter.GaussianBlur(sigma)) + random.normal(0, 5 * sigma, pixels.shape))


def noisy_and_compressed(pixels: Pixels, quality: float, random: Random) -> Pixels:
    """Grey noise of a sensor, then JPEG."""
    noise = random.normal(0, 8, pixels.shape[:2])[..., None]
    return encoded(to_pixels(pixels + noise), quality, random, codec="JPEG")


def shot_noise(pixels: Pixels, photons: float, random: Random) -> Pixels:
    return to_pixels(random.poisson(pixels / 255 * photons) / photons * 255)


def grain(pixels: Pixels, spread: float, random: Random) -> Pixels:
    """Noise whose grains are some five pixels wide."""
    noise = ndimage.gaussian_filter(random.normal(size=pixels.shape), (2, 2, 0))
    return to_pixels(pixels + noise / noise.std() * spread)


def row_noise(pixels: Pixels, spread: float, random: Random) -> Pixels:
    """An offset for each row, as of a sensor that is read by rows."""
    noise = ndimage.gaussian_filter1d(random.normal(size=len(pixels)), 1)
    return to_pixels(pixels + (noise / noise.std() * spread)[:, None, None])


def fringed(pixels: Pixels, shift: float, _: Random) -> Pixels:
    """Red magnified and blue reduced about the centre, by `shift` pixels at the end of the longer side."""
    height, width = pixels.shape[:2]
    middle = np.array([height - 1, width - 1])[:, None, None] / 2
    at, relative = np.indices((height, width)) - middle, shift / (max(height, width) / 2)
    planes = [
        ndimage.map_coordinates(pixels[..., channel].astype(float), middle + at * factor, order=1, mode="nearest")
        for channel, factor in enumerate((1 - relative, 1, 1 + relative))
    ]
    return to_pixels(np.stack(planes, axis=-1))


def ghosted(pixels: Pixels, share: float, _: Random) -> Pixels:
    """Blended with itself, 6 pixels lower and 10 to the right: a double exposure, or an echo of an analogue signal."""
    moved = np.pad(pixels, ((6, 0), (10, 0), (0, 0)), mode="edge")[:-6, :-10]
    return to_pixels((1 - share) * pixels + share * moved)


def combed(pixels: Pixels, shift: float, _: Random) -> Pixels:
    """Every second row moved to the right, as interlaced fields of a moving scene are."""
    result = pixels.copy()
    result[1::2] = np.pad(pixels[1::2], ((0, 0), (int(shift), 0), (0, 0)), mode="edge")[:, : pixels.shape[1]]
    return result


def with_lost_blocks(pixels: Pixels, share: float, random: Random) -> Pixels:
    """Blocks of 16x64 pixels replaced by those above and to the left, as a decoder conceals what was lost."""
    rows, columns = pixels.shape[0] // 16 - 1, pixels.shape[1] // 64 - 1
    concealed = pixels.copy()
    for block in random.choice(rows * columns, round(share * rows * columns), replace=False):
        top, left = 16 * (1 + block // columns), 64 * (1 + block % columns)
        concealed[top : top + 16, left : left + 64] = pixels[top - 16 : top, left - 64 : left]
    return concealed


DISTORTIONS: dict[str, tuple[Distortion, tuple[float, ...]]] = {
    "WebP, quality": (partial(encoded, codec="WEBP"), (80, 50, 25, 10, 2)),
    "AVIF, quality": (partial(encoded, codec="AVIF"), (80, 55, 35, 20, 8)),
    "made smaller and enlarged, factor": (enlarged, (2, 3, 4, 6, 8)),
    "median filter, side": (lambda x, side, _: filtered(x, ImageFilter.MedianFilter(int(side))), (3, 5, 7, 9, 13)),
    "shot noise, photons at white": (shot_noise, (400, 100, 40, 15, 6)),
    "blur and noise, sigma": (blurred_and_noisy, (0.5, 1, 1.6, 2.4, 3.5)),
    "noise, then JPEG, quality": (noisy_and_compressed, (80, 50, 30, 15, 7)),
    "posterised, levels": (lambda x, n, _: to_pixels((np.floor(x / 256 * n) + 0.5) / n * 256), (32, 16, 8, 5, 3)),
    "over-exposed, factor": (lambda x, factor, _: to_pixels(x * factor), (1.2, 1.5, 2, 2.8, 4)),
    "dark and noisy, divisor": (
        lambda x, n, random: to_pixels(x / n + random.normal(0, 4, x.shape)),
        (1.5, 2.2, 3.2, 4.5, 7),
    ),
    "haze, share": (lambda x, share, _: to_pixels(x * (1 - share) + 235 * share), (0.15, 0.3, 0.45, 0.6, 0.75)),
    "coarse grain, standard deviation": (grain, (4, 8, 13, 20, 30)),
    "row noise, standard deviation": (row_noise, (2, 4, 7, 12, 20)),
    "colour fringes, pixels at the edge": (fringed, (0.7, 1.5, 2.5, 4, 7)),
    "lost blocks, share": (with_lost_blocks, (0.02, 0.05, 0.1, 0.2, 0.4)),
    "white balance, factor of red": (
        lambda x, factor, _: to_pixels(x * np.array([factor, 1, 1 / factor])),
        (1.08, 1.18, 1.3, 1.5, 1.8),
    ),
    "double image, share": (ghosted, (0.08, 0.15, 0.25, 0.35, 0.5)),
    "interlaced, shift of every second row": (combed, (1, 2, 4, 8, 16)),
}


def main(options: Options) -> None:
    ratings = read_images([options.sharp])
    chosen = np.linspace(0, len(ratings) - 1, min(options.limit, len(ratings))).round().astype(int)
    scorers = {model: Scorer(model) for model in options.models}
    scores: dict[str, list[list[float]]] = {model: [] for model in scorers}  # of each image
    with progress_bar(what="images", total=len(chosen), shown=True) as bar:
        for place, row in enumerate(chosen):
            pixels = ratings.images.read(ratings.table["image"].iloc[row])
            versions = [pixels]
            for kind, (make, values) in enumerate(DISTORTIONS.values()):
                random = np.random.default_rng((kind, place))
                versions += [make(pixels, value, random) for value in values]
            for model, scorer in scorers.items():
                scores[model].append([result.score for result in scorer.many(versions)])
            bar.update()
    for model, scorer in scorers.items():
        print(f"\n{scorer.info.name}, {len(chosen)} images\n\n| distortion | mean scores | in order |\n|---|---|---|")
        undistorted, others = np.split(np.array(scores[model]), [1], axis=1)
        kinds = np.split(others, len(DISTORTIONS), axis=1)
        for (name, (_, values)), strengths in zip(DISTORTIONS.items(), kinds, strict=True):
            of_images = np.hstack([undistorted, strengths])
            shares = (of_images[:, :-1] > of_images[:, 1:]).mean(axis=1)
            in_order = bootstrap_interval(partial(np.mean, axis=-1), shares)
            means = ", ".join(f"{mean:.0f}" for mean in of_images.mean(axis=0))
            print(f"| {name} {', '.join(f'{value:g}' for value in values)} | {means} | {in_order:.3f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
