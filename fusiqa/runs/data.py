"""The images of a run: read, checked, split, behind the cache."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusiqa.config import DataSettings
from fusiqa.config.checks import from_plain, hints
from fusiqa.data import catalog, splits
from fusiqa.data.audit import Checked, check
from fusiqa.data.cache import CachedImages, cached
from fusiqa.data.joint import join, join_checked
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import LISTED_AT_MOST, FusiqaError, listed
from fusiqa.progress import Say
from fusiqa.runs.folder import CONFIG_FILE, SPLIT_FILE, TrainedModel
from fusiqa.scoring.image import Resize
from fusiqa.stats.metrics import FEWEST_IMAGES


def read_ratings(data: DataSettings) -> list[Ratings]:
    """The ratings of each data set as published, with the resize protocol of the run; no image is opened."""
    if data.split_file is not None and not data.split_file.is_file():  # before minutes of looking at images
        raise FusiqaError(f"`split_file`: there is no file {data.split_file}")
    known: dict[str, str] = {}
    for dataset in data.datasets:
        if (first := known.setdefault(catalog.place_of(dataset), dataset)) != dataset:
            raise FusiqaError(f"`dataset`: {first} and {dataset} are one data set")
    return [read_one(dataset, data) for dataset in data.datasets]


def read_one(dataset: str, data: DataSettings, *, name_now: str | None = None) -> Ratings:
    """A data set of a run, which may have another `name_now`: the path of its table from here."""
    folder = data.folders.get(dataset) or catalog.folder_below(data.data_root, dataset)
    own: dict[str, Any] = {name: getattr(data, name) for name in ("score_range", "lower_is_better")}
    ratings = catalog.read(name_now or dataset, data_dir=folder, seed=data.split_seed, **own)
    resize = Resize.parse(ratings.resize if data.resize == "auto" else data.resize)
    name = ratings.name if name_now in (None, dataset) else dataset
    return replace(ratings, name=name, resize=str(resize))


def prepare(data: DataSettings, sets: Sequence[Ratings], *, view: str, say: Say, progress: bool) -> Checked:
    """Check every image and rating, split, and cache the usable images of each data set; then join the sets."""
    custom = [catalog.is_custom(dataset) for dataset in data.datasets]
    checked = [
        prepare_one(data, ratings, Resize.parse(ratings.resize, view=view), custom=own, say=say, progress=progress)
        for ratings, own in zip(sets, custom, strict=True)
    ]
    if len(checked) == 1:
        return checked[0]
    return join_checked(dict(zip(catalog.short_names(data.datasets).values(), checked, strict=True)))


def prepare_one(
    data: DataSettings, ratings: Ratings, resize: Resize, *, custom: bool, say: Say, progress: bool
) -> Checked:
    if custom and data.score_range is None:
        say_range(ratings, say, stated=not data.datasets[1:])
    checked = check(ratings, skip_broken=data.skip_broken, progress=progress)
    if checked.broken:
        say(f"warning: {len(checked.broken)} broken rows are skipped; config.json lists them")
    ratings, stated = checked.ratings, set(ratings.table["split"].dropna())
    if lost := listed(sorted(stated - set(ratings.table["split"].dropna()))):
        raise FusiqaError(f"{ratings.name}: no row of its {lost} split can be used, and another must not be drawn")
    if custom or ratings.table["split"].isna().all():
        ratings = splits.group_copies(ratings, checked.contents)
    if data.split_file is not None:
        ratings = splits.load(ratings, data.split_file)
    ratings = splits.assign(ratings, validation_fraction=data.validation_fraction, seed=data.split_seed)
    for split in ("validation", "test"):  # before epochs are spent
        mos = ratings.part(split).table["mos"]
        if len(mos) < FEWEST_IMAGES or mos.nunique() < 2:
            found = f"{ratings.name}: the {split} split has {len(mos)} images with {mos.nunique()} different ratings"
            needed = f"a correlation needs {FEWEST_IMAGES} and 2 (`validation_fraction` holds out more)"
            raise FusiqaError(f"{found}; {needed}")
    reader = cached(ratings.images, checked.contents, resize, folder=data.cache_dir, gigabytes=data.cache_gb)
    if isinstance(reader, CachedImages) and reader.store.limit > 0:  # else it has said why not
        say(f"resized images are cached in {reader.store.folder.parent}, at most {data.cache_gb:g} GB (`cache_gb`)")
    return replace(checked, ratings=replace(ratings, images=reader))


def say_range(ratings: Ratings, say: Say, *, stated: bool = True) -> None:
    """Say what is taken for the range of a table, and how it is `stated` where it can be."""
    low, high = ratings.score_range
    say(f"score range: {low:g} to {high:g}, the lowest and highest rating of the table{' (`score_range`)' * stated}")


def own_part(model: TrainedModel, split: Split, *, dataset: str | None = None, data_dir: Path | None = None) -> Ratings:
    """One split of what a run was trained on, from `data_dir`, by default from its folder then.

    Of a run on several data sets, that of one, or of all where none is named.
    """
    if not model.record:
        raise FusiqaError(f"{model.folder} is not a run directory: give images or a `dataset`")
    given = {name: model.record["settings"][name] for name in hints(DataSettings)}
    data = from_plain(DataSettings, given, where=str(model.folder / CONFIG_FILE))
    own = (model.own_name(dataset) if dataset else None) or data.datasets[0]
    folders = {each: model.place(folder) for each, folder in data.folders.items()}
    folders |= {own: data_dir} if data_dir else {}
    data = replace(
        data,
        data_dir=tuple(f"{each}={folder}" for each, folder in folders.items()) or None,
        data_root=data.data_root and model.place(data.data_root),
    )
    names = catalog.short_names(data.datasets)
    wanted = [own] if dataset else list(names)
    for each in filter(catalog.is_custom, wanted):
        if not Path(model.name_now(each)).is_file():
            advice = "put it back, or work in a folder from which a relative name finds it"
            raise FusiqaError(f"{each}: the table of the training is no longer there; {advice}")
    sets = {names[each]: read_one(each, data, name_now=model.name_now(each)) for each in wanted}
    ratings = join(sets) if len(names) > 1 else sets[names[own]]
    broken = [row.get("image", "") for row in model.record["resolved"]["broken"]]
    return splits.load(ratings.without(broken), model.folder / SPLIT_FILE).part(split)


def usable(ratings: Ratings, *, rated: bool, progress: bool, say: Say) -> Checked:
    """The images that can be read, and with `rated` have a rating; the first five others are reported."""
    checked = check(ratings, skip_broken=True, progress=progress, rated=rated)
    for row in checked.broken[:LISTED_AT_MOST]:
        say(f"notice: skipped {row.image}: {row.reason}")
    if len(checked.broken) > LISTED_AT_MOST:
        say(f"notice: {len(checked.broken)} images of {ratings.name} were skipped in all")
    return checked


def warn_of_seen(trained: TrainedModel, contents: Collection[str], name: str, say: Say, *, whose: str = "") -> None:
    """Say how many of the images that are measured on a model has learned from or was chosen by."""
    if seen := trained.seen(contents):
        why = f"{seen} of the {len(contents)} images of {name} are images of {whose}training or validation"
        say(f"warning: {why}, by their content: the figures are too high")
