"""Pixels as float32 in 0-1, as bytes, and as Pillow's pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusiqa.data.colour import Unit

Pixels = NDArray[np.uint8]


def to_bytes(picture: Unit) -> Pixels:
    """0-1 as 0-255, rounded and clipped."""
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def to_image(picture: Unit) -> Image.Image:
    return Image.fromarray(to_bytes(picture))


def from_image(picture: Image.Image) -> Unit:
    return np.asarray(picture, np.float32) / np.float32(255)
