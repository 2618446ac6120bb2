"""A copy of a data set looked through: complete, readable, plausible, and the same image never on two sides?

Everything is looked at and reported, where reading for training refuses at the first fault. It changes no file.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data import catalog
from fusiqa.data.check import Checked, check
from fusiqa.data.duplicates import SAME_SCENE, near_duplicates, perceptual_hashes
from fusiqa.data.facts import SYNTHETIC, Facts, facts_of
from fusiqa.data.ratings import Images, Ratings
from fusiqa.data.report import Problem, Report
from fusiqa.data.splits import check_no_leak
from fusiqa.errors import FusiqaError
from fusiqa.scoring.reading import ENDINGS, FolderImages

BARS = 10
"""Intervals that the score range is cut into."""
ANY_SCORE = ScoreRange(-math.inf, math.inf)


@dataclass(frozen=True)
class _Measured:
    """Images whose sizes are noted while somebody else reads them."""

    images: Images
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, image: str) -> np.ndarray:
        pixels = self.images.read(image)
        self.sizes[image] = pixels.shape[:2]
        return pixels

    def verify(self, image: str) -> str:
        return self.images.verify(image)


def inspect(name: str, *, data_dir: Path | None, progress: bool, workers: int | None = None) -> Report:
    """Look at every rating and every image of a copy.

    Args:
        name: of a published data set, or the path of a CSV of one's own.
        data_dir: its folder, as for `catalog.read`.
        progress: show bars on standard error.
        workers: threads; by default one per core that this process may use.

    Returns:
        What was found; never an error, for a copy that cannot be read at all is a problem too.
    """
    if name.lower() == SYNTHETIC:
        return Report(name, {"files": "none: it is drawn where it is used, so there is no copy to look at"})
    known = facts_of(name)
    try:
        rated = catalog.rows(name, data_dir=data_dir)
    except FusiqaError as error:
        return Report(name, {}, problems=[Problem(str(error), advice="nothing else could be looked at; check again")])
    twice = rated.table["image"][rated.table["image"].duplicated()].tolist()
    table = rated.table.drop_duplicates("image", ignore_index=True)
    ratings = Ratings(name, table, ANY_SCORE, FolderImages(rated.root), "none")
    missing = [image for image in table["image"] if not (rated.root / image).is_file()]
    problems = [
        *_listing("images that are rated more than once", twice, "keep one row an image"),
        *_count(known, len(table)),
        *_scores(known, table),
        *_leaks(ratings),
        *_listing("rated images without a file", missing, "copy or unpack the data set again"),
        *_unrated(rated.root, table["image"].tolist()),
    ]
    facts = _facts(known, rated.root, table)
    checked, broken = _decoded(ratings, missing, progress=progress, workers=workers)
    problems += broken
    if checked is not None:
        measured = _Measured(ratings.images)
        images = checked.ratings.table["image"].tolist()
        hashes = perceptual_hashes(measured, images, progress=progress, workers=workers)
        published_split = known is not None and bool(table["split"].notna().any())
        problems += _same_files(checked) + _same_scenes(checked, hashes, published_split)
        facts |= {"sizes": _sizes(measured.sizes), "fingerprint": checked.fingerprint}
    return Report(name, facts, _histogram(known, table), problems)


def _listing(what: str, offenders: Sequence[str], advice: str, *, notice: bool = False) -> list[Problem]:
    """One problem, or none if nobody offends."""
    return [Problem(what, list(offenders), advice, notice)] if offenders else []


def _count(known: Facts | None, found: int) -> list[Problem]:
    if known is None or found == known.images:
        return []
    advice = f"the rating file is another edition or cut; get it from {known.source}"
    return [Problem(f"{found:,} images are rated, {known.images:,} were published", advice=advice)]


def _scores(known: Facts | None, table: pd.DataFrame) -> list[Problem]:
    """Ratings that are missing, and those outside the published range."""
    rated = table.dropna(subset="mos")
    missing = table["image"][table["mos"].isna()].tolist()
    problems = _listing("images whose rating is missing or no number", missing, "mend or remove their rows")
    if known is not None:
        low, high = known.score_range
        outside = rated[(rated["mos"] < low) | (rated["mos"] > high)]
        rows = [f"{row.image} ({row.mos:g})" for row in outside.itertuples()]
        problems += _listing(
            f"ratings outside {low:g} to {high:g}", rows, "get the rating file again, or mend the rows"
        )
    return problems


def _leaks(ratings: Ratings) -> list[Problem]:
    try:
        check_no_leak(ratings)
    except FusiqaError as error:
        return [Problem(str(error), advice="put all images of a group on one side")]
    return []


def _unrated(root: Path, images: Sequence[str]) -> list[Problem]:
    """Images beside the rated ones, in their own folders only: a data set's other sizes are no strays."""
    rated = {root / image for image in images}
    folders = sorted({path.parent for path in rated if path.parent.is_dir()})
    beside = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]
    strays = [str(path.relative_to(root)) for path in beside if path not in rated]
    return _listing("images without a rating", strays, "they are not used", notice=True)


