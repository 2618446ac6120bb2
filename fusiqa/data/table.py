"""Readers of rating files (CSV, Excel, Parquet, JSON, MATLAB, text), and the labels that they hold."""

from __future__ import annotations

import csv
import json
import os
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fusiqa.errors import FusiqaError, listed

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".xlsx")
SEPARATORS = ",;\t"  # of a CSV: the one that gives its header most columns
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLIT_WORDS |= {"validation": "validation", "test": "test"}
NO_GROUP = ("", "na", "n/a", "nan", "null", "none")  # as R, pandas and databases write an empty cell
Cells = Iterable[object]


@contextmanager
def reading(path: Path, kind: str, *, extra: str = "") -> Iterator[None]:
    """Turn whatever a reader raises for a missing or malformed file into a FusiqaError of one line."""
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
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FusiqaError(f"{path}: cannot be read as {kind} ({reason})") from error


@dataclass(frozen=True)
class Sheet:
    """A table with a header. A column is found by its name in any case; of several names, the first that exists."""

    path: Path
    rows: pd.DataFrame

    def find(self, *names: str) -> pd.Series | None:
        """A column, or None. Raises FusiqaError if there are two of that name."""
        for name in names:
            places = [i for i, each in enumerate(self.rows.columns) if str(each).lower() == name.lower()]
            if len(places) > 1:
                raise FusiqaError(f"{self.path}: {len(places)} columns are called {name!r}; keep one")
            if places:
                return self.rows.iloc[:, places[0]]
        return None

    def column(self, *names: str) -> pd.Series:
        """As `find`, but a FusiqaError where there is none."""
        found = self.find(*names)
        if found is None:
            existing = listed([str(each) for each in self.rows if each])
            raise FusiqaError(f"{self.path}: no column {' or '.join(map(repr, names))}; its columns are {existing}")
        return found

    def images(self, *names: str) -> list[str]:
        """The image names in a column. Raises FusiqaError for empty ones."""
        images = [str(cell).strip() for cell in self.column(*names)]
        empty = [f"row {row}" for row, image in enumerate(images, start=1) if not image]
        if empty:
            raise FusiqaError(f"{self.path}: no image is named in {listed(empty)} below the header")
        return images

    def splits(self, *names: str) -> list[str] | None:
        """The split of each row; None if there is no such column, or it is empty. FusiqaError: an unknown split."""
        cells = self.find(*names)
        words = [] if cells is None else [str(cell).strip().lower() for cell in cells]
        unknown = [f"{word!r} in row {row}" for row, word in enumerate(words, start=1) if word not in SPLIT_WORDS]
        if any(words) and unknown:
            raise FusiqaError(f"{self.path}: unknown split {listed(unknown)}; expected one of {', '.join(SPLIT_WORDS)}")
        return [SPLIT_WORDS[word] for word in words] if any(words) else None


def read_table(path: Path) -> Sheet:
    """A .csv, .xlsx (first sheet), .parquet or .json file (a list of objects); empty rows are left out.

    Cells are as they are written, but for decimal commas in a CSV that is separated by semicolons or tabs. FusiqaError:
    no such file, not UTF-8, not a table, no row, or a row longer than the header.
    """
    read = {".xlsx": read_sheet, ".parquet": _records, ".json": _records}.get(path.suffix.lower(), _csv)
    header, *rows = read(path) or [[]]
    names = [str(cell).strip() for cell in header]
    rows = [row for row in rows if any(str(cell).strip() for cell in row)]
    if not rows:
        raise FusiqaError(f"{path}: no rows below the header ({', '.join(names) or 'which is empty too'})")
    return Sheet(path, pd.DataFrame(rows, columns=names, dtype=object))


