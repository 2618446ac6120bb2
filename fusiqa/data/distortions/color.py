"""Distortions of colour of KADID-10k. Each is a function of (float32 pixels in 0-1, parameter, generator)."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from fusiqa.data.colour import Unit, lab_to_rgb, rgb_to_lab
from fusiqa.data.distortions.pixels import from_image, to_image


def color_diffusion(picture: Unit, sd: float, _: np.random.Generator) -> Unit:
    """Blur a and b of CIELAB with a Gaussian of `sd` pixels; the lightness stays."""
    lab = rgb_to_lab(picture)
    blurred = ndimage.gaussian_filter(lab[..., 1:], (sd, sd, 0), mode="reflect")
    return lab_to_rgb(np.concatenate([lab[..., :1], blurred], axis=2))


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


def color_quantization(picture: Unit, colors: float, _: np.random.Generator) -> Unit:
    """Keep as many colours as stated, chosen by median cut, with Floyd and Steinberg's dithering.

    KADID-10k's numbers of colours are not published; 64, 48, 32, 16 and 8 are chosen here.
    """
    few = to_image(picture).quantize(int(colors), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    dithered = to_image(picture).quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    return from_image(dithered.convert("RGB"))


def color_saturation_hsv(picture: Unit, factor: float, _: np.random.Generator) -> Unit:
    """Multiply the saturation of HSV; hue and value stay (a negative factor turns the hue around)."""
    value = picture.max(axis=2, keepdims=True)
    return value - factor * (value - picture)


def color_saturation_lab(picture: Unit, factor: float, _: np.random.Generator) -> Unit:
    """Multiply a and b of CIELAB; the lightness stays."""
    return lab_to_rgb(rgb_to_lab(picture) * np.array((1, factor, factor), np.float32))
