"""Looks through the images and ratings of a data set: `check` before training, `audit` to report on a copy.

Neither changes a file.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data import catalog
from fusiqa.data.catalog import SYNTHETIC, DatasetInfo, find_dataset
from fusiqa.data.duplicates import SAME_SCENE, Hashes, near_duplicates, perceptual_hash
from fusiqa.data.ratings import ImageReader, Ratings, fingerprint
from fusiqa.data.splits import check_no_leak
from fusiqa.errors import LISTED_AT_MOST, FusiqaError
from fusiqa.machine import cores
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import ENDINGS, FolderImages

BARS = 10
"""Intervals of the histogram of ratings."""
BAR_LENGTH = 40
"""Length of the longest bar of the histogram, characters."""
ANY_SCORE = ScoreRange(-math.inf, math.inf)


# --- before training -------------------------------------------------------------------------------------------------


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
        fingerprint: 16 hex digits of the usable rows (name, content and rating), in whatever order.
        contents: SHA-256 (hex) of the content of each usable image, by its name.
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
        skip_broken: leave out rows that cannot be used, instead of raising an error.
        progress: show a bar on standard error.
        rated: whether every row needs a rating; images that are only scored have none.
        workers: threads; by default one per core that this process may use.

    Raises:
        FusiqaError: rows that cannot be used (the first five, then how many), unless `skip_broken`; no usable row.
    """
    images, mos = ratings.table["image"].tolist(), ratings.table["mos"].tolist()
    verify = partial(_verify, ratings.images, rated)
    outcomes = _in_threads(verify, images, mos, what=f"checking {ratings.name}", progress=progress, workers=workers)
    outcome_of = dict(zip(images, outcomes, strict=True))
    broken = [outcome for outcome in outcome_of.values() if isinstance(outcome, Broken)]
    if broken and (not skip_broken or len(broken) == len(images)):
        raise FusiqaError(_complaint(ratings.name, broken, total=len(images)))
    contents = {image: outcome for image, outcome in outcome_of.items() if not isinstance(outcome, Broken)}
    rows = [f"{i}\t{contents[i]}\t{rating!r}" for i, rating in zip(images, mos, strict=True) if i in contents]
    return Checked(ratings.without([row.image for row in broken]), broken, fingerprint(sorted(rows)), contents)


def _verify(images: ImageReader, rated: bool, image: str, mos: float) -> str | Broken:
    """SHA-256 of an image's content, or why its row cannot be used."""
    if rated and math.isnan(mos):
        return Broken(image, "its rating is missing or not a number")
    try:
        return images.verify(image)
    except FusiqaError as error:
        return Broken(image, str(error).removeprefix(f"{image}: "))


def _in_threads(
    function: Callable[..., Any], *arguments: Sequence[Any], what: str, progress: bool, workers: int | None
) -> list[Any]:
    """What a function returns for each of some arguments, with a progress bar."""
    threads = ThreadPoolExecutor(workers or cores())
    try:
        results = threads.map(function, *arguments)
        return list(progress_bar(results, what=what, total=len(arguments[0]), shown=progress))
    finally:
        threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for the rest


def _complaint(name: str, broken: list[Broken], *, total: int) -> str:
    count = f"none of the {total}" if len(broken) == total else f"{len(broken)} of {total}"
    lines = [
        f"{name}: {count} rows can{'' if len(broken) == total else 'not'} be used:",
        *_first_few([f"{row.image}: {row.reason}" for row in broken]),
    ]
    advice = [] if len(broken) == total else ["Fix or remove them, or leave them out with `skip_broken`"]
    return "\n".join(lines + advice)


def _first_few(offenders: Sequence[str]) -> list[str]:
    more = [f"  ... ({len(offenders):,} in all)"] if len(offenders) > LISTED_AT_MOST else []
    return [f"  {offender}" for offender in offenders[:LISTED_AT_MOST]] + more


