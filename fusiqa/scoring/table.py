"""Tables of scores: CSV, JSON Lines or Parquet, complete at every moment, continued where a run stopped."""

from __future__ import annotations

import csv
import heapq
import json
import math
import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fusiqa.config import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import check_output, hold, write_atomically
from fusiqa.scoring.result import COLUMNS, FLAW_COLUMNS, SCALE_COLUMNS

Row = dict[str, Any]
"""`COLUMNS`, None where there is no value."""
FLOATS = ("score", "spread", *SCALE_COLUMNS, *FLAW_COLUMNS)
NUMBERS: dict[str, type] = {"width": int, "height": int, **dict.fromkeys(FLOATS, float)}
ROWS_AT_ONCE = 10_000  # of a Parquet file's row group
RECORD_ENDING = ".all.jsonl"
EXPECTED = f"is not a table of scores: expected the columns {', '.join(COLUMNS)}"
LONGEST_LINE = 1_000_000  # bytes that are looked at for the end of a first line


class Record(NamedTuple):
    """The rows of a scoring run so far: their file, the paths that had one before, how many of those have no score."""

    path: Path
    done: set[str]
    failed: int
    write: Callable[[Row], None]


@contextmanager
def recording(config: ScoreConfig, *, model: str) -> Iterator[Record]:
    """Open the table that the settings name, to add rows; at the end, also after Ctrl-C, it is complete.

    Where the output cannot take rows as they come (Parquet, or a selection, or another order), they go to
    `<output>.all.jsonl` beside it, from which the output is made at the end. That file stays where the output leaves
    rows out, for `resume`; otherwise it is removed when the output is complete.

    Raises:
        FusiqaError: the output exists and neither `resume` nor `overwrite` was given, it is not a table of scores, it
            has scores of another `model` (name and fingerprint), or another process is writing it.
    """
    output = config.table
    if is_parquet(output):
        parquet_library()
    in_place = not is_parquet(output) and not config.chooses
    path = output if in_place else output.with_name(output.name + RECORD_ENDING)
    with hold(output):
        done, failed = _earlier(path, config, model)
        try:
            with open(path, "a", encoding="utf-8", newline="") as file:
                yield Record(path, done, failed, row_writer(file, path.suffix, header=file.tell() == 0))
                if not path.exists():
                    raise FusiqaError(f"{path} was removed while it was written")
        finally:
            if not in_place:
                write_rows(output, select(read_rows(path), config))
        if not in_place and not config.leaves_out:
            path.unlink()


def _earlier(record: Path, config: ScoreConfig, model: str) -> tuple[set[str], int]:
    """Paths that have a row already, and how many of those have no score; the record then holds those rows."""
    found = [path for path in dict.fromkeys((record, config.table)) if path.exists()]
    for path in found:
        how = "`resume` to continue it, or `overwrite` to discard it"
        check_output(path, replace=config.resume or config.overwrite, ours=is_table, how=how)
    if not found or config.overwrite:
        for path in found:
            path.unlink()
        return set(), 0
    if not is_parquet(found[0]):
        drop_torn_line(found[0])
    if found[0] != record:
        write_rows(record, read_rows(found[0]))
    done, failed = set(), 0
    for row in read_rows(record):
        check_model(record, row["model"], model)
        done.add(row["path"])
        failed += row["score"] is None
    return done, failed


def check_model(table: str | Path, found: str, model: str) -> None:
    if found != model:
        raise FusiqaError(f"{table} has scores of {found}, not of {model}; choose another output for another model")


def select(rows: Iterable[Row], config: ScoreConfig) -> Iterable[Row]:
    """The rows that the settings ask for, in the order they ask for; rows without a score come last if kept."""
    if config.leaves_out:
        high = math.inf if config.below is None else config.below
        low = -math.inf if config.above is None else config.above
        rows = (row for row in rows if row["score"] is not None and low < row["score"] < high)
    worst, best = _by_score(1), _by_score(-1)
    if config.top or config.bottom:
        return heapq.nsmallest(config.top or config.bottom or 0, rows, key=best if config.top else worst)
    if config.sort == "given":
        return rows
    return sorted(rows, key={"worst": worst, "best": best, "path": lambda row: row["path"]}[config.sort])


