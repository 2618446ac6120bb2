"""The built-in data set: procedural images under distortions, with KADID-10k's mean opinions as labels. No files.

Images are dead leaves: opaque, textured and shaded ellipses that occlude one another. A label is the mean, over
KADID-10k's 81 images, of the opinion on that distortion at that level; it is no opinion on the image itself.

Source: Lee, Mumford and Huang, Occlusion models for natural images, International Journal of Computer Vision, 2001,
https://doi.org/10.1023/A:1011109015675.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Float

from fusiqa.data.distortions import LEVELS, distort
from fusiqa.data.opinions import OPINION_RANGE, UNCHANGED, mean_opinions
from fusiqa.data.ratings import RATING_COLUMNS, Ratings
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import LUMA, ORIGINAL_SIZE, Pixels, Resize

PRISTINE_WORD = "pristine"
USED = (
    *("gaussian_blur", "jpeg", "white_noise", "color_saturation_hsv", "color_saturation_lab"),
    *("color_shift", "contrast_change"),
)
CONTENTS = 150
SIZE = 128  # pixels
TRAINING, VALIDATION = 0.7, 0.1  # of the contents; the rest is tested

OVERSAMPLING = 2  # drawn at twice the size and averaged down, for anti-aliased edges
SMALLEST_RADIUS = 2.0  # pixels of the oversampled drawing
LARGEST_RADIUS = 0.45  # of the side
LEAVES = 900
TONES = (0.01, 0.99)  # where the darkest and the lightest hundredth of the luminance end up, 0-1
MEAN_SATURATION = 0.42  # of HSV, 0-1
Canvas = Float[np.ndarray, "side side 3"]
Textures = Float[np.ndarray, "textures side side"]


@lru_cache(maxsize=CONTENTS * (len(USED) * len(LEVELS) + 1))  # all of it: 265 MB at 128 pixels
def _image(image: str, size: int, seed: int) -> Pixels:
    content, distortion, level = parts_of(image)
    if distortion == PRISTINE_WORD:
        pixels = dead_leaves(content, size=size, seed=seed)
    else:
        pixels = distort(_image(f"content{content:03d}-{PRISTINE_WORD}", size, seed), distortion, level, seed=content)
    pixels.setflags(write=False)  # it is shared by all who read it
    return pixels


@dataclass(frozen=True)
class SyntheticImages:
    """Images drawn when they are first read and kept in memory: an ImageReader of ratings.py."""

    size: int
    seed: int
    in_memory: bool = True

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        """uint8, (size, size, 3), sRGB; read-only. Raises FusiqaError for a name that the set does not have."""
        return resize.apply(_image(image, self.size, self.seed))

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the pixels."""
        return hashlib.sha256(self.read(image).tobytes()).hexdigest()


def read_synthetic(*, seed: int = 0, contents: int = CONTENTS, size: int = SIZE) -> Ratings:
    """Every content pristine and under each distortion at five levels, split by content, rated 1 to 5.

    Of at least 10 contents (else FusiqaError) and images of `size` pixels a side. Labels do not depend on the seed.
    """
    if contents < 10:
        raise FusiqaError(f"`contents` must be at least 10 to be split three ways, got {contents}")
    opinions, rows = mean_opinions(), []
    for content in range(contents):
        group, split = f"content{content:03d}", split_of(content, contents)
        rows.append((f"{group}-{PRISTINE_WORD}", opinions[UNCHANGED], split, group))
        rows += [(f"{group}-{d}-{level}", opinions[d, level], split, group) for d in USED for level in LEVELS]
    table = pd.DataFrame(rows, columns=RATING_COLUMNS)
    return Ratings("synthetic", table, OPINION_RANGE, SyntheticImages(size, seed), "none")


def split_of(content: int, contents: int) -> str:
    """The split of a content: the first ones train, the last ones test; contents are exchangeable."""
    place = (content + 0.5) / contents
    return "train" if place < TRAINING else "validation" if place < TRAINING + VALIDATION else "test"


def parts_of(image: str) -> tuple[int, str, int]:
    """Content, distortion and level (0: pristine) of a name such as "content017-jpeg-4". FusiqaError for any other."""
    found = re.fullmatch(rf"content([0-9]+)-(?:({PRISTINE_WORD})|({'|'.join(USED)})-([1-5]))", image)
    if found is None:
        raise FusiqaError(f"{image!r} is no image of the synthetic data set; names are such as content017-jpeg-4")
    return int(found[1]), found[2] or found[3], int(found[4] or 0)


