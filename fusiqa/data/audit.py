"""Checks of a data set, which change no file: `check` before training, `audit` to report on a copy."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data.catalog import BUILT_IN, DatasetInfo, find_dataset, read_labels
from fusiqa.data.ratings import Ratings, fingerprint, outside
from fusiqa.data.splits import check_no_leak
from fusiqa.errors import LISTED_AT_MOST, FusiqaError
from fusiqa.machine import cores
from fusiqa.progress import progress_bar
from fusiqa.scoring.duplicates import SAME_SCENE, Hashes, near_duplicates, perceptual_hash
from fusiqa.scoring.image import ENDINGS, FolderImages

BARS, BAR_LENGTH = 10, 40  # of the histogram of ratings: intervals, and characters of the longest bar
MARKS = {"lowest": 0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "highest": 1}


class Broken(NamedTuple):
    """A row that cannot be used, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """Ratings of which every row can be used."""

    ratings: Ratings  # the usable rows, in their order
    broken: list[Broken]  # the others, in their order
    fingerprint: str  # 16 hex digits of the usable rows (name, content and rating), in whatever order
    contents: dict[str, str]  # SHA-256 (hex) of the content of each usable image, by its name


def check(ratings: Ratings, *, skip_broken: bool, progress: bool, rated: bool = True) -> Checked:
    """Decode every image and validate every rating; without `rated`, images need none.

    FusiqaError: no row can be used, or, unless `skip_broken`, one cannot (it names five, and how many there are).
    """

    def verify(image: str, rating: float) -> str | Broken:
        if rated and math.isnan(rating):
            return Broken(image, "its rating is missing or not a number")
        try:
            return ratings.images.verify(image)
        except FusiqaError as error:
            return Broken(image, str(error).removeprefix(f"{image}: "))

    images, mos = ratings.table["image"].tolist(), ratings.table["mos"].tolist()
    outcomes = _in_threads(verify, images, mos, what=f"checking {ratings.name}", progress=progress)
    broken = [outcome for outcome in outcomes if isinstance(outcome, Broken)]
    reasons = _first_few([f"{row.image}: {row.reason}" for row in broken])
    if len(broken) == len(images):
        raise FusiqaError("\n".join([f"{ratings.name}: none of the {len(images)} rows can be used:", *reasons]))
    if broken and not skip_broken:
        heading = f"{ratings.name}: {len(broken)} of {len(images)} rows cannot be used:"
        raise FusiqaError("\n".join([heading, *reasons, "Fix or remove them, or leave them out with `skip_broken`"]))
    contents = {i: outcome for i, outcome in zip(images, outcomes, strict=True) if not isinstance(outcome, Broken)}
    rows = [f"{i}\t{contents[i]}\t{rating!r}" for i, rating in zip(images, mos, strict=True) if i in contents]
    return Checked(ratings.without([row.image for row in broken]), broken, fingerprint(sorted(rows)), contents)


def _in_threads(function: Callable[..., Any], *arguments: Sequence[Any], what: str, progress: bool) -> list[Any]:
    threads = ThreadPoolExecutor(cores())
    try:
        results = threads.map(function, *arguments)
        return list(progress_bar(results, what=what, total=len(arguments[0]), shown=progress))
    finally:
        threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for the rest


def _first_few(offenders: Sequence[str]) -> list[str]:
    more = [f"  ... ({len(offenders):,} in all)"] if len(offenders) > LISTED_AT_MOST else []
    return [f"  {offender}" for offender in offenders[:LISTED_AT_MOST]] + more


@dataclass(frozen=True)
class Finding:
    """Something that an audit found."""

    what: str  # the problem, as a heading
    offenders: Sequence[str] = ()  # the images or groups that have it; none where the heading is enough
    advice: str = ""
    notice: bool = False  # not a fault of the copy: it was published like this, or does no harm


