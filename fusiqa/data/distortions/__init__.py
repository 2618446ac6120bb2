"""All 25 distortions of KADID-10k at their five levels, one row each in a table. They know no rating of an image.

A distortion is a function of (float32 pixels in 0-1, parameter, random generator) and a row in `DISTORTIONS`.

Source of the parameters: Lin, Hosu and Saupe, KADID-10k, QoMEX 2019, and public re-implementations of its generator;
where the publication leaves a formula or a parameter open, the function's docstring says what is done here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusiqa.data.colour import Unit
from fusiqa.data.distortions.blur import gaussian_blur, lens_blur, motion_blur
from fusiqa.data.distortions.brightness import brighten, contrast_change, darken, mean_shift
from fusiqa.data.distortions.color import (
    color_diffusion,
    color_quantization,
    color_saturation_hsv,
    color_saturation_lab,
    color_shift,
)
from fusiqa.data.distortions.compression import jpeg, jpeg2000
from fusiqa.data.distortions.noise import (
    denoise,
    impulse_noise,
    multiplicative_noise,
    white_noise,
    white_noise_ycbcr,
)
from fusiqa.data.distortions.pixels import Pixels, to_bytes
from fusiqa.data.distortions.spatial import (
    color_block,
    high_sharpen,
    jitter,
    non_eccentricity_patch,
    pixelate,
    quantization,
)
from fusiqa.errors import FusiqaError

LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Distortion:
    """A function and its parameter at each of KADID-10k's levels, 1 to 5."""

    apply: Callable[[Unit, float, np.random.Generator], Unit]
    parameters: tuple[float, float, float, float, float]


DISTORTIONS = {  # in the order of KADID-10k's numbers
    "gaussian_blur": Distortion(gaussian_blur, (0.1, 0.5, 1.0, 2.0, 5.0)),
    "lens_blur": Distortion(lens_blur, (1, 2, 4, 6, 8)),
    "motion_blur": Distortion(motion_blur, (1, 2, 4, 6, 10)),
    "color_diffusion": Distortion(color_diffusion, (1, 3, 6, 8, 12)),
    "color_shift": Distortion(color_shift, (1, 3, 6, 8, 12)),
    "color_quantization": Distortion(color_quantization, (64, 48, 32, 16, 8)),
    "color_saturation_hsv": Distortion(color_saturation_hsv, (0.4, 0.2, 0.1, 0.0, -0.4)),
    "color_saturation_lab": Distortion(color_saturation_lab, (1, 2, 3, 6, 9)),
    "jpeg2000": Distortion(jpeg2000, (16, 32, 45, 120, 170)),
    "jpeg": Distortion(jpeg, (43, 36, 24, 7, 4)),
    "white_noise": Distortion(white_noise, (0.001, 0.002, 0.003, 0.005, 0.01)),
    "white_noise_ycbcr": Distortion(white_noise_ycbcr, (0.0001, 0.0005, 0.001, 0.002, 0.003)),
    "impulse_noise": Distortion(impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03)),
    "multiplicative_noise": Distortion(multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05)),
    "denoise": Distortion(denoise, (0.002, 0.005, 0.015, 0.04, 0.08)),
    "brighten": Distortion(brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
    "darken": Distortion(darken, (0.05, 0.1, 0.2, 0.4, 0.8)),
    "mean_shift": Distortion(mean_shift, (0.15, 0.08, 0.0, -0.08, -0.15)),
    "jitter": Distortion(jitter, (0.05, 0.1, 0.2, 0.5, 1.0)),
    "non_eccentricity_patch": Distortion(non_eccentricity_patch, (20, 40, 60, 80, 100)),
    "pixelate": Distortion(pixelate, (0.01, 0.05, 0.1, 0.2, 0.5)),
    "quantization": Distortion(quantization, (20, 16, 13, 10, 7)),
    "color_block": Distortion(color_block, (2, 4, 6, 8, 10)),
    "high_sharpen": Distortion(high_sharpen, (1, 2, 3, 6, 12)),
    "contrast_change": Distortion(contrast_change, (0.3, 0.15, 0.0, -0.4, -0.6)),
}


def distort(pixels: Pixels, name: str, level: int, *, seed: int) -> Pixels:
    """An image under one distortion.

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
