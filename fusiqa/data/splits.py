"""Train, validation and test: official where published, else drawn by group. It opens no image.

A group lies on one side whole. What is drawn depends on the seed and the groups' names only: not on the order of the
rows, and taking one image away leaves the others (almost all) where they were.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from fusiqa.data.ratings import SPLITS, Ratings, Split, fingerprint
from fusiqa.data.table_files import read_table
from fusiqa.data.tables import column, image_names
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import write_atomically

TEST_SHARE = 0.2
"""Share of the images drawn for the test split where a data set publishes none: the field's 80 / 20."""

REPEATS = 10
"""Draws that the field takes the median over where a data set publishes no split."""


def assign(ratings: Ratings, *, validation_share: float, seed: int) -> Ratings:
    """Give every row its split.

    Official splits stay as they are. Where there are only train and test, validation is cut from train; where there
    is no split at all, a fifth of the images is drawn for the test first.

    Args:
        ratings: with each row's official split, or none in all of them.
        validation_share: share of the training images held out, in 0-1, both excluded; not looked at where the
            data set publishes a validation split.
        seed: another seed, another draw.

    Raises:
        FusiqaError: a share out of bounds, rows without a split beside rows with one, splits without train or without
            test, a group on two sides, or too few groups for every side to get one.
    """
    published = _published(ratings)
    if "validation" not in published and not 0 < validation_share < 1:
        raise FusiqaError(f"--validation_share {validation_share:g}: expected a share above 0 and below 1, such as 0.1")
    if not published:
        ratings = _cut(ratings, "test", share=TEST_SHARE, seed=seed)
    check_no_leak(ratings)
    return ratings if "validation" in published else _cut(ratings, "validation", share=validation_share, seed=seed)


def repeats(
    ratings: Ratings, *, validation_share: float, count: int = REPEATS, seed: int = 0, official: bool = True
) -> list[Ratings]:
    """The data set split anew, several times over, for figures that are medians over draws.

    Repeat k is what `assign` draws with seed + k: a fifth of the images for the test, whole groups only.
    Draws are independent: an image is tested in several of them, and a handful of groups may be split alike twice.

    Args:
        ratings: without a split, unless official is False.
        validation_share: share of the training images held out, in 0-1, both excluded.
        count: how many, at least 1; the field reports the median of 10.
        seed: of the first; seeds less than `count` apart share draws.
        official: respect a published split, which is then no matter of draws; False redraws it.

    Raises:
        FusiqaError: a published split that is not to be redrawn, a count below 1, and as `assign`.
    """
    if count < 1:
        raise FusiqaError(f"{count} repeats of the split: expected at least 1")
    if official and ratings.table["split"].notna().any():
        raise FusiqaError(
            f"{ratings.name} has a split of its own, to which its published figures belong; repeats are for data sets "
            "without one (official=False redraws it all the same)"
        )
    bare = replace(ratings, table=ratings.table.assign(split=None))
    return [assign(bare, validation_share=validation_share, seed=seed + k) for k in range(count)]


def _published(ratings: Ratings) -> set[Split]:
    """The splits that the data set comes with. Raises FusiqaError if they cannot be worked with."""
    splits = ratings.table["split"]
    published: set[Split] = set(splits.dropna())
    if published and splits.isna().any():
        rows = ratings.table["image"][splits.isna()].tolist()
        raise FusiqaError(f"{ratings.name}: no split given for {listed(rows)}; give all rows one, or none")
    for needed in ("train", "test"):
        if published and needed not in published:
            raise FusiqaError(
                f"{ratings.name}: its split has {listed(sorted(published))}, but no {needed}; "
                "train and test are needed (or no split at all, to have one drawn)"
            )
    return published


def _cut(ratings: Ratings, name: Split, *, share: float, seed: int) -> Ratings:
    """Move whole groups with about this share of the training images, at least one group, to a new split.

    Raises:
        FusiqaError: fewer than two groups to share out.
    """
    split = ratings.table["split"]
    table = ratings.table.assign(split=split.where(split.notna(), "train"))
    sizes = Counter(table["group"][table["split"] == "train"])
    if len(sizes) < 2:
        raise FusiqaError(
            f"{ratings.name}: {len(sizes)} group of images is left for train and {name}, but each needs one; "
            "add images of other contents"
        )
    moved = _draw(sizes, share=share, seed=f"{seed}/{name}")
    table.loc[table["group"].isin(moved), "split"] = name  # they lie in train alone: `assign` has looked for leaks
    return replace(ratings, table=table)


def _draw(sizes: Mapping[str, int], *, share: float, seed: str) -> list[str]:
    """The first groups in an order by hash, until their images come closest to the share.

    Example:
        >>> len(_draw({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, share=0.4, seed="0"))
        2
    """
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
    reached = pd.Series([sizes[group] for group in order[:-1]]).cumsum()  # the last group stays behind
    return order[: int((reached - share * sum(sizes.values())).abs().argmin()) + 1]


def check_no_leak(ratings: Ratings) -> None:
    """Raise FusiqaError if images of one group lie on two sides; rows without a split are on no side."""
    table = ratings.table.dropna(subset="split")
    sides = table.groupby("group", sort=True)["split"].unique()
    leaking = [f"{group} ({', '.join(sorted(on))})" for group, on in sides.items() if len(on) > 1]
    if leaking:
        raise FusiqaError(f"{ratings.name}: the split leaks; groups on more than one side: {listed(leaking)}")


def split_fingerprint(ratings: Ratings) -> str:
    """16 hex digits that tell which image is on which side, in whatever order."""
    return fingerprint(sorted(f"{split}\t{image}" for image, split in _pairs(ratings.table)))


def _pairs(table: pd.DataFrame) -> Iterable[tuple[str, str]]:
    return zip(table["image"], table["split"], strict=True)


def save(ratings: Ratings, path: Path) -> None:
    """Write the split as a CSV with the columns image and split, sorted by image."""
    rows = ratings.table[["image", "split"]].sort_values("image")
    write_atomically(path, lambda temporary: rows.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n"))


def load(ratings: Ratings, path: Path) -> Ratings:
    """The ratings with the split of a file that `save` wrote; images that only the file knows are passed over.

    Raises:
        FusiqaError: a wrong column, an unknown split, images that the file does not name, or names twice.
    """
    rows = read_table(path)
    images, splits = image_names(column(rows, path, "image"), path), [str(s) for s in column(rows, path, "split")]
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise FusiqaError(
            f"{path}: unknown split {listed([repr(s) for s in unknown])}; allowed are {', '.join(SPLITS)}"
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
