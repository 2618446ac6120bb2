"""An image from its encoded bytes to resized pixels; the same for training and scoring."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from fusiqa.errors import FusiqaError, needing
from fusiqa.scoring.raw import LEAST_SIDE, RAW_ENDINGS, is_raw, preview_of
from fusiqa.scoring.srgb import Coding, coding_in_boxes, in_srgb

DECODING = 4  # version, incremented when decoded pixels change, so that no cache keeps the old ones
Pixels = UInt8[np.ndarray, "height width 3"]  # an image: 0-255, sRGB
OtherSize = UInt8[np.ndarray, "new_height new_width 3"]
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue in the luminance (ITU-R BT.601)
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".mpo", ".gif"}
ENDINGS |= {".heic", ".heif", *RAW_ENDINGS}  # of the files that are taken for images in a folder, in lower case
SIDECAR_ENDING = ".xmp"  # of what stands beside them
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "PPM", "JPEG2000")
"""Formats that Pillow may open, MPO with JPEG; it would start a program for others (EPS). HEIF needs an extra."""
JPEG, BOXES = ("JPEG", "MPO"), ("AVIF", "HEIF")
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
HEIC = re.compile(rb".{4}ftyp.{0,120}?(hei[cxms]|hev[cxms])", re.DOTALL)  # ISO/IEC 23008-12, annex B.4
PNG, PNG_COMPRESSED = b"\x89PNG\r\n\x1a\n", (b"zTXt", b"iTXt", b"iCCP")
PNG_SAMPLES = {2: 3, 4: 2, 6: 4}  # of a pixel, by the type of colour that the header states; one of the others
INFLATED_AT_ONCE = 2**20  # bytes
CODING = "fusiqa coding"  # in the `info` of an opened image
WHITE_IS_ZERO = 0  # TIFF 6.0, tag 262
NO_RANGE = "its pixels are {}, which have no standard range; save it with 8 or 16 bits"

SPARE = 2  # a JPEG decoded at a reduced scale has at least this many times its size after the resize
PREVIEW = "scored by the preview in the raw file"
TRUNCATED = "truncated: scored without its end"
LARGEST_FILE = 10**9  # bytes, that are read into memory; the largest picture that is decoded has half of them
LARGEST_SIDE = 16_384  # pixels, that a resize may ask for or give: an upscaled sliver would not fit in memory


class Decoded(NamedTuple):
    """An image after its resize, the (height, width) before, and a caveat about its score, if any."""

    pixels: Pixels
    size: tuple[int, int]
    note: str = ""


def decode(content: bytes) -> Pixels:
    """An image: the first frame, upright, in sRGB, transparency over white; of a raw file its preview.

    Raises what Pillow raises for a file that is truncated, not an image, or too large (twice Image.MAX_IMAGE_PIXELS,
    179 million); FusiqaError for pixels without a standard range (floating point, 32 bits), for HEIC and raw files
    without their extras, and for a raw file without a preview of 400 pixels and more.
    """
    return decode_resized(content, ORIGINAL_SIZE).pixels


def decode_resized(content: bytes, resize: Resize, *, tolerate_truncated: bool = False) -> Decoded:
    """An image after its resize. Raises what `decode` does.

    With `resize.reduced`, a JPEG is decoded at the smallest of libjpeg's scales that leaves it twice the final size.
    With `tolerate_truncated`, a JPEG without its end is given one: what is missing before it is grey.
    """
    torn = tolerate_truncated and content.startswith(JPEG_START) and _lacks_end(content)
    with opened(content + JPEG_END if torn else content) as image:
        size = None
        if resize.reduced and image.format in JPEG:
            rotated = _orientation(image) >= 5  # by 90 degrees
            size = image.size if rotated else image.size[::-1]
            high, wide = (SPARE * side for side in resize.size(*size))
            image.draft(None, (high, wide) if rotated else (wide, high))
        pixels = upright_pixels(image)
        size = size or pixels.shape[:2]
        note = PREVIEW if is_raw(content) else ""
        return Decoded(resize.apply(pixels, size), size, TRUNCATED if torn else note)


def _lacks_end(jpeg: bytes) -> bool:
    """Whether no end of image follows the header of a JPEG, which may hold that of a thumbnail.

    Other data may follow the end: the film of a motion photo, padding.
    """
    place = len(JPEG_START)
    while jpeg[place : place + 1] == b"\xff" and jpeg[place : place + 2] != JPEG_SCAN:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return jpeg.find(JPEG_END, place) < 0


def upright_pixels(image: Image.Image) -> Pixels:
    """The pixels of an opened image, as `decode` gives them. Raises what `decode` does."""
    image.load()
    image = image.convert("LA") if image.mode == "La" else image  # which Pillow converts to nothing else
    picture = in_srgb(_colours(image), image.info, image.info.get(CODING))
    if image.has_transparency_data:
        if image.mode.startswith("I"):  # Pillow does not convert these; a PNG names the one level that is clear
            opacity = Image.fromarray(np.asarray(image) != image.info["transparency"])
        else:
            opacity = image.convert("RGBA").getchannel("A")
        if not opacity.getbbox():
            raise FusiqaError("transparent everywhere (opacity 0), so there is nothing to see; save it without opacity")
        picture = Image.composite(picture, Image.new("RGB", picture.size, "white"), opacity)
    turn = Image.Exif()
    turn[ExifTags.Base.Orientation] = _orientation(image)
    picture.info = {"exif": turn.tobytes()}  # alone: writing odd EXIF back, as the next line does, may fail
    ImageOps.exif_transpose(picture, in_place=True)
    return np.array(picture)


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF says; 1 where it says nothing or something else."""
    try:
        stated = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # malformed EXIF raises almost anything, and is no reason to refuse good pixels
        return 1
    return stated if isinstance(stated, int) and stated in range(1, 9) else 1


