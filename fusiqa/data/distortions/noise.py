"""Noise of KADID-10k, and what is left of it after denoising.

Each is a function of (float32 pixels in 0-1, parameter, random generator).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fusiqa.data.colour import Unit

TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""ITU-R BT.601, full range, without the offset of Cb and Cr."""
FROM_YCBCR = np.linalg.inv(TO_YCBCR).astype(np.float32)


def white_noise(picture: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add independent Gaussian noise of `variance` to each channel."""
    return picture + np.sqrt(np.float32(variance)) * random.standard_normal(picture.shape, np.float32)


def white_noise_ycbcr(picture: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add independent Gaussian noise of `variance` to Y, Cb and Cr."""
    noise = np.sqrt(np.float32(variance)) * random.standard_normal(picture.shape, np.float32)
    return (picture @ TO_YCBCR.T + noise) @ FROM_YCBCR.T


def impulse_noise(picture: Unit, share: float, random: np.random.Generator) -> Unit:
    """Make a share of the values, drawn in each channel, 0 or 1."""
    drawn = random.random(picture.shape, np.float32)
    return np.where(drawn < share, np.where(drawn < share / 2, 0, 1), picture).astype(np.float32)


def multiplicative_noise(picture: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Multiply each value by one plus Gaussian noise of `variance`."""
    return picture * (1 + np.sqrt(np.float32(variance)) * random.standard_normal(picture.shape, np.float32))


def denoise(picture: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add Gaussian noise of `variance`, and take the median of 5 x 5 values of each channel.

    KADID-10k denoised by a trained network, at levels that are not published; the median, and the variances 0.002,
    0.005, 0.015, 0.04 and 0.08, are chosen here. It too leaves smooth patches with what is left of the noise.
    """
    return ndimage.median_filter(np.clip(white_noise(picture, variance, random), 0, 1), (5, 5, 1), mode="reflect")
