"""Images as files: opened, decoded, and what is wrong with those that cannot be. It knows no ratings."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fusiqa.errors import FusiqaError
from fusiqa.scoring.decode import Pixels, decode, prove_readable

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".mpo", ".gif", ".heic", ".heif"}
"""Of the files that are taken for images in a folder, in lower case."""


@dataclass(frozen=True)
class FolderImages:
    """Images as files under one folder: an ImageReader of ratings.py. An image's name is its path from there."""

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
    """The bytes of a file; what is no file is refused before it is opened, for a named pipe would never answer.

    Raises:
        FusiqaError: a folder, a named pipe, a socket, a device, or an empty file.
        OSError: it is not there, or may not be read.
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
    """Turn whatever goes wrong while reading an image into one FusiqaError with its name and the reason."""
    try:
        yield
    except Exception as error:  # Pillow's readers raise whatever a malformed file leads them to
        raise FusiqaError(f"{image}: {reason_of(error, root)}") from error


def reason_of(error: Exception, root: Path | None = None) -> str:
    """Why an image could not be read, in the user's words, from what was raised while reading it.

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