def _csv(path: Path) -> list[list[Any]]:
    with reading(path, "CSV"), open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        separator = max(SEPARATORS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        file.seek(0)
        reader = csv.reader(file, delimiter=separator)
        rows = [next(reader, [])]
        for row in reader:
            if len(row) > len(rows[0]):
                found = f"{len(row)} cells under a header of {len(rows[0])}; quote cells that contain {separator!r}"
                raise FusiqaError(f"{path}, line {reader.line_num}: {found}")
            if separator != ",":
                row = [cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell for cell in row]
            rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def read_sheet(path: Path, sheet: str | int = 0) -> list[list[Any]]:
    """All cells of a sheet of an Excel workbook. Raises FusiqaError if it is not one, or has no such sheet."""
    with reading(path, "an Excel workbook", extra="train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles that it does not support
        cells = pd.read_excel(path, sheet, header=None, dtype=object, engine="openpyxl", keep_default_na=False)
    return cells.to_numpy().tolist()


def _records(path: Path) -> list[list[Any]]:
    """The column names and the rows of a Parquet file, or of a JSON list of objects."""
    if path.suffix.lower() == ".parquet":
        with reading(path, "Parquet", extra="parquet"):
            table = pd.read_parquet(path, engine="pyarrow")
    else:
        with reading(path, "JSON"):
            records = json.loads(path.read_text(encoding="utf-8-sig"))
        if not records or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise FusiqaError(f"{path}: expected a list of objects, one per image")
        table = pd.DataFrame(records)
    return [list(table.columns), *table.astype(object).where(table.notna(), "").to_numpy().tolist()]


def read_mat(path: Path, name: str) -> list:
    """The elements of a variable of a MATLAB file, version 4 to 7.2: a row, a column, or cells of one element each."""
    from scipy.io import loadmat

    with reading(path, "a MATLAB file"):
        variables = loadmat(path, squeeze_me=True)
    if name not in variables:
        found = [key for key in variables if not key.startswith("__")]
        raise FusiqaError(f"{path}: no variable {name!r}; its variables are {listed(found) or 'none'}")
    return np.ravel(variables[name]).tolist()


def read_pairs(*paths: Path, separator: str | None) -> tuple[list[str], list[str]]:
    """The first and the second words of text files of two words a line; None separates at white space."""
    pairs = []
    for path in paths:
        with reading(path, "text"):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        if not any(map(str.strip, lines)):
            raise FusiqaError(f"{path}: it is empty")
        for number, line in enumerate(lines, start=1):
            words = [word.strip() for word in line.split(separator)]
            if line.strip() and len(words) != 2:
                raise FusiqaError(f"{path}, line {number}: expected a name and a rating, got {line!r}")
            pairs += [words] if line.strip() else []
    return [first for first, _ in pairs], [second for _, second in pairs]


def read_table_below(path: Path, *, sheet: str, header: Sequence[str]) -> pd.DataFrame:
    """A table somewhere in a sheet of an Excel workbook: the columns asked for, below their names."""
    cells = read_sheet(path, sheet)
    for number, row in enumerate(cells):
        words = [str(cell).strip().lower() for cell in row]
        if set(header) <= set(words):
            below = [[line[words.index(name)] for name in header] for line in cells[number + 1 :]]
            if rows := [line for line in below if str(line[0]).strip()]:
                return pd.DataFrame(rows, columns=list(header), dtype=object)
    raise FusiqaError(f"{path}: the sheet {sheet} has no table with the columns {', '.join(header)}")


def numbers(cells: Cells) -> pd.Series:
    """Ratings as numbers; empty and infinite ones and other text become NaN, which data/audit.py reports."""
    values = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").astype(float)
    return values.where(np.isfinite(values))


def loosely(name: str) -> str:
    """A name of a file without what may be written in several ways: case, composed accents, `./` and `..`."""
    return unicodedata.normalize("NFC", os.path.normpath(name)).casefold()


def names_on_disk(root: Path, names: Sequence[str]) -> list[str]:
    """The names as their files are spelled, without `./` and `..` inside; one without a file is left as it is.

    `sub/a.jpg` finds `Sub/a.JPG`, and a composed accent a decomposed one, if no other file can be meant; so does
    `sub\\a.jpg`. Two names of one file, such as an absolute one, become the first of them.
    """

    @cache
    def listing(folder: str) -> dict[str, list[str]]:
        found = defaultdict(list)
        with suppress(OSError, ValueError):  # not there, not to be listed, or no name at all (with a NUL)
            for name in os.listdir(root / folder):
                found[loosely(name)].append(name)
        return found

    def on_disk(name: str) -> str:
        if "\\" in name and not (root / name).exists():  # as Windows separates folders
            name = name.replace("\\", "/")
        path = Path(os.path.normpath(name))
        found = path.anchor
        for part in path.relative_to(path.anchor).parts:
            alike = listing(found).get(loosely(part), [])
            found = os.path.join(found, alike[0] if part not in alike and len(alike) == 1 else part)
        return found

    files: dict[str, str] = {}
    return [files.setdefault(os.path.abspath(root / found), found) for found in map(on_disk, names)]


class Labels(NamedTuple):
    """The columns of Ratings.table as published, ratings in the published direction, and the folder of the images."""

    table: pd.DataFrame
    root: Path


def labels(
    root: Path, names: Sequence[str], mos: Cells, *, splits: Sequence[str] | None = None, groups: Cells | None = None
) -> Labels:
    """The labels of images below a folder (FusiqaError if there is none), whose names match files in any case.

    Ratings are as written; an image without a group is its own group.
    """
    if not root.is_dir():
        raise FusiqaError(f"no images found: there is no folder {root}")
    images = names_on_disk(root, names)
    pairs = zip(images if groups is None else groups, images, strict=True)
    given = [image if str(group).strip().casefold() in NO_GROUP else str(group).strip() for group, image in pairs]
    columns = {"image": images, "mos": numbers(mos), "split": splits, "group": given}
    return Labels(pd.DataFrame(columns, dtype=object).astype({"mos": float}), root)


def labels_of_table(path: Path, root: Path, columns: Mapping[str, Sequence[str]]) -> Labels:
    """The labels in a table, by the names that its columns may have: image and mos, perhaps split and group."""
    table, split, group = read_table(path), columns.get("split", ()), columns.get("group", ())
    images, mos = table.images(*columns["image"]), table.column(*columns["mos"])
    return labels(root, images, mos, splits=table.splits(*split), groups=table.find(*group))
