"""Blurs of KADID-10k: Gaussian, lens, motion. Each is a function of (float32 pixels in 0-1, parameter, generator)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fusiqa.data.colour import Unit


def gaussian_blur(picture: Unit, sd: float, _: np.random.Generator) -> Unit:
    """Blur with a Gaussian of `sd` pixels."""
    return ndimage.gaussian_filter(picture, (sd, sd, 0), mode="reflect").astype(np.float32)


def lens_blur(picture: Unit, radius: float, _: np.random.Generator) -> Unit:
    """Average over a disc of `radius` pixels, whose rim counts by the share of each pixel within it."""
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return convolved(picture, np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1))


def motion_blur(picture: Unit, length: float, random: np.random.Generator) -> Unit:
    """Average along a straight line of `length` pixels in a drawn direction."""
    angle = random.uniform(0, np.pi)
    reach = int(np.ceil(length / 2))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return convolved(picture, np.clip(length / 2 + 0.5 - abs(along), 0, 1) * np.clip(1 - abs(across), 0, 1))


def convolved(picture: Unit, kernel: np.ndarray) -> Unit:
    """Each channel under the kernel brought to sum one; the picture goes on mirrored beyond its edges."""
    weights = (kernel / kernel.sum()).astype(np.float32)
    height, width, _ = picture.shape
    up, left = (side // 2 for side in weights.shape)
    mirrored = np.pad(picture, ((up, up), (left, left), (0, 0)), mode="symmetric")
    # SciPy 1.17's own "reflect" reads past the end of a picture of which the kernel reaches over twice the side
    whole = ndimage.convolve(mirrored, weights[..., None], mode="nearest")
    return whole[up : up + height, left : left + width]