def _decoded(
    ratings: Ratings, missing: Sequence[str], *, progress: bool, workers: int | None
) -> tuple[Checked | None, list[Problem]]:
    """The images that can be read, None if there are none; and those that cannot."""
    if len(missing) == len(ratings):
        return None, []
    try:
        checked = check(ratings.without(missing), skip_broken=True, rated=False, progress=progress, workers=workers)
    except FusiqaError as error:  # not one can be used
        return None, [Problem(str(error), advice="copy or unpack the data set again")]
    broken = [f"{row.image}: {row.reason}" for row in checked.broken]
    return checked, _listing("images that cannot be read", broken, "copy or unpack them again")


def _same_files(checked: Checked) -> list[Problem]:
    """Files of the same content that lie, or may come to lie, on two sides."""
    alike: dict[str, list[Any]] = defaultdict(list)
    for row in checked.ratings.table.itertuples():
        alike[checked.contents[str(row.image)]].append(row)
    apart = [" = ".join(map(_sided, rows)) for rows in alike.values() if _may_lie_apart(rows)]
    return _listing("files with the same content across the split", apart, "keep one, or give them one group")


def _same_scenes(checked: Checked, hashes: np.ndarray, published_split: bool) -> list[Problem]:
    """Images of one scene that lie, or may come to lie, on two sides; the most alike first."""
    rows, contents = list(checked.ratings.table.itertuples()), checked.contents
    apart = [
        f"{_sided(rows[i])} ~ {_sided(rows[j])}, {distance} of 64 bits differ"
        for i, j, distance in sorted(near_duplicates(hashes, SAME_SCENE), key=lambda pair: pair.distance)
        if _may_lie_apart([rows[i], rows[j]]) and contents[str(rows[i].image)] != contents[str(rows[j].image)]
    ]
    advice = "look at them; where they show one scene, give them one group (or say so beside the result)"
    what = "pairs that look the same across the split"
    return _listing(what, apart, advice, notice=published_split)


def _may_lie_apart(rows: Sequence[Any]) -> bool:
    """Whether rows of several groups are on several sides, or may be drawn to such."""
    sides = {None if pd.isna(row.split) else row.split for row in rows}
    return len({row.group for row in rows}) > 1 and (len(sides) > 1 or None in sides)


def _sided(row: Any) -> str:
    return row.image if pd.isna(row.split) else f"{row.image} ({row.split})"


def _facts(known: Facts | None, root: Path, table: pd.DataFrame) -> dict[str, object]:
    facts: dict[str, object] = {"folder": str(root), "images": len(table)}
    if known is not None:
        facts |= {"published": known.images, "published split": known.official_split}
    facts["split"] = {str(split): int(n) for split, n in table["split"].value_counts().items()} or "none"
    groups = table["group"].nunique()
    facts["groups"] = "none" if groups == len(table) else groups
    mos = table["mos"].dropna()
    if len(mos):
        marks = {"lowest": 0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "highest": 1}
        facts["ratings"] = {word: float(mos.quantile(share)) for word, share in marks.items()}
    return facts


def _sizes(sizes: Mapping[str, tuple[int, int]]) -> dict[str, object]:
    """The three commonest sizes, width x height, and how many others there are."""
    counted = Counter(sizes.values())
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))  # threads must not decide between equals
    common = {f"{width} x {height}:": times for (height, width), times in ranked[:3]}
    others = len(counted) - len(common)
    return {**common, "others:": others} if others else dict(common)


def _histogram(known: Facts | None, table: pd.DataFrame) -> list[tuple[float, float, int]]:
    """Ratings counted over the published range, or over their own; those outside are problems, and are not counted."""
    mos = table["mos"].dropna().to_numpy()
    if not len(mos):
        return []
    counts, edges = np.histogram(mos, BARS, known.score_range if known else (mos.min(), mos.max()))
    return [(round(float(edges[k]), 9), round(float(edges[k + 1]), 9), int(n)) for k, n in enumerate(counts)]
