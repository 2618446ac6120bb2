"""`fusiqa data download`: licence, archive, checksum, folder.

The archive comes through the HTTP session of huggingface_hub (proxies, tokens, mirrors). `hf_hub_download` (2.4) would
restart an interrupted file from zero, and accept one whose SHA-256 is not what the hub states.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from fusiqa import hub
from fusiqa.data.catalog import BUILT_IN, DatasetInfo, published, read, usual_folders
from fusiqa.errors import FusiqaError
from fusiqa.io import hold
from fusiqa.progress import progress_bar

REPOSITORY = "chaofengc/IQA-PyTorch-Datasets"  # the public collection on the Hugging Face hub that pyiqa uses
ATTEMPTS = 5  # consecutive connections without data after which a download fails; pauses grow by a second
HTTP_SECONDS = 30.0  # without a byte, before a connection counts as broken
MEGABYTE = 10**6
HOW_TO_ASK = """fusiqa does not download {0.name}: {reason}.
  1. get it from {0.source}
  2. put it in {folder}: {0.layout}
  3. use it with --dataset {0.name}"""
REASONS = {True: "no public collection has it", False: "its terms do not clearly allow redistribution"}


class DamagedArchiveError(FusiqaError):
    """The file is not an archive, or only a part of one."""


def download(name: str, *, folder: Path | None = None, accept: bool = False, progress: bool = True) -> Path:
    """Download a published data set, unpack it and read it; if it may not be redistributed, print where to request it.

    Args:
        name: a name or alias of the catalog.
        folder: of the data set; by default $FUSIQA_DATA/<name> or ./data/<name>, where `catalog.read` looks.
        accept: take the licence as accepted; otherwise the user is asked on a terminal.
        progress: show bars on standard error.

    Returns the folder. FusiqaError: the download failed; no partial folder is left.
    """
    if name.lower() in BUILT_IN:
        raise FusiqaError(f"{name} needs no download: it is made on use")
    info = published(name)
    folder = Path(os.path.expanduser(folder or usual_folders(info)[0])).absolute()
    print(f"{info.name}\n  licence: {info.licence}\n  cite: {info.citation}\n  source: {info.source}")
    if not info.downloadable:
        print(HOW_TO_ASK.format(info, reason=REASONS[info.redistributable], folder=folder))
        return folder
    if _holds_something(folder):
        print(f"{_found(info, folder)}; nothing is downloaded")
        return folder
    if not accept:
        _require_acceptance(info)
    try:
        with hold(folder):
            archive = fetch(info.hub_archive, folder.parent, progress=progress)
            try:
                unpack(archive, folder, progress=progress)
            except DamagedArchiveError as reason:
                archive.unlink()
                raise FusiqaError(f"{reason}, and so is the hub's copy. Get it from {info.source}") from reason
        print(_found(info, folder))
        archive.unlink()  # only now that the data set has been read from its folder
    except OSError as reason:
        raise FusiqaError(f"{info.name} could not be written to {folder}: {reason}") from reason
    return folder


def _require_acceptance(info: DatasetInfo) -> None:
    if not sys.stdin.isatty():
        raise FusiqaError(f"the licence of {info.name} has to be accepted: read it above and set `accept_licence`")
    with suppress(EOFError):
        if input("continue? [y/N] ").strip().lower() in ("y", "yes"):
            return
    raise FusiqaError(f"the licence of {info.name} was not accepted; nothing is downloaded")


def _holds_something(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _found(info: DatasetInfo, folder: Path) -> str:
    """How many rated images are in the folder. Raises FusiqaError if the data set cannot be read from it."""
    try:
        rated = read(info.name, data_dir=folder).table["mos"].count()
    except FusiqaError as reason:
        why = f"{reason}. Complete it, move it away, or choose another folder"
        raise FusiqaError(f"{folder} cannot be read as {info.name}: {why}") from reason
    return f"{info.name} is in {folder}: {rated:,} rated images ({info.images:,} are published)"


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Raise FusiqaError if the disk of a folder has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        needs = f"{purpose} needs {size / 1e9:.2f} GB: free some, or choose a folder on another disk"
        raise FusiqaError(f"{folder} has {free / 1e9:.2f} GB free, but {needs}")


def fetch(name: str, folder: Path, *, progress: bool = True) -> Path:
    """A file of the collection, complete and with the SHA-256 that the hub states; not fetched again if it is there.

    It is `folder`/<name>.<start of its SHA-256>.part until it is complete. FusiqaError: the hub cannot be reached or
    refuses, the connection breaks (received bytes are kept), no space, or a wrong SHA-256 (the file is discarded).
    """
    url, size, sha256 = _look_up(name)
    complete, part = folder / name, folder / f"{name}.{sha256[:12]}.part"
    if complete.is_file() and _sha256(complete) == sha256:
        return complete
    arrived = part.stat().st_size if part.is_file() else 0
    require_space(folder, 2 * size - arrived, f"{name} with its contents")
    try:
        _transfer(url, size, part, progress=progress)
        if _sha256(part) != sha256:
            raise DamagedArchiveError(f"the SHA-256 of {name} is not the one that the hub states ({sha256[:12]}...)")
    except DamagedArchiveError as reason:
        part.unlink()
        raise FusiqaError(f"{reason}; what arrived was discarded. Run the command again") from reason
    os.replace(part, complete)
    return complete


def _look_up(name: str) -> tuple[str, int, str]:
    """The address of a file at the hub's latest commit, its bytes and its SHA-256 (hex)."""
    import huggingface_hub

    try:
        stated = hub.ask(huggingface_hub.hf_hub_url(REPOSITORY, name, repo_type="dataset"))
    except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
        why = f"{hub.in_one_line(reason)}. Check the network, or get the data set from its source"
        raise FusiqaError(f"{name} could not be downloaded from {REPOSITORY} (Hugging Face): {why}") from reason
    if not re.fullmatch("[0-9a-f]{64}", stated.etag or "") or not stated.size or not stated.commit_hash:
        raise FusiqaError(f"{name}: the answer states no SHA-256, so it is not the hub's; is there a sign-in page?")
    url = huggingface_hub.hf_hub_url(REPOSITORY, name, repo_type="dataset", revision=stated.commit_hash)
    return url, stated.size, str(stated.etag)