@dataclass(frozen=True)
class Report:
    """Everything that an audit found."""

    name: str  # of the data set
    facts: Mapping[str, object]  # numbers and words by their names; a value may be a mapping of them
    histogram: Sequence[tuple[float, float, int]] = ()  # lower edge, upper edge, count of each bar, in order
    findings: Sequence[Finding] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem; notices do not count."""
        return all(finding.notice for finding in self.findings)

    def text(self) -> str:
        """For the terminal: facts, histogram, findings, result."""
        width = max(map(len, self.facts), default=0)
        lines = [self.name, *(f"  {name:<{width}}  {_words(value)}" for name, value in self.facts.items())]
        edges = [f"{low:g} to {high:g}" for low, high, _ in self.histogram]
        counts = [count for *_, count in self.histogram]
        for edge, count in zip(edges, counts, strict=True):
            bar = "#" * math.ceil(BAR_LENGTH * count / max(1, *counts))
            lines.append(f"  {edge:>{max(map(len, edges))}}  {bar} {count:,}")
        problems = sum(not finding.notice for finding in self.findings)
        for each in self.findings:
            number = f": {len(each.offenders):,}" if each.offenders else ""
            lines.append(f"{'notice' if each.notice else 'problem'}: {each.what}{number}")
            lines += [*_first_few(each.offenders), *([f"  -> {each.advice}"] if each.advice else [])]
        return "\n".join([*lines, f"{self.name}: {f'{problems} problems' if problems else 'no problem found'}"])

    def to_json(self) -> str:
        """Everything, with all offenders, as indented JSON."""
        content = {"name": self.name, "ok": self.ok, **asdict(self)}
        return json.dumps(content, indent=2, allow_nan=False)  # in ASCII: a file's name may be no UTF-8


def is_report(path: Path) -> bool:
    """Whether a file is a report that `Report.to_json` made."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and list(found) == ["name", "ok", *(each.name for each in fields(Report)[1:])]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def audit(name: str, *, data_dir: Path | None, progress: bool) -> Report:
    """Report on a copy: is it complete, readable and plausible, and is no image on two sides of the split?

    All faults are reported, not only the first; so is a copy that cannot be read at all.
    """
    if name.lower() in BUILT_IN:
        return Report(name, {"files": "none of its own: it is made on use, so there is nothing to check"})
    info = find_dataset(name)
    try:
        rows, root = read_labels(name, data_dir=data_dir)
    except FusiqaError as error:
        return Report(name, {}, findings=[Finding(str(error), advice="nothing else could be checked")])
    table, findings = rows.drop_duplicates("image", ignore_index=True), list[Finding]()
    ratings = Ratings(name, table, ScoreRange(-math.inf, math.inf), FolderImages(root), "none")
    facts = _facts(info, root, table)

    def add(what: str, offenders: Sequence[str], advice: str, *, notice: bool = False) -> None:
        if offenders:
            findings.append(Finding(what, offenders, advice, notice))

    twice, unrated = rows["image"][rows["image"].duplicated()], table["image"][table["mos"].isna()]
    add("images that are rated more than once", twice.tolist(), "keep one row per image")
    add("images whose rating is missing or not a number", unrated.tolist(), "fix or remove their rows")
    if info is not None:
        heading = "ratings outside {:g} to {:g}".format(*info.score_range)
        add(heading, outside(table, info.score_range), "get the rating file again, or fix the rows")
        if len(table) != info.images:
            heading = f"{len(table):,} images are rated, {info.images:,} were published"
            advice = f"the rating file is incomplete or another edition; get it from {info.source}"
            findings.append(Finding(heading, advice=advice))
    try:
        check_no_leak(ratings)
    except FusiqaError as error:
        findings.append(Finding(str(error), advice="put all images of a group on one side"))
    missing = [image for image in table["image"] if not (root / image).is_file()]
    add("rated images without a file", missing, "copy or unpack the data set again")
    add("images without a rating", _beside(root, table), "they are not used", notice=True)
    report = Report(name, facts, _histogram(info, table), findings)
    if len(missing) == len(table):
        return report
    try:
        checked = check(ratings.without(missing), skip_broken=True, rated=False, progress=progress)
    except FusiqaError as error:  # none can be used
        findings.append(Finding(str(error), advice="copy or unpack the data set again"))
        return report
    broken = [f"{row.image}: {row.reason}" for row in checked.broken]
    add("images that cannot be read", broken, "copy or unpack them again")

    def look(image: str) -> tuple[int, tuple[int, ...]]:
        pixels = ratings.images.read(image)
        return perceptual_hash(pixels), pixels.shape[:2]

    looks = _in_threads(look, list(checked.contents), what="comparing", progress=progress)
    facts |= {"sizes": _sizes([size for _, size in looks]), "fingerprint": checked.fingerprint}
    files, scenes = _across_the_split(checked, np.array([hashed for hashed, _ in looks], np.uint64))
    add("files with the same content across the split", files, "keep one, or give them one group")
    advice = "look at them; if they show one scene, give them one group (or report it beside the result)"
    notice = info is not None and bool(table["split"].notna().any())
    add("pairs that look the same across the split", scenes, advice, notice=notice)
    return report


