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
            no room, or an archive in which the ratings are not found.
    """
    facts = _facts(name)
    folder = (folder or Path(os.environ.get("FUSIQA_DATA") or "data") / facts.name).expanduser()
    print(_terms(facts))
    if not (facts.redistributable and facts.hub_archive):
        print(_how_to_ask(facts, folder))
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"{_found(facts, folder)}; nothing is downloaded")
        return folder
    _require_acceptance(facts, accept)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        archive = fetch(facts.hub_archive, folder.parent, progress=progress)
        try:
            unpack(archive, folder, progress=progress)
        except DamagedArchiveError as reason:
            archive.unlink()
            raise FusiqaError(f"{reason}. It is discarded: run the command again to download it anew") from reason
    print(_found(facts, folder))
    archive.unlink()
    return folder


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
    """How many rated photographs are in the folder. Raises FusiqaError if the data set is not read from there."""
    try:
        ratings = catalog.read(facts.name, data_dir=folder)
    except FusiqaError as reason:
        raise FusiqaError(
            f"{folder} is there and is not read as {facts.name}: {reason}. Complete it, move it away, or name another "
            "folder"
        ) from reason
    rated = int(ratings.table["mos"].notna().sum())
    return f"{facts.name} is in {folder}: {rated:,} rated photographs ({facts.images:,} are published)"


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
        if part.stat().st_size <= before or part.stat().st_size > remote.size or not _begins_as_archive(part):
            raise FusiqaError(_broken_off(remote, part, broken)) from broken


def _begins_as_archive(part: Path) -> bool:
    try:
        return bool(kind_of(part))
    except DamagedArchiveError:
        return False


def _broken_off(remote: Remote, part: Path, reason: Exception) -> str:
    """What to say of a transfer that ended early; a part that cannot be gone on with is discarded."""
    said, arrived = hub.in_one_line(reason), part.stat().st_size
    if arrived <= remote.size and _begins_as_archive(part):
        share = f"{arrived / 1e6:,.1f} of {remote.size / 1e6:,.1f} MB"
        return f"the download broke off: {said}. {share} are kept: run the command again to go on from there"
    start = part.read_bytes()[:16] if arrived <= 2**20 else b"..."
    part.unlink()
    return f"what arrived is no archive (it begins with {start!r}): {said}. It is discarded: run the command again"


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
