"""The images of a run: read, checked, split, behind the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusiqa.config import DataSettings
from fusiqa.data import catalog, splits
from fusiqa.data.audit import Checked, check
from fusiqa.data.cache import CachedImages, cached
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import LISTED_AT_MOST, FusiqaError
from fusiqa.runs.folder import Say
from fusiqa.scoring.image import Resize
from fusiqa.stats.metrics import FEWEST_IMAGES

MEASURED: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True)
class Prepared:
    """What a run trains on.

    Attributes:
        checked: the usable rows, with their split; the images are read through the cache.
        resize: the resize protocol.
    """

    checked: Checked
    resize: Resize

    @property
    def ratings(self) -> Ratings:
        return self.checked.ratings


def read_ratings(data: DataSettings) -> tuple[Ratings, Resize]:
    """The ratings as published, and the resize protocol; no image is opened."""
    if data.split_file is not None and not data.split_file.is_file():  # before minutes of looking at images
        raise FusiqaError(f"`split_file` {data.split_file} does not exist")
    ratings = catalog.read(
        data.dataset,
        data_dir=data.data_dir,
        score_range=data.score_range,
        lower_is_better=data.lower_is_better,
        seed=data.split_seed,
    )
    return ratings, Resize.parse(data.resize if data.resize != "auto" else ratings.resize)


def prepare(data: DataSettings, ratings: Ratings, resize: Resize, *, say: Say, progress: bool) -> Prepared:
    """Look at every image and rating, split, and put the cache before what is left.

    Raises:
        FusiqaError: rows that cannot be used, or splits that cannot be measured.
    """
    if catalog.is_custom(data.dataset) and data.score_range is None:
        low, high = ratings.score_range
        say(f"score range: {low:g} to {high:g}, the lowest and highest rating of the table (`score_range`)")
    checked = check(ratings, skip_broken=data.skip_broken, progress=progress)
    if checked.broken:
        say(f"warning: {len(checked.broken)} broken rows are skipped; config.json lists them")
    published = not catalog.is_custom(data.dataset) and checked.ratings.table["split"].notna().any()
    usable = split(checked.ratings if published else splits.group_copies(checked.ratings, checked.contents), data)
    for name in MEASURED:
        check_measurable(usable.part(name), name)
    images = cached(usable.images, checked.contents, resize, folder=data.cache_dir, gigabytes=data.cache_gb)
    if isinstance(images, CachedImages):
        say(f"resized images are cached in {images.store.folder.parent}, at most {data.cache_gb:g} GB (`cache_gb`)")
    return Prepared(replace(checked, ratings=replace(usable, images=images)), resize)


def split(ratings: Ratings, data: DataSettings) -> Ratings:
    """The split of the file that was given, else the published one, else one that is drawn."""
    if data.split_file is not None:
        return splits.load(ratings, data.split_file)
    return splits.assign(ratings, validation_fraction=data.validation_fraction, seed=data.split_seed)


def check_measurable(part: Ratings, split: str) -> None:
    """Refuse a split on which no correlation exists, before epochs are spent. Raises FusiqaError."""
    if len(part) < FEWEST_IMAGES or part.table["mos"].nunique() < 2:
        raise FusiqaError(
            f"{part.name}: the {split} split has {len(part)} images with {part.table['mos'].nunique()} different "
            f"ratings; a correlation needs {FEWEST_IMAGES} and 2 (`validation_fraction` holds out more)"
        )


def usable(ratings: Ratings, *, rated: bool, progress: bool, say: Say) -> Ratings:
    """The images that can be read; of the others, the first five and their number are reported.

    Args:
        ratings: to be looked at.
        rated: whether a row without a rating is unusable too.
        progress: show a bar on standard error.
        say: receives what is left out.

    Raises:
        FusiqaError: nothing can be read.
    """
    checked = check(ratings, skip_broken=True, progress=progress, rated=rated)
    for row in checked.broken[:LISTED_AT_MOST]:
        say(f"notice: skipped {row.image}: {row.reason}")
    if len(checked.broken) > LISTED_AT_MOST:
        say(f"notice: {len(checked.broken)} images were skipped in all")
    return checked.ratings
