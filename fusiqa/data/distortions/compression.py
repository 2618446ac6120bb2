"""Compression of KADID-10k: JPEG 2000 and JPEG. Each is a function of (float32 pixels in 0-1, parameter, generator)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from fusiqa.data.colour import Unit
from fusiqa.data.distortions.pixels import from_image, to_image


def jpeg2000(picture: Unit, ratio: float, _: np.random.Generator) -> Unit:
    """Compress as JPEG 2000 to one `ratio`-th of the bytes and decode."""
    file = io.BytesIO()
    to_image(picture).save(file, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)
    return from_image(Image.open(file))


def jpeg(picture: Unit, quality: float, _: np.random.Generator) -> Unit:
    """Compress as JPEG at a quality of 1-100 and decode."""
    file = io.BytesIO()
    to_image(picture).save(file, "JPEG", quality=int(quality))
    return from_image(Image.open(file))
