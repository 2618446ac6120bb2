"""Procedural images: dead leaves in colour, the same ones for a seed. It knows no distortion and no rating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OVERSAMPLING = 2  # drawn at twice the size and averaged down: edges are sharp and anti-aliased, as through a lens
SMALLEST_RADIUS = 2.0  # pixels of the oversampled drawing
LARGEST_RADIUS_SHARE = 0.45  # of the side
LEAVES = 900
TONES = (0.01, 0.99)  # where the darkest and the lightest hundredth of the luminance end up, 0-1
MEAN_SATURATION = 0.42  # of HSV, 0-1
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

Picture = NDArray[np.float64]


def dead_leaves(content: int, *, size: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """One image-like image: opaque, textured and shaded leaves that hide one another.

    Radii follow r^-3 between two bounds, which gives the scale invariance and the 1/f^2 power spectrum of images.
    Hues come from a palette of the image's own; saturation, black and white are alike in all images, as natural
    images share them, so that a change of colour or contrast can be seen without the original.

    Args:
        content: which image, 0 and more.
        size: side, pixels.
        seed: of the whole collection.

    Returns:
        uint8, (size, size, 3), sRGB.

    Example:
        >>> picture = dead_leaves(3, size=32)
        >>> picture.shape, bool((picture == dead_leaves(3, size=32)).all())
        ((32, 32, 3), True)

    Source: Lee, Mumford and Huang, Occlusion models for natural images, International Journal of Computer Vision, 2001.
    """
    random = np.random.default_rng((seed, content))
    side = size * OVERSAMPLING
    canvas = np.full((side, side, 3), 0.5)
    textures = np.stack([fractal_noise(random, side) for _ in range(3)])
    palette = random.uniform(0, 1, 4)  # hues, as shares of the circle
    for radius in leaf_radii(random, side):
        draw_leaf(canvas, radius, textures, palette, random)
    small = canvas.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3).mean(axis=(1, 3))
    return np.round(255 * with_natural_tones(small)).astype(np.uint8)


def leaf_radii(random: np.random.Generator, side: int) -> Picture:
    """Radii in pixels with density r^-3, largest first: a painter who began with small leaves would hide them all."""
    lowest, highest = SMALLEST_RADIUS, LARGEST_RADIUS_SHARE * side
    quantile = random.uniform(0, 1, LEAVES)
    drawn = (lowest**-2 - quantile * (lowest**-2 - highest**-2)) ** -0.5
    ground = highest * random.uniform(0.5, 1, 24)  # hardly anything of the canvas shows through
    return np.concatenate([ground, random.permutation(drawn)])


def draw_leaf(canvas: Picture, radius: float, textures: Picture, palette: Picture, random: np.random.Generator) -> None:
    """Paint one elliptical leaf, in place."""
    side = len(canvas)
    row, column = random.uniform(-0.1 * side, 1.1 * side, 2)
    angle, squeeze = random.uniform(0, np.pi), random.uniform(0.45, 1)
    top, bottom = max(0, int(row - radius)), min(side, int(row + radius) + 2)
    left, right = max(0, int(column - radius)), min(side, int(column + radius) + 2)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom)[:, None] - row
    x = np.arange(left, right)[None, :] - column
    along, across = (np.cos(angle) * x + np.sin(angle) * y) / radius, (np.cos(angle) * y - np.sin(angle) * x) / radius
    inside = along**2 + (across / squeeze) ** 2 <= 1
    relief = random.uniform(0.0, 0.16) * textures[random.integers(len(textures)), top:bottom, left:right]
    light = 1 + relief + random.uniform(-0.25, 0.25) * along + random.uniform(-0.25, 0.25) * across
    painted = leaf_colour(palette, random) * light[..., None]
    patch = canvas[top:bottom, left:right]
    patch[inside] = painted[inside]


def leaf_colour(palette: Picture, random: np.random.Generator) -> Picture:
    """RGB of one leaf: a hue near one of the palette's, any lightness, and saturations as leaves, skin and sky have."""
    hue = palette[random.integers(len(palette))] + random.normal(0, 0.04)
    saturation, value = random.beta(2.0, 2.2), random.uniform(0.06, 1.0)
    ramp = np.abs((hue + np.array([0, 2, 1]) / 3) % 1 * 6 - 3) - 1
    return value * (1 - saturation + saturation * np.clip(ramp, 0, 1))


def fractal_noise(random: np.random.Generator, side: int) -> Picture:
    """1/f noise with mean 0 and standard deviation 1, (side, side)."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) / frequency, s=(side, side))
    return noise / noise.std()


def with_natural_tones(picture: Picture) -> Picture:
    """Black, white and mean saturation brought to what well-exposed images have; values 0-1."""
    luminance = picture @ LUMA
    low, high = np.percentile(luminance, (1, 99))
    picture = TONES[0] + (TONES[1] - TONES[0]) * (picture - low) / (high - low)
    picture = np.clip(picture, 0, 1)
    brightest = picture.max(axis=2, keepdims=True)
    saturation = float(np.mean((brightest - picture.min(axis=2, keepdims=True)) / np.maximum(brightest, 1e-3)))
    return np.clip(brightest - MEAN_SATURATION / saturation * (brightest - picture), 0, 1)


def contact_sheet(pictures: list[NDArray[np.uint8]], *, columns: int) -> Image.Image:
    """Images of one size, side by side in rows."""
    rows = [np.concatenate(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows))
