"""Train, validation and test splits: the published one, else one drawn by group.

All images of a group are on one side. A draw depends only on the seed and the names of the groups: not on the order of
the rows, and removing one image leaves (almost) all others where they were.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fusiqa.config.checks import refuse
from fusiqa.data.ratings import Ratings, Split, fingerprint
from fusiqa.data.table import loosely, read_table
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import write_csv

NAMED_BY = "; `fusiqa data check` names copies"
TEST_FRACTION = 0.2  # of the images, drawn for the test split if a data set publishes none: the usual 80 / 20


def assign(ratings: Ratings, *, validation_fraction: float, seed: int) -> Ratings:
    """Give every row its split.

    A published split stays as it is. If it has only train and test, validation is drawn from train, a fraction above 0
    and below 1; if there is no split at all, a fifth of the images is drawn for the test first. Results on such data
    sets are usually medians over ten draws, that is over ten seeds.

    FusiqaError: a fraction out of range, a split of some rows only, without train or test, or with a group on two
    sides, or too few groups.

    Example:
        >>> from fusiqa.data.catalog import read
        >>> assign(read("synthetic"), validation_fraction=0.1, seed=0).table["split"].value_counts().to_dict()
        {'train': 3780, 'test': 1080, 'validation': 540}
    """
    name, splits = ratings.name, ratings.table["split"]
    published = set(splits.dropna())
    if published and splits.isna().any():
        rows = listed(ratings.table["image"][splits.isna()].tolist())
        raise FusiqaError(f"{name}: no split given for {rows}; give one to every row, or to none")
    if published and (missing := {"train", "test"} - published):
        found = f"{listed(sorted(published))}, but no {' and no '.join(sorted(missing))}"
        raise FusiqaError(f"{name}: its split has {found}; both or none is needed")
    if "validation" not in published and not 0 < validation_fraction < 1:
        raise FusiqaError(f"`validation_fraction` must be above 0 and below 1, got {validation_fraction:g}")
    if not published:
        ratings = _cut(ratings, "test", fraction=TEST_FRACTION, seed=seed)
    check_no_leak(ratings, advice=NAMED_BY)
    if "validation" in published:
        return ratings
    return _cut(ratings, "validation", fraction=validation_fraction, seed=seed)


def group_copies(ratings: Ratings, contents: Mapping[str, str]) -> Ratings:
    """The ratings with groups that share a file content (by hash) merged, so that copies stay on one side."""
    table, size = ratings.table, len(ratings)
    group, content = (pd.factorize(column)[0] for column in (table["group"], table["image"].map(contents)))
    links = coo_array((np.ones(size), (group, size + content)), shape=(2 * size, 2 * size))
    merged = connected_components(links, directed=False)[1][group]
    return replace(ratings, table=table.assign(group=table["group"].groupby(merged).transform("min")))


def _cut(ratings: Ratings, name: Split, *, fraction: float, seed: int) -> Ratings:
    """Move groups of training images, in an order by hash, to a new split until it is closest to the fraction.

    At least one is moved and one stays: FusiqaError if there is one alone.
    """
    table = ratings.table.assign(split=ratings.table["split"].where(ratings.table["split"].notna(), "train"))
    sizes = table["group"][table["split"] == "train"].value_counts()
    if len(sizes) < 2:
        raise FusiqaError(f"{ratings.name}: {len(sizes)} group of images for train and {name}, which need one each")
    order = sorted(sizes.index, key=lambda group: hashlib.sha256(f"{seed}/{name}/{group}".encode()).digest())
    reached = sizes[order[:-1]].cumsum()  # the last group stays behind
    moved = order[: int((reached - fraction * sizes.sum()).abs().argmin()) + 1]
    table.loc[table["group"].isin(moved), "split"] = name  # they are in train only: `assign` has checked for leaks
    return replace(ratings, table=table)


def check_no_leak(ratings: Ratings, *, advice: str = "") -> None:
    """Raise FusiqaError, with advice, if a group is on two sides; rows without a split are on none."""
    sides = ratings.table.dropna(subset="split").groupby("group", sort=True)["split"].unique()
    leaking = [f"{group} ({', '.join(sorted(on))})" for group, on in sides.items() if len(on) > 1]
    if leaking:
        why = f"the split leaks: groups or copies on more than one side: {listed(leaking)}"
        raise FusiqaError(f"{ratings.name}: {why}{advice}")


def split_fingerprint(ratings: Ratings) -> str:
    """16 hex digits of which image is on which side, in whatever order of the rows."""
    pairs = zip(ratings.table["split"], ratings.table["image"], strict=True)
    return fingerprint(sorted(f"{split}\t{image}" for split, image in pairs))


def save(ratings: Ratings, path: Path, contents: Mapping[str, str]) -> None:
    """Write image, split and the SHA-256 of its content as CSV, sorted by image."""
    table = ratings.table[["image", "split"]].sort_values("image")
    write_csv(table.assign(sha256=table["image"].map(contents)), path)


def load(ratings: Ratings, path: Path) -> Ratings:
    """The ratings with the split of a file that `save` wrote; other images in the file are ignored.

    A name may differ in case, in how its accents are composed or by `./` where one image alone can be meant.
    FusiqaError: a wrong column, an unknown split, images that the file does not name, or names twice.
    """
    table, known, alike = read_table(path), set(ratings.table["image"]), defaultdict[str, list[str]](list)
    for image in ratings.table["image"]:
        alike[loosely(image)].append(image)
    names = []
    for exact, stripped in zip(table.column("image").astype(str), table.images("image"), strict=True):
        meant = alike[loosely(stripped)]
        names.append(exact if exact in known else meant[0] if stripped not in known and len(meant) == 1 else stripped)
    split_of = pd.Series(table.splits("split") or table.column("split").to_numpy(), index=names)
    twice = listed(split_of.index[split_of.index.duplicated()].unique().tolist())
    missing = listed([image for image in ratings.table["image"] if image not in split_of.index])
    refuse(
        (twice, f"{path}: named more than once: {twice}"),
        (missing, f"{path}: no split for {missing}"),
    )
    loaded = replace(ratings, table=ratings.table.assign(split=ratings.table["image"].map(split_of)))
    check_no_leak(loaded, advice=NAMED_BY)
    return loaded
