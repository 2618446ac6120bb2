"""The data sets that fusiqa reads by name: one table of facts, and `read`. It knows no model and no split to draw."""

from __future__ import annotations

import difflib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from fusiqa.config import ScoreRange
from fusiqa.data import readers
from fusiqa.data.photo import FolderPhotographs
from fusiqa.data.ratings import Ratings
from fusiqa.data.tables import Place, find_place
from fusiqa.errors import FusiqaError

SYNTHETIC = "synthetic"
"""The built-in data set, which needs no files (data/synthetic.py)."""
OWN_CSV_RESIZE = "384"
"""Short side of photographs in a CSV of one's own, pixels: KonIQ-10k's protocol for any aspect."""


@dataclass(frozen=True)
class Facts:
    """What is known of a published data set, in the order in which `fusiqa data info` is to say it."""

    name: str
    """What --dataset calls it."""
    aliases: tuple[str, ...]
    """Other names that are understood, and under which its folder is looked for."""
    images: int
    """Number of rated photographs as published."""
    score_range: ScoreRange
    """The interval of the published ratings."""
    higher_is_better: bool
    """Direction of the published ratings."""
    group: str
    """What the photographs of one group share."""
    official_split: str
    """The published split."""
    resize: str
    """The resize protocol, in the words of --resize."""
    licence: str
    """What its makers allow."""
    citation: str
    """Authors, title, where, year, DOI."""
    source: str
    """Where to get it."""
    layout: str
    """The files and folders that are read."""
    rating_files: tuple[str, ...]
    """Any one of these makes a folder known as the one of this data set."""
    reader: readers.Reader
    """What reads it."""


ALONE = "nothing: each photograph is a group of its own"

CATALOG = (
    Facts(
        name="koniq-10k",
        aliases=("koniq10k", "koniq"),
        images=10_073,
        score_range=ScoreRange(0, 100),
        higher_is_better=True,
        group=ALONE,
        official_split="training 7,058, validation 1,000, test 2,015 (older: train 7,046, test 2,010)",
        resize="512x384",
        licence="photographs under Creative Commons licences, from YFCC100M; see the source",
        citation="Hosu, Lin, Sziranyi and Saupe, KonIQ-10k, IEEE Transactions on Image Processing 29, 2020, "
        "doi:10.1109/TIP.2020.2967829",
        source="https://database.mmsp-kn.de/koniq-10k-database.html",
        layout=f"{readers.KONIQ_SHEET} (or {' and '.join(readers.KONIQ_LISTS)}) beside 512x384/*.jpg or 1024x768/*.jpg",
        rating_files=(readers.KONIQ_SHEET, *readers.KONIQ_LISTS, *(f"metas/{name}" for name in readers.KONIQ_LISTS)),
        reader=readers.koniq10k,
    ),
    Facts(
        name="spaq",
        aliases=(),
        images=11_125,
        score_range=ScoreRange(0, 100),
        higher_is_better=True,
        group=ALONE,
        official_split="none",
        resize="512",
        licence="education and research only",
        citation="Fang, Zhu, Zeng, Ma and Wang, Perceptual Quality Assessment of Smartphone Photography, CVPR 2020, "
        "doi:10.1109/CVPR42600.2020.00373",
        source="https://github.com/h4nwei/SPAQ",
        layout=f"{readers.SPAQ_SHEETS[0]} (or its columns as {readers.SPAQ_SHEETS[-1]}) beside TestImage/*.jpg",
        rating_files=readers.SPAQ_SHEETS,
        reader=readers.spaq,
    ),
    Facts(
        name="biq2021",
        aliases=("biq",),
        images=12_000,
        score_range=ScoreRange(0, 1),
        higher_is_better=True,
        group=ALONE,
        official_split="train 10,000, test 2,000",
        resize="320",
        licence="free for use and benchmarking, its makers say; 8,000 photographs come from Unsplash",
        citation="Ahmed and Asif, BIQ2021, Journal of Electronic Imaging 31(5), 053010, 2022, "
        "doi:10.1117/1.JEI.31.5.053010",
        source="https://github.com/nisarahmedrana/BIQ2021",
        layout=f"{' and '.join(readers.BIQ2021_SHEETS.values())} beside Images/*.jpg",
        rating_files=tuple(readers.BIQ2021_SHEETS.values()),
        reader=readers.biq2021,
    ),
)


