"""An encoded photograph -> upright sRGB pixels. It knows no files, no sizes and no data set.

What is done to the pixels of a photograph is defined here, once, for training, evaluation and scoring.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms

from fusiqa.errors import FusiqaError

DECODING = 1
"""Counted up with every change of what is done to the pixels here, so that no cache keeps the old ones."""
Pixels = UInt8[np.ndarray, "height width 3"]
"""A photograph: uint8, 0-255, sRGB."""

UPRIGHT = {  # EXIF 2.32, tag 274: how the stored rows and columns have to be turned
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PLAIN_SRGB = frozenset({"sRGB", "sRGB IEC61966-2.1", "sRGB built-in"})
"""Descriptions of colour profiles that say nothing new: converting would only add rounding errors."""


def decode(content: bytes) -> Pixels:
    """The pixels of an encoded photograph: the first frame, upright, in sRGB, transparency over white.

    Raises:
        Exception: whatever Pillow raises for what is truncated, too large or no photograph; FusiqaError for pixels
            that have no agreed range (floating point, 32 bits).
    """
    with _pillow_warnings_ignored(), Image.open(BytesIO(content)) as photograph:
        photograph.load()
        turn = _turn(photograph)
        picture = _as_srgb(photograph)
        return np.array(picture if turn is None else picture.transpose(turn))


def prove_readable(content: bytes) -> None:
    """Raise what `decode` would. A JPEG's whole stream is still read at 1/8 of its size, and only that can fail."""
    with _pillow_warnings_ignored(), Image.open(BytesIO(content)) as photograph:
        if photograph.format in ("JPEG", "MPO"):
            photograph.draft("L", (1, 1))
            photograph.load()
            return
    decode(content)


def _turn(photograph: Image.Image) -> Image.Transpose | None:
    """What EXIF says is left to turn after loading, for Pillow already turns a TIFF while it loads."""
    try:
        return UPRIGHT.get(photograph.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # malformed EXIF raises almost anything, and is no reason to refuse good pixels
        return None


def _as_srgb(photograph: Image.Image) -> Image.Image:
    """The same picture in mode RGB."""
    if photograph.mode.startswith("I"):
        return _eight_bits(photograph).convert("RGB")
    if photograph.mode == "F":
        raise FusiqaError(
            "its pixels are floating-point numbers, which have no agreed range; save it with 8 or 16 bits"
        )
    if photograph.has_transparency_data:
        opaque = _in_profile(photograph.convert("RGBA"), photograph)
        white = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(white, opaque).convert("RGB")
    return _in_profile(photograph.convert("RGB") if photograph.mode == "P" else photograph, photograph).convert("RGB")


def _eight_bits(photograph: Image.Image) -> Image.Image:
    """A 16-bit grey picture with its levels 0-65535 scaled to 0-255; Pillow's own conversion would clip them."""
    levels = np.asarray(photograph).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65_535:
        raise FusiqaError(f"its levels go from {levels.min()} to {levels.max()}; 16 bits hold 0 to 65535")
    return Image.fromarray(np.round(levels / 257).astype(np.uint8))


def _in_profile(picture: Image.Image, photograph: Image.Image) -> Image.Image:
    """The picture with the photograph's colour profile turned into sRGB; a profile that does not fit is ignored."""
    profile = photograph.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip() in PLAIN_SRGB:
            return picture
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode) or picture
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_filter_lock = threading.Lock()
_readers = 0


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    """Keep Pillow's remarks on odd files from the user, in any number of threads.

    Overlapping `warnings.catch_warnings` restore each other's filters, and each entry makes Python forget which
    warnings it has already shown; so one entry is put into the list by the first reader and taken out by the last.
    """
    global _readers
    filters: list = warnings.filters  # type: ignore[assignment]  # typeshed calls the list a Sequence
    with _filter_lock:
        _readers += 1
        if _PILLOW_WARNINGS not in filters:
            filters.insert(0, _PILLOW_WARNINGS)
    try:
        yield
    finally:
        with _filter_lock:
            _readers -= 1
            if _readers == 0 and _PILLOW_WARNINGS in warnings.filters:
                warnings.filters.remove(_PILLOW_WARNINGS)  # type: ignore[attr-defined]
