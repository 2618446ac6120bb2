"""Tables of scores: CSV, JSON Lines or Parquet, complete at every moment, continued where a run stopped."""

from __future__ import annotations

import codecs
import csv
import heapq
import json
import math
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fusiqa.config import ScoreConfig, TableSettings
from fusiqa.errors import FusiqaError, needing
from fusiqa.io import check_output, hold, write_atomically
from fusiqa.scoring.inputs import check_any
from fusiqa.scoring.result import COLUMNS, FLAW_COLUMNS, SCALE_COLUMNS

Row = dict[str, Any]
"""`COLUMNS`, None where there is no value."""
FLOATS = ("score", "spread", *SCALE_COLUMNS, *FLAW_COLUMNS)
Types = Mapping[str, type]
"""The columns of a table, in order, and the types of their values."""
SCORE_TYPES: Types = {**dict.fromkeys(COLUMNS, str), **dict.fromkeys(FLOATS, float), "width": int, "height": int}
ROWS_AT_ONCE = 10_000  # of a Parquet file's row group
RECORD_ENDING = ".all.jsonl"
LONGEST_LINE = 1_000_000  # bytes that are looked at for the end of a first line


Finish = Callable[[Iterable[Row]], Iterable[Row]]
"""Makes the rows of an output from those that were recorded."""


class Record(NamedTuple):
    """The table of a run: its file, the paths that had a row before, how many of those have no score, adding a row."""

    path: Path
    done: set[str]
    failed: int
    write: Callable[[Row], None]


@contextmanager
def recording(
    config: TableSettings,
    *,
    model: str,
    types: Types = SCORE_TYPES,
    finish: Finish | None = None,
) -> Iterator[Record]:
    """Open the output to add rows; at the end, also after Ctrl-C, it is complete.

    Where rows cannot be appended (Parquet, or rows that `finish` selects, orders or completes), they go to
    `<output>.all.jsonl`, from which the output is written at the end. That file is kept for `resume` if the output
    leaves rows out, and removed otherwise.

    FusiqaError: the output exists and neither `resume` nor `overwrite` was given, it is not a table of scores, it has
    scores of another `model` (name and fingerprint), or another process is writing it.
    """
    output = config.table
    in_place = not (is_parquet(output) and pyarrow()) and finish is None
    record = output.with_name(output.name + RECORD_ENDING)
    path = output if in_place else record
    with hold(output):
        done, failed = _earlier(record, path, config, model, types)
        try:
            with open(path, "a", encoding="utf-8", newline="") as file:
                write = row_writer(file, path.suffix, header=file.tell() == 0, types=types)
                yield Record(path, done, failed, write)
                if not path.exists():
                    raise FusiqaError(f"{path} was removed while it was written")
        finally:
            if not in_place:
                drop_torn_line(path)  # of a full disk
                rows = read_rows(path, types)
                write_rows(output, finish(rows) if finish else rows, types)
        if not in_place and not config.leaves_out:
            path.unlink()


def _earlier(record: Path, path: Path, config: TableSettings, model: str, types: Types) -> tuple[set[str], int]:
    """Paths that have a row already, in the record or in the table, and how many of those have no score.

    Their rows, first those of the record, are then in `path`; the record stays only where it is that.
    """
    found = [path for path in dict.fromkeys((record, config.table)) if path.exists()]
    how = "`resume` to continue it, or `overwrite` to discard it"
    for each in found:
        check_output(each, replace=config.resume or config.overwrite, ours=partial(is_table, types=types), how=how)
    if config.overwrite:
        check_any(config.paths)  # raises where there is nothing to put in their place
        for each in found:
            each.unlink()
    if config.overwrite or not found:
        return set(), 0
    done, failed = set(), 0

    def earlier() -> Iterator[Row]:
        nonlocal failed
        for each in found:
            if not is_parquet(each):
                drop_torn_line(each)
            for row in read_rows(each, types):
                check_model(each, row["model"], model)
                if row["path"] not in done:
                    done.add(row["path"])
                    failed += row["score"] is None
                    yield row

    if found == [path]:
        deque(earlier(), maxlen=0)
    else:
        write_rows(path, earlier(), types)
    if path != record:
        record.unlink(missing_ok=True)
    return done, failed


def check_model(table: str | Path, found: str, model: str) -> None:
    if found != model:
        raise FusiqaError(f"{table} has scores of {found}, not of {model}; choose another output for another model")


def select(rows: Iterable[Row], config: ScoreConfig) -> Iterable[Row]:
    """The selected rows in the order asked for; rows without a score come last if kept."""
    if config.leaves_out:
        high = math.inf if config.below is None else config.below
        low = -math.inf if config.above is None else config.above
        rows = (row for row in rows if row["score"] is not None and low < row["score"] < high)
    order: str = config.sort
    if config.top or config.bottom:
        order = "best" if config.top else "worst"
    sign = {"best": -1, "worst": 1}.get(order, 0)  # 0: by path alone, as ties of scores are

    def key(row: Row) -> tuple[object, float, str]:
        return sign and row["score"] is None, sign * (row["score"] or 0.0), row["path"]

    if config.top or config.bottom:
        return heapq.nsmallest(config.top or config.bottom or 0, rows, key=key)
    return rows if order == "given" else sorted(rows, key=key)


