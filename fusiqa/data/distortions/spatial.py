"""Distortions of place of KADID-10k. Each is a function of (float32 pixels in 0-1, parameter, random generator)."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from fusiqa.data.colour import Unit
from fusiqa.data.distortions.pixels import from_image, to_image

JITTER_PIXELS = 5.0  # standard deviation of the displacement at strength 1
PATCH = 16  # side of a patch that is moved, pixels
PATCH_MOVES = 16  # farthest that it goes, pixels along each axis
BLOCK = 32  # side of a block of colour, pixels


def jitter(picture: Unit, strength: float, random: np.random.Generator) -> Unit:
    """Fetch each pixel from a place displaced at random, by a Gaussian of 5 x `strength` pixels along each axis."""
    places = np.indices(picture.shape[:2], dtype=np.float32)
    moved = places + JITTER_PIXELS * strength * random.standard_normal(places.shape, np.float32)
    channels = [ndimage.map_coordinates(picture[..., k], moved, order=1, mode="nearest") for k in range(3)]
    return np.stack(channels, axis=2)


def non_eccentricity_patch(picture: Unit, patches: float, random: np.random.Generator) -> Unit:
    """Copy patches of 16 x 16 pixels to a place up to 16 pixels away."""
    result = picture.copy()
    size = np.minimum(PATCH, picture.shape[:2])
    room = np.array(picture.shape[:2]) - size
    for _ in range(int(patches)):
        top, left = start = random.integers(room + 1)
        to_top, to_left = np.clip(start + random.integers(-PATCH_MOVES, PATCH_MOVES + 1, 2), 0, room)
        patch = picture[top : top + size[0], left : left + size[1]]
        result[to_top : to_top + size[0], to_left : to_left + size[1]] = patch
    return result


def pixelate(picture: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Make the picture smaller by 0.95 - strength ** 0.6 and larger again, both by the nearest pixel."""
    height, width = picture.shape[:2]
    scale = 0.95 - strength**0.6
    small = (max(1, round(scale * width)), max(1, round(scale * height)))
    shrunk = to_image(picture).resize(small, Image.Resampling.NEAREST)
    return from_image(shrunk.resize((width, height), Image.Resampling.NEAREST))


def quantization(picture: Unit, levels: float, _: np.random.Generator) -> Unit:
    """Round each channel to as many levels as stated, evenly spaced from its lowest to its highest value."""
    low, high = picture.min(axis=(0, 1)), picture.max(axis=(0, 1))
    step = np.maximum(high - low, 1e-6) / (levels - 1)
    return (low + step * np.round((picture - low) / step)).astype(np.float32)


def color_block(picture: Unit, blocks: float, random: np.random.Generator) -> Unit:
    """Lay blocks of 32 x 32 pixels, each of one drawn colour, at drawn places."""
    result = picture.copy()
    for _ in range(int(blocks)):
        top, left = (int(random.integers(max(1, side - BLOCK + 1))) for side in picture.shape[:2])
        result[top : top + BLOCK, left : left + BLOCK] = random.random(3, np.float32)
    return result


def high_sharpen(picture: Unit, amount: float, _: np.random.Generator) -> Unit:
    """Unsharp masking: add `amount` times the difference to a Gaussian blur of one pixel."""
    return picture + amount * (picture - ndimage.gaussian_filter(picture, (1, 1, 0), mode="reflect"))