# --- the report on a copy --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """Something that an audit found.

    Attributes:
        what: what is wrong, as a heading.
        offenders: everything that it is wrong with; None where the heading says it all.
        advice: what to do.
        notice: worth knowing, but not a fault of the copy: it was published like this, or it does no harm.
    """

    what: str
    offenders: Sequence[str] | None = None
    advice: str = ""
    notice: bool = False

    def lines(self) -> list[str]:
        """The heading with the number of offenders, the first five of them, and the advice."""
        offenders = self.offenders or []
        count = f": {len(offenders):,}" if offenders else ""
        heading = f"{'notice' if self.notice else 'problem'}: {self.what}{count}"
        return [heading, *_first_few(offenders), *([f"  -> {self.advice}"] if self.advice else [])]


@dataclass(frozen=True)
class Report:
    """Everything that an audit found.

    Attributes:
        name: of the data set.
        facts: numbers and words by their names; a value may be a mapping of them.
        histogram: (lower edge, upper edge, count) of each bar, in order.
        findings: problems and notices.
    """

    name: str
    facts: Mapping[str, object]
    histogram: Sequence[tuple[float, float, int]] = ()
    findings: Sequence[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no problem; notices do not count."""
        return all(finding.notice for finding in self.findings)

    def text(self) -> str:
        """For the terminal: facts, histogram, findings, result."""
        width = max(map(len, self.facts), default=0)
        facts = [f"  {name:<{width}}  {_words(value)}" for name, value in self.facts.items()]
        problems = sum(not finding.notice for finding in self.findings)
        found = [line for finding in self.findings for line in finding.lines()]
        result = f"{self.name}: {f'{problems} problems' if problems else 'no problem found'}"
        return "\n".join([self.name, *facts, *self._bars(), *found, result])

    def _bars(self) -> list[str]:
        highest = max((count for *_, count in self.histogram), default=0) or 1
        edges = [f"{low:g} to {high:g}" for low, high, _ in self.histogram]
        width = max(map(len, edges), default=0)
        return [
            f"  {edge:>{width}}  {'#' * math.ceil(BAR_LENGTH * count / highest)} {count:,}"
            for edge, (*_, count) in zip(edges, self.histogram, strict=True)
        ]

    def to_json(self) -> str:
        """Everything, with all offenders, as indented JSON."""
        findings = [{**asdict(finding), "offenders": list(finding.offenders or [])} for finding in self.findings]
        content = {"name": self.name, "ok": self.ok, **asdict(self), "findings": findings}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _words(value: object) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def audit(name: str, *, data_dir: Path | None, progress: bool, workers: int | None = None) -> Report:
    """Report on a copy: is it complete, readable and plausible, and is no image on two sides of the split?

    Everything is looked at and reported, whereas reading for training stops at the first fault.

    Args:
        name: of a published data set, or the path of a custom table.
        data_dir: its folder, as for `catalog.read`.
        progress: show bars on standard error.
        workers: threads; by default one per core that this process may use.

    Returns:
        What was found; a copy that cannot be read at all is a finding too, not an error.
    """
    if name.lower() == SYNTHETIC:
        return Report(name, {"files": "none: it is generated on use, so there is nothing to check"})
    info = find_dataset(name)
    try:
        labels = catalog.read_labels(name, data_dir=data_dir)
    except FusiqaError as error:
        return Report(name, {}, findings=[Finding(str(error), advice="nothing else could be checked")])
    twice = labels.table["image"][labels.table["image"].duplicated()].tolist()
    table = labels.table.drop_duplicates("image", ignore_index=True)
    ratings = Ratings(name, table, ANY_SCORE, FolderImages(labels.root), "none")
    facts: dict[str, object] = _facts(info, labels.root, table)
    missing = [image for image in table["image"] if not (labels.root / image).is_file()]
    no_rating = table["image"][table["mos"].isna()].tolist()
    findings = [
        Finding("images that are rated more than once", twice, "keep one row per image"),
        Finding("images whose rating is missing or not a number", no_rating, "fix or remove their rows"),
        *([] if info is None else _unlike_published(info, table)),
        *_leaks(ratings),
        Finding("rated images without a file", missing, "copy or unpack the data set again"),
        Finding("images without a rating", _unrated(labels.root, table["image"]), "they are not used", notice=True),
    ]
    if len(missing) < len(table):
        try:
            present = ratings.without(missing)
            checked = check(present, skip_broken=True, rated=False, progress=progress, workers=workers)
        except FusiqaError as error:  # none can be used
            findings.append(Finding(str(error), advice="copy or unpack the data set again"))
        else:
            broken = [f"{row.image}: {row.reason}" for row in checked.broken]
            findings.append(Finding("images that cannot be read", broken, "copy or unpack them again"))
            images = checked.ratings.table["image"].tolist()
            look = partial(_look, ratings.images)
            looked = _in_threads(look, images, what="comparing", progress=progress, workers=workers)
            hashes = np.array([seen[0] for seen in looked], np.uint64)
            facts |= {"sizes": _sizes([seen[1] for seen in looked]), "fingerprint": checked.fingerprint}
            findings += _across_the_split(checked, hashes, published=info is not None)
    return Report(name, facts, _histogram(info, table), [each for each in findings if each.offenders != []])


