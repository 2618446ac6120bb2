"""Outputs: written atomically, never over foreign files, by one process at a time."""

from __future__ import annotations

import json
import mmap
import os
import platform
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusiqa.errors import FusiqaError

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"  # of a trained model in a folder
MARK = "fusiqa"  # stands inside every picture and exported model, by which a later run knows that it may replace it
CLAIMS_FILE = ".fusiqa"  # stands in every folder of outputs, and names the files there that a later run may replace
CACHE_VARIABLE = "FUSIQA_CACHE"
LONGEST_FILE_NAME = 255  # bytes


def cache_folder() -> Path:
    """$FUSIQA_CACHE, else fusiqa in $XDG_CACHE_HOME or ~/.cache."""
    asked = os.environ.get(CACHE_VARIABLE)
    return Path(asked) if asked else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusiqa"


def same_place(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one place, however they are spelled."""
    return os.path.realpath(os.path.expanduser(one)) == os.path.realpath(os.path.expanduser(other))


def found_in(path: Path, mark: bytes, *, length: int | None = None) -> set[bytes]:
    """What begins with some bytes in a file, each so long, by default as the bytes; nothing where there is no file."""
    if not path.is_file() or not path.stat().st_size:
        return set()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        starts = [found.start() for found in re.finditer(re.escape(mark), content)]
        return {content[start : start + (length or len(mark))] for start in starts}


def is_marked(path: Path) -> bool:
    """Whether a file has `MARK` inside."""
    return bool(found_in(path, MARK.encode()))


def check_output(
    path: Path,
    *,
    replace: bool,
    ours: Callable[[Path], bool] = is_marked,
    inputs: Iterable[str | Path] = (),
    how: str = "`overwrite` to replace it",
) -> None:
    """Refuse (FusiqaError) an output before anything is computed for it.

    Where it exists, it must be none of the `inputs`, it must be `ours`, which by default is a file with our mark
    inside, and the user must have asked to `replace` or continue it; the error says `how` to ask.
    """
    if not path.exists():
        return
    if any(same_place(path, each) for each in inputs):
        raise FusiqaError(f"{path} is one of the inputs; choose another output")
    if not path.is_file() or not ours(path):
        raise FusiqaError(f"{path} exists and is not an earlier output of this command; choose another name")
    if not replace:
        raise FusiqaError(f"{path} exists; add {how}")


def claim(folder: Path, *patterns: str) -> None:
    """Make a folder for outputs, and note in it which of its files are fusiqa's; it may hold others.

    FusiqaError: a file that a pattern names, such as "scatter_*.png", is there, and no earlier claim covers it.
    """
    note = folder / CLAIMS_FILE
    claimed = set(note.read_text(encoding="utf-8").splitlines()) if note.is_file() else set()
    foreign = [path for pattern in set(patterns) - claimed for path in folder.glob(pattern)]
    if foreign or (folder.exists() and not folder.is_dir()):
        raise FusiqaError(f"{min(foreign, default=folder)} exists and was not made by fusiqa; use another folder")
    write_text(note, "\n".join(sorted(claimed | set(patterns))) + "\n")


@contextmanager
def replacing(folder: Path, *patterns: str) -> Iterator[None]:
    """`claim` a folder; what an earlier run left there of these names, and this one did not write, is then removed.

    Nothing is removed where an error ends it.
    """
    claim(folder, *patterns)
    earlier = {path: path.stat() for pattern in patterns for path in folder.glob(pattern)}
    yield
    for path, before in earlier.items():
        if path.exists() and os.path.samestat(before, now := path.stat()) and before.st_mtime_ns == now.st_mtime_ns:
            path.unlink()


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Lock a file or folder for this process; a second one is refused (FusiqaError) and told who holds it.

    The lock is a file beside `path`, which the system releases when the process ends, however it does. Not by filelock,
    whose earlier versions truncate the file when a second process opens it, and with it the name of the holder.
    """
    path = Path(os.path.abspath(path))  # "." has no name
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    while fcntl is not None:
        with open(lock, "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = lock.read_text(encoding="utf-8") or "another process"
                raise FusiqaError(f"{path} is being written by {holder}; wait, or choose another output") from None
            except OSError:  # a file system without locks: Lustre, some NFS
                lock.unlink(missing_ok=True)
                break
            if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                continue  # its holder removed it after it was opened here
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
    yield


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file of the same ending beside `path`, then put it in its place in one step.

    A process that is killed leaves the old file or the new one, never half of one. The folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem if len(os.fsencode(path.name)) <= LONGEST_FILE_NAME - 10 else path.stem[:40]
    temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, every digit kept, atomically."""
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown, numbers right-aligned with four digits; missing values are empty cells.

    Example:
        >>> import pandas as pd
        >>> print(to_markdown(pd.DataFrame({"run": ["a|b"], "srcc": [0.86791]})))
        | run | srcc |
        | :--- | ---: |
        | a\\|b | 0.8679 |
    """

    def cell(value: object) -> str:
        if value is None or value != value:
            return ""
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    rules = ["---:" if dtype.kind in "biuf" else ":---" for dtype in table.dtypes]
    rows = (map(cell, row) for row in table.itertuples(index=False))
    return "\n".join(f"| {' | '.join(line)} |" for line in (map(str, table.columns), rules, *rows))
