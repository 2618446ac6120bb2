"""Rating files and folders as users have them: found, read and matched by name. It knows no particular data set."""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError, listed


class Place(NamedTuple):
    """Where a data set lies.

    Attributes:
        folder: the folder that holds its rating files.
        pointed: the folder that was looked at, which may be one above or below.
    """

    folder: Path
    pointed: Path


def find_place(looked_at: Sequence[Path], rating_files: Sequence[str]) -> Place | None:
    """The first folder looked at that holds one of the rating files, itself or one folder below or above.

    Args:
        looked_at: folders, the likeliest first; those that do not exist are passed over.
        rating_files: paths inside the data set's folder; any one of them makes it known.

    Raises:
        FusiqaError: several folders below one that was looked at would do.
    """
    for pointed in filter(Path.is_dir, looked_at):
        if _holds(pointed, rating_files):
            return Place(pointed, pointed)
        below = [child for child in sorted(pointed.iterdir()) if child.is_dir() and _holds(child, rating_files)]
        if len(below) > 1:
            raise FusiqaError(
                f"{pointed} holds several copies: {listed([child.name for child in below])}; point at one"
            )
        for folder in [*below, pointed.absolute().parent]:
            if _holds(folder, rating_files):
                return Place(folder, pointed)
    return None


def _holds(folder: Path, rating_files: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in rating_files)


def read_table(path: Path) -> pd.DataFrame:
    """The cells of a .csv or .xlsx, as they are written; rows without any are left out.

    Raises:
        FusiqaError: not there, not UTF-8, not a table, no row, or a row longer than the header.
    """
    try:
        header, rows = _workbook(path) if path.suffix.lower() == ".xlsx" else _csv(path)
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl remarks on styles that it does not know
            sheet = pd.read_excel(path, header=None, dtype=object, engine="openpyxl", keep_default_na=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # openpyxl raises whatever a malformed workbook leads it to
        raise FusiqaError(f"{path}: cannot be read as an Excel workbook ({error})") from error
    header, *rows = sheet.to_numpy().tolist() or [[]]
    return [str(cell).strip() for cell in header], [row for row in rows if any(str(cell).strip() for cell in row)]


def column(table: pd.DataFrame, path: Path, name: str) -> pd.Series:
    """A column by its name in any case.

    Raises:
        FusiqaError: no such column, or more than one.
    """
    found = optional_column(table, path, name)
    if found is None:
        raise FusiqaError(
            f"{path}: no column {name!r}; its columns are {listed([str(each) for each in table if each])}"
        )
    return found


def optional_column(table: pd.DataFrame, path: Path, name: str) -> pd.Series | None:
    """A column by its name in any case, or None. Raises FusiqaError if there is more than one."""
    positions = [i for i, each in enumerate(table.columns) if str(each).lower() == name.lower()]
    if len(positions) > 1:
        raise FusiqaError(f"{path}: {len(positions)} columns are called {name!r}; keep one")
    return table.iloc[:, positions[0]] if positions else None


def image_names(cells: pd.Series, path: Path) -> list[str]:
    """The names of photographs in a column. Raises FusiqaError for rows that name none."""
    names = [str(cell).strip() for cell in cells]
    nameless = [f"row {row}" for row, name in enumerate(names, start=1) if not name]
    if nameless:
        raise FusiqaError(f"{path}: no photograph is named in {listed(nameless)} below the header")
    return names


def numbers(cells: Iterable[object]) -> pd.Series:
    """Ratings as numbers; what is empty, infinite or no number becomes NaN, which `check` reports with its photograph.

    Example:
        >>> numbers(["3.5", "", "good", None, "inf"]).tolist()
        [3.5, nan, nan, nan, nan]
    """
    values = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").astype(float)
    return values.where(np.isfinite(values))


def read_records(path: Path) -> list[dict]:
    """A JSON list of objects. Raises FusiqaError if the file is anything else."""
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FusiqaError(f"{path}: cannot be read as JSON ({error})") from error
    if not records or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise FusiqaError(f"{path}: expected a list of objects, one a photograph")
    return records


def as_on_disk(root: Path, names: Sequence[str]) -> list[str]:
    """The names as their files are written: `a.jpg` finds `a.JPG` where that is the only file it can mean.

    A name without a file stays as it is; `check` reports it.
    """
    folders: dict[Path, dict[str, list[str]]] = {}
    return [_as_on_disk(root, name, folders) for name in names]


def _as_on_disk(root: Path, name: str, folders: dict[Path, dict[str, list[str]]]) -> str:
    path = Path(name)
    folder = root / path.parent
    if folder not in folders:
        folders[folder] = _names_by_lower_case(folder)
    written = folders[folder].get(path.name.lower(), [])
    return name if path.name in written or len(written) != 1 else str(path.with_name(written[0]))


def _names_by_lower_case(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder) if folder.is_dir() else []:
        names.setdefault(name.lower(), []).append(name)
    return names
