"""Unpacks a .tgz, .tar or .zip, whole or not at all. It trusts nothing in the archive and knows no data set.

An archive is looked through to its end before a byte of it is written, and again while it is unpacked; a .tgz is
decompressed twice for that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from fusiqa.data.archive import Member, extract, members
from fusiqa.errors import FusiqaError
from fusiqa.progress import progress_bar

BLOCK = 4096  # bytes that a file system gives a file at least, and may waste at its end
HEADERS = 4 * 512  # bytes of a .tar that a member takes beside its content, on average at most


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; the defaults leave room above the largest data sets of images."""

    members: int = 1_000_000
    """Files and folders; AVA, the largest rated data set, has 255,000 images."""
    size: int = 128 * 2**30
    """Bytes when unpacked; the largest archive of the collection, SPAQ, has 35 GB."""
    ratio: float = 20.0
    """Bytes unpacked per byte of the archive; images shrink to no less than a third."""

    @property
    def decompressed(self) -> int:
        """Bytes of a decompressed .tar: its content, its headers, and zeros at its end."""
        return self.size + HEADERS * (self.members + 10)


LIMITS = Limits()


def unpack(archive: Path, folder: Path, *, limits: Limits = LIMITS, progress: bool = False) -> None:
    """Unpack an archive into a folder that is not there yet.

    It grows in a temporary folder beside it, too deep to be taken for a data set, and is renamed when it is whole.

    Args:
        archive: its kind is told by its first bytes, not by its name.
        folder: where its members are to lie; an empty one is replaced.
        limits: of what is unpacked.
        progress: show a bar on standard error.

    Raises:
        DamagedArchiveError: not an archive, cut off, or with a wrong checksum inside.
        FusiqaError: the folder holds something, an unsafe or forbidden member, over a limit, or no room on the disk.
        OSError: as the disk says; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FusiqaError(f"{folder} is there already and would be overwritten: move it away or name another folder")
    seen = progress_bar(_checked(archive, limits), what=f"checking {archive.name}", unit="files", shown=progress)
    entries = list(seen)
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a run that was killed; it takes the room that is needed
    folder.parent.mkdir(parents=True, exist_ok=True)
    require_space(folder.parent, sum(entry.size + BLOCK for entry in entries), "to unpack")
    try:
        (temporary / "unpacked").mkdir(parents=True)
        names = extract(archive, temporary / "unpacked", bytes_at_most=limits.decompressed)
        for _ in progress_bar(
            names, what=f"unpacking {archive.name}", total=len(entries), unit="files", shown=progress
        ):
            pass
        if folder.is_dir():
            folder.rmdir()
        os.replace(temporary / "unpacked", folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checked(archive: Path, limits: Limits) -> Iterator[Member]:
    """Every member of an archive that may be unpacked. Raises FusiqaError at the first thing that forbids it."""
    packed = archive.stat().st_size
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    total = 0
    for number, member in enumerate(members(archive, bytes_at_most=limits.decompressed), start=1):
        reason = _unsafe(member)
        if reason is not None:
            raise FusiqaError(f"{archive} is not unpacked: its member {member.name!r} {reason}")
        total += member.size
        _within(archive, limits, number=number, total=total, packed=packed)
        path = PurePosixPath(member.name)
        parents = set(path.parents) - {path}
        if path in files or parents & files or (member.kind == "file" and path in folders):
            raise FusiqaError(f"{archive} is not unpacked: two of its members are called {member.name!r}")
        folders |= parents if member.kind == "file" else parents | {path}
        if member.kind == "file":
            files.add(path)
        yield member


def _unsafe(member: Member) -> str | None:
    """Why a member may not be unpacked; None if it may."""
    name = member.name
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        return "has an absolute path"
    if ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name or not name:
        return "could lie outside of the folder"
    if member.kind not in ("file", "folder"):
        return f"is a {member.kind}; only files and folders are"
    return "has a negative size" if member.size < 0 else None


def _within(archive: Path, limits: Limits, *, number: int, total: int, packed: int) -> None:
    over = None
    if number > limits.members:
        over = f"more than {limits.members:,} members"
    elif total > limits.size:
        over = f"more than {limits.size:,} bytes when unpacked"
    elif total > limits.ratio * packed:
        over = f"more than {limits.ratio:g} times its own size when unpacked"
    if over is not None:
        raise FusiqaError(f"{archive} is not unpacked: {over}, which no data set of images has")


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Raise FusiqaError if the disk of a folder has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise FusiqaError(
            f"{folder} has {free / 1e9:.2f} GB free and {size / 1e9:.2f} GB are needed {purpose}: "
            "make room, or name a folder on another disk"
        )