def dead_leaves(content: int, *, size: int = SIZE, seed: int = 0) -> Pixels:
    """Draw one procedural image; the same one for the same content, size and seed.

    Radii follow r^-3 between two bounds, which gives the scale invariance and the 1/f^2 power spectrum of natural
    images. Saturation, black and white are alike in all images, as in natural images, so that a change of colour or
    contrast is visible without the original.

    Example:
        >>> image = dead_leaves(3, size=32)
        >>> image.shape, bool((image == dead_leaves(3, size=32)).all())
        ((32, 32, 3), True)
    """
    random = np.random.default_rng((seed, content))
    side = size * OVERSAMPLING
    canvas = np.full((side, side, 3), 0.5)
    textures = np.stack([fractal_noise(random, side) for _ in range(3)])
    palette = random.uniform(0, 1, 4)  # hues, as fractions of the circle
    for radius in leaf_radii(random, side):
        draw_leaf(canvas, radius, textures, palette, random)
    small = canvas.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3).mean(axis=(1, 3))
    return np.round(255 * natural_tones(small)).astype(np.uint8)


def leaf_radii(random: np.random.Generator, side: int) -> Float[np.ndarray, " leaves"]:
    """Radii in pixels with density r^-3, after 24 large ones that cover the canvas."""
    lowest, highest = SMALLEST_RADIUS, LARGEST_RADIUS * side
    drawn = (lowest**-2 - random.uniform(0, 1, LEAVES) * (lowest**-2 - highest**-2)) ** -0.5
    ground = highest * random.uniform(0.5, 1, 24)
    return np.concatenate([ground, random.permutation(drawn)])


def draw_leaf(
    canvas: Canvas, radius: float, textures: Textures, palette: Float[np.ndarray, " hues"], random: np.random.Generator
) -> None:
    """Draw one elliptical leaf in place: a hue near one of the palette's, any lightness, a usual saturation."""
    side = len(canvas)
    row, column = random.uniform(-0.1 * side, 1.1 * side, 2)
    angle, squeeze = random.uniform(0, np.pi), random.uniform(0.45, 1)
    top, bottom = max(0, int(row - radius)), min(side, int(row + radius) + 2)
    left, right = max(0, int(column - radius)), min(side, int(column + radius) + 2)
    if top >= bottom or left >= right:
        return
    y, x = np.arange(top, bottom)[:, None] - row, np.arange(left, right)[None, :] - column
    along, across = (np.cos(angle) * x + np.sin(angle) * y) / radius, (np.cos(angle) * y - np.sin(angle) * x) / radius
    inside = along**2 + (across / squeeze) ** 2 <= 1
    relief = random.uniform(0.0, 0.16) * textures[random.integers(len(textures)), top:bottom, left:right]
    light = 1 + relief + random.uniform(-0.25, 0.25) * along + random.uniform(-0.25, 0.25) * across
    hue = palette[random.integers(len(palette))] + random.normal(0, 0.04)
    saturation, value = random.beta(2.0, 2.2), random.uniform(0.06, 1.0)  # saturation as leaves, skin and sky have it
    ramp = np.abs((hue + np.array([0, 2, 1]) / 3) % 1 * 6 - 3) - 1
    colour = value * (1 - saturation + saturation * np.clip(ramp, 0, 1))
    canvas[top:bottom, left:right][inside] = light[inside][:, None] * colour


def fractal_noise(random: np.random.Generator, side: int) -> Float[np.ndarray, "{side} {side}"]:
    """1/f noise with mean 0 and standard deviation 1."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) / frequency, s=(side, side))
    return noise / noise.std()


def natural_tones(image: Canvas) -> Canvas:
    """Black, white and mean saturation set to those of well-exposed images; values 0-1."""
    luminance = image @ LUMA
    low, high = np.percentile(luminance, (1, 99))
    image = np.clip(TONES[0] + (TONES[1] - TONES[0]) * (image - low) / (high - low), 0, 1)
    brightest = image.max(axis=2, keepdims=True)
    saturation = float(np.mean((brightest - image.min(axis=2, keepdims=True)) / np.maximum(brightest, 1e-3)))
    return np.clip(brightest - MEAN_SATURATION / saturation * (brightest - image), 0, 1)
