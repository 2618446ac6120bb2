"""The images of a run: read, checked, split, behind the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fusiqa.config import DataSettings
from fusiqa.config.checks import from_plain, hints
from fusiqa.data import catalog, splits
from fusiqa.data.audit import Checked, check
from fusiqa.data.cache import CachedImages, cached
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import LISTED_AT_MOST, FusiqaError
from fusiqa.progress import Say
from fusiqa.runs.folder import CONFIG_FILE, SPLIT_FILE, TrainedModel
from fusiqa.scoring.image import Resize
from fusiqa.stats.metrics import FEWEST_IMAGES


def read_ratings(data: DataSettings) -> Ratings:
    """The ratings as published, with the resize protocol of the run; no image is opened."""
    if data.split_file is not None and not data.split_file.is_file():  # before checking the images, which takes minutes
        raise FusiqaError(f"`split_file` {data.split_file} does not exist")
    own: dict[str, Any] = {name: getattr(data, name) for name in ("data_dir", "score_range", "lower_is_better")}
    ratings = catalog.read(data.dataset, seed=data.split_seed, **own)
    return replace(ratings, resize=str(Resize.parse(ratings.resize if data.resize == "auto" else data.resize)))


def prepare(data: DataSettings, ratings: Ratings, resize: Resize, *, say: Say, progress: bool) -> Checked:
    """Check every image and rating, split the usable ones, and read them through the cache."""
    custom = catalog.is_custom(data.dataset)
    if custom and data.score_range is None:
        low, high = ratings.score_range
        say(f"score range: {low:g} to {high:g}, the lowest and highest rating of the table (`score_range`)")
    checked = check(ratings, skip_broken=data.skip_broken, progress=progress)
    if checked.broken:
        say(f"warning: {len(checked.broken)} broken rows are skipped; config.json lists them")
    ratings = checked.ratings
    if custom or ratings.table["split"].isna().all():
        ratings = splits.group_copies(ratings, checked.contents)
    if data.split_file is None:
        ratings = splits.assign(ratings, validation_fraction=data.validation_fraction, seed=data.split_seed)
    else:
        ratings = splits.load(ratings, data.split_file)
    for split in ("validation", "test"):  # before epochs are spent
        mos = ratings.part(split).table["mos"]
        if len(mos) < FEWEST_IMAGES or mos.nunique() < 2:
            found = f"{ratings.name}: the {split} split has {len(mos)} images with {mos.nunique()} different ratings"
            needed = f"a correlation needs {FEWEST_IMAGES} and 2 (`validation_fraction` holds out more)"
            raise FusiqaError(f"{found}; {needed}")
    reader = cached(ratings.images, checked.contents, resize, folder=data.cache_dir, gigabytes=data.cache_gb)
    if isinstance(reader, CachedImages):
        say(f"resized images are cached in {reader.store.folder.parent}, at most {data.cache_gb:g} GB (`cache_gb`)")
    return replace(checked, ratings=replace(ratings, images=reader))


def own_part(model: TrainedModel, split: Split, *, data_dir: Path | None = None) -> Ratings:
    """One split of the data set that a run was trained on, from `data_dir`, by default from its folder at that time."""
    if not model.record:
        raise FusiqaError(f"{model.folder} is not a run directory: give images or a `dataset`")
    given = {name: model.record["settings"][name] for name in hints(DataSettings)}
    data = from_plain(DataSettings, given, where=str(model.folder / CONFIG_FILE))
    ratings = read_ratings(replace(data, data_dir=data_dir or data.data_dir, split_file=None))
    broken = [row["image"] for row in model.record["resolved"]["broken"]]
    return splits.load(ratings.without(broken), model.folder / SPLIT_FILE).part(split)


def usable(ratings: Ratings, *, rated: bool, progress: bool, say: Say) -> Ratings:
    """The images that can be read, and with `rated` have a rating; the first five others are reported."""
    checked = check(ratings, skip_broken=True, progress=progress, rated=rated)
    for row in checked.broken[:LISTED_AT_MOST]:
        say(f"notice: skipped {row.image}: {row.reason}")
    if len(checked.broken) > LISTED_AT_MOST:
        say(f"notice: {len(checked.broken)} images of {ratings.name} were skipped in all")
    return checked.ratings
