"""Tables of scores: CSV, JSON Lines or Parquet, complete at every moment, continued where a run stopped."""

from __future__ import annotations

import csv
import heapq
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusiqa.config.score import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import check_output, hold, write_atomically
from fusiqa.scoring.result import COLUMNS

Row = dict[str, Any]
"""`COLUMNS`, None where there is no value."""
FLOATS = ("score", "spread", "scale_0", "scale_1", "scale_2", "scale_3")
NUMBERS: dict[str, type] = {"width": int, "height": int, **dict.fromkeys(FLOATS, float)}
ROWS_AT_ONCE = 10_000  # of a Parquet file's row group
RECORD_ENDING = ".all.jsonl"
EXPECTED = f"is not a table of scores: expected the columns {', '.join(COLUMNS)}"
LONGEST_LINE = 1_000_000  # bytes that are looked at for the end of a first line


# --- a run's table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """The rows of a scoring run so far, with those of the runs that it continues.

    Attributes:
        path: the file.
        done: paths of images that had a row before.
        failed: how many of those rows have no score.
        write: adds a row.
    """

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

    Args:
        config: the output, and which rows it is to have.
        model: name and fingerprint of the model, which earlier rows must have as well.

    Raises:
        FusiqaError: the output exists and neither `resume` nor `overwrite` was given, it is not a table of scores, it
            has scores of another model, or another process is writing it.
    """
    output = config.table
    if output.suffix.lower() == ".parquet":
        parquet_library()
    in_place = output.suffix.lower() != ".parquet" and not config.chooses
    path = output if in_place else output.with_name(output.name + RECORD_ENDING)
    complete = False
    with hold(output):
        done, failed = _earlier(path, config, model)
        try:
            with open(path, "a", encoding="utf-8", newline="") as file:
                yield Record(path, done, failed, row_writer(file, path.suffix, header=file.tell() == 0))
                if not path.exists():
                    raise FusiqaError(f"{path} was removed while it was written")
            complete = True
        finally:
            if not in_place:
                write_rows(output, select(read_rows(path), config))
        if complete and not in_place and not config.leaves_out:
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
    if found[0].suffix.lower() != ".parquet":
        drop_torn_line(found[0])
    if found[0] != record:
        write_rows(record, read_rows(found[0]))
    done: set[str] = set()
    failed = 0
    for row in read_rows(record):
        check_model(record, row["model"], model)
        done.add(row["path"])
        failed += row["score"] is None
    return done, failed


def check_model(table: str | Path, found: str, model: str) -> None:
    """Refuse to add rows to a table of another model's scores."""
    if found != model:
        raise FusiqaError(f"{table} has scores of {found}, not of {model}; choose another output for another model")


# --- which rows, in which order --------------------------------------------------------------------------------------


def select(rows: Iterable[Row], config: ScoreConfig) -> Iterable[Row]:
    """The rows that the settings ask for, in the order they ask for; rows without a score come last if kept."""
    if config.leaves_out:
        rows = (row for row in rows if row["score"] is not None and _is_within(row["score"], config))
    if config.top is not None:
        return heapq.nsmallest(config.top, rows, key=best_first)
    if config.bottom is not None:
        return heapq.nsmallest(config.bottom, rows, key=worst_first)
    match config.sort:
        case "worst":
            return sorted(rows, key=worst_first)
        case "best":
            return sorted(rows, key=best_first)
        case "path":
            return sorted(rows, key=lambda row: row["path"])
        case _:
            return rows


def _is_within(score: float, config: ScoreConfig) -> bool:
    return (config.below is None or score < config.below) and (config.above is None or score > config.above)


def worst_first(row: Row) -> tuple[bool, float, str]:
    """Sort key: ties by path, rows without a score last."""
    return row["score"] is None, row["score"] or 0.0, row["path"]


def best_first(row: Row) -> tuple[bool, float, str]:
    """Sort key: ties by path, rows without a score last."""
    return row["score"] is None, -(row["score"] or 0.0), row["path"]


# --- files -----------------------------------------------------------------------------------------------------------


def row_writer(file: Any, ending: str, *, header: bool) -> Callable[[Row], None]:
    """A function that adds a row to an open .csv or .jsonl file and flushes it."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    if ending.lower() == ".csv" and header:
        table.writeheader()
        file.flush()

    def write(row: Row) -> None:
        if ending.lower() == ".csv":
            table.writerow(row)
        else:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()

    return write


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a whole table in one step; the ending of the path is its format."""

    def write(temporary: Path) -> None:
        if path.suffix.lower() == ".parquet":
            _write_parquet(temporary, rows)
            return
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            add = row_writer(file, path.suffix, header=True)
            for row in rows:
                add(row)

    write_atomically(path, write)


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


def is_table(path: Path) -> bool:
    """Whether a file begins as a table of scores does; an empty one, or a header that was cut short, counts."""
    if path.suffix.lower() == ".parquet":
        try:
            return tuple(parquet_library().read_schema(path).names) == COLUMNS
        except (OSError, ValueError):
            return False
    with open(path, "rb") as file:
        line = file.readline(LONGEST_LINE)
    first = line.rstrip(b"\r\n")
    begin = ",".join(COLUMNS) if path.suffix.lower() == ".csv" else '{"path": "'
    if not line.endswith(b"\n"):
        return first.startswith(begin.encode()) or begin.encode().startswith(first)
    if path.suffix.lower() == ".csv":
        return first == begin.encode()
    try:
        return tuple(json.loads(first)) == COLUMNS
    except (ValueError, TypeError):
        return False


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table of scores. Raises FusiqaError for a file that is none."""
    if path.suffix.lower() == ".parquet":
        if not is_table(path):
            raise FusiqaError(f"{path} {EXPECTED}")
        for batch in parquet_library().ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file) if path.suffix.lower() == ".csv" else map(_from_json, file)
        for number, row in enumerate(lines, start=1):
            if not isinstance(row, dict) or tuple(row) != COLUMNS:
                raise FusiqaError(f"{path}, row {number}, {EXPECTED}")
            yield {name: _value(path, name, value) for name, value in row.items()}


def _from_json(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _value(path: Path, name: str, value: Any) -> Any:
    if value in (None, ""):
        return None
    try:
        return NUMBERS[name](value) if name in NUMBERS else value
    except (TypeError, ValueError) as reason:
        raise FusiqaError(f"{path}: {name} {value!r} is not a number") from reason


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left without its end."""
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)


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
