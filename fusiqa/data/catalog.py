"""Data sets by name: `read` finds and reads one. What is known of them is in facts.py. It knows no model."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

from fusiqa.config import ScoreRange
from fusiqa.data.facts import SYNTHETIC, Facts, closest, facts_of, names
from fusiqa.data.ratings import Ratings
from fusiqa.data.readers import READERS, Rated, own_table
from fusiqa.data.tables import Place, find_place
from fusiqa.errors import FusiqaError
from fusiqa.scoring.reading import FolderImages

OWN_RESIZE = "384"
"""Short side of images in a table of one's own, pixels: KonIQ-10k's protocol for any aspect."""
TABLE_ENDINGS = (".csv", ".parquet", ".xlsx")


def read(
    dataset: str, *, data_dir: Path | None = None, score_range: tuple[float, float] | None = None, seed: int = 0
) -> Ratings:
    """Read the ratings of a data set, with its official split where there is one; no image is opened.

    Args:
        dataset: a name or alias of the catalog, "synthetic", or the path of a CSV, Parquet or Excel table with image
            and mos columns.
        data_dir: its folder, or one above or below; by default $FUSIQA_DATA/<name> or ./data/<name>. For a CSV the
            folder that its image names start from, by default the CSV's own.
        score_range: lowest and highest possible rating; by default the data set's own, for a CSV those of its rows.
        seed: of the built-in data set; the others do not need it.

    Returns:
        The ratings: NaN where a row's cannot be read; images may be missing (data/check.py reports both).

    Raises:
        FusiqaError: unknown data set, not found, wrong column, no rows, a rating outside the range, or no range.
    """
    data_dir = None if data_dir is None else data_dir.expanduser()
    asked = None if score_range is None else _proper_range(dataset, *score_range)
    facts = facts_of(dataset)
    if dataset.lower() == SYNTHETIC:
        ratings = _read_synthetic(seed)
        return ratings if asked is None else replace(ratings, score_range=asked)
    rated = rows(dataset, data_dir=data_dir)
    if facts is None:
        return _ratings(dataset, rated, asked or _range_of(dataset, rated), OWN_RESIZE)
    return _ratings(facts.name, turned(rated, facts), asked or facts.score_range, facts.resize)


def rows(dataset: str, *, data_dir: Path | None) -> Rated:
    """What the files of a data set say, as published, before anything is refused but what cannot be read at all.

    Raises:
        FusiqaError: unknown data set (the built-in one has no files), not found, wrong column, no rows.
    """
    data_dir = None if data_dir is None else data_dir.expanduser()
    facts = facts_of(dataset)
    return _own_table(dataset, data_dir) if facts is None else READERS[facts.name](_place(facts, data_dir))


def turned(rated: Rated, facts: Facts) -> Rated:
    """The ratings with higher always better: low + high - mos where the published ones go the other way."""
    if facts.higher_is_better:
        return rated
    mos = facts.score_range.low + facts.score_range.high - rated.table["mos"]
    return rated._replace(table=rated.table.assign(mos=mos))


def _read_synthetic(seed: int) -> Ratings:
    from fusiqa.data.synthetic import read_synthetic  # it draws images: heavy, and needed by few

    return read_synthetic(seed=seed)


def _own_table(dataset: str, data_dir: Path | None) -> Rated:
    path = Path(dataset).expanduser()
    if path.suffix.lower() not in TABLE_ENDINGS and not path.is_file():
        raise FusiqaError(_unknown(dataset))
    if data_dir is not None and not data_dir.is_dir():
        raise FusiqaError(f"--data_dir {data_dir}: no such folder; {dataset} names its images from there")
    return own_table(path, data_dir or path.parent)


def _range_of(dataset: str, rated: Rated) -> ScoreRange:
    mos = rated.table["mos"].dropna()
    if mos.empty:
        raise FusiqaError(f"{dataset}: no rating in its mos column is a number")
    return _proper_range(dataset, float(mos.min()), float(mos.max()))


def _proper_range(dataset: str, low: float, high: float) -> ScoreRange:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise FusiqaError(
            f"{dataset}: ratings from {low:g} to {high:g} are no range; give the lowest and the highest "
            "possible rating with --score_range LOW HIGH"
        )
    return ScoreRange(low, high)


def _ratings(name: str, rated: Rated, score_range: ScoreRange, resize: str) -> Ratings:
    return Ratings(
        name=name,
        table=rated.table,
        score_range=score_range,
        images=FolderImages(rated.root),
        resize=resize,
    )


def _unknown(dataset: str) -> str:
    """What to say to a name that is in no catalog."""
    if Path(dataset).is_dir():
        return (
            f"--dataset {dataset} is a folder; name the data set ({', '.join(names())}) and give --data_dir {dataset}"
        )
    allowed = f"{', '.join(names())}, or the path of a CSV or Parquet with image and mos columns"
    return f"unknown data set {dataset!r}: {closest(dataset)}allowed are {allowed}"


def _place(facts: Facts, data_dir: Path | None) -> Place:
    """Where the data set lies. Raises FusiqaError saying where it was looked for, in what layout, and its source."""
    looked_at = [data_dir] if data_dir is not None else usual_folders(facts)
    place = find_place(looked_at, facts.rating_files)
    if place is None:
        where = " or ".join(str(folder) + ("" if folder.is_dir() else " (no such folder)") for folder in looked_at)
        raise FusiqaError(
            f"{facts.name} is not in {where}, nor one folder above or below; expected {facts.layout}. "
            f"Get it from {facts.source} and give its folder (--data_dir)"
        )
    return place


def usual_folders(facts: Facts) -> list[Path]:
    """Where a data set is looked for unless its folder is given; the first is the one that it is downloaded to."""
    homes = [Path(home) for home in (os.environ.get("FUSIQA_DATA"), "data") if home]
    return [home / name for home in homes for name in (facts.name, *facts.aliases)]
