"""Folders and columns of rating files as users have them: found, and matched by name. It knows no format."""

from __future__ import annotations

import os
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
    return any(True for name in rating_files for path in folder.glob(name) if path.is_file())


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


def first_column(table: pd.DataFrame, path: Path, names: Sequence[str], *, place: int) -> pd.Series:
    """The first of some columns that is there, else the one at a place, counted from 0.

    Raises:
        FusiqaError: none of them, and fewer columns.
    """
    for name in names:
        found = optional_column(table, path, name)
        if found is not None:
            return found
    if place >= len(table.columns):
        raise FusiqaError(f"{path}: no column {' or '.join(map(repr, names))}, and no column {place + 1} in its place")
    return table.iloc[:, place]


def image_names(cells: pd.Series, path: Path) -> list[str]:
    """The names of images in a column. Raises FusiqaError for rows that name none."""
    names = [str(cell).strip() for cell in cells]
    nameless = [f"row {row}" for row, name in enumerate(names, start=1) if not name]
    if nameless:
        raise FusiqaError(f"{path}: no image is named in {listed(nameless)} below the header")
    return names


def numbers(cells: Iterable[object]) -> pd.Series:
    """Ratings as numbers; what is empty, infinite or no number becomes NaN, which `check` reports with its image.

    Example:
        >>> numbers(["3.5", "", "good", None, "inf"]).tolist()
        [3.5, nan, nan, nan, nan]
    """
    values = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").astype(float)
    return values.where(np.isfinite(values))


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
