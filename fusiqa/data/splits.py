"""Train, validation and test splits: the published one, else one drawn by group.

All images of a group are on one side. A draw depends only on the seed and the names of the groups: not on the order of
the rows, and removing one image leaves (almost) all others where they were.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from fusiqa.data.ratings import SPLITS, Ratings, Split, fingerprint
from fusiqa.data.table import column, image_names, read_cells
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import write_atomically

TEST_FRACTION = 0.2
"""Of the images, drawn for the test split if a data set publishes none: the usual 80 / 20."""


def assign(ratings: Ratings, *, validation_fraction: float, seed: int, redraw: bool = False) -> Ratings:
    """Give every row its split.

    A published split stays as it is. If it has only train and test, validation is drawn from train; if there is no
    split at all, a fifth of the images is drawn for the test first. Results on such data sets are usually medians over
    ten draws, that is over ten seeds.

    Args:
        ratings: with the published split of each row, or none in all of them.
        validation_fraction: of the training images held out, in 0-1, both excluded; not used if the data set
            publishes a validation split.
        seed: of the draw.
        redraw: ignore a published split and draw another; published results do not apply to it.

    Raises:
        FusiqaError: a fraction out of range, rows without a split beside rows with one, splits without train or
            without test, a group on two sides, or too few groups for every side to get one.

    Example:
        >>> from fusiqa.data.catalog import read
        >>> ratings = read("synthetic")
        >>> draws = [assign(ratings, validation_fraction=0.1, seed=seed, redraw=True) for seed in range(10)]
        >>> len({split_fingerprint(draw) for draw in draws})
        10
    """
    if redraw:
        ratings = replace(ratings, table=ratings.table.assign(split=None))
    published = _published(ratings)
    if "validation" not in published and not 0 < validation_fraction < 1:
        raise FusiqaError(f"`validation_fraction` must be above 0 and below 1, got {validation_fraction:g}")
    if not published:
        ratings = _cut(ratings, "test", fraction=TEST_FRACTION, seed=seed)
    check_no_leak(ratings)
    if "validation" in published:
        return ratings
    return _cut(ratings, "validation", fraction=validation_fraction, seed=seed)


def group_copies(ratings: Ratings, contents: Mapping[str, str]) -> Ratings:
    """The ratings with all images of the same content in one group, whatever their names, so that no split parts them.

    Args:
        ratings: to be split.
        contents: a hash of the content of each image, as `audit.check` gives.
    """
    table = ratings.table
    content = table["image"].map(contents)
    copies = table[content.duplicated(keep=False)]
    merged: dict[str, str] = {}  # a group to one that it shares an image with

    def root(group: str) -> str:
        while group in merged:
            group = merged[group]
        return group

    for _, groups in copies.groupby(content)["group"]:
        first, *others = sorted({root(group) for group in groups})
        merged |= dict.fromkeys(others, first)
    return replace(ratings, table=table.assign(group=table["group"].map(root)))


def _published(ratings: Ratings) -> set[Split]:
    """The splits that the data set comes with. Raises FusiqaError if they are incomplete."""
    splits = ratings.table["split"]
    published: set[Split] = set(splits.dropna())
    if published and splits.isna().any():
        rows = ratings.table["image"][splits.isna()].tolist()
        raise FusiqaError(f"{ratings.name}: no split given for {listed(rows)}; give one to every row, or to none")
    for needed in ("train", "test"):
        if published and needed not in published:
            raise FusiqaError(
                f"{ratings.name}: its split has {listed(sorted(published))}, but no {needed}; "
                "both are needed (or no split at all, to draw one)"
            )
    return published


def _cut(ratings: Ratings, name: Split, *, fraction: float, seed: int) -> Ratings:
    """Move whole groups with about this fraction of the training images, at least one group, to a new split.

    Raises:
        FusiqaError: fewer than two groups.
    """
    split = ratings.table["split"]
    table = ratings.table.assign(split=split.where(split.notna(), "train"))
    sizes = Counter(table["group"][table["split"] == "train"])
    if len(sizes) < 2:
        raise FusiqaError(
            f"{ratings.name}: {len(sizes)} group of images is left for train and {name}, which need one each; "
            "add images of other contents"
        )
    moved = _draw(sizes, fraction=fraction, seed=f"{seed}/{name}")
    table.loc[table["group"].isin(moved), "split"] = name  # they are in train only: `assign` has checked for leaks
    return replace(ratings, table=table)


def _draw(sizes: Mapping[str, int], *, fraction: float, seed: str) -> list[str]:
    """The first groups in an order by hash, until the number of their images is closest to the fraction.

    Example:
        >>> len(_draw({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, fraction=0.4, seed="0"))
        2
    """
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
    reached = pd.Series([sizes[group] for group in order[:-1]]).cumsum()  # the last group stays behind
    return order[: int((reached - fraction * sum(sizes.values())).abs().argmin()) + 1]


def check_no_leak(ratings: Ratings) -> None:
    """Raise FusiqaError if a group is on two sides; rows without a split are on none."""
    table = ratings.table.dropna(subset="split")
    sides = table.groupby("group", sort=True)["split"].unique()
    leaking = [f"{group} ({', '.join(sorted(on))})" for group, on in sides.items() if len(on) > 1]
    if leaking:
        raise FusiqaError(
            f"{ratings.name}: the split leaks: groups on more than one side: {listed(leaking)}; identical files "
            "count as one group"
        )


def split_fingerprint(ratings: Ratings) -> str:
    """16 hex digits of which image is on which side, in whatever order of the rows."""
    pairs = zip(ratings.table["split"], ratings.table["image"], strict=True)
    return fingerprint(sorted(f"{split}\t{image}" for split, image in pairs))


def save(ratings: Ratings, path: Path) -> None:
    """Write the split as a CSV with the columns image and split, sorted by image."""
    rows = ratings.table[["image", "split"]].sort_values("image")
    write_atomically(path, lambda temporary: rows.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n"))


def load(ratings: Ratings, path: Path) -> Ratings:
    """The ratings with the split of a file that `save` wrote; other images in the file are ignored.

    Raises:
        FusiqaError: a wrong column, an unknown split, images that the file does not name, or names twice.
    """
    rows = read_cells(path)
    images, splits = image_names(column(rows, path, "image"), path), [str(s) for s in column(rows, path, "split")]
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise FusiqaError(
            f"{path}: unknown split {listed([repr(s) for s in unknown])}; expected one of {', '.join(SPLITS)}"
        )
    twice = [image for image, times in Counter(images).items() if times > 1]
    if twice:
        raise FusiqaError(f"{path}: named more than once: {listed(twice)}")
    split_of = dict(zip(images, splits, strict=True))
    missing = [image for image in ratings.table["image"] if image not in split_of]
    if missing:
        raise FusiqaError(f"{ratings.name}: {path} gives no split for {listed(missing)}")
    loaded = replace(ratings, table=ratings.table.assign(split=[split_of[image] for image in ratings.table["image"]]))
    check_no_leak(loaded)
    return loaded
