"""Files of published data sets that are not plain tables: MATLAB, pairs of words, JSON, tables inside a workbook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fusiqa.data.table import read_sheet, reading
from fusiqa.errors import FusiqaError, listed


def read_mat(path: Path, name: str) -> list:
    """The elements of a variable of a MATLAB file, version 4 to 7.2: a row, a column, or cells of one element each.

    Raises:
        FusiqaError: no such file, not a MATLAB file, or no such variable.
    """
    from scipy.io import loadmat

    with reading(path, "a MATLAB file"):
        variables = loadmat(path)
    if name not in variables:
        found = [key for key in variables if not key.startswith("__")]
        raise FusiqaError(f"{path}: no variable {name!r}; its variables are {listed(found) or 'none'}")
    return [_element(value) for value in variables[name].ravel()]


def _element(value: object) -> object:
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.item() if isinstance(value, np.generic) else value


def read_pairs(path: Path, *, separator: str | None) -> list[tuple[str, str]]:
    """The lines of a text file, each of two words; None separates at white space.

    Raises:
        FusiqaError: no such file, not UTF-8, no line, or a line that has not two words.
    """
    with reading(path, "text"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = [word.strip() for word in line.split(separator)]
        if line.strip():
            if len(words) != 2:
                raise FusiqaError(f"{path}, line {number}: expected a name and a rating, got {line!r}")
            pairs.append((words[0], words[1]))
    if not pairs:
        raise FusiqaError(f"{path}: it is empty")
    return pairs


def read_records(path: Path) -> list[dict]:
    """A JSON list of objects. Raises FusiqaError if the file is anything else."""
    with reading(path, "JSON"):
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    if not records or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise FusiqaError(f"{path}: expected a list of objects, one per image")
    return records


def read_table_below(path: Path, *, sheet: str, header: Sequence[str]) -> pd.DataFrame:
    """A table somewhere in a sheet of an Excel workbook: the columns asked for, below their names.

    Raises:
        FusiqaError: no such file, sheet or header, or no row below it.
    """
    cells = read_sheet(path, sheet)
    for number, row in enumerate(cells):
        words = [str(cell).strip().lower() for cell in row]
        if set(header) <= set(words):
            below = [[line[words.index(name)] for name in header] for line in cells[number + 1 :]]
            rows = [line for line in below if str(line[0]).strip()]
            if rows:
                return pd.DataFrame(rows, columns=list(header), dtype=object)
    raise FusiqaError(f"{path}: the sheet {sheet} has no table with the columns {', '.join(header)}")
