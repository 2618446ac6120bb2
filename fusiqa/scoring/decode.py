"""An encoded image -> upright sRGB pixels. It knows no files, no sizes and no data set.

What is done to the pixels of an image is defined here, once, for training, evaluation and scoring.
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
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from fusiqa.errors import FusiqaError
from fusiqa.scoring import heic

DECODING = 2
"""Counted up with every change of what is done to the pixels here, so that no cache keeps the old ones."""
Pixels = UInt8[np.ndarray, "height width 3"]
"""An image: uint8, 0-255, sRGB."""

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


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "PPM", "JPEG2000")
"""What Pillow is let loose on, MPO with JPEG; it would start a program for others (EPS). HEIC: data/heic.py."""
WHITE_IS_ZERO = 0  # TIFF 6.0, tag 262


def decode(content: bytes) -> Pixels:
    """The pixels of an encoded image: the first frame, upright, in sRGB, transparency over white.

    Raises:
        Exception: whatever Pillow raises for what is truncated, too large (twice Image.MAX_IMAGE_PIXELS: 179 million)
            or no image; FusiqaError for pixels that have no agreed range (floating point, 32 bits), and for HEIC
            without its extra.
    """
    with _opened(content) as image:
        return upright_pixels(image)


def upright_pixels(image: Image.Image) -> Pixels:
    """The pixels of an opened image, as `decode` gives them. Raises what `decode` does."""
    image.load()
    turn = _turn(image)
    picture = _as_srgb(image)
    return np.array(picture if turn is None else picture.transpose(turn))


def size_of(content: bytes) -> tuple[int, int]:
    """(height, width) that an encoded image says it has, not turned upright yet. Raises what `decode` does."""
    with _opened(content) as image:
        return image.height, image.width


def prove_readable(content: bytes) -> None:
    """Raise what `decode` would. A JPEG's whole stream is still read at 1/8 of its size, and only that can fail."""
    with _opened(content) as image:
        if image.format in ("JPEG", "MPO"):
            image.draft("L", (1, 1))
            image.load()
            return
    decode(content)


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """The image, its head read and its size found bearable, but not its pixels."""
    formats: tuple[str, ...] = FORMATS
    if heic.is_heic(content):
        heic.register()
        formats = ("HEIF",)
    with _pillow_warnings_ignored(), Image.open(BytesIO(content), formats=formats) as image:
        yield image


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What EXIF says is left to turn after loading, for Pillow already turns a TIFF while it loads."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # malformed EXIF raises almost anything, and is no reason to refuse good pixels
        return None


def _as_srgb(image: Image.Image) -> Image.Image:
    """The same picture in mode RGB."""
    opaque = _in_profile(_colours(image), image.info.get("icc_profile"))
    if not image.has_transparency_data:
        return opaque
    return Image.composite(opaque, Image.new("RGB", opaque.size, "white"), _opacity(image))


def _colours(image: Image.Image) -> Image.Image:
    """The picture without its transparency in mode L, RGB or CMYK: those that colour profiles are made for."""
    match image.mode:
        case "F":
            raise FusiqaError(
                "its pixels are floating-point numbers, which have no agreed range; save it with 8 or 16 bits"
            )
        case "CMYK":
            return image
        case "1" | "L" | "LA":
            return image.convert("L")
        case "La" | "RGBa":  # colours times opacity
            return image.convert("RGBA").convert("RGB")
        case mode if mode.startswith("I"):
            return _eight_bits(image)
        case _:
            return image.convert("RGB")


def _opacity(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow does not convert these; a PNG names the one level that is clear
        clear = np.asarray(image) == image.info["transparency"]
        return Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
    return image.convert("RGBA").getchannel("A")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 9 to 16 bits with its levels scaled to 0-255; Pillow's own conversion would clip them."""
    tags = getattr(image, "tag_v2", {})  # only a TIFF leaves its scale (9 to 16 bits) and its sign to us
    highest = 2 ** min(16, tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]) - 1
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > highest:
        raise FusiqaError(f"its levels go from {levels.min()} to {levels.max()}, expected 0 to {highest}; save 16 bits")
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        levels = highest - levels
    return Image.fromarray(np.round(levels * (255 / highest)).astype(np.uint8))


def _in_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in mode RGB with its colour profile turned into sRGB; a profile that does not fit is ignored."""
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip() in PLAIN_SRGB:
            return picture.convert("RGB")
        turned = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        turned = None
    return turned or picture.convert("RGB")


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
