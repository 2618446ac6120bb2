"""Resized images and feature maps kept on disk, so that later epochs and runs need not compute them again.

An image is kept, lossless, under the SHA-256 of its encoded content and what was done to it: one that has changed,
another resize and another decoder are other entries. An array is one .npy that is written whole or not at all, so that
processes which share the cache do no harm, also when one is killed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from filelock import FileLock

from fusiqa.data.ratings import ImageReader
from fusiqa.io import write_atomically
from fusiqa.scoring.image import DECODING, Resize

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "FUSIQA_CACHE"
GIGABYTE = 10**9
FREE_FRACTION = 0.05
"""Fraction of the disk that stays free whatever the limit."""
HEADER_BYTES = 128  # of an .npy
RECENT_SECONDS = 60
"""What was used so shortly before a run began is not removed: file systems' clocks lag, and runs start together."""
STORED_BETWEEN_SCANS = 64
"""Arrays that a process stores before it looks again at what others have stored."""


class Entry(NamedTuple):
    """A stored array: when it was last used (seconds since 1970), its bytes, its file."""

    used: float
    size: int
    path: Path


@dataclass
class Store:
    """A bounded folder of arrays by key, shared by processes: the longest unused make room for new ones.

    Attributes:
        folder: of the arrays.
        limit: bytes that they may take; each process that stores may exceed it by `STORED_BETWEEN_SCANS` arrays.
        since: seconds since 1970; what has been used after that is never removed.
    """

    folder: Path
    limit: int
    since: float
    _taken: int = 0
    _unseen: int = STORED_BETWEEN_SCANS

    def get(self, key: str) -> np.ndarray | None:
        """The array, read-only and mapped into memory; None where it is missing or not whole."""
        try:
            return np.load(self.path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing, unreadable, or half an array after a power cut
            return None

    def put(self, key: str, array: np.ndarray) -> bool:
        """Store the array if there is room, and return whether it was stored; a failing disk only ends the storing."""
        if self.limit <= 0:
            return False
        try:
            if self._has_room(array.nbytes + HEADER_BYTES):
                write_atomically(self.path(key), lambda temporary: np.save(temporary, array, allow_pickle=False))
                self._taken += array.nbytes + HEADER_BYTES
                self._unseen += 1
                return True
        except OSError as error:
            logger.warning("nothing more is cached in %s: %s", self.folder, error)
            self.limit = 0
        return False

    def touch(self, keys: Iterable[str]) -> int:
        """Mark arrays as used now, and return how many exist."""
        there = 0
        for key in keys:
            try:
                os.utime(self.path(key))
                there += 1
            except OSError:
                continue  # never stored, or removed
        return there

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Make other processes wait that ask for the same task; where nothing can be locked, work is done twice."""
        lock = FileLock(self.folder / f"{hashlib.sha256(task.encode()).hexdigest()[:16]}.lock")
        try:
            if self.limit > 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            logger.warning("%s cannot be locked: %s", self.folder, error)
        try:
            yield
        finally:
            lock.release()

    def path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.npy"

    def entries(self) -> list[Entry]:
        """Every stored array."""
        found = []
        for path in self.folder.glob("*/*.npy"):
            try:
                about = path.stat()
            except OSError:
                continue  # removed meanwhile
            found.append(Entry(about.st_mtime, about.st_size, path))
        return found

    def _has_room(self, size: int) -> bool:
        """Whether so many more bytes may be stored, after the longest unused arrays are removed."""
        if self._unseen >= STORED_BETWEEN_SCANS or self._taken + size > self.limit:
            entries = self.entries()
            self._taken, self._unseen = sum(entry.size for entry in entries), 0
            if self._taken + size > self.limit:
                self._remove(entries, self._taken + size * STORED_BETWEEN_SCANS - self.limit)
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.folder)
        return self._taken + size <= self.limit and disk.free - size >= FREE_FRACTION * disk.total

    def _remove(self, entries: list[Entry], size: int) -> None:
        """Remove arrays, the longest unused first, until so many bytes are free or all are in use."""
        for entry in sorted(entries):
            if size <= 0 or entry.used >= self.since:
                return
            entry.path.unlink(missing_ok=True)
            self._taken -= entry.size
            size -= entry.size


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
    """The store of a cache; all that is kept in it shares its limit."""
    return new_store((folder or default_folder()).expanduser() / "arrays", int(gigabytes * GIGABYTE))


def new_store(folder: Path, limit: int) -> Store:
    """The store in a folder, for a run that begins now."""
    return Store(folder, limit, time.time() - RECENT_SECONDS)


def default_folder() -> Path:
    """$FUSIQA_CACHE, else fusiqa in $XDG_CACHE_HOME or ~/.cache."""
    asked = os.environ.get(CACHE_VARIABLE)
    return Path(asked) if asked else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusiqa"
