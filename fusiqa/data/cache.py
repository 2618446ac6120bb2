"""Resized images and feature maps kept on disk, so that later epochs and runs need not compute them again.

An image is keyed by the SHA-256 of its encoded content and by its processing. An array is one .npy file followed by its
checksum, written atomically, so that several processes may share the cache and any of them may be killed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock

from fusiqa.data.ratings import ImageReader
from fusiqa.io import cache_folder, write_atomically
from fusiqa.scoring.image import DECODING, ORIGINAL_SIZE, Pixels, Resize

logger = logging.getLogger(__name__)

LEFT_FREE = (0.05, 2 * 10**9)  # of the disk, the smaller of this fraction and these bytes, whatever the limit
CHECKSUM_BYTES = 4  # CRC-32 of all that stands before
RECENT_SECONDS = 60  # before a run starts, since which used arrays stay: clocks differ, and runs start together
STORED_BETWEEN_SCANS = 64  # arrays that a process stores, or has no room for, before it looks at the folder again


@dataclass
class Store:
    """A bounded folder of arrays by key, shared by processes; the least recently used are evicted."""

    folder: Path
    limit: int  # bytes that the arrays may take; each process may exceed it by `STORED_BETWEEN_SCANS` of them
    since: float = field(default_factory=lambda: time.time() - RECENT_SECONDS)  # what was used later stays
    _taken: int = 0
    _tried: int = STORED_BETWEEN_SCANS  # arrays since the last scan
    _full: bool = False  # then, although all was evicted that could be
    _sound: set[str] = field(default_factory=set)  # keys whose checksum this process has verified

    def get(self, key: str) -> np.ndarray | None:
        """The array, read-only and memory-mapped; None where it is missing, incomplete or damaged."""
        try:
            if key not in self._sound:
                content = self.path(key).read_bytes()
                if zlib.crc32(content[:-CHECKSUM_BYTES]).to_bytes(CHECKSUM_BYTES) != content[-CHECKSUM_BYTES:]:
                    return None
                self._sound.add(key)
            return np.load(self.path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing, unreadable, or half an array after a power cut
            return None

    def put(self, key: str, array: np.ndarray) -> bool:
        """Store the array if there is room; returns whether it was stored. A disk that fails only ends the caching."""
        if self.limit <= 0:
            return False
        try:
            if self._has_room(array.nbytes):
                file = io.BytesIO()
                np.save(file, array, allow_pickle=False)
                file.write(zlib.crc32(file.getbuffer()).to_bytes(CHECKSUM_BYTES))
                write_atomically(self.path(key), lambda temporary: temporary.write_bytes(file.getbuffer()))
                self._taken += file.tell()
                return True
        except OSError as error:
            self._stop(error)
        return False

    def check(self) -> None:
        """End the caching where the disk is full or cannot be written to: here, not in every worker of every epoch."""
        try:
            if self.limit > 0:
                self._check_disk(0)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        logger.warning("nothing more is cached in %s: %s", self.folder, error)
        self.limit = 0

    def touch(self, keys: Iterable[str]) -> None:
        """Mark arrays as used now."""
        for key in keys:
            with suppress(OSError):  # never stored, or removed
                os.utime(self.path(key))

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Lock a task, so that other processes wait for it; where files cannot be locked, work is done twice."""
        lock = FileLock(self.folder / f"{hashlib.sha256(task.encode()).hexdigest()[:16]}.lock")
        with ExitStack() as held:
            try:
                if self.limit > 0:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(lock)
            except (OSError, NotImplementedError) as error:
                logger.warning("%s cannot be locked: %s", self.folder, error)
            yield

    def path(self, key: str) -> Path:
        """The file of an array, stored or not."""
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.npy"

    def entries(self) -> list[tuple[float, int, Path]]:
        """When each stored array was last used (seconds since 1970), its bytes and its file; the oldest first."""
        found = []
        for path in self.folder.glob("*/*.npy"):
            with suppress(OSError):  # removed meanwhile
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        return sorted(found)

    def _has_room(self, size: int) -> bool:
        """Whether so many more bytes may be stored, after the least recently used arrays are evicted."""
        if self._tried >= STORED_BETWEEN_SCANS or (self._taken + size > self.limit and not self._full):
            entries = self.entries()
            self._taken, self._tried = sum(taken for _, taken, _ in entries), 0
            if self._taken + size > self.limit:
                target = self.limit - size * STORED_BETWEEN_SCANS
                for used, taken, path in entries:
                    if self._taken <= target or used >= self.since:
                        break
                    path.unlink(missing_ok=True)
                    self._taken -= taken
            self._full = self._taken + size > self.limit
        self._tried += 1
        self._check_disk(size)
        return self._taken + size <= self.limit

    def _check_disk(self, size: int) -> None:
        """Raise OSError where so many more bytes would leave too few free, or nothing can be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        disk, (fraction, most) = shutil.disk_usage(self.folder), LEFT_FREE
        if disk.free - size < min(fraction * disk.total, most):
            raise OSError(f"the disk is nearly full, {disk.free / 1e9:.1f} GB are free")


@dataclass(frozen=True)
class CachedImages:
    """Resized images, from the disk where they are stored: an ImageReader of ratings.py."""

    source: ImageReader  # where an image that is not stored yet is read from
    contents: Mapping[str, str]  # SHA-256 (hex) of each image's encoded content
    store: Store  # what does not fit is read from the source each time

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        """Pixels of one resized image, sRGB; read-only where they are mapped."""
        key = self.key(image, resize)
        pixels = self.store.get(key)
        if pixels is None:
            pixels = self.source.read(image, resize)
            self.store.put(key, pixels)
        return pixels

    def verify(self, image: str) -> str:
        return self.source.verify(image)

    def key(self, image: str, resize: Resize) -> str:
        return f"{self.contents[image]} resize {made_by(resize)}"


def made_by(resize: Resize) -> str:
    """What the pixels of a resized image depend on besides its content."""
    return f"{resize}{' reduced' * resize.reduced} decoding {DECODING} Pillow {PIL.__version__}"


def cached(
    source: ImageReader, contents: Mapping[str, str], resize: Resize, *, folder: Path | None, gigabytes: float
) -> ImageReader:
    """The images behind a cache of so many GB (1e9 bytes) on disk; 0 is no cache, and images in memory need none.

    `contents` has the SHA-256 (hex) of each one's encoded content; those stored after this `resize` are marked as used.
    """
    if gigabytes <= 0 or getattr(source, "in_memory", False):
        return source
    images = CachedImages(source, dict(contents), open_store(folder, gigabytes))
    images.store.touch(images.key(image, resize) for image in contents)
    return images


def open_store(folder: Path | None, gigabytes: float) -> Store:
    """The store of a cache, with its limit in GB (1e9 bytes)."""
    store = Store((folder or cache_folder()).expanduser() / "arrays", int(gigabytes * 10**9))
    store.check()
    return store