def _transfer(url: str, size: int, part: Path, *, progress: bool) -> None:
    """Append what is missing, over several connections, as long as they give data."""
    idle = 0
    part.touch()
    with progress_bar(what=part.name, total=size // MEGABYTE, unit="MB", shown=progress) as bar:
        while (arrived := part.stat().st_size) < size:
            reason: Exception = EOFError("it ended too early")
            try:
                _append(url, part, bar)
            except Exception as broken:  # as in _look_up
                if isinstance(broken, OSError) and broken.errno is not None:  # the disk's
                    raise
                reason = broken
            if part.stat().st_size:
                kind_of(part)  # refuses the sign-in page of a network
            idle = idle + 1 if part.stat().st_size <= arrived else 0
            if idle == ATTEMPTS:
                kept = f"{arrived / 1e6:,.1f} of {size / 1e6:,.1f} MB are kept: run the command again to resume it"
                raise FusiqaError(f"the download was interrupted: {hub.in_one_line(reason)}. {kept}") from reason
            time.sleep(idle)


def _append(url: str, part: Path, bar: Any) -> None:
    """Append the file to `part` where the server supports ranges, else write it from the start."""
    import huggingface_hub
    from huggingface_hub.utils import build_hf_headers

    start = part.stat().st_size
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}  # a range of a compressed answer would be useless
    if start:
        headers["Range"] = f"bytes={start}-"
    with huggingface_hub.get_session().stream("GET", url, headers=headers, timeout=HTTP_SECONDS) as answer:
        answer.raise_for_status()
        with open(part, "ab" if answer.status_code == 206 else "wb", buffering=0) as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                bar.update(file.tell() // MEGABYTE - bar.n)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


READ_AT_MOST = 16 * 2**20  # bytes at once; tarfile would read a header of any stated length into memory
HEADER_BYTES = 4 * tarfile.BLOCKSIZE  # of a .tar that a member takes beside its content, on average at most
MEMBERS_AT_MOST = 1_000_000  # files and folders; AVA, the largest rated data set, has 255,000 images
BYTES_AT_MOST = 128 * 2**30  # unpacked; the largest archive of the collection, SPAQ, has 35 GB
RATIO_AT_MOST = 20.0  # bytes unpacked per byte of the archive; images shrink to no less than a third


def unpack(archive: Path, folder: Path, *, progress: bool = False) -> None:
    """Unpack a .tgz or .tar into a new or empty folder, completely or not at all.

    Every member is checked before it is written, to a temporary folder that is renamed when it is complete.

    DamagedArchiveError: not an archive by its first bytes, cut off, or with a wrong checksum inside. FusiqaError: the
    folder is not empty, an unsafe member, over a limit, or no space. OSError: from the disk; nothing is left behind.
    """
    if _holds_something(folder):
        raise FusiqaError(f"{folder} is not empty: move it away or choose another folder")
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed; it takes space
    folder.parent.mkdir(parents=True, exist_ok=True)
    require_space(folder.parent, archive.stat().st_size, "unpacking")
    unpacked, total = temporary / "unpacked", 0  # too deep to be taken for a data set
    try:
        unpacked.mkdir(parents=True)
        with _opened(archive) as tar:
            shown = progress_bar(tar, what=f"unpacking {archive.name}", unit="files", shown=progress)
            for number, member in enumerate(shown, start=1):
                total += member.size
                if faults := _faults(member, unpacked, number=number, total=total, packed=archive.stat().st_size):
                    raise FusiqaError(f"{archive} was not unpacked: its member {member.name!r} {faults[0]}")
                tar.extract(member, unpacked, filter="data")
        if folder.is_dir():
            folder.rmdir()
        os.replace(unpacked, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def kind_of(archive: Path) -> str:
    """ "gzip" or "tar", by the first bytes of the file. Raises DamagedArchiveError for anything else."""
    with open(archive, "rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    if start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar":
        return "tar" if start[257:262] == b"ustar" else "gzip"
    raise DamagedArchiveError(f"{archive} is not a .tgz or .tar: it begins with {start[:16]!r}")


def _faults(member: tarfile.TarInfo, into: Path, *, number: int, total: int, packed: int) -> list[str]:
    """Why a member may not be unpacked: it is unsafe, or its number or the total of bytes is too large.

    The filter of tarfile is a second guard.
    """
    name, path = member.name, PurePosixPath(member.name)
    taken = (into / path).is_file() or (member.isreg() and (into / path).exists())
    faults = {
        "has an absolute path": path.is_absolute() or PureWindowsPath(name).drive,
        "could be written outside of the folder": ".." in path.parts or "\\" in name or "\0" in name or not name,
        "is a link or a device, not a file or folder": member.issparse() or not (member.isreg() or member.isdir()),
        "has the name of another member": taken or any((into / parent).is_file() for parent in path.parents),
        "has a negative size": member.size < 0,
        f"is one of more than {MEMBERS_AT_MOST:,}": number > MEMBERS_AT_MOST,
        f"brings it to more than {BYTES_AT_MOST:,} bytes": total > BYTES_AT_MOST,
        f"brings it to more than {RATIO_AT_MOST:g} times the size of the archive": total > RATIO_AT_MOST * packed,
    }
    return [fault for fault, found in faults.items() if found]


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """The archive; damage found while it is open, or at its end, is a DamagedArchiveError."""
    at_most = BYTES_AT_MOST + HEADER_BYTES * (MEMBERS_AT_MOST + 10)  # contents, headers, and zeros at the end
    try:
        with gzip.open(archive) if kind_of(archive) == "gzip" else open(archive, "rb") as plain:
            stream = _Bounded(plain, at_most)
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
                yield tar
                if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
                    raise tarfile.ReadError(f"it breaks off after {len(tar.getnames()):,} members")
                while stream.read(READ_AT_MOST):  # to the end: the checksum of a .tgz is there
                    pass
    except FusiqaError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OSError) as reason:  # such as a name that is not UTF-8
        if getattr(reason, "errno", None) not in (None, errno.EINVAL):
            raise  # the disk's; EINVAL comes from seeking to before the start of the file
        raise DamagedArchiveError(f"{archive} is damaged ({str(reason) or type(reason).__name__})") from reason


class _Bounded:
    """A decompressed .tar that is read up to a limit: damage must not exhaust the memory, or make an endless loop."""

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self.stream, self.limit, self.last = stream, limit, b""
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= READ_AT_MOST:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self.stream.read(size)
        self._check(self.tell())
        return self.last

    def seek(self, position: int) -> int:
        self._check(position)
        return self.stream.seek(position)

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise FusiqaError(f"the archive has more than {self.limit:,} bytes when decompressed, over the limit")