def size_of(content: bytes) -> tuple[int, int]:
    """(height, width) in the header of an encoded image, before it is turned upright. Raises what `decode` does."""
    with opened(content) as image:
        return image.height, image.width


def prove_readable(content: bytes) -> None:
    """Raise what `decode` would. A JPEG is decoded to its end at 1/8 of its size, which fails where `decode` does."""
    with opened(content) as image:
        if image.format in JPEG:
            image.draft("L", (1, 1))
            image.load()
        else:
            upright_pixels(image)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """The image, its header read and its size found acceptable, but not its pixels. Raises what `decode` does."""
    with pillow_warnings_ignored():
        if is_raw(content):
            with _opened_preview(content) as image:
                yield image
            return
        content = _without_oversized(content) if content.startswith(PNG) else content
        try:
            found = Image.open(BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            if HEIC.match(content) is None:
                raise
            register_heic()
            found = Image.open(BytesIO(content), formats=("HEIF",))
        with found as image:
            image.info[CODING] = _coding(content, image)
            yield image
            if content.startswith(PNG):
                _refuse_short(content, image)


@contextmanager
def _opened_preview(content: bytes) -> Iterator[Image.Image]:
    """The preview in a raw file, with its orientation."""
    preview = preview_of(content)
    with Image.open(BytesIO(preview.content), formats=("JPEG", "PPM")) as image:
        if min(image.size) < LEAST_SIDE:
            width, height = image.size
            raise FusiqaError(
                f"a raw file whose preview has {width}x{height} pixels, too few to judge the photograph by"
            )
        image.getexif().setdefault(ExifTags.Base.Orientation, preview.orientation)
        yield image


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type and the bytes (length, type, data, checksum) of each chunk of a PNG; the last one may be truncated.

    It ends with IEND, as in the standard: what follows is no part of the image.
    """
    place, kind = len(PNG), b""
    while place < len(content) and kind != b"IEND":
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        yield kind, content[place:end]
        place = end


def _coding(content: bytes, image: Image.Image) -> Coding | None:
    """The coding that a file states. An ICC profile takes precedence over it except in a PNG."""
    if content.startswith(PNG):
        kind, chunk = next((each for each in _chunks(content) if each[0] in (b"cICP", b"IDAT")), (b"", b""))
        return Coding(chunk[8], chunk[9], chunk[11] != 0) if kind == b"cICP" and len(chunk) == 16 else None
    boxes = image.format in BOXES and not image.info.get("icc_profile")
    return coding_in_boxes(content) if boxes else None


def _without_oversized(content: bytes) -> bytes:
    """A PNG without texts and profiles that are too large, for which Pillow refuses the whole image.

    Raises FusiqaError for a damaged chunk other than of pixels, which Pillow reports as not an image.
    """
    kept = [PNG]
    for kind, chunk in _chunks(content):
        whole = len(chunk) == 12 + int.from_bytes(chunk[:4], "big")
        if whole and kind != b"IDAT" and zlib.crc32(chunk[4:-4]).to_bytes(4) != chunk[-4:]:
            raise FusiqaError(f"damaged: the checksum of its chunk {kind.decode('latin-1')!a} is wrong")
        try:
            if kind in PNG_COMPRESSED:
                PngImagePlugin.PngStream(BytesIO(chunk[8:])).call(kind, 0, len(chunk) - 12)
            kept.append(chunk)
        except ValueError:
            pass  # too large
    return b"".join(kept)


def _refuse_short(content: bytes, image: Image.Image) -> None:
    """Raise FusiqaError for a PNG that has fewer rows than it states; Pillow leaves those that are missing black."""
    width, height = image.size
    if getattr(image, "_im", None) is None or image.crop((0, height - 1, width, height)).getbbox():
        return  # not decoded, or something stands in its last row
    data, inflated = zlib.decompressobj(), 0
    with suppress(zlib.error):
        for kind, chunk in _chunks(content):
            rest = chunk[8:-4] if kind == b"IDAT" else b""
            while rest:
                inflated += len(data.decompress(rest, INFLATED_AT_ONCE))
                rest = data.unconsumed_tail
    depth, colour = content[24], content[25]
    stated = height * (1 + math.ceil(width * depth * PNG_SAMPLES.get(colour, 1) / 8))
    if inflated < stated and not content[28]:  # an interlaced one has other rows
        raise FusiqaError(f"truncated: it holds {inflated:,} of {stated:,} bytes of pixels")


@cache
def register_heic() -> None:
    """Register the HEIC reader with Pillow, for the first such image. Raises FusiqaError without the extra `heic`."""
    with needing("heic", "a HEIC image"):
        import pi_heif
    pi_heif.register_heif_opener()


def _colours(image: Image.Image) -> Image.Image:
    """The picture without transparency in mode L, RGB or CMYK, for which there are colour profiles."""
    if image.mode == "F":
        raise FusiqaError(NO_RANGE.format("floating-point numbers"))
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "RGBa":  # colours times opacity
        image = image.convert("RGBA")
    return image if image.mode == "CMYK" else image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 9 to 16 bits with its levels scaled to 0-255; Pillow's own conversion would clip them."""
    tags = getattr(image, "tag_v2", {})  # only a TIFF leaves its scale (9 to 16 bits) and its sign to us
    widest = 32 if image.mode == "I" and image.format != "PPM" else 16
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (widest,))[0]
    levels, white = np.asarray(image).astype(np.int64), 2**bits - 1
    low, high = levels.min(), levels.max()
    if bits > 16:
        raise FusiqaError(NO_RANGE.format(f"integers of 32 bits ({low} to {high})"))
    if low < 0 or high > white:
        raise FusiqaError(f"its levels go from {low} to {high}, expected 0 to {white}")
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        levels = white - levels
    return Image.fromarray(np.round(levels * (255 / white)).astype(np.uint8))


