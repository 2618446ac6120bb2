"""Finished runs on the same test images, side by side: `fusiqa compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.config import CompareConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.runs.notices import Say
from fusiqa.runs.run_folder import PREDICTIONS_FILE, backbone_of
from fusiqa.runs.tables import read_table
from fusiqa.stats.compare import compare, readable

MARKDOWN_FILE = "comparison.md"
CSV_FILE = "comparison.csv"
MANY = (
    "{} comparisons with the first run, each interval taken alone: among several, one in twenty leaves zero out by "
    "chance. Over training seeds `fusiqa ablate` compares, and corrects for the number."
)


def compare_runs(config: CompareConfig, *, say: Say = print) -> pd.DataFrame:
    """Measure runs on their test images, each against the first, and say what can be told.

    Raises:
        FusiqaError: a folder without predictions, one that is named twice, or runs on different images.
    """
    named = dict(zip(distinct_names(config.runs), config.runs, strict=True))
    predictions = {name: read_table(run / PREDICTIONS_FILE) for name, run in named.items()}
    comparison, backbones = compare(predictions), [backbone_of(run) for run in config.runs]
    shown = readable(comparison)
    for table in (comparison, shown):
        table.insert(1, "backbone", backbones)
    text = to_markdown(shown)
    if len(named) > 2:
        text += "\n\n" + MANY.format(len(named) - 1)
    say(text)
    if config.output is not None:
        write_text(config.output / MARKDOWN_FILE, text + "\n")
        write_csv(comparison, config.output / CSV_FILE)
        say(f"written to {config.output / MARKDOWN_FILE} and {config.output / CSV_FILE}")
    return comparison


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """Each run by its folder's name, with as many of the folders above as tell it from the others.

    Raises:
        FusiqaError: a folder that is named twice.

    Example:
        >>> distinct_names([Path("/a/concat-seed1"), Path("/b/concat-seed1")])
        ['a/concat-seed1', 'b/concat-seed1']
    """
    places = [run.resolve().parts for run in runs]
    if len(set(places)) < len(places):
        twice = next(run for run, place in zip(runs, places, strict=True) if places.count(place) > 1)
        raise FusiqaError(f"{twice} is named twice; every run is compared once")
    depth = next(
        n for n in range(1, 1 + max(map(len, places), default=1)) if len({p[-n:] for p in places}) == len(runs)
    )
    return ["/".join(place[-depth:]) for place in places]
