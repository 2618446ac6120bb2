"""`fusiqa compare`: finished runs on the same test images, each against the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.config import CompareConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.runs.folder import PREDICTIONS_FILE, Say, backbone_of, read_table
from fusiqa.stats.comparisons import COMPARED, compare_predictions
from fusiqa.stats.intervals import Estimate

MARKDOWN_FILE = "comparison.md"
CSV_FILE = "comparison.csv"
UNCORRECTED = (
    "{} comparisons with the first run, not corrected for their number: about one in twenty is significant by chance. "
    "`fusiqa ablate` compares designs over training seeds, with Holm's correction."
)


def compare_runs(config: CompareConfig, *, say: Say = print) -> pd.DataFrame:
    """Measure runs on their test images, and each difference from the first with its interval.

    Raises:
        FusiqaError: a folder without predictions, one that is named twice, or runs on different images.
    """
    named = dict(zip(distinct_names(config.runs), config.runs, strict=True))
    comparison = compare_predictions({name: read_table(run / PREDICTIONS_FILE) for name, run in named.items()})
    comparison.insert(1, "backbone", [backbone_of(run) for run in config.runs])
    text = to_markdown(format_comparison(comparison))
    if len(named) > 2:
        text += "\n\n" + UNCORRECTED.format(len(named) - 1)
    say(text)
    if config.output is not None:
        write_text(config.output / MARKDOWN_FILE, text + "\n")
        write_csv(comparison, config.output / CSV_FILE)
        say(f"written to {config.output / MARKDOWN_FILE} and {config.output / CSV_FILE}")
    return comparison


def format_comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """The comparison for reading: each number with its interval in one cell, "0.868 [0.855, 0.880]"."""

    def cells(name: str, digits: str) -> list[str]:
        rows = comparison[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
        return [format(Estimate(*row), digits) for row in rows]

    table = comparison[["run", "backbone", "n"]]
    values = {name.upper(): cells(name, ".3f") for name in COMPARED}
    differences = {f"{name.upper()} minus first": cells(f"{name}_difference", "+.4f") for name in COMPARED}
    return table.assign(**values, **differences, verdict=comparison["verdict"])


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """The name of each run's folder, with as many parent folders as make it unique.

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
    depths = range(1, 1 + max(map(len, places), default=1))
    depth = next(n for n in depths if len({place[-n:] for place in places}) == len(runs))
    return ["/".join(place[-depth:]) for place in places]