def names() -> list[str]:
    """What --dataset takes by name, in alphabetical order."""
    return sorted([SYNTHETIC, *(facts.name for facts in CATALOG)])


def facts_of(dataset: str) -> Facts | None:
    """The facts of a published data set by its name or an alias, in any case; None if there is none of that name.

    Example:
        >>> facts_of("KonIQ10k").name
        'koniq-10k'
    """
    known = {name: facts for facts in CATALOG for name in (facts.name, *facts.aliases)}
    return known.get(dataset.lower().replace("_", "-"))


def read(
    dataset: str, *, data_dir: Path | None = None, score_range: tuple[float, float] | None = None, seed: int = 0
) -> Ratings:
    """Read the ratings of a data set, with its official split where there is one; no photograph is opened.

    Args:
        dataset: a name or alias of the catalog, "synthetic", or the path of a CSV with image and mos columns.
        data_dir: its folder, or one above or below; by default $FUSIQA_DATA/<name> or ./data/<name>. For a CSV the
            folder that its image names start from, by default the CSV's own.
        score_range: lowest and highest possible rating; by default the data set's own, for a CSV those of its rows.
        seed: of the built-in data set; the others do not need it.

    Returns:
        The ratings: NaN where a row's cannot be read; photographs may be missing (data/check.py reports both).

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
        return _ratings(dataset, rated, asked or _range_of(dataset, rated), OWN_CSV_RESIZE)
    return _ratings(facts.name, rated, asked or facts.score_range, facts.resize)


def rows(dataset: str, *, data_dir: Path | None) -> readers.Rated:
    """What the files of a data set say, before anything is refused but what cannot be read at all.

    Raises:
        FusiqaError: unknown data set (the built-in one has no files), not found, wrong column, no rows.
    """
    data_dir = None if data_dir is None else data_dir.expanduser()
    facts = facts_of(dataset)
    return _own_csv(dataset, data_dir) if facts is None else facts.reader(_place(facts, data_dir))


def _read_synthetic(seed: int) -> Ratings:
    from fusiqa.data.synthetic import read_synthetic  # it draws photographs: heavy, and needed by few

    return read_synthetic(seed=seed)


def _own_csv(dataset: str, data_dir: Path | None) -> readers.Rated:
    path = Path(dataset).expanduser()
    if path.suffix.lower() != ".csv" and not path.is_file():
        raise FusiqaError(_unknown(dataset))
    if data_dir is not None and not data_dir.is_dir():
        raise FusiqaError(f"--data_dir {data_dir}: no such folder; {dataset} names its photographs from there")
    return readers.own_csv(path, data_dir or path.parent)


def _range_of(dataset: str, rated: readers.Rated) -> ScoreRange:
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


def _ratings(name: str, rated: readers.Rated, score_range: ScoreRange, resize: str) -> Ratings:
    return Ratings(
        name=name,
        table=rated.table,
        score_range=score_range,
        photographs=FolderPhotographs(rated.root),
        resize=resize,
    )


def _unknown(dataset: str) -> str:
    """What to say to a name that is in no catalog."""
    if Path(dataset).is_dir():
        return (
            f"--dataset {dataset} is a folder; name the data set ({', '.join(names())}) and give --data_dir {dataset}"
        )
    spellings = names() + [alias for facts in CATALOG for alias in facts.aliases]
    closest = difflib.get_close_matches(dataset.lower(), spellings, n=1)
    hint = f"did you mean {closest[0]}? " if closest else ""
    allowed = f"{', '.join(names())}, or the path of a CSV with image and mos columns"
    return f"unknown data set {dataset!r}: {hint}allowed are {allowed}"


def _place(facts: Facts, data_dir: Path | None) -> Place:
    """Where the data set lies. Raises FusiqaError saying where it was looked for, in what layout, and its source."""
    looked_at = [data_dir] if data_dir is not None else _usual_folders(facts)
    place = find_place(looked_at, facts.rating_files)
    if place is None:
        where = " or ".join(str(folder) + ("" if folder.is_dir() else " (no such folder)") for folder in looked_at)
        raise FusiqaError(
            f"{facts.name} is not in {where}, nor one folder above or below; expected {facts.layout}. "
            f"Get it from {facts.source} and give its folder (--data_dir)"
        )
    return place


def _usual_folders(facts: Facts) -> list[Path]:
    homes = [Path(home) for home in (os.environ.get("FUSIQA_DATA"), "data") if home]
    return [home / name for home in homes for name in (facts.name, *facts.aliases)]
