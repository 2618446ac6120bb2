"""Distortions of photographs at KADID-10k's five levels, one row each in a table. It knows no rating of a photograph.

A new distortion is a function of (float32 pixels in 0-1, parameter, random generator) and a row in `DISTORTIONS`.

Source of the parameters: Lin, Hosu and Saupe, KADID-10k, QoMEX 2019; where the publication leaves the formula open, the
function's docstring says what is done here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from fusiqa.data.colour import Unit, lab_to_rgb, rgb_to_lab
from fusiqa.errors import FusiqaError

LEVELS = (1, 2, 3, 4, 5)

Pixels = NDArray[np.uint8]


def gaussian_blur(picture: Unit, sd: float, _: np.random.Generator) -> Unit:
    """Blur with a Gaussian of `sd` pixels."""
    return ndimage.gaussian_filter(picture, (sd, sd, 0), mode="reflect").astype(np.float32)


def jpeg(picture: Unit, quality: float, _: np.random.Generator) -> Unit:
    """Compress as JPEG at a quality of 1-100 and decode."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(picture)).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file), np.float32) / np.float32(255)


def white_noise(picture: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add independent Gaussian noise of `variance` to each channel."""
    return picture + np.sqrt(np.float32(variance)) * random.standard_normal(picture.shape, np.float32)


def color_saturation_hsv(picture: Unit, factor: float, _: np.random.Generator) -> Unit:
    """Multiply the saturation of HSV; hue and value stay (a negative factor turns the hue around)."""
    value = picture.max(axis=2, keepdims=True)
    return value - factor * (value - picture)


def color_saturation_lab(picture: Unit, factor: float, _: np.random.Generator) -> Unit:
    """Multiply a and b of CIELAB; the lightness stays."""
    return lab_to_rgb(rgb_to_lab(picture) * np.array((1, factor, factor), np.float32))


def color_shift(picture: Unit, distance: float, random: np.random.Generator) -> Unit:
    """Move the green channel by `distance` pixels in a random direction, the more the stronger the edge there."""
    angle = random.uniform(0, 2 * np.pi)
    moved = ndimage.shift(
        picture[..., 1], (distance * np.sin(angle), distance * np.cos(angle)), order=1, mode="nearest"
    )
    edges = ndimage.gaussian_gradient_magnitude(picture.mean(axis=2), 1.5)
    share = np.clip(edges / (np.percentile(edges, 90) + 1e-6), 0, 1)
    green = share * moved + (1 - share) * picture[..., 1]
    return np.stack([picture[..., 0], green, picture[..., 2]], axis=2)


def contrast_change(picture: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Send the lightness of CIELAB through a curve that keeps black, middle and white.

    The quarter points 1/4 and 3/4 move away from the middle by strength / 4 (towards it if negative).
    """
    curve = PchipInterpolator((0, 0.25, 0.5, 0.75, 1), (0, 0.25 - strength / 4, 0.5, 0.75 + strength / 4, 1))
    lab = rgb_to_lab(picture)
    lab[..., 0] = 100 * curve(np.clip(lab[..., 0] / 100, 0, 1))
    return lab_to_rgb(lab)


def mean_shift(picture: Unit, amount: float, _: np.random.Generator) -> Unit:
    """Add `amount` to every channel."""
    return picture + amount


@dataclass(frozen=True)
class Distortion:
    """A function and its parameter at each of KADID-10k's levels, 1 to 5."""

    apply: Callable[[Unit, float, np.random.Generator], Unit]
    parameters: tuple[float, float, float, float, float]


DISTORTIONS = {
    "gaussian_blur": Distortion(gaussian_blur, (0.1, 0.5, 1.0, 2.0, 5.0)),
    "color_shift": Distortion(color_shift, (1, 3, 6, 8, 12)),
    "color_saturation_hsv": Distortion(color_saturation_hsv, (0.4, 0.2, 0.1, 0.0, -0.4)),
    "color_saturation_lab": Distortion(color_saturation_lab, (1, 2, 3, 6, 9)),
    "jpeg": Distortion(jpeg, (43, 36, 24, 7, 4)),
    "white_noise": Distortion(white_noise, (0.001, 0.002, 0.003, 0.005, 0.01)),
    "mean_shift": Distortion(mean_shift, (0.15, 0.08, 0.0, -0.08, -0.15)),
    "contrast_change": Distortion(contrast_change, (0.3, 0.15, 0.0, -0.4, -0.6)),
}


def distort(pixels: Pixels, name: str, level: int, *, seed: int) -> Pixels:
    """A photograph under one distortion.

    Args:
        pixels: uint8, (height, width, 3), sRGB.
        name: a key of `DISTORTIONS`.
        level: 1 to 5, KADID-10k's.
        seed: of the noise or of the direction, where the distortion draws one.

    Returns:
        uint8 of the same shape.

    Raises:
        FusiqaError: an unknown distortion or level.

    Example:
        >>> grey = np.full((8, 8, 3), 128, np.uint8)
        >>> int(distort(grey, "mean_shift", 1, seed=0)[0, 0, 0])
        166
    """
    if name not in DISTORTIONS:
        raise FusiqaError(f"unknown distortion {name!r}; there are {', '.join(DISTORTIONS)}")
    if level not in LEVELS:
        raise FusiqaError(f"{name}: level {level} does not exist; allowed are {LEVELS[0]} to {LEVELS[-1]}")
    distortion = DISTORTIONS[name]
    picture = pixels.astype(np.float32) / np.float32(255)
    random = np.random.default_rng((seed, level))
    return to_bytes(distortion.apply(picture, distortion.parameters[level - 1], random))


def to_bytes(picture: Unit) -> Pixels:
    """0-1 as 0-255, rounded and clipped."""
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
