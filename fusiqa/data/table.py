"""Tables of ratings: CSV, Excel and Parquet files read as cells, their columns, and the images that they name."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError, listed

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".xlsx")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
"""Of a CSV file: the one that gives its header the most columns, the first of them on a tie."""
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


@contextmanager
def reading(path: Path, kind: str, *, extra: str = "") -> Iterator[None]:
    """Turn whatever a reader raises for a missing or malformed file into one FusiqaError of one line."""
    try:
        yield
    except FusiqaError:
        raise
    except FileNotFoundError as error:
        raise FusiqaError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise FusiqaError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except ImportError as error:
        raise FusiqaError(f"{path}: reading {kind} needs more packages: pip install 'fusiqa[{extra}]'") from error
    except Exception as error:  # openpyxl, pyarrow and scipy raise errors of any kind for malformed files
        raise FusiqaError(
            f"{path}: cannot be read as {kind} ({(str(error).splitlines() or [type(error).__name__])[0]})"
        ) from error


def read_cells(path: Path) -> pd.DataFrame:
    """The cells of a .csv, .xlsx (first sheet) or .parquet file as they are written; empty rows are left out.

    The separator of a CSV is a comma, a semicolon or a tab. With the latter two, a decimal comma is read as a point.

    Raises:
        FusiqaError: no such file, not UTF-8, not a table, no row, or a row longer than the header.
    """
    rows: list[list[Any]]
    header: list[Any]
    match path.suffix.lower():
        case ".xlsx":
            header, *rows = read_sheet(path, 0) or [[]]
        case ".parquet":
            header, *rows = _parquet(path)
        case _:
            header, *rows = _csv(path)
    names = [str(cell).strip() for cell in header]
    rows = [row for row in rows if any(str(cell).strip() for cell in row)]
    if not rows:
        raise FusiqaError(f"{path}: no rows below the header ({', '.join(names) or 'which is empty too'})")
    return pd.DataFrame(rows, columns=names, dtype=object)


def _csv(path: Path) -> list[list[str]]:
    with reading(path, "CSV"), open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        separator = max(SEPARATORS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        file.seek(0)
        reader = csv.reader(file, delimiter=separator)
        rows = [next(reader, [])]
        for row in reader:
            if len(row) > len(rows[0]):
                raise FusiqaError(
                    f"{path}, line {reader.line_num}: {len(row)} cells under a header of {len(rows[0])}; "
                    f"quote cells that contain a {SEPARATORS[separator]}"
                )
            if separator != ",":
                row = [cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell for cell in row]
            rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def read_sheet(path: Path, sheet: str | int) -> list[list[object]]:
    """All cells of a sheet of an Excel workbook. Raises FusiqaError if it is not one, or has no such sheet."""
    with reading(path, "an Excel workbook", extra="train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles that it does not support
        cells = pd.read_excel(path, sheet, header=None, dtype=object, engine="openpyxl", keep_default_na=False)
    return cells.to_numpy().tolist()


def _parquet(path: Path) -> list[list[object]]:
    with reading(path, "Parquet", extra="parquet"):
        table = pd.read_parquet(path, engine="pyarrow")
    return [list(table.columns), *table.astype(object).where(table.notna(), "").to_numpy().tolist()]


# --- columns ---------------------------------------------------------------------------------------------------------


def find_column(table: pd.DataFrame, path: Path, names: Sequence[str]) -> pd.Series | None:
    """The first of some columns that exists, in any case, or None. Raises FusiqaError if there are two of that name."""
    for name in names:
        positions = [i for i, each in enumerate(table.columns) if str(each).lower() == name.lower()]
        if len(positions) > 1:
            raise FusiqaError(f"{path}: {len(positions)} columns are called {name!r}; keep one")
        if positions:
            return table.iloc[:, positions[0]]
    return None


def column(table: pd.DataFrame, path: Path, *names: str) -> pd.Series:
    """The first of some columns that exists, in any case.

    Raises:
        FusiqaError: none of them exists, or two have that name.
    """
    found = find_column(table, path, names)
    if found is None:
        existing = listed([str(each) for each in table if each])
        raise FusiqaError(f"{path}: no column {' or '.join(map(repr, names))}; its columns are {existing}")
    return found


def image_names(cells: pd.Series, path: Path) -> list[str]:
    """The image names in a column. Raises FusiqaError for empty ones."""
    names = [str(cell).strip() for cell in cells]
    empty = [f"row {row}" for row, name in enumerate(names, start=1) if not name]
    if empty:
        raise FusiqaError(f"{path}: no image is named in {listed(empty)} below the header")
    return names


def numbers(cells: Iterable[object]) -> pd.Series:
    """Ratings as numbers; empty and infinite ones and other text become NaN, which data/audit.py reports.

    Example:
        >>> numbers(["3.5", "", "good", None, "inf"]).tolist()
        [3.5, nan, nan, nan, nan]
    """
    values = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").astype(float)
    return values.where(np.isfinite(values))


def names_on_disk(root: Path, names: Sequence[str]) -> list[str]:
    """The names as their files are spelled, without `./` and `..` inside.

    `sub/a.jpg` finds `Sub/a.JPG`, and a composed accent finds a decomposed one, if that is the only file that can be
    meant. A name without a file is left as it is; data/audit.py reports it.
    """
    listings: dict[str, dict[str, list[str]]] = {}

    def spelled(folder: str, part: str) -> str:
        if folder not in listings:
            listings[folder] = _listing(root / folder)
        found = listings[folder].get(_spelling_key(part), [])
        return found[0] if part not in found and len(found) == 1 else part

    def on_disk(name: str) -> str:
        path = Path(os.path.normpath(name))
        found = path.anchor
        for part in path.relative_to(path.anchor).parts:
            found = os.path.join(found, spelled(found, part))
        return found

    return [on_disk(name) for name in names]


def _listing(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):
            names.setdefault(_spelling_key(name), []).append(name)
    except OSError:  # not there, or not to be listed
        pass
    return names


def _spelling_key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