def _beside(root: Path, table: pd.DataFrame) -> list[str]:
    """Unrated images in the folders of rated ones; other folders hold the other sizes of a data set."""
    rated = {root / image for image in table["image"]}
    folders = sorted({path.parent for path in rated if path.parent.is_dir()})
    found = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]
    return [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in found if path not in rated]


def _across_the_split(checked: Checked, hashes: Hashes) -> tuple[list[str], list[str]]:
    """Files of the same content, and near-duplicates, that are or may be drawn on two sides of the split."""
    contents, split = checked.ratings.table["image"].map(checked.contents), checked.ratings.table["split"]
    table = checked.ratings.table.assign(content=contents, split=split.where(split.notna(), ""))
    copies = table[table["content"].duplicated(keep=False)].groupby("content", sort=False)
    alike: list[list[Any]] = [list(part.itertuples()) for _, part in copies]
    files = [" = ".join(map(_with_side, each)) for each in alike if _may_be_apart(each)]
    rows: list[Any] = list(table.itertuples())
    scenes = [
        f"{_with_side(rows[i])} ~ {_with_side(rows[j])}, {distance} of 64 bits differ"
        for i, j, distance in sorted(near_duplicates(hashes, SAME_SCENE), key=lambda pair: pair[2])
        if _may_be_apart([rows[i], rows[j]]) and rows[i].content != rows[j].content
    ]
    return files, scenes


def _may_be_apart(rows: Sequence[Any]) -> bool:
    """Whether rows of several groups are on several sides of the split, or may be drawn so."""
    sides = {row.split for row in rows}
    return len({row.group for row in rows}) > 1 and (len(sides) > 1 or "" in sides)


def _with_side(row: Any) -> str:
    return f"{row.image} ({row.split})" if row.split else row.image


def _facts(info: DatasetInfo | None, root: Path, table: pd.DataFrame) -> dict[str, object]:
    groups, mos = table["group"].nunique(), table["mos"].dropna()
    facts: dict[str, object] = {"folder": str(root), "images": len(table)}
    if info is not None:
        facts |= {"published": info.images, "published split": info.official_split}
    facts["split"] = {str(split): int(n) for split, n in table["split"].value_counts().items()} or "none"
    facts["groups"] = "none" if groups == len(table) else groups
    if len(mos):
        facts["ratings"] = {word: float(mos.quantile(fraction)) for word, fraction in MARKS.items()}
    return facts


def _sizes(sizes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The three most frequent sizes, width x height, and how many others there are."""
    counts = Counter(sizes)
    common = {f"{width} x {height}:": times for (height, width), times in counts.most_common(3)}
    return common | ({"others:": len(counts) - 3} if len(counts) > 3 else {})


def _histogram(info: DatasetInfo | None, table: pd.DataFrame) -> list[tuple[float, float, int]]:
    """Counts of ratings over the published range, or their own; those outside it are not counted."""
    mos = table["mos"].dropna().to_numpy()
    if not len(mos):
        return []
    counts, edges = np.histogram(mos, BARS, info.score_range if info else (mos.min(), mos.max()))
    ends = [round(edge, 9) for edge in edges.tolist()]
    return list(zip(ends[:-1], ends[1:], counts.tolist(), strict=True))
