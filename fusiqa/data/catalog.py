"""Data sets by name: what is known about each (catalog.toml), and `read`, which finds one on disk and reads it."""

from __future__ import annotations

import difflib
import math
import os
import re
import textwrap
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.config.train import DISTORTED
from fusiqa.data.ratings import Ratings
from fusiqa.data.readers import READERS, Place
from fusiqa.data.table import TABLE_ENDINGS, Labels, labels_of_table
from fusiqa.errors import FusiqaError, listed
from fusiqa.scoring.image import FolderImages
from fusiqa.scoring.inputs import image_files

SYNTHETIC = "synthetic"  # the built-in data set, which has no files (data/synthetic.py)
CUSTOM_RESIZE = "384"  # short side for images of a custom table or a folder, pixels: that of KonIQ-10k


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a published data set."""

    name: str  # its value of --dataset
    aliases: list[str]  # other accepted names, of the data set and of its folder
    images: int  # number of rated images as published
    score_range: ScoreRange  # of the published ratings
    higher_is_better: bool  # as published; ratings where lower is better are inverted when they are read
    group: str  # what the images of a group share; empty where each image is its own
    official_split: str
    resolution: str  # of the images, pixels, width by height
    resize: str  # the resize protocol, as --resize takes it
    licence: str  # what its authors allow
    redistributable: bool  # whether its terms allow others to redistribute it unchanged, at least for research
    citation: str  # authors, title, venue, year, DOI
    source: str  # where to get it
    layout: str  # the files and folders that are read
    rating_files: list[str]  # any one of these identifies the folder of the data set; patterns are allowed
    hub_archive: str  # its file in the collection that `fusiqa data download` uses; empty if there is none

    @property
    def downloadable(self) -> bool:
        return self.redistributable and bool(self.hub_archive)

    def facts(self) -> dict[str, str]:
        """By the names that `fusiqa data info` shows, in its order."""
        direction = "higher is better" if self.higher_is_better else "lower is better as published, inverted when read"
        return {
            "name": ", ".join((self.name, *self.aliases)),
            "images": f"{self.images:,}",
            "ratings": f"{self.score_range.low:g} to {self.score_range.high:g}, {direction}",
            "images of a group share": self.group or "nothing: each image is its own group",
            "official split": self.official_split,
            "resolution": self.resolution,
            "resized to": self.resize,
            "licence": self.licence,
            "redistributable": "yes" if self.redistributable else "no: ask at its source",
            "citation": self.citation,
            "source": self.source,
            "layout": self.layout,
            "looked for in": f"$FUSIQA_DATA/{self.name} or data/{self.name}, or --data_dir",
            "download": f"fusiqa data download {self.name}" if self.downloadable else "by hand",
        }


_TABLE = tomllib.loads(resources.files("fusiqa.data").joinpath("catalog.toml").read_text(encoding="utf-8"))
KIND_PATTERNS = {name: entry.pop("kinds") for name, entry in _TABLE.items() if "kinds" in entry}
"""How the distortion of an image, or the model that generated it, is found in its name."""
TABLE_COLUMNS = {name: entry.pop("table") for name, entry in _TABLE.items() if "table" in entry}
"""The columns of the data sets whose ratings are one table, and the folders that their images may be in."""
CUSTOM_COLUMNS: dict[str, list[str]] = _TABLE.pop("custom")
BUILT_IN: dict[str, dict[str, str]] = {name: _TABLE.pop(name) for name in (SYNTHETIC, DISTORTED)}
CATALOG = tuple(
    DatasetInfo(name=name, **entry | {"score_range": ScoreRange(*map(float, entry["score_range"]))})
    for name, entry in _TABLE.items()
)


def dataset_names() -> list[str]:
    """The names that --dataset accepts, in alphabetical order."""
    return sorted([*BUILT_IN, *(info.name for info in CATALOG)])


def find_dataset(name: str) -> DatasetInfo | None:
    """A published data set by its name or an alias, in any case; None if there is no such data set."""
    wanted = name.lower().replace("_", "-")
    return next((info for info in CATALOG if wanted in (info.name, *info.aliases)), None)


def is_custom(name: str) -> bool:
    """Whether a data set is the path of a table, neither published nor built in."""
    return find_dataset(name) is None and name.lower() not in BUILT_IN


def place_of(name: str) -> str:
    """The same for all spellings of a data set: its name in the catalog, or the real path of a table."""
    info = find_dataset(name)
    return info.name if info else os.path.realpath(os.path.expanduser(name)) if is_custom(name) else name.lower()


def published(name: str, *, also: str = "") -> DatasetInfo:
    """As `find_dataset`, but a FusiqaError for another name, with the closest one; it adds what is expected `also`."""
    if info := find_dataset(name):
        return info
    spellings = dataset_names() + [alias for info in CATALOG for alias in info.aliases]
    close = difflib.get_close_matches(name.lower(), spellings, n=1)
    hint = f", did you mean {close[0]}? Expected" if close else "; expected"
    raise FusiqaError(f"unknown data set {name!r}{hint} one of {', '.join(dataset_names())}{also}")


def kinds(dataset: str, images: list[str]) -> list[str] | None:
    """The distortion or generator of each image; None if one of the names does not say it.

    Example:
        >>> kinds("kadid-10k", ["I01_01_01.png", "I81_25_05.png"])
        ['Gaussian blur', 'contrast change']
    """
    if dataset not in KIND_PATTERNS:
        return None
    words, text = KIND_PATTERNS[dataset].get("words", {}), KIND_PATTERNS[dataset].get("text", "")
    found = [re.search(KIND_PATTERNS[dataset]["pattern"], image) for image in images]
    known = [words.get(match[1].lower()) or text.format(match[1].replace("_", " ")) for match in found if match]
    return known if known and all(known) and len(known) == len(images) else None


def list_text() -> str:
    """The published data sets as a table of text, one a line."""
    rows = [("name", "images", "ratings", "better", "groups", "official split", "licence")] + [
        (
            info.name,
            f"{info.images:,}",
            f"{info.score_range.low:g} to {info.score_range.high:g}",
            "higher" if info.higher_is_better else "lower",
            re.sub("their |undistorted |[()]", "", info.group) or "none",
            textwrap.shorten(info.official_split.partition(" (")[0], 34, placeholder="..."),
            textwrap.shorten(info.licence, 28, placeholder="..."),
        )
        for info in CATALOG
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", "Details: fusiqa data info NAME. Check a copy: fusiqa data check NAME."])


def info_text(name: str) -> str:
    """Everything known about a data set, one fact a line. Raises FusiqaError for an unknown name."""
    shown = BUILT_IN.get(name.lower()) or published(name).facts()
    return "\n".join(f"{title.ljust(max(map(len, shown)))}  {value}" for title, value in shown.items())


def read(
    dataset: str, *, data_dir: Path | None = None, score_range: tuple[float, float] | None = None,
    lower_is_better: bool = False, seed: int = 0,
) -> Ratings:  # fmt: skip
    """Read the ratings of a data set, with its official split if it has one; no image is opened.

    Args:
        dataset: a name or alias of the catalog, "synthetic", "distorted", or the path of a table of images and ratings.
        data_dir: its folder, or one above or below; by default $FUSIQA_DATA/<name> or ./data/<name>. For a table, the
            folder that its image names are relative to, by default the table's own.
        score_range: lowest and highest possible rating; by default the published one, for a table that of its rows.
        lower_is_better: the ratings of a custom table are of distortion, as DMOS is, and inverted within the range.
        seed: of the images that are drawn or distorted; not used by published data sets.

    Returns:
        The ratings, higher always better; NaN where one cannot be read. Images may be missing (`audit` reports both).

    Raises:
        FusiqaError: unknown data set, not found, wrong column, no rows, a rating outside the range, or no range.
    """
    asked = None if score_range is None else _valid_range(dataset, *score_range)
    info = find_dataset(dataset)
    if lower_is_better and not is_custom(dataset):
        raise FusiqaError(f"`lower_is_better` is for custom tables: the direction of {dataset} is known")
    if dataset.lower() == SYNTHETIC:
        from fusiqa.data.synthetic import read_synthetic  # imports what draws images: rarely needed

        ratings = read_synthetic(seed=seed)
        return ratings if asked is None else replace(ratings, score_range=asked)
    if dataset.lower() == DISTORTED:
        from fusiqa.data.distorted import label_distorted

        if data_dir is None:
            raise FusiqaError(f"{DISTORTED}: give the folder of sharp images as `data_dir`")
        ratings = label_distorted(read_images([data_dir]), resize=CUSTOM_RESIZE, seed=seed)
        return ratings if asked is None else replace(ratings, score_range=asked)
    table, root = read_labels(dataset, data_dir=data_dir)
    mos = table["mos"]
    if info is not None:
        name, resize, known, inverted = info.name, info.resize, info.score_range, not info.higher_is_better
    else:
        if asked is None and mos.isna().all():
            raise FusiqaError(
                f"{dataset}: its rating column contains no number; decimal commas are read in a CSV that "
                "is separated by semicolons or tabs"
            )
        known = asked or _valid_range(dataset, float(mos.min()), float(mos.max()))
        name, resize, inverted = dataset, CUSTOM_RESIZE, lower_is_better
    if inverted:  # low + high - mos, exactly within the range: rounding would put the ends outside
        low, high = known
        table = table.assign(mos=(low + high - mos).mask(mos == low, high).mask(mos == high, low))
    return Ratings(name, table, asked or known, FolderImages(root), resize)


def read_images(paths: Sequence[Path], *, say: Callable[[str], object] = print) -> Ratings:
    """Images without ratings, named from their common folder. FusiqaError: no image, or a name that is not UTF-8."""
    files = image_files(paths, say=say)
    root = Path(os.path.commonpath([file.parent for file in files]))
    names = [str(file.relative_to(root)) for file in files]
    undecoded = [ascii(name) for name in names if name != name.encode(errors="replace").decode()]
    if undecoded:
        raise FusiqaError(f"names of images that are not UTF-8: {listed(undecoded)}; rename the files")
    table = pd.DataFrame({"image": names, "mos": float("nan"), "split": None, "group": names})
    name = paths[0].resolve().name if len(paths) == 1 else f"{len(files)} images"
    return Ratings(name, table, ScoreRange(0, 1), FolderImages(root), "none")


def read_labels(dataset: str, *, data_dir: Path | None) -> Labels:
    """The rating files of a data set as published, with nothing refused except what cannot be read at all."""
    data_dir = None if data_dir is None else Path(os.path.expanduser(data_dir))
    path, custom = Path(os.path.expanduser(dataset)), find_dataset(dataset) is None
    if custom and path.is_dir():
        raise FusiqaError(f"{dataset} is a folder: give the name of its data set, and the folder as `data_dir`")
    if custom and (path.suffix.lower() in TABLE_ENDINGS or path.is_file()):
        return labels_of_table(path, data_dir or path.parent, CUSTOM_COLUMNS)
    info = published(dataset, also=", or the path of a CSV, Parquet or Excel table of images and ratings")
    place, columns = _locate(info, data_dir), TABLE_COLUMNS.get(info.name)
    if columns is None:
        return READERS[info.name](place)
    roots = [place.folder / folder for folder in columns["folders"]]
    return labels_of_table(place.ratings, next(filter(Path.is_dir, roots), roots[0]), columns)


def _valid_range(dataset: str, low: float, high: float) -> ScoreRange:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        found = f"ratings from {low:g} to {high:g} are not a range"
        raise FusiqaError(f"{dataset}: {found}; training takes another as `score_range`")
    return ScoreRange(low, high)


def short_names(datasets: Sequence[str]) -> dict[str, str]:
    """A distinct short name of each data set, for files and columns: its own, or its table's, numbered where taken.

    Example:
        >>> short_names(["koniq-10k", "a/ratings.csv", "b/ratings.csv"])
        {'koniq-10k': 'koniq-10k', 'a/ratings.csv': 'ratings', 'b/ratings.csv': 'ratings-2'}
    """
    found: dict[str, str] = {}
    for dataset in datasets:
        info = find_dataset(dataset)
        name = stem = info.name if info else dataset.lower() if dataset.lower() in BUILT_IN else Path(dataset).stem
        number = 1
        while name in found.values():
            number += 1
            name = f"{stem}-{number}"
        found.setdefault(dataset, name)
    return found


def folder_below(root: Path | None, dataset: str) -> Path | None:
    """The folder of a data set below one that holds several, by its name or an alias; None if there is none."""
    info = find_dataset(dataset)
    names = (info.name, *info.aliases) if info else (dataset,)
    return next((root / name for name in names if (root / name).is_dir()), None) if root else None


def usual_folders(info: DatasetInfo) -> list[Path]:
    """Where a data set is looked for if its folder is not given; the first is the one that it is downloaded to."""
    homes = filter(None, (os.environ.get("FUSIQA_DATA"), "data"))
    return [Path(home) / name for home in homes for name in (info.name, *info.aliases)]


def _locate(info: DatasetInfo, data_dir: Path | None) -> Place:
    """The first folder that holds one of the rating files, itself or one folder below or above."""

    def ratings_in(folder: Path) -> Path | None:
        paths = (path for name in info.rating_files for path in sorted(folder.glob(name)))
        return next(filter(Path.is_file, paths), None)

    looked_in = [data_dir] if data_dir is not None else usual_folders(info)
    for pointed in filter(Path.is_dir, looked_in):
        copies = [pointed]
        if not ratings_in(pointed):
            copies = [child for child in sorted(pointed.iterdir()) if child.is_dir() and ratings_in(child)]
        if len(copies) > 1:
            names = listed([child.name for child in copies])
            raise FusiqaError(f"{pointed} holds several copies of {info.name}: {names}; choose one")
        for folder in [*copies, pointed.absolute().parent]:
            if ratings := ratings_in(folder):
                return Place(folder, ratings, pointed)
    where = " or ".join(str(folder) + ("" if folder.is_dir() else " (no such folder)") for folder in looked_in)
    raise FusiqaError(
        f"{info.name} was not found in {where}, nor one folder above or below; expected {info.layout}.\n"
        f"Get it from {info.source} and give its folder as `data_dir`"
    )