def _by_score(sign: int) -> Callable[[Row], tuple[bool, float, str]]:
    """A sort key: ties by path, rows without a score last."""
    return lambda row: (row["score"] is None, sign * (row["score"] or 0.0), row["path"])


def row_writer(file: Any, ending: str, *, header: bool) -> Callable[[Row], None]:
    """A function that adds a row to an open .csv or .jsonl file and flushes it."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    is_csv = ending.lower() == ".csv"
    if is_csv and header:
        table.writeheader()
        file.flush()

    def write(row: Row) -> None:
        if is_csv:
            table.writerow(row)
        else:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()

    return write


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a whole table in one step; the ending of the path is its format."""

    def write(temporary: Path) -> None:
        if is_parquet(path):
            import pyarrow as pa

            schema, coming = parquet_schema(), iter(rows)
            with parquet_library().ParquetWriter(temporary, schema) as table:
                while some := list(islice(coming, ROWS_AT_ONCE)):
                    table.write_table(pa.Table.from_pylist(some, schema))
            return
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            add = row_writer(file, path.suffix, header=True)
            for row in rows:
                add(row)

    write_atomically(path, write)


def is_table(path: Path) -> bool:
    """Whether a file begins as a table of scores does; an empty one, or a header that was cut short, counts."""
    if is_parquet(path):
        try:
            return tuple(parquet_library().read_schema(path).names) == COLUMNS
        except (OSError, ValueError):
            return False
    is_csv = path.suffix.lower() == ".csv"
    begin = (",".join(COLUMNS) if is_csv else '{"path": "').encode()
    with open(path, "rb") as file:
        line = file.readline(LONGEST_LINE)
    first = line.rstrip(b"\r\n")
    if not line.endswith(b"\n"):
        return first.startswith(begin) or begin.startswith(first)
    return first == begin if is_csv else tuple(_from_json(first) or ()) == COLUMNS


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table of scores. Raises FusiqaError for a file that is none."""
    if is_parquet(path):
        if not is_table(path):
            raise FusiqaError(f"{path} {EXPECTED}")
        for batch in parquet_library().ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file) if path.suffix.lower() == ".csv" else map(_from_json, file)
        for number, row in enumerate(lines, start=1):
            if row is None or tuple(row) != COLUMNS:
                raise FusiqaError(f"{path}, row {number}, {EXPECTED}")
            try:
                values = {n: None if v in (None, "") else NUMBERS.get(n, str)(v) for n, v in row.items()}
            except (TypeError, ValueError) as reason:
                raise FusiqaError(f"{path}, row {number}, is not a row of scores: {reason}") from reason
            yield values


def _from_json(line: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left without its end."""
    if not path.stat().st_size:
        return
    with open(path, "rb+") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
        file.truncate(end)


def is_parquet(path: str | Path) -> bool:
    """Whether a path or URL, of a file or a folder of files, ends as Parquet does."""
    return str(path).rstrip("/").lower().endswith(".parquet")


def parquet_schema() -> Any:
    """The types of `COLUMNS` in Parquet."""
    parquet_library()
    import pyarrow as pa

    types = {int: pa.int32(), float: pa.float64(), str: pa.string()}
    return pa.schema([(name, types[NUMBERS.get(name, str)]) for name in COLUMNS])


def parquet_library() -> Any:
    """pyarrow.parquet. Raises FusiqaError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as reason:
        raise FusiqaError("Parquet needs pyarrow: pip install 'fusiqa[parquet]', or write .csv or .jsonl") from reason
    return pyarrow.parquet
