"""Brightness and contrast of KADID-10k. Each is a function of (float32 pixels in 0-1, parameter, random generator)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from fusiqa.data.colour import Unit, lab_to_rgb, rgb_to_lab


def brighten(picture: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Send the lightness of CIELAB, as a share l of white, through l ** (1 / (1 + strength)): black and white stay."""
    return with_lightness(picture, lambda lightness: lightness ** (1 / (1 + strength)))


def darken(picture: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Send the lightness of CIELAB, as a share l of white, through l ** (1 + 2 strength): black and white stay."""
    return with_lightness(picture, lambda lightness: lightness ** (1 + 2 * strength))


def mean_shift(picture: Unit, amount: float, _: np.random.Generator) -> Unit:
    """Add `amount` to every channel."""
    return picture + amount


def contrast_change(picture: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Send the lightness of CIELAB through a curve that keeps black, middle and white.

    The quarter points 1/4 and 3/4 move away from the middle by strength / 4 (towards it if negative).
    """
    curve = PchipInterpolator((0, 0.25, 0.5, 0.75, 1), (0, 0.25 - strength / 4, 0.5, 0.75 + strength / 4, 1))
    return with_lightness(picture, curve)


def with_lightness(picture: Unit, curve: Callable[[np.ndarray], np.ndarray]) -> Unit:
    """The picture with another lightness of CIELAB: a function from 0-1 to 0-1."""
    lab = rgb_to_lab(picture)
    lab[..., 0] = 100 * curve(np.clip(lab[..., 0] / 100, 0, 1))
    return lab_to_rgb(lab)
