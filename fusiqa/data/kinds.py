"""The distortion of each image of a published data set, or the model that generated it, as far as its name says."""

from __future__ import annotations

import re
from collections.abc import Callable

from fusiqa.data.catalog import SYNTHETIC

KADID10K = (
    "Gaussian blur", "lens blur", "motion blur", "color diffusion", "color shift", "color quantization",
    "color saturation HSV", "color saturation Lab", "JPEG2000", "JPEG", "white noise", "white noise YCbCr",
    "impulse noise", "multiplicative noise", "denoise", "brighten", "darken", "mean shift", "jitter",
    "non-eccentricity patch", "pixelate", "quantization", "color block", "high sharpen", "contrast change",
)  # fmt: skip
"""KADID-10k's distortions in the order of their numbers (Lin, Hosu and Saupe, QoMEX 2019, table 1)."""
KADID10K_KINDS = (
    *("blur",) * 3, *("colour",) * 5, *("compression",) * 2, *("noise",) * 5, *("brightness",) * 3, *("spatial",) * 5,
    *("sharpness and contrast",) * 2,
)  # fmt: skip
"""The seven kinds that KADID-10k groups its distortions by, in the order of their numbers (ibid.)."""
CSIQ = {
    "awgn": "white noise", "blur": "Gaussian blur", "contrast": "contrast", "fnoise": "pink noise", "jpeg": "JPEG",
    "jpeg2000": "JPEG2000",
}  # fmt: skip
LIVE = {"jp2k": "JPEG2000", "jpeg": "JPEG", "wn": "white noise", "gblur": "Gaussian blur", "fastfading": "fast fading"}


def _kadid10k(image: str) -> str | None:
    match = re.search(r"I\d+_(\d+)_\d+", image)
    number = int(match[1]) if match else 0
    return KADID10K[number - 1] if 1 <= number <= len(KADID10K) else None


def _numbered(image: str) -> str | None:
    match = re.search(r"[A-Za-z]\d+_(\d+)_\d+", image)
    return f"distortion {int(match[1]):02d}" if match else None


def _csiq(image: str) -> str | None:
    return CSIQ.get(image.rpartition("/")[2].split(".")[1].lower()) if image.count(".") >= 3 else None


def _live(image: str) -> str | None:
    return LIVE.get(image.partition("/")[0])


def _agiqa(image: str) -> str | None:
    return image.rpartition("/")[2].partition("_")[0] or None


def _synthetic(image: str) -> str | None:
    from fusiqa.data.synthetic import distortion_of  # imports what draws images: rarely needed

    return distortion_of(image)


KIND_OF: dict[str, Callable[[str], str | None]] = {
    "kadid-10k": _kadid10k,
    "tid2013": _numbered,
    "pipal": _numbered,
    "csiq": _csiq,
    "live": _live,
    "agiqa-3k": _agiqa,
    SYNTHETIC: _synthetic,
}


def kinds(dataset: str, images: list[str]) -> list[str] | None:
    """The distortion or generator of each image; None if one of the names does not say it.

    Example:
        >>> kinds("kadid-10k", ["I01_01_01.png", "I81_25_05.png"])
        ['Gaussian blur', 'contrast change']
        >>> kinds("csiq", ["awgn/1600.AWGN.1.png"])
        ['white noise']
    """
    tell = KIND_OF.get(dataset)
    found = [tell(image) for image in images] if tell is not None else []
    told = [kind for kind in found if kind is not None]
    return told if told and len(told) == len(images) else None
