"""A bounded folder of arrays by key, shared by processes and runs. It knows no image.

An array is one .npy that is written whole or not at all, so that a killed process leaves no half of one and two that
write the same array do no harm. What was used longest ago makes room for what is new.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from fusiqa.io import write_atomically

logger = logging.getLogger(__name__)

FREE_SHARE = 0.05
"""Share of the disk that stays free whatever the limit."""
HEADER_BYTES = 128  # of an .npy
RECENT_SECONDS = 60
"""What was used so shortly before a run began is not taken away: file systems' clocks lag, and runs start together."""
STORED_BETWEEN_SCANS = 64
"""Arrays that a process stores before it looks again at what the others have stored."""


class Entry(NamedTuple):
    """A stored array: when it was last used, seconds since 1970; its bytes; its file."""

    used: float
    size: int
    path: Path


@dataclass
class Store:
    """The arrays in a folder, as one process sees them.

    Attributes:
        folder: of the arrays.
        limit: bytes that they may take; several processes that store at once may pass it by what each stores between
            two looks, 64 arrays.
        since: seconds since 1970; what has been used after that is never taken away to make room.
    """

    folder: Path
    limit: int
    since: float
    _taken: int = 0
    _unseen: int = STORED_BETWEEN_SCANS

    def get(self, key: str) -> np.ndarray | None:
        """The array, read-only and mapped into memory, not copied; None where it is not there or not whole."""
        try:
            return np.load(self.path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # not there, not ours to read, or half an array after a power cut
            return None

    def put(self, key: str, array: np.ndarray) -> bool:
        """Store the array where there is room, and return whether it was stored.

        A disk that cannot be written to ends the storing, and is no error.
        """
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
        """Mark arrays as used now, and return how many of them are there."""
        there = 0
        for key in keys:
            try:
                os.utime(self.path(key))
                there += 1
            except OSError:
                continue  # never stored, or taken away
        return there

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Hold off other processes that ask for the same task on this store; those of other tasks go on.

        A store that keeps nothing, and a disk that cannot be locked, hold off none: then work is done twice, no worse.
        """
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
        """Every stored array; what vanishes meanwhile is passed over."""
        found = []
        for path in self.folder.glob("*/*.npy"):
            try:
                about = path.stat()
            except OSError:
                continue
            found.append(Entry(about.st_mtime, about.st_size, path))
        return found

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may be stored, after taking away what was used longest ago."""
        if self._unseen >= STORED_BETWEEN_SCANS or self._taken + size > self.limit:
            entries = self.entries()
            self._taken, self._unseen = sum(entry.size for entry in entries), 0
            if self._taken + size > self.limit:
                self._take_away(entries, self._taken + size * STORED_BETWEEN_SCANS - self.limit)
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.folder)
        return self._taken + size <= self.limit and disk.free - size >= FREE_SHARE * disk.total

    def _take_away(self, entries: list[Entry], size: int) -> None:
        """Delete arrays, the longest unused first, until so many bytes are free or all are in use."""
        for entry in sorted(entries):
            if size <= 0 or entry.used >= self.since:
                return
            entry.path.unlink(missing_ok=True)
            self._taken -= entry.size
            size -= entry.size


def new_store(folder: Path, limit: int) -> Store:
    """The store in a folder, for a run that begins now."""
    return Store(folder, limit, time.time() - RECENT_SECONDS)
