"""`fusiqa data download`: terms, archive, checksum, folder, proof. It knows no data set but by the catalog's facts.

The transfer is the Hugging Face client's own (huggingface_hub: proxies, tokens, mirrors, retries). Its files are not:
since version 1.18 it starts an interrupted file anew, and it never compares a checksum. So the part that has arrived
is kept here beside the data set's folder, gone on with, and its SHA-256 held against the one that the hub states.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fusiqa import hub
from fusiqa.data import catalog
from fusiqa.data.archive import DamagedArchiveError, kind_of
from fusiqa.data.facts import SYNTHETIC, Facts, closest, facts_of, names
from fusiqa.data.unpack import require_space, unpack
from fusiqa.errors import FusiqaError

REPOSITORY = "chaofengc/IQA-PyTorch-Datasets"
"""The public collection of data sets on the Hugging Face hub that pyiqa fetches from."""
ACCEPT_FLAG = "--accept_licence"


class Remote(NamedTuple):
    """A file on the hub, at one commit.

    Attributes:
        url: of the file at that commit.
        size: bytes.
        sha256: 64 hex digits.
    """

    url: str
    size: int
    sha256: str


def download(name: str, *, folder: Path | None = None, accept: bool = False, progress: bool = True) -> Path:
    """Fetch a published data set, unpack it and read it; what may not be passed on is said to be asked for.

    Args:
        name: a name or alias of the catalog.
        folder: where it is to lie; by default $FUSIQA_DATA/<name> or ./data/<name>, where `catalog.read` looks.
        accept: take the licence as accepted; otherwise it is asked for on a terminal.
        progress: show bars on standard error.

    Returns:
        The folder: of the data set, or the one to put it in where it has to be asked for.

    Raises:
        FusiqaError: unknown name, licence not accepted, folder in the way, hub out of reach, damaged or unsafe archive,
            no room, a disk that cannot be written to, or an archive in which the ratings are not found.
    """
    facts = _facts(name)
    folder = (folder or catalog.usual_folders(facts)[0]).expanduser().absolute()
    print(_terms(facts))
    if not (facts.redistributable and facts.hub_archive):
        print(_how_to_ask(facts, folder))
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"{_found(facts, folder)}; nothing is downloaded")
        return folder
    _require_acceptance(facts, accept)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            archive = _fetch_and_unpack(facts, folder, progress)
        print(_found(facts, folder))
        archive.unlink()
    except OSError as reason:
        raise FusiqaError(f"{facts.name} could not be written to {folder}: {reason}") from reason
    return folder


def _fetch_and_unpack(facts: Facts, folder: Path, progress: bool) -> Path:
    """The archive, which stays until the data set has been read from the folder."""
    archive = fetch(facts.hub_archive, folder.parent, progress=progress)
    try:
        unpack(archive, folder, progress=progress)
    except DamagedArchiveError as reason:
        archive.unlink()
        raise FusiqaError(
            f"{reason}, and its SHA-256 is the hub's: the copy there is damaged too. It is discarded; "
            f"get the data set from {facts.source}"
        ) from reason
    return archive


def _facts(name: str) -> Facts:
    facts = facts_of(name)
    if facts is not None:
        return facts
    if name.lower() == SYNTHETIC:
        raise FusiqaError(f"{name} needs no download: it is drawn where it is used (--dataset {SYNTHETIC})")
    raise FusiqaError(f"unknown data set {name!r}: {closest(name)}allowed are {', '.join(names())}")


# --- what is said ----------------------------------------------------------------------------------------------------


def _terms(facts: Facts) -> str:
    return f"{facts.name}\n  licence: {facts.licence}\n  cite: {facts.citation}\n  source: {facts.source}"


def _how_to_ask(facts: Facts, folder: Path) -> str:
    reason = (
        "it is in no public collection" if facts.redistributable else "its terms do not clearly let others pass it on"
    )
    return (
        f"fusiqa does not download {facts.name}: {reason}.\n"
        f"  1. get it from {facts.source}\n"
        f"  2. put it in {folder}: {facts.layout}\n"
        f"  3. use it with --dataset {facts.name}"
    )


def _require_acceptance(facts: Facts, accept: bool) -> None:
    if accept:
        return
    if not sys.stdin.isatty():
        raise FusiqaError(f"the licence of {facts.name} is to be accepted: read it above and add {ACCEPT_FLAG}")
    with suppress(EOFError):
        if input("continue? [y/N] ").strip().lower() in ("y", "yes"):
            return
    raise FusiqaError(f"the licence of {facts.name} was not accepted; nothing is downloaded")


def _found(facts: Facts, folder: Path) -> str:
    """How many rated images are in the folder. Raises FusiqaError if the data set is not read from there."""
    try:
        ratings = catalog.read(facts.name, data_dir=folder)
    except FusiqaError as reason:
        raise FusiqaError(
            f"{folder} is there and is not read as {facts.name}: {reason}. Complete it, move it away, or name another "
            "folder"
        ) from reason
    rated = int(ratings.table["mos"].notna().sum())
    return f"{facts.name} is in {folder}: {rated:,} rated images ({facts.images:,} are published)"


# --- the archive -----------------------------------------------------------------------------------------------------


def fetch(name: str, folder: Path, *, progress: bool = True) -> Path:
    """A file of the collection, whole and with the hub's checksum; what is there already is not fetched again.

    Args:
        name: of the file in the repository.
        folder: where it is put, as <name>.<start of its SHA-256>.part until it is whole, then under its name.
        progress: show a bar on standard error.

    Raises:
        FusiqaError: the hub is out of reach or refuses, the connection breaks (what has arrived is kept), no room, or
            what arrived is not the file (it is discarded).
    """
    remote = _look_up(name)
    whole, part = folder / name, folder / f"{name}.{remote.sha256[:12]}.part"
    if whole.is_file() and _sha256(whole) == remote.sha256:
        return whole
    arrived = part.stat().st_size if part.is_file() else 0
    require_space(folder, 2 * remote.size - arrived, f"for {name} and what is in it")
    with _progress_bars(progress):
        _transfer(remote, part)
    if _sha256(part) != remote.sha256:
        part.unlink()
        raise FusiqaError(
            f"{name} arrived with another SHA-256 than the hub states ({remote.sha256[:12]}...). It is discarded: "
            "run the command again to download it anew"
        )
    os.replace(part, whole)
    return whole


def _look_up(name: str) -> Remote:
    import huggingface_hub

    try:
        stated = hub.ask(huggingface_hub.hf_hub_url(REPOSITORY, name, repo_type="dataset"))
    except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise FusiqaError(
            f"{name} could not be downloaded from {REPOSITORY} on the Hugging Face hub: {hub.in_one_line(reason)}. "
            "Try again with a network, or get the data set from its source"
        ) from reason
    if not re.fullmatch("[0-9a-f]{64}", stated.etag or "") or not stated.size or not stated.commit_hash:
        raise FusiqaError(
            f"what answered for {name} is not the Hugging Face hub, or has no such archive: it states no SHA-256. "
            "Is there a page to sign in to in between?"
        )
    url = huggingface_hub.hf_hub_url(REPOSITORY, name, repo_type="dataset", revision=stated.commit_hash)
    return Remote(url=url, size=stated.size, sha256=str(stated.etag))


def _transfer(remote: Remote, part: Path) -> None:
    """Append what is missing, again and again while each attempt brings something."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    # Compressed on the way, a part of the file could not be asked for.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    while True:
        with open(part, "ab") as file:
            before = file.tell()
            try:
                http_get(remote.url, file, resume_size=before, headers=headers, expected_size=remote.size)
                return
            except Exception as reason:  # as in _look_up
                broken = reason
        arrived = part.stat().st_size
        _require_beginning(part, remote, broken)
        if arrived <= before:
            raise FusiqaError(
                f"the download broke off: {hub.in_one_line(broken)}. {arrived / 1e6:,.1f} of "
                f"{remote.size / 1e6:,.1f} MB are kept: run the command again to go on from there"
            ) from broken


def _require_beginning(part: Path, remote: Remote, reason: Exception) -> None:
    """Discard what cannot be gone on with, such as a page to sign in to, and raise FusiqaError."""
    arrived = part.stat().st_size
    try:
        if arrived:
            kind_of(part)
        if arrived <= remote.size:
            return
        what = f"{arrived:,} bytes arrived where the hub states {remote.size:,}"
    except DamagedArchiveError as no_archive:
        what = f"what arrived is not the archive: {no_archive}"
    part.unlink()
    raise FusiqaError(f"{what}. It is discarded: run the command again ({hub.in_one_line(reason)})") from reason


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _progress_bars(shown: bool) -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One download of a data set at a time: two would write into each other's files."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as reason:
        raise FusiqaError(f"another download into {folder} is under way; wait for it") from reason
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
