"""Resized images kept on disk, so that later epochs read crops at the speed of memory. It knows no crops.

An image is stored, lossless, under the SHA-256 of its encoded content and what was done to it since: one that has
changed, another resize and another decoder are other entries.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from fusiqa.data.ratings import ImageReader
from fusiqa.data.store import Store, new_store
from fusiqa.scoring.image import DECODING, Resize

CACHE_VARIABLE = "FUSIQA_CACHE"
GIGABYTE = 10**9


@dataclass(frozen=True)
class CachedImages:
    """Images after their resize protocol: an ImageReader of ratings.py. `Resize.apply` leaves them as they are.

    Attributes:
        source: where an image that is not stored yet is read from.
        contents: SHA-256 (hex) of each image's encoded content; one that is not named is not stored.
        resize: the resize protocol.
        store: where the resized images lie. What it has no room for is read from the source each time.
    """

    source: ImageReader
    contents: Mapping[str, str]
    resize: Resize
    store: Store

    def read(self, image: str) -> np.ndarray:
        """Pixels of one resized image: uint8, (height, width, 3), sRGB; read-only where they are mapped."""
        key = self.key(image)
        pixels = None if key is None else self.store.get(key)
        if pixels is None:
            pixels = self.resize.apply(self.source.read(image))
            if key is not None:
                self.store.put(key, pixels)
        return pixels

    def verify(self, image: str) -> str:
        """SHA-256 (hex) of the image's content, from the source."""
        return self.source.verify(image)

    def key(self, image: str) -> str | None:
        """What the resized image is stored under."""
        content = self.contents.get(image)
        return content and f"{content} resize {self.resize} decoding {DECODING} Pillow {PIL.__version__}"


def cached(
    source: ImageReader, contents: Mapping[str, str], resize: Resize, *, folder: Path | None, gigabytes: float
) -> ImageReader:
    """The images behind a cache on disk.

    Args:
        source: the images; those held in memory come back as they are.
        contents: SHA-256 (hex) of each one's encoded content.
        resize: the resize protocol.
        folder: of the cache; by default $FUSIQA_CACHE, else fusiqa in $XDG_CACHE_HOME or ~/.cache.
        gigabytes: that the cache may take, in 1e9 bytes; 0 is no cache.
    """
    if gigabytes <= 0 or getattr(source, "in_memory", False):
        return source
    store = open_store(folder, gigabytes)
    images = CachedImages(source, dict(contents), resize, store)
    store.touch(key for key in map(images.key, contents) if key)
    return images


def open_store(folder: Path | None, gigabytes: float) -> Store:
    """The one store of a cache: all that is kept in it shares its limit."""
    return new_store((folder or default_folder()).expanduser() / "arrays", int(gigabytes * GIGABYTE))


def default_folder() -> Path:
    """Where the cache lies unless --cache_dir says otherwise."""
    asked = os.environ.get(CACHE_VARIABLE)
    return Path(asked) if asked else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusiqa"
