"""Rating files as cells: CSV, Excel, Parquet, MATLAB, text and JSON. It knows no data set and no column's meaning."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError, listed


def read_table(path: Path) -> pd.DataFrame:
    """The cells of a .csv, .xlsx or .parquet, as they are written; rows without any are left out.

    Raises:
        FusiqaError: not there, not UTF-8, not a table, no row, or a row longer than the header.
    """
    try:
        header, rows = {".xlsx": _workbook, ".parquet": _parquet}.get(path.suffix.lower(), _csv)(path)
    except FileNotFoundError as error:
        raise FusiqaError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise FusiqaError(f"{path}: not UTF-8 text ({error.reason}); save it as CSV UTF-8") from error
    except (OSError, csv.Error) as error:
        raise FusiqaError(f"{path}: cannot be read as a table ({error})") from error
    if not rows:
        raise FusiqaError(f"{path}: no rows below the header ({', '.join(header) or 'which is empty too'})")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [cell.strip() for cell in next(reader, [])]
        rows = []
        for row in reader:
            if len(row) > len(header):
                raise FusiqaError(
                    f"{path}, line {reader.line_num}: {len(row)} cells under a header of {len(header)}; "
                    "put a cell that contains a comma in quotes"
                )
            if any(cell.strip() for cell in row):
                rows.append(row + [""] * (len(header) - len(row)))
    return header, rows


def _workbook(path: Path) -> tuple[list[str], list[list[object]]]:
    """The first sheet of an Excel workbook."""
    header, *rows = _sheet(path, 0) or [[]]
    return [str(cell).strip() for cell in header], [row for row in rows if any(str(cell).strip() for cell in row)]


def _sheet(path: Path, sheet: str | int) -> list[list[object]]:
    """All cells of a sheet. Raises FusiqaError for a file that is no workbook, or has no such sheet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl remarks on styles that it does not know
            cells = pd.read_excel(path, sheet, header=None, dtype=object, engine="openpyxl", keep_default_na=False)
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise FusiqaError(f"{path}: Excel workbooks need openpyxl: pip install 'fusiqa[train]'") from error
    except Exception as error:  # openpyxl raises whatever a malformed workbook leads it to
        raise FusiqaError(f"{path}: cannot be read as an Excel workbook ({error})") from error
    return cells.to_numpy().tolist()


def read_sheet_below(path: Path, *, sheet: str, header: Sequence[str]) -> pd.DataFrame:
    """A table that stands somewhere in a sheet of an Excel workbook: the columns asked for, below their names.

    Raises:
        FusiqaError: no such file, sheet or header, or no row below it.
    """
    try:
        cells = _sheet(path, sheet)
    except FileNotFoundError as error:
        raise FusiqaError(f"{path}: no such file") from error
    for number, row in enumerate(cells):
        words = [str(cell).strip().lower() for cell in row]
        if all(name in words for name in header):
            places = [words.index(name) for name in header]
            below = [[line[place] for place in places] for line in cells[number + 1 :]]
            rows = [line for line in below if str(line[0]).strip()]
            if rows:
                return pd.DataFrame(rows, columns=list(header), dtype=object)
    raise FusiqaError(f"{path}: the sheet {sheet} has no table with the columns {', '.join(header)}")


def _parquet(path: Path) -> tuple[list[str], list[list[object]]]:
    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise FusiqaError(f"{path}: Parquet needs pyarrow: pip install 'fusiqa[parquet]'") from error
    except Exception as error:  # pyarrow's own, of many kinds
        raise FusiqaError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    rows = table.astype(object).where(table.notna(), "").to_numpy().tolist()
    return [str(name).strip() for name in table.columns], rows


def read_mat(path: Path, name: str) -> np.ndarray:
    """A variable of a MATLAB file, of version 4 to 7.2.

    Raises:
        FusiqaError: no such file, no MATLAB file, or no such variable.
    """
    from scipy.io import loadmat

    try:
        variables = loadmat(path)
    except FileNotFoundError as error:
        raise FusiqaError(f"{path}: no such file") from error
    except Exception as error:  # scipy raises whatever a malformed file leads it to
        raise FusiqaError(f"{path}: cannot be read as a MATLAB file ({error})") from error
    if name not in variables:
        there = [key for key in variables if not key.startswith("__")]
        raise FusiqaError(f"{path}: no variable {name!r}; its variables are {listed(there) or 'none'}")
    return variables[name]


def as_list(values: np.ndarray) -> list:
    """The elements of a MATLAB array, whether a row, a column, or cells that hold one element each.

    Example:
        >>> as_list(np.array([[np.array(["a.bmp"])], [np.array(["b.bmp"])]], dtype=object))
        ['a.bmp', 'b.bmp']
    """
    found = []
    for value in values.ravel():
        while isinstance(value, np.ndarray) and value.size == 1:
            value = value.ravel()[0]
        found.append(value.item() if isinstance(value, np.generic) else value)
    return found


def read_pairs(path: Path, *, separator: str | None) -> list[tuple[str, str]]:
    """The lines of a text file, each of two words; None separates at blanks.

    Raises:
        FusiqaError: no such file, not UTF-8, no line, or a line of other than two words.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise FusiqaError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise FusiqaError(f"{path}: not UTF-8 text ({error.reason})") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = [word.strip() for word in line.split(separator)]
        if not line.strip():
            continue
        if len(words) != 2:
            raise FusiqaError(f"{path}, line {number}: expected a name and a rating, {line!r} came")
        pairs.append((words[0], words[1]))
    if not pairs:
        raise FusiqaError(f"{path}: it is empty")
    return pairs


def read_records(path: Path) -> list[dict]:
    """A JSON list of objects. Raises FusiqaError if the file is anything else."""
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FusiqaError(f"{path}: cannot be read as JSON ({error})") from error
    if not records or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise FusiqaError(f"{path}: expected a list of objects, one an image")
    return records