def row_writer(file: Any, ending: str, *, header: bool, types: Types = SCORE_TYPES) -> Callable[[Row], None]:
    """A function that adds a row to an open .csv or .jsonl file and flushes it."""
    table = csv.DictWriter(file, list(types), lineterminator="\n")
    if header and is_csv(ending):
        table.writeheader()

    def write(row: Row) -> None:
        if is_csv(ending):
            table.writerow(row)
        else:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()

    return write


def write_rows(path: Path, rows: Iterable[Row], types: Types = SCORE_TYPES) -> None:
    """Write a whole table in one step; the ending of the path is its format."""

    def write(temporary: Path) -> None:
        if is_parquet(path):
            pa, schema, coming = pyarrow(), parquet_schema(types), iter(rows)
            with pa.parquet.ParquetWriter(temporary, schema) as table:
                while some := list(islice(coming, ROWS_AT_ONCE)):
                    table.write_table(pa.Table.from_pylist(some, schema))
            return
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            add = row_writer(file, path.suffix, header=True, types=types)
            for row in rows:
                add(row)

    write_atomically(path, write)


def is_table(path: Path, types: Types = SCORE_TYPES) -> bool:
    """Whether a file begins as a table of scores does, also if it is empty or its header is truncated."""
    if is_parquet(path):
        return parquet_columns(path) == tuple(types)
    begin = (",".join(types) if is_csv(path) else '{"path": "').encode()
    with open(path, "rb") as file:
        line = file.readline(LONGEST_LINE).removeprefix(codecs.BOM_UTF8)  # which spreadsheets write
    if not line.endswith(b"\n"):
        return line.startswith(begin) or begin.startswith(line.rstrip(b"\r"))
    return line.rstrip(b"\r\n") == begin if is_csv(path) else tuple(_from_json(line)) == tuple(types)


def read_rows(path: Path, types: Types = SCORE_TYPES) -> Iterator[Row]:
    """The rows of a table of scores. Raises FusiqaError for a file that is none."""
    expected = f"expected the columns {', '.join(types)}"
    if is_parquet(path):
        if not is_table(path, types):
            raise FusiqaError(f"{path} is not a table of scores: {expected}")
        try:
            for batch in pyarrow().parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        except (OSError, ValueError) as reason:
            raise FusiqaError(f"{path} is damaged: {str(reason).splitlines()[0]}") from reason
        return
    number, floats = 0, [name for name, kind in types.items() if kind is float]
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file) if is_csv(path) else map(_from_json, file):
                number += 1
                if tuple(row) != tuple(types) or (is_csv(path) and None in row.values()):
                    raise ValueError(expected)
                read = {name: None if value in (None, "") else types[name](value) for name, value in row.items()}
                if not all(math.isfinite(read[name] or 0) for name in floats):
                    raise ValueError("it has a number that is not finite")
                yield read
        except (TypeError, ValueError, OverflowError, csv.Error) as reason:  # no UTF-8 is a ValueError
            raise FusiqaError(f"{path}, row {max(1, number)}, is not a row of scores: {reason}") from reason


def _from_json(line: str | bytes) -> dict[str, Any]:
    """The object of a line; an empty one for what is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def drop_torn_line(path: Path) -> None:
    """Remove a last line that a killed process left incomplete."""
    if path.stat().st_size:
        with open(path, "rb+") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
            file.truncate(end)


def is_csv(path: str | Path) -> bool:
    return str(path).lower().endswith(".csv")


def is_parquet(path: str | Path) -> bool:
    """Whether a path or URL, of a file or a folder of files, ends as Parquet does."""
    return str(path).rstrip("/").lower().endswith(".parquet")


def parquet_columns(path: str | Path, files: Any = None) -> tuple[str, ...]:
    """The columns of a Parquet file, also on another file system; none for a truncated file."""
    try:
        return tuple(pyarrow().parquet.read_schema(path, filesystem=files).names)
    except (OSError, ValueError):
        return ()


def parquet_schema(types: Types = SCORE_TYPES) -> Any:
    """The types of the columns in Parquet."""
    known = {int: pyarrow().int32(), float: pyarrow().float64()}
    return pyarrow().schema([(name, known.get(kind, pyarrow().string())) for name, kind in types.items()])


def pyarrow() -> Any:
    """The library, with its Parquet. Raises FusiqaError where it is not installed."""
    with needing("parquet", "Parquet"):
        import pyarrow.parquet
    return pyarrow