def _look(images: ImageReader, image: str) -> tuple[int, tuple[int, int]]:
    """Perceptual hash and size of an image."""
    pixels = images.read(image)
    return perceptual_hash(pixels), pixels.shape[:2]


def _unlike_published(info: DatasetInfo, table: pd.DataFrame) -> list[Finding]:
    low, high = info.score_range
    outside = table[(table["mos"] < low) | (table["mos"] > high)]
    rows = [f"{row.image} ({row.mos:g})" for row in outside.itertuples()]
    findings = [Finding(f"ratings outside {low:g} to {high:g}", rows, "get the rating file again, or fix the rows")]
    if len(table) != info.images:
        what = f"{len(table):,} images are rated, {info.images:,} were published"
        advice = f"the rating file is incomplete or another edition; get it from {info.source}"
        findings.append(Finding(what, advice=advice))
    return findings


def _leaks(ratings: Ratings) -> list[Finding]:
    try:
        check_no_leak(ratings)
    except FusiqaError as error:
        return [Finding(str(error), advice="put all images of a group on one side")]
    return []


def _unrated(root: Path, images: Iterable[str]) -> list[str]:
    """Images beside the rated ones, in the same folders only: the other sizes of a data set are not meant."""
    rated = {root / image for image in images}
    folders = sorted({path.parent for path in rated if path.parent.is_dir()})
    beside = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]
    return [str(path.relative_to(root)) for path in beside if path not in rated]


def _across_the_split(checked: Checked, hashes: Hashes, *, published: bool) -> list[Finding]:
    """Files of the same content, and images that look the same, that are or may be drawn on two sides."""
    rows, contents = list(checked.ratings.table.itertuples()), checked.contents
    copies: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        copies[contents[str(row.image)]].append(row)
    files = [" = ".join(map(_with_side, alike)) for alike in copies.values() if _may_be_apart(alike)]
    scenes = [
        f"{_with_side(rows[i])} ~ {_with_side(rows[j])}, {distance} of 64 bits differ"
        for i, j, distance in sorted(near_duplicates(hashes, SAME_SCENE), key=lambda pair: pair.distance)
        if _may_be_apart([rows[i], rows[j]]) and contents[str(rows[i].image)] != contents[str(rows[j].image)]
    ]
    advice = "look at them; if they show one scene, give them one group (or report it beside the result)"
    as_published = published and bool(checked.ratings.table["split"].notna().any())
    return [
        Finding("files with the same content across the split", files, "keep one, or give them one group"),
        Finding("pairs that look the same across the split", scenes, advice, notice=as_published),
    ]


def _may_be_apart(rows: Sequence[Any]) -> bool:
    """Whether rows of several groups are on several sides, or may be drawn on several."""
    sides = {None if pd.isna(row.split) else row.split for row in rows}
    return len({row.group for row in rows}) > 1 and (len(sides) > 1 or None in sides)


def _with_side(row: Any) -> str:
    return row.image if pd.isna(row.split) else f"{row.image} ({row.split})"


def _facts(info: DatasetInfo | None, root: Path, table: pd.DataFrame) -> dict[str, object]:
    facts: dict[str, object] = {"folder": str(root), "images": len(table)}
    if info is not None:
        facts |= {"published": info.images, "published split": info.official_split}
    facts["split"] = {str(split): int(n) for split, n in table["split"].value_counts().items()} or "none"
    groups = table["group"].nunique()
    facts["groups"] = "none" if groups == len(table) else groups
    mos = table["mos"].dropna()
    if len(mos):
        marks = {"lowest": 0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "highest": 1}
        facts["ratings"] = {word: float(mos.quantile(fraction)) for word, fraction in marks.items()}
    return facts


def _sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, int]:
    """The three most frequent sizes, width x height, and how many others there are."""
    counted = Counter(sizes)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))  # ties must not depend on threads
    common = {f"{width} x {height}:": times for (height, width), times in ranked[:3]}
    others = len(counted) - len(common)
    return {**common, "others:": others} if others else common


def _histogram(info: DatasetInfo | None, table: pd.DataFrame) -> list[tuple[float, float, int]]:
    """Ratings counted over the published range, or their own; those outside it are a problem, and not counted."""
    mos = table["mos"].dropna().to_numpy()
    if not len(mos):
        return []
    counts, edges = np.histogram(mos, BARS, info.score_range if info else (mos.min(), mos.max()))
    return [(round(float(edges[k]), 9), round(float(edges[k + 1]), 9), int(n)) for k, n in enumerate(counts)]
