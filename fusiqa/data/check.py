"""Every image and rating looked at before training starts. It knows no data set and changes no file."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from fusiqa.data.ratings import Images, Ratings, fingerprint
from fusiqa.errors import LISTED_AT_MOST, FusiqaError
from fusiqa.machine import cores
from fusiqa.progress import progress_bar


class Broken(NamedTuple):
    """A row that cannot be used, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """Ratings of which every row can be used.

    Attributes:
        ratings: the usable rows, in their order.
        broken: the others, in their order.
        fingerprint: 16 hex digits of what the usable rows hold (name, content and rating), in whatever order.
        contents: SHA-256 (hex) of each usable image's content, by its name.
    """

    ratings: Ratings
    broken: list[Broken]
    fingerprint: str
    contents: dict[str, str]


def check(
    ratings: Ratings, *, skip_broken: bool, progress: bool, rated: bool = True, workers: int | None = None
) -> Checked:
    """Decode every image and look at every rating.

    Args:
        ratings: to be checked.
        skip_broken: leave out rows that cannot be used, instead of refusing them all.
        progress: show a bar on standard error.
        rated: whether every row needs a rating; images that are only scored have none.
        workers: threads; by default one per core that this process may use.

    Raises:
        FusiqaError: rows that cannot be used (the first five, then how many), unless skip_broken; no usable row.
    """
    images, ratings_given = ratings.table["image"].tolist(), ratings.table["mos"].tolist()
    threads = ThreadPoolExecutor(workers or cores())
    try:
        outcomes = threads.map(partial(_look, ratings.images, rated), images, ratings_given)
        shown = progress_bar(outcomes, what=f"checking {ratings.name}", total=len(images), shown=progress)
        outcome_of = dict(zip(images, shown, strict=True))
    finally:
        threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for the rest
    broken = [outcome for outcome in outcome_of.values() if isinstance(outcome, Broken)]
    if broken and (not skip_broken or len(broken) == len(images)):
        raise FusiqaError(_complaint(ratings.name, broken, total=len(images)))
    contents = {image: outcome for image, outcome in outcome_of.items() if not isinstance(outcome, Broken)}
    rows = [f"{i}\t{contents[i]}\t{mos!r}" for i, mos in zip(images, ratings_given, strict=True) if i in contents]
    return Checked(ratings.without([row.image for row in broken]), broken, fingerprint(sorted(rows)), contents)


def _look(images: Images, rated: bool, image: str, mos: float) -> str | Broken:
    """SHA-256 of an image's content, or why its row cannot be used."""
    if rated and math.isnan(mos):
        return Broken(image, "its rating is missing or no number")
    try:
        return images.verify(image)
    except FusiqaError as error:
        return Broken(image, str(error).removeprefix(f"{image}: "))


def _complaint(name: str, broken: list[Broken], *, total: int) -> str:
    """The first five broken rows, how many there are, and what to do."""
    lines = [f"  {row.image}: {row.reason}" for row in broken[:LISTED_AT_MOST]]
    if len(broken) > LISTED_AT_MOST:
        lines.append(f"  ... ({len(broken)} in all)")
    if len(broken) == total:
        return "\n".join([f"{name}: none of the {total} rows can be used:", *lines])
    advice = "Mend or remove them, or go on without them: --skip_broken"
    return "\n".join([f"{name}: {len(broken)} of {total} rows cannot be used:", *lines, advice])
