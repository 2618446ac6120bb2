"""Rows of scores in files: written one by one, read back, whatever the format. It scores nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically
from fusiqa.scoring.result import COLUMNS

Row = dict[str, Any]
FLOATS = ("score", "spread", "scale_0", "scale_1", "scale_2", "scale_3")
NUMBERS: dict[str, type] = {"width": int, "height": int, **dict.fromkeys(FLOATS, float)}
ROWS_AT_ONCE = 10_000  # of a Parquet file's row group


class Writer(Protocol):
    """Takes rows one by one; each is in the file before the next is asked for."""

    def __call__(self, row: Row) -> None: ...


def csv_writer(file: TextIO, *, header: bool) -> Writer:
    """Rows as CSV, flushed one by one."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    if header:
        table.writeheader()
        file.flush()
    return lambda row: (table.writerow(row), file.flush())[1]


def jsonl_writer(file: TextIO, *, header: bool) -> Writer:
    """Rows as JSON, one a line, flushed one by one."""
    return lambda row: (file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"), file.flush())[1]


WRITERS: dict[str, Callable[..., Writer]] = {".csv": csv_writer, ".jsonl": jsonl_writer}


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table that was written here. Raises FusiqaError for one that was not."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    with open(path, encoding="utf-8", newline="") as file:
        lines: Iterable[Row] = csv.DictReader(file) if path.suffix.lower() == ".csv" else _json_rows(path, file)
        for row in lines:
            if tuple(row) != COLUMNS:
                raise FusiqaError(f"{path} is no table of scores: expected the columns {', '.join(COLUMNS)}")
            yield {name: _value(path, name, value) for name, value in row.items()}


def _json_rows(path: Path, file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as reason:
            raise FusiqaError(f"{path}, line {number}, is not JSON: {reason}") from reason
        if not isinstance(row, dict):
            raise FusiqaError(f"{path}, line {number}, is no row of a table of scores")
        yield row


def _parquet_rows(path: Path) -> Iterator[Row]:
    parquet = parquet_library()
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as reason:
        raise FusiqaError(f"{path} is not a Parquet file: {reason}") from reason
    if tuple(file.schema_arrow.names) != COLUMNS:
        raise FusiqaError(f"{path} is no table of scores: expected the columns {', '.join(COLUMNS)}")
    for batch in file.iter_batches():
        yield from batch.to_pylist()


def _value(path: Path, name: str, value: Any) -> Any:
    if value in (None, ""):
        return None
    try:
        return NUMBERS[name](value) if name in NUMBERS else value
    except (TypeError, ValueError) as reason:
        raise FusiqaError(f"{path}: {name} {value!r} is no number") from reason


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A whole table, in one step."""
    write_atomically(path, lambda temporary: _write_rows(temporary, rows))


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, rows)
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        write = WRITERS[path.suffix.lower()](file, header=True)
        for row in rows:
            write(row)


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow as pa

    schema = parquet_schema()
    waiting: list[Row] = []
    with parquet_library().ParquetWriter(path, schema) as table:
        for row in rows:
            waiting.append(row)
            if len(waiting) == ROWS_AT_ONCE:
                table.write_table(pa.Table.from_pylist(waiting, schema))
                waiting = []
        table.write_table(pa.Table.from_pylist(waiting, schema))


def parquet_schema() -> Any:
    """The types of `COLUMNS` in Parquet."""
    parquet_library()
    import pyarrow as pa

    types = {int: pa.int32(), float: pa.float64()}
    return pa.schema([(name, types[NUMBERS[name]] if name in NUMBERS else pa.string()) for name in COLUMNS])


def parquet_library() -> Any:
    """pyarrow.parquet. Raises FusiqaError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as reason:
        raise FusiqaError("Parquet needs pyarrow: pip install 'fusiqa[parquet]', or write .csv or .jsonl") from reason
    return pyarrow.parquet


def drop_torn_line(path: Path) -> None:
    """Cut off a last line without its end, which a killed process may have left."""
    with open(path, "rb+") as file:
        size = file.seek(0, 2)
        step = 65_536
        end = size
        while end > 0:
            start = max(0, end - step)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
