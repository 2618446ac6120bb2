"""The members of a .tgz, .tar or .zip, one after the other: what they are, then on the disk. It judges none of them."""

from __future__ import annotations

import errno
import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from fusiqa.errors import FusiqaError

READ_AT_MOST = 16 * 2**20  # bytes at once; tarfile would read a header of any stated length into memory
DRAIN = 2**20  # bytes at once behind the last member
FLAG_ENCRYPTED = 0x1  # of a member of a .zip
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # zipfile: a method or version it does not know, which broken bytes state as well as new ones
    ValueError,  # a name that is not UTF-8
)
"""What the standard library raises for an archive that is not as it was made."""


class DamagedArchiveError(FusiqaError):
    """The file is no archive, or only a part of one: another copy may be whole."""


class Member(NamedTuple):
    """An entry of an archive.

    Attributes:
        name: as it is written there.
        kind: "file", "folder", or what else it is.
        size: bytes that it says it has when unpacked.
    """

    name: str
    kind: str
    size: int


@contextmanager
def _errors_of(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as reason:
        raise DamagedArchiveError(f"{archive} is damaged ({reason or type(reason).__name__})") from reason
    except OSError as reason:
        if reason.errno != errno.EINVAL:
            raise
        raise DamagedArchiveError(f"{archive} is damaged (it points to before its own start)") from reason


def kind_of(archive: Path) -> str:
    """ "gzip", "zip" or "tar", by the first bytes of the file. Raises DamagedArchiveError for anything else."""
    with open(archive, "rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start[257:262] == b"ustar":
        return "tar"
    raise DamagedArchiveError(f"{archive} is no .tgz, .tar or .zip: it begins with {start[:16]!r}")


def members(archive: Path, *, bytes_at_most: int) -> Iterator[Member]:
    """Every member, in the order of the archive, which is read to its end; whoever stops early has read no more.

    Args:
        archive: its kind is told by its first bytes, not by its name.
        bytes_at_most: how far a .tar or .tgz is decompressed, headers included.

    Raises:
        DamagedArchiveError: not an archive, cut off, or with a wrong checksum inside.
        FusiqaError: more than bytes_at_most.
    """
    with _errors_of(archive):
        yield from _zip_members(archive) if kind_of(archive) == "zip" else _tar_members(archive, bytes_at_most)


def extract(archive: Path, into: Path, *, bytes_at_most: int) -> Iterator[str]:
    """Unpack one member after the other, by name; the standard library's own guards (data filter, names) stay on.

    Raises:
        DamagedArchiveError, FusiqaError: as `members`.
        OSError: as the disk says.
    """
    with _errors_of(archive):
        if kind_of(archive) == "zip":
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    yield opened.extract(entry, into)
            return
        with _tar(archive, bytes_at_most) as (tar, _):
            for member in tar:
                tar.extract(member, into, filter="data")
                yield member.name


# --- tar -------------------------------------------------------------------------------------------------------------


class _Bounded:
    """The plain bytes of a .tar or .tgz; reading behind a limit is an error, not a full memory or an endless loop."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream, self.limit = stream, limit
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= READ_AT_MOST:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self.stream.read(size)
        self._check(self.stream.tell())
        return self.last

    def seek(self, position: int) -> int:
        self._check(position)
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise FusiqaError(
                f"the archive has more than {self.limit:,} bytes when decompressed, which is over the limit"
            )


@contextmanager
def _tar(archive: Path, bytes_at_most: int) -> Iterator[tuple[tarfile.TarFile, _Bounded]]:
    compressed = kind_of(archive) == "gzip"
    with gzip.open(archive) if compressed else open(archive, "rb") as plain:
        stream = _Bounded(cast(IO[bytes], plain), bytes_at_most)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
            yield tar, stream


def _tar_members(archive: Path, bytes_at_most: int) -> Iterator[Member]:
    with _tar(archive, bytes_at_most) as (tar, stream):
        for entry in tar:
            yield Member(entry.name, _tar_kind(entry), entry.size)
        if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"it breaks off after {len(tar.getnames()):,} members")
        while stream.read(DRAIN):  # to the end: the checksum of a .tgz is there
            pass


def _tar_kind(entry: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.REGTYPE: "file",
        tarfile.AREGTYPE: "file",
        tarfile.DIRTYPE: "folder",
        tarfile.SYMTYPE: "symbolic link",
        tarfile.LNKTYPE: "hard link",
        tarfile.CHRTYPE: "device",
        tarfile.BLKTYPE: "device",
        tarfile.FIFOTYPE: "FIFO",
    }
    return "sparse file" if entry.issparse() else kinds.get(entry.type, "member of unknown kind")


# --- zip -------------------------------------------------------------------------------------------------------------


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            yield Member(entry.filename, _zip_kind(entry), entry.file_size)


def _zip_kind(entry: zipfile.ZipInfo) -> str:
    mode = entry.external_attr >> 16  # of Unix; 0 where the .zip was made elsewhere
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "symbolic link" if stat.S_ISLNK(mode) else "device"
    if entry.flag_bits & FLAG_ENCRYPTED:
        return "file under a password"
    return "folder" if entry.is_dir() else "file"