_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_filter_lock = threading.Lock()
_readers: list[None] = []  # one entry for each thread that is opening an image


@contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Suppress Pillow's warnings about malformed files, in any number of threads.

    Overlapping `warnings.catch_warnings` restore each other's filters: the first thread puts one in, the last takes it.
    """
    with _filter_lock:
        if not _readers:
            warnings.filters.insert(0, _PILLOW_WARNINGS)  # type: ignore[attr-defined]
        _readers.append(None)
    try:
        yield
    finally:
        with _filter_lock:
            _readers.pop()
            if not _readers and _PILLOW_WARNINGS in warnings.filters:
                warnings.filters.remove(_PILLOW_WARNINGS)  # type: ignore[attr-defined]


def content_of(path: Path | str) -> bytes:
    """The bytes of a file; anything else is refused (FusiqaError) before it is opened: reading a pipe could block."""
    path = Path(path)
    size = path.stat().st_size
    if path.is_file() and size > LARGEST_FILE:
        raise FusiqaError(f"has {size / 1e6:,.0f} MB; at most {LARGEST_FILE / 1e6:,.0f} are read")
    if path.is_file() and size:
        return path.read_bytes()
    other = "is a folder, not an image" if path.is_dir() else "is a pipe, a socket or a device, not a file"
    raise FusiqaError("is empty (0 bytes)" if path.is_file() else other)


@contextmanager
def naming(image: str, root: Path | None = None) -> Iterator[None]:
    """Turn any exception of reading an image into a FusiqaError with its name and the reason."""
    try:
        yield
    except Exception as error:  # malformed files make Pillow raise almost anything
        raise FusiqaError(f"{image}: {reason_of(error, root)}") from error


def reason_of(error: Exception, root: Path | None = None) -> str:
    """Why an image could not be read, for the user; `root` is the folder it was expected in."""
    reasons = {
        FusiqaError: str(error),
        FileNotFoundError: "no such file" if root is None else f"no such file in {root}",
        PermissionError: "may not be read (permission denied)",
        UnidentifiedImageError: "not an image in a format that can be read",
        Image.DecompressionBombError: f"too large to be decoded safely ({error})",
    }
    said = str(getattr(error, "strerror", None) or "").lower() or str(error) or type(error).__name__
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), f"cannot be read ({said})")


@dataclass(frozen=True)
class Resize:
    """How an image is resized before it is cropped: bicubic and anti-aliased, by Pillow; without sides, not at all.

    Attributes:
        short_side: length of the shorter side afterwards, pixels, the aspect kept; 16384 at most of the longer.
        exact: (height, width) afterwards, pixels, instead.
        reduced: whether large JPEGs are decoded at 1/2, 1/4 or 1/8, 4 times as fast. It moved scores of a model of
            crops by up to 0.015 of the range, so it is for models of whole images, which learn from such pixels.
        enlarge: whether an image with a smaller short side is enlarged, or kept as it is.
    """

    short_side: int | None = None
    exact: tuple[int, int] | None = None
    reduced: bool = False
    enlarge: bool = True

    @classmethod
    def parse(cls, text: str, *, view: str = "crops") -> Resize:
        """Parse `resize`: none, the short side in pixels, max512 (at most), or WIDTHxHEIGHT; sides up to 16384.

        Anything else raises FusiqaError.

        Example:
            >>> Resize.parse("512x384")
            Resize(short_side=None, exact=(384, 512), reduced=False, enlarge=True)
        """
        if text == "none":
            return cls()
        sound = re.fullmatch(r"\d{1,5}x\d{1,5}|(max)?\d{1,5}", text, re.ASCII)
        sides = [int(side) for side in text.removeprefix("max").split("x")] if sound else [0]
        if min(sides) < 1 or max(sides) > LARGEST_SIDE:
            raise FusiqaError(
                "`resize` must be none, the short side in pixels (384), max384 (never enlarge) or WIDTHxHEIGHT "
                f"(512x384), sides from 1 to {LARGEST_SIDE}; got {text:.80}"
            )
        exact, short_side = ((sides[1], sides[0]), None) if len(sides) == 2 else (None, sides[0])
        return cls(short_side, exact, reduced=view == "whole", enlarge=not text.startswith("max"))

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        if self.exact is not None:
            return f"{self.exact[1]}x{self.exact[0]}"
        return "none" if self.short_side is None else f"{'' if self.enlarge else 'max'}{self.short_side}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image of this height and width gets.

        Example:
            >>> Resize.parse("384").size(height=1536, width=2048)
            (384, 512)
        """
        if self.exact is not None:
            return self.exact
        short, long = sorted((height, width))
        if self.short_side is None or (short <= self.short_side and not self.enlarge):
            return height, width
        long = min(LARGEST_SIDE, max(self.short_side, round(long * (self.short_side / short))))
        return (self.short_side, long) if height <= width else (long, self.short_side)

    def apply(self, pixels: Pixels, size: tuple[int, int] | None = None) -> OtherSize:
        """The resized image; the very same array, not resampled, where its size is right already.

        `size` is the (height, width) that it had before it was decoded at a reduced scale.
        """
        height, width = self.size(*(size or pixels.shape[:2]))
        if (height, width) == pixels.shape[:2]:
            return pixels
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


ORIGINAL_SIZE = Resize()


@dataclass(frozen=True)
class FolderImages:
    """Images as files under one folder; an image's name is its path from there."""

    root: Path

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        """Upright sRGB pixels, 0-255, writable, after a resize. Raises FusiqaError with the name and the reason."""
        with naming(image, self.root):
            return decode_resized(content_of(self.root / image), resize).pixels

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the file, read once. Raises FusiqaError where `read` would, at a fraction of its time."""
        with naming(image, self.root):
            content = content_of(self.root / image)
            prove_readable(content)
        return hashlib.sha256(content).hexdigest()
