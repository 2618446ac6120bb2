"""What is known of every published data set: the table of facts.toml, and its text for people. It reads no data set."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError

SYNTHETIC = "synthetic"
"""The built-in data set, which needs no files (data/synthetic.py)."""
ALONE = "nothing: each image is a group of its own"
LIST_COLUMNS = ("name", "images", "ratings", "better", "groups", "official split", "licence")
NARROW = 28
"""Longest cell of the list, characters; `info_text` has the whole."""


@dataclass(frozen=True)
class Facts:
    """What is known of a published data set, in the order in which `fusiqa data info` says it."""

    name: str
    """What --dataset calls it."""
    aliases: tuple[str, ...]
    """Other names that are understood, and under which its folder is looked for."""
    images: int
    """Number of rated images as published."""
    score_range: ScoreRange
    """The interval of the published ratings."""
    higher_is_better: bool
    """Direction of the published ratings; where it is false, ratings are turned when they are read."""
    group: str
    """What the images of one group share."""
    official_split: str
    """The published split."""
    resolution: str
    """Size of the images, pixels, width by height."""
    resize: str
    """The resize protocol, in the words of --resize."""
    licence: str
    """What its makers allow."""
    redistributable: bool
    """Whether its terms let others pass it on unchanged, for research at least."""
    citation: str
    """Authors, title, where, year, DOI."""
    source: str
    """Where to get it."""
    layout: str
    """The files and folders that are read."""
    rating_files: tuple[str, ...]
    """Any one of these makes a folder known as the one of this data set; patterns are allowed."""
    hub_archive: str
    """Its file in the collection that `fusiqa data download` fetches from; empty where there is none."""


def _facts(name: str, entry: dict[str, Any]) -> Facts:
    stated = {"name": name, **entry}
    for names in ("aliases", "rating_files"):
        stated[names] = tuple(stated[names])
    stated["score_range"] = ScoreRange(*map(float, stated["score_range"]))
    stated["group"] = stated["group"] or ALONE
    return Facts(**{field.name: stated.pop(field.name) for field in fields(Facts)}, **stated)


def _read() -> tuple[Facts, ...]:
    table = tomllib.loads(resources.files("fusiqa.data").joinpath("facts.toml").read_text(encoding="utf-8"))
    return tuple(_facts(name, entry) for name, entry in table.items())


CATALOG: tuple[Facts, ...] = _read()


BUILT_IN: Mapping[str, str] = {
    "name": SYNTHETIC,
    "images": "5,400, drawn where they are used: 150 contents, each pristine and under 7 distortions at 5 levels",
    "ratings": "1 to 5, higher is better: KADID-10k's mean opinion on the distortion and level, not on the picture",
    "one group shares": "a content",
    "official split": "by content: training 3,780, validation 540, test 1,080; the contents are drawn from the seed",
    "resolution": "128x128",
    "download": "none needed: there are no files",
}


def names() -> list[str]:
    """What --dataset takes by name, in alphabetical order."""
    return sorted([SYNTHETIC, *(facts.name for facts in CATALOG)])


def facts_of(dataset: str) -> Facts | None:
    """The facts of a published data set by its name or an alias, in any case; None if there is none of that name.

    Example:
        >>> facts_of("KonIQ10k").name
        'koniq-10k'
    """
    known = {name: facts for facts in CATALOG for name in (facts.name, *facts.aliases)}
    return known.get(dataset.lower().replace("_", "-"))


def closest(dataset: str) -> str:
    """A hint at the name that was perhaps meant, or nothing.

    Example:
        >>> closest("konik-10k")
        'did you mean koniq-10k? '
    """
    spellings = names() + [alias for facts in CATALOG for alias in facts.aliases]
    found = difflib.get_close_matches(dataset.lower(), spellings, n=1)
    return f"did you mean {found[0]}? " if found else ""


def list_text() -> str:
    """All published data sets as a plain table, one a line."""
    rows = [LIST_COLUMNS, *(_row(facts) for facts in CATALOG)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(LIST_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", "fusiqa data info NAME says all; fusiqa data check NAME looks at a copy."])


def _row(facts: Facts) -> tuple[str, ...]:
    cells = (
        facts.name,
        f"{facts.images:,}",
        f"{facts.score_range.low:g} to {facts.score_range.high:g}",
        "higher" if facts.higher_is_better else "lower, turned",
        "none"
        if facts.group == ALONE
        else facts.group.rpartition("(")[2].rstrip(")")
        if "(" in facts.group
        else "prompt",
        facts.official_split.partition(":")[0].partition(" (")[0],
        facts.licence,
    )
    return tuple(cell if len(cell) <= NARROW else f"{cell[: NARROW - 3]}..." for cell in cells)


def _groups(facts: Facts) -> str:
    """How many contents there are where references are counted, else whether there are groups at all."""
    if facts.group == ALONE:
        return "none"
    return f"{facts.group.rpartition('(')[2].rstrip(')')} contents" if "(" in facts.group else "by prompt"


def info_text(dataset: str) -> str:
    """All that is known of a data set, one fact a line.

    Raises:
        FusiqaError: unknown name.
    """
    if dataset.lower() == SYNTHETIC:
        return _lines(BUILT_IN)
    facts = facts_of(dataset)
    if facts is None:
        raise FusiqaError(f"unknown data set {dataset!r}: {closest(dataset)}known are {', '.join(names())}")
    direction = "higher is better" if facts.higher_is_better else "lower is better as published; turned when it is read"
    said = {
        "name": ", ".join((facts.name, *facts.aliases)),
        "images": f"{facts.images:,}",
        "ratings": f"{facts.score_range.low:g} to {facts.score_range.high:g}, {direction}",
        "one group shares": facts.group,
        "official split": facts.official_split,
        "resolution": facts.resolution,
        "resized to": facts.resize,
        "licence": facts.licence,
        "may be passed on": "yes" if facts.redistributable else "no: ask at its source",
        "citation": facts.citation,
        "source": facts.source,
        "layout": facts.layout,
        "looked for in": " or ".join(f"{home}/{facts.name}" for home in ("$FUSIQA_DATA", "data")) + ", or --data_dir",
        "download": f"fusiqa data download {facts.name}" if facts.redistributable and facts.hub_archive else "by hand",
    }
    return _lines(said)


def _lines(said: Mapping[str, str]) -> str:
    width = max(map(len, said))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in said.items())
