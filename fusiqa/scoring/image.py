"""An image, from its encoded bytes to the crops that the network sees; the same for training, evaluation and scoring.

decode -> upright sRGB pixels -> resize -> mirror what is too small -> crops that cover the image, or the whole of it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from fusiqa.errors import FusiqaError

DECODING = 2
"""Incremented with every change of the decoded pixels, so that no cache keeps the old ones."""
Pixels = UInt8[np.ndarray, "height width 3"]
"""An image: uint8, 0-255, sRGB."""
OtherSize = UInt8[np.ndarray, "new_height new_width 3"]
"""Pixels whose height and width are not those that came in."""

ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".mpo", ".gif"}
ENDINGS |= {".heic", ".heif"}
"""Of the files that are taken for images in a folder, in lower case."""
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "PPM", "JPEG2000")
"""Formats that Pillow may open, MPO with JPEG; it would start a program for others (EPS). HEIF needs an extra."""
HEIC = re.compile(rb".{4}ftyp.{0,120}?(hei[cxms]|hev[cxms])", re.DOTALL)
"""A file that names a brand of HEVC images (ISO/IEC 23008-12, annex B.4) in its first box."""
PLAIN_SRGB = frozenset({"sRGB", "sRGB IEC61966-2.1", "sRGB built-in"})
"""Descriptions of colour profiles that say nothing new: converting would only add rounding errors."""
WHITE_IS_ZERO = 0  # TIFF 6.0, tag 262

OVERLAP = 2 / 3
"""Least fraction of a crop that its neighbour covers too when an image is scored: 20 crops of 224 on 512x384, as many
as the field takes; 9 an image of 320 pixels gave a higher validation SRCC than 4."""
LARGEST_SIDE = 16_384
"""Longest side that a resize may ask for or give, pixels: an upscaled sliver would not fit in memory."""
STRIDE = 32  # of the coarsest map of most backbones: whole images are mirrored to a multiple of it
LARGEST_PIECE = 1_024  # side of the parts that a whole image is cut into, pixels


# --- bytes to pixels -------------------------------------------------------------------------------------------------


def decode(content: bytes) -> Pixels:
    """Decode an image: the first frame, upright, in sRGB, transparency over white.

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
    picture = _as_srgb(image)
    orientation = Image.Exif()
    try:
        orientation[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # malformed EXIF raises almost anything, and is no reason to refuse good pixels
        return np.array(picture)
    picture.info = {"exif": orientation.tobytes()}  # alone: writing odd EXIF back, as the next line does, may fail
    ImageOps.exif_transpose(picture, in_place=True)
    return np.array(picture)


def size_of(content: bytes) -> tuple[int, int]:
    """(height, width) that an encoded image states, before it is turned upright. Raises what `decode` does."""
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
    """The image, its header read and its size found acceptable, but not its pixels."""
    with _pillow_warnings_ignored():
        try:
            opened = Image.open(BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            if HEIC.match(content) is None:
                raise
            register_heic()
            opened = Image.open(BytesIO(content), formats=("HEIF",))
        with opened as image:
            yield image


@cache
def register_heic() -> None:
    """Teach Pillow to read HEIC, when the first such image comes. Raises FusiqaError without the extra `heic`."""
    try:
        import pi_heif
    except ImportError as error:
        raise FusiqaError("a HEIC image, which needs one more library: pip install 'fusiqa[heic]'") from error
    pi_heif.register_heif_opener()


def _as_srgb(image: Image.Image) -> Image.Image:
    """A copy in mode RGB."""
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
    """A copy in mode RGB with its colour profile converted to sRGB; a profile that does not fit is ignored."""
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip() in PLAIN_SRGB:
            return picture.convert("RGB")
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        converted = None
    return converted or picture.convert("RGB")


_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_filter_lock = threading.Lock()
_readers = 0


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    """Keep Pillow's warnings about odd files from the user, in any number of threads.

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


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FolderImages:
    """Images as files under one folder; an image's name is its path from there."""

    root: Path

    def read(self, image: str) -> Pixels:
        """Upright sRGB pixels, 0-255; writable. Raises FusiqaError with the name and the reason."""
        with _named(image, self.root):
            return decode(content_of(self.root / image))

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the file, read once. Raises FusiqaError where `read` would, at a fraction of its time."""
        with _named(image, self.root):
            content = content_of(self.root / image)
            prove_readable(content)
        return hashlib.sha256(content).hexdigest()


def content_of(path: Path | str) -> bytes:
    """The bytes of a file; anything else is refused before it is opened, for a named pipe would never answer.

    Raises:
        FusiqaError: a folder, a named pipe, a socket, a device, or an empty file.
        OSError: it does not exist, or may not be read.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise FusiqaError("is a folder, not an image")
    if not stat.S_ISREG(found.st_mode):
        raise FusiqaError("is a pipe, a socket or a device, not a file")
    if found.st_size == 0:
        raise FusiqaError("is empty (0 bytes)")
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def _named(image: str, root: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's readers raise whatever a malformed file leads them to
        raise FusiqaError(f"{image}: {reason_of(error, root)}") from error


def reason_of(error: Exception, root: Path | None = None) -> str:
    """Why an image could not be read, in the user's words.

    Args:
        error: what `content_of` or `decode` raised.
        root: the folder in which the image was looked for, if that says more than its path.
    """
    match error:
        case FusiqaError():
            return str(error)
        case FileNotFoundError():
            return "no such file" if root is None else f"no such file in {root}"
        case PermissionError():
            return "may not be read (permission denied)"
        case UnidentifiedImageError():
            return "not an image in a format that can be read"
        case Image.DecompressionBombError():
            return f"too large to be decoded safely ({error})"
        case OSError(strerror=str(said)):
            return f"cannot be read ({said.lower()})"
        case _:
            return f"cannot be read ({str(error) or type(error).__name__})"


# --- pixels to crops -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resize:
    """How an image is resized before it is cropped: bicubic and anti-aliased, by Pillow.

    Attributes:
        short_side: length of the shorter side afterwards, pixels, the aspect kept (a sliver more than 16384 pixels long
            is squeezed to that); None to not go by it.
        exact: (height, width) afterwards, pixels; None to not go by it. Neither: the size is kept.
    """

    short_side: int | None = None
    exact: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Resize:
        """Read the words of `resize`: none, the short side in pixels, or WIDTHxHEIGHT.

        Raises:
            FusiqaError: anything else, or a side outside 1 to 16384.

        Example:
            >>> Resize.parse("512x384")
            Resize(short_side=None, exact=(384, 512))
            >>> Resize.parse("320")
            Resize(short_side=320, exact=None)
        """
        if text == "none":
            return cls()
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text, re.ASCII)
        sides = [int(side) for side in match.groups() if side] if match else []
        if not sides or not all(1 <= side <= LARGEST_SIDE for side in sides):
            raise FusiqaError(
                f"`resize` must be none, the short side in pixels (384) or WIDTHxHEIGHT (512x384), sides from 1 to "
                f"{LARGEST_SIDE}; got {text}"
            )
        return cls(short_side=sides[0]) if len(sides) == 1 else cls(exact=(sides[1], sides[0]))

    def __str__(self) -> str:
        """The words that `parse` reads back."""
        if self.exact is not None:
            return f"{self.exact[1]}x{self.exact[0]}"
        return "none" if self.short_side is None else str(self.short_side)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image of this height and width gets.

        Example:
            >>> Resize.parse("384").size(height=1536, width=2048)
            (384, 512)
        """
        if self.exact is not None:
            return self.exact
        if self.short_side is None:
            return height, width
        scale = self.short_side / min(height, width)
        long_side = min(LARGEST_SIDE, max(self.short_side, round(max(height, width) * scale)))
        return (self.short_side, long_side) if height <= width else (long_side, self.short_side)

    def apply(self, pixels: Pixels) -> OtherSize:
        """The resized image; the very same array, not resampled, where its size is right already."""
        size = self.size(*pixels.shape[:2])
        if size == pixels.shape[:2]:
            return pixels
        height, width = size
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Views:
    """The parts of an image that go through the network, as a sequence of arrays.

    Attributes:
        pixels: the resized image, mirrored where it was too small, uint8 (height, width, 3).
        places: (top, left, height, width) of each view in `pixels`.
        boxes: (views, 4), left, top, right, bottom of each as fractions of the image, mirrored margins cut off.
        weights: (views,), of each view in the average, sum to one.
    """

    pixels: np.ndarray
    places: list[tuple[int, int, int, int]]
    boxes: Float[np.ndarray, "views 4"]
    weights: Float[np.ndarray, " views"]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.pixels[top : top + height, left : left + width] for top, left, height, width in self.places)


NO_VIEWS = Views(np.empty((0, 0, 3), np.uint8), [], np.empty((0, 4)), np.empty(0))
"""Of an image that cannot be read."""


def views_of(resized: Pixels, crop: int, *, view: str = "crops", overlap: float = OVERLAP) -> Views:
    """The parts of a resized image that its score is the average of: `crop_views`, or with view "whole" the whole."""
    return whole_views(resized) if view == "whole" else crop_views(resized, crop, overlap=overlap)


def crop_views(resized: Pixels, crop: int, *, overlap: float = OVERLAP) -> Views:
    """Square crops that cover a resized image to its edges, of equal weight."""
    padded = pad_to(resized, crop, crop)
    corners = cover(padded.shape[0], padded.shape[1], crop, overlap=overlap)
    places = [(top, left, crop, crop) for top, left in corners]
    return Views(padded, places, _boxes(places, resized, padded), np.full(len(places), 1 / len(places)))


def whole_views(resized: Pixels) -> Views:
    """A resized image as a whole, mirrored at the right and bottom to a multiple of 32.

    A side of more than 1024 pixels is cut into the fewest parts of at most that, which weigh by their area.
    """
    height, width = resized.shape[:2]
    padded = np.pad(resized, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="symmetric")
    rows, columns = _cuts(padded.shape[0]), _cuts(padded.shape[1])
    places = [(t, x, b - t, r - x) for t, b in pairwise(rows) for x, r in pairwise(columns)]
    boxes = _boxes(places, resized, resized)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Views(padded, places, boxes, areas / areas.sum())


def _cuts(side: int) -> list[int]:
    """Where a side, a multiple of the stride, is cut into parts that are such multiples too."""
    parts = math.ceil(side / LARGEST_PIECE)
    return [round(part * side / parts / STRIDE) * STRIDE for part in range(parts + 1)]


def _boxes(places: list[tuple[int, int, int, int]], resized: np.ndarray, padded: np.ndarray) -> np.ndarray:
    height, width = resized.shape[:2]
    above, before = (padded.shape[0] - height) // 2, (padded.shape[1] - width) // 2
    corners = [(left - before, top - above, left - before + w, top - above + h) for top, left, h, w in places]
    return np.clip(np.array(corners, float) / [width, height, width, height], 0, 1)


def cover(height: int, width: int, crop: int, *, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Corners (top, left) of the fewest square crops that cover an image, edges included, row by row.

    Along each side the crops lie evenly spread from 0 to side - crop, as few as the overlap allows:
    1 + ceil((side - crop) / ((1 - overlap) crop)) of them.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        crop: side of a crop, pixels.
        overlap: least fraction of a crop that its neighbour along a side covers too, 0 to below 1.

    Raises:
        FusiqaError: a side shorter than the crop (`pad_to` comes first).

    Example:
        >>> cover(height=4, width=7, crop=3)
        [(0, 0), (0, 2), (0, 4), (1, 0), (1, 2), (1, 4)]
        >>> len(cover(height=384, width=512, crop=224, overlap=2 / 3))
        20
    """
    _require_room(height, width, crop)
    return [(top, left) for top in _spread(height, crop, overlap) for left in _spread(width, crop, overlap)]


def _spread(side: int, crop: int, overlap: float) -> list[int]:
    step = max(1, math.floor((1 - overlap) * crop + 1e-9))  # rounding must not cost a crop more
    count = 1 + math.ceil((side - crop) / step)
    return [0] if count == 1 else [round(i * (side - crop) / (count - 1)) for i in range(count)]


def random_corner(rng: np.random.Generator, height: int, width: int, crop: int) -> tuple[int, int]:
    """Corner (top, left) of one crop, every position equally likely, the last row and column included.

    Raises:
        FusiqaError: a side shorter than the crop (`pad_to` comes first).
    """
    _require_room(height, width, crop)
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _require_room(height: int, width: int, crop: int) -> None:
    if not 1 <= crop <= min(height, width):
        raise FusiqaError(f"a crop of {crop} pixels does not fit into an image of {height}x{width} (height x width)")


def pad_to(pixels: Pixels, height: int, width: int) -> OtherSize:
    """Mirror an image at its edges, evenly on both sides, until it is at least this high and wide.

    The same array where it is large enough already. The odd pixel goes to the bottom and to the right.
    """
    missing = [max(0, wanted - side) for wanted, side in zip((height, width), pixels.shape[:2], strict=True)]
    if not any(missing):
        return pixels
    return np.pad(pixels, [(extra // 2, extra - extra // 2) for extra in missing] + [(0, 0)], mode="symmetric")
