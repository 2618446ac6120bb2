"""Capture time, camera and rating of a photograph, from its EXIF."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from PIL import ExifTags

from fusiqa.scoring.image import JPEG_START, opened, pillow_warnings_ignored
from fusiqa.scoring.inputs import EXECUTED
from fusiqa.scoring.raw import is_raw, tags_in_raw

TIMES = (  # each with its fractions of a second; DateTime is the time of the last change
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
)
START = 2**18  # bytes at the start of a JPEG or raw file that hold its EXIF
CAMERA = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.BodySerialNumber)


class Capture(NamedTuple):
    """When and with which camera a photograph was taken, as far as known.

    Attributes:
        time: ISO 8601, of the camera's clock, with fractions of a second where they are known; None if unknown.
        camera: make, model and serial number; "" if unknown.
    """

    time: str | None = None
    camera: str = ""


def capture_of(content: bytes) -> Capture:
    """The capture of an encoded image. Malformed tags are ignored."""
    tags = _tags(content)
    words = (" ".join(str(tags.get(tag, "")).replace("\0", " ").split()) for tag in CAMERA)
    times = (_time(tags.get(time), tags.get(fraction)) for time, fraction in TIMES)
    camera = " ".join(filter(None, words)).lstrip("".join(EXECUTED))
    return Capture(next(filter(None, times), None), camera)


def capture_in(path: str) -> Capture:
    """The same of a file, of which only the beginning is read where that is enough."""
    return capture_of(_with_tags(path))


def rating_in(path: str) -> int | None:
    """The rating in a file's EXIF, 1 to 5; None without one."""
    rating = _tags(_with_tags(path)).get(ExifTags.Base.Rating)
    return rating if isinstance(rating, int) and rating in range(1, 6) else None


def _with_tags(path: str) -> bytes:
    """As much of a file as holds its EXIF; nothing of what is no file, or cannot be read."""
    if not os.path.isfile(path):
        return b""
    with suppress(OSError), open(path, "rb") as file:
        content = file.read(START)
        return content if content.startswith(JPEG_START) or is_raw(content) else content + file.read()
    return b""


def _tags(content: bytes) -> dict[int, Any]:
    with pillow_warnings_ignored():
        if is_raw(content):
            return tags_in_raw(content)
        try:
            with opened(content) as image:
                exif = image.getexif()
                return dict(exif) | exif.get_ifd(ExifTags.IFD.Exif)
        except Exception:  # no image, or malformed EXIF, which raises almost anything
            return {}


def _time(text: Any, fraction: Any) -> str | None:
    """ISO 8601 from the "2024:05:06 07:08:09" of EXIF and its fraction "12"; None if malformed."""
    try:
        time = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    digits = str(fraction or "").strip("\0 ")
    return time.isoformat() + (f".{digits}" if digits.isascii() and digits.isdigit() else "")
