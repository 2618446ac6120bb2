"""The table of a scoring run on disk: complete at every moment, continued where it stopped. It scores nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusiqa.config.score import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.scoring.rows import WRITERS, Row, Writer, drop_torn_line, parquet_library, read_rows, write_rows

RECORD_ENDING = ".all.jsonl"


@contextmanager
def recording(config: ScoreConfig, *, model: str) -> Iterator[Record]:
    """The table that `--output` names, to which rows can be added; at the end, also of a Ctrl-C, it is made whole.

    Where the output cannot take rows as they come (Parquet, or only some rows, or in another order), they go to
    `<output>.all.jsonl` beside it, and the output is made from that at the end. That file stays where the output leaves
    rows out, for `--resume`; otherwise it goes when the output is complete.

    Args:
        config: the output, and what of it is wanted.
        model: name and fingerprint of the model, which earlier rows must have as well.

    Raises:
        FusiqaError: the output exists and neither --resume nor --overwrite was given, or it holds something else, or
            scores of another model.
    """
    output = config.table
    if output.suffix.lower() == ".parquet":
        parquet_library()
    plain = output.suffix.lower() in WRITERS and not config.chooses
    path = output if plain else output.with_name(output.name + RECORD_ENDING)
    done = _earlier(path, config, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    complete = False
    try:
        with open(path, "a", encoding="utf-8", newline="") as file:
            yield Record(path, done, WRITERS[path.suffix.lower()](file, header=file.tell() == 0))
        complete = True
    finally:
        if path != output:
            write_rows(output, chosen(read_rows(path), config))
    if complete and path != output and not config.leaves_out:
        path.unlink()


@dataclass(frozen=True)
class Record:
    """Every row of a scoring run, those of the runs that it goes on with among them.

    Attributes:
        path: the file.
        done: paths of images that had a row before.
        write: adds a row.
    """

    path: Path
    done: set[str]
    write: Writer

    def rows(self) -> Iterator[Row]:
        """All rows so far."""
        return read_rows(self.path)


def _earlier(record: Path, config: ScoreConfig, model: str) -> set[str]:
    """Paths that have a row already; the record then holds those rows."""
    found = [path for path in dict.fromkeys((record, config.table)) if path.exists()]
    if not found or config.overwrite:
        for path in found:
            path.unlink()
        return set()
    if not config.resume:
        raise FusiqaError(f"{found[0]} exists already; add --resume to go on with it, or --overwrite to discard it")
    source = found[0]
    if source.suffix.lower() != ".parquet":
        drop_torn_line(source)
    if source != record:
        write_rows(record, read_rows(source))
    return _paths(record, model)


def _paths(record: Path, model: str) -> set[str]:
    paths: set[str] = set()
    for row in read_rows(record):
        if row["model"] != model:
            raise FusiqaError(
                f"{record} holds scores of {row['model']}, not of {model}: numbers of two models do not belong in one "
                "table; choose another --output"
            )
        paths.add(row["path"])
    return paths


def chosen(rows: Iterable[Row], config: ScoreConfig) -> Iterable[Row]:
    """The rows that are wanted, in the order that is wanted; those without a score last, if none is left out."""
    if not config.chooses:
        return rows
    if config.leaves_out:
        rows = (row for row in rows if row["score"] is not None and _within(row["score"], config))
    if config.top is not None:
        return heapq.nsmallest(config.top, rows, key=best_first)
    if config.bottom is not None:
        return heapq.nsmallest(config.bottom, rows, key=worst_first)
    orders: dict[str, Callable[[Row], object]] = {"worst": worst_first, "best": best_first, "path": lambda r: r["path"]}
    return rows if config.sort == "given" else sorted(rows, key=orders[config.sort])  # type: ignore[arg-type]


def _within(score: float, config: ScoreConfig) -> bool:
    return (config.below is None or score < config.below) and (config.above is None or score > config.above)


def worst_first(row: Row) -> tuple[bool, float, str]:
    """Key of an order; equal scores by path, rows without a score last."""
    return row["score"] is None, row["score"] or 0.0, row["path"]


def best_first(row: Row) -> tuple[bool, float, str]:
    """Key of an order; equal scores by path, rows without a score last."""
    return row["score"] is None, -(row["score"] or 0.0), row["path"]
