"""What a photograph says of its taking: when, and by which camera."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from PIL import ExifTags

from fusiqa.scoring.image import HEIC, opened
from fusiqa.scoring.raw import is_raw, tags_in_raw

TIMES = (  # each with its fractions of a second; the time of the last change says nothing of when it was taken
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
)
BEGIN = 2**18  # bytes of a file in which cameras write what they have to say, but for HEIC
CAMERA = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.BodySerialNumber)


class Taking(NamedTuple):
    """When and by what a photograph was taken, as far as it says.

    Attributes:
        time: ISO 8601, of the camera's clock, with fractions of a second where they are known; None where it is not.
        camera: make, model and serial number; "" where it says nothing.
    """

    time: str | None = None
    camera: str = ""


def taking_of(content: bytes) -> Taking:
    """What an encoded image says of its taking. Malformed tags count as none."""
    tags = tags_in_raw(content) if is_raw(content) else _tags(content)
    words = (" ".join(str(tags.get(tag, "")).replace("\0", " ").split()) for tag in CAMERA)
    times = (_time(tags.get(time), tags.get(fraction)) for time, fraction in TIMES)
    return Taking(next(filter(None, times), None), " ".join(filter(None, words)))


def taking_in(path: str) -> Taking:
    """The same of a file, of which only the beginning is read where that is enough."""
    if not os.path.isfile(path):
        return Taking()
    with suppress(OSError), open(path, "rb") as file:
        content = file.read(BEGIN)
        return taking_of(content + file.read() if HEIC.match(content) else content)
    return Taking()


def _tags(content: bytes) -> dict[int, Any]:
    try:
        with opened(content) as image:
            exif = image.getexif()
            return dict(exif) | exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # no image, or malformed EXIF, which raises almost anything
        return {}


def _time(text: Any, fraction: Any) -> str | None:
    """ISO 8601 of the "2024:05:06 07:08:09" of EXIF and its fraction "12"; None of what is no time."""
    try:
        time = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    digits = str(fraction or "").strip("\0 ")
    return time.isoformat() + (f".{digits}" if digits.isascii() and digits.isdigit() else "")
