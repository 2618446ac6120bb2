"""`fusiqa compare`: finished runs on the same test images, each against the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.config import CompareConfig
from fusiqa.data.ratings import SET
from fusiqa.errors import FusiqaError
from fusiqa.io import claim, to_markdown, write_csv, write_text
from fusiqa.progress import Say
from fusiqa.runs.folder import PREDICTIONS_FILE, TrainedModel, read_run_table
from fusiqa.stats.comparisons import COMPARED, compare_predictions
from fusiqa.stats.intervals import Estimate

MARKDOWN_FILE, CSV_FILE = "comparison.md", "comparison.csv"
MANY = """comparisons with the first run, not corrected for their number: about one in twenty is significant by chance.
`fusiqa ablate` compares designs over training seeds, with Holm's correction."""


def compare_runs(config: CompareConfig, *, say: Say = print) -> pd.DataFrame:
    """Measure runs on their test images, and each difference from the first with its interval."""
    names = distinct_names(config.runs)
    predictions = [read_run_table(run / PREDICTIONS_FILE) for run in config.runs]
    comparison = compare_sets(dict(zip(names, predictions, strict=True)))
    backbones = {name: TrainedModel.at(run).backbone for name, run in zip(names, config.runs, strict=True)}
    comparison.insert(1, "backbone", comparison["run"].map(backbones))
    measured = {name.upper(): cells(comparison, name, ".3f") for name in COMPARED}
    measured |= {f"{name.upper()} minus first": cells(comparison, f"{name}_difference", "+.4f") for name in COMPARED}
    stated = [name for name in ("set", "run", "backbone", "n") if name in comparison]
    text = to_markdown(comparison[stated].assign(**measured, verdict=comparison["verdict"]))
    if len(names) > 2:
        text += f"\n\n{len(names) - 1} {MANY}"
    say(text)
    if config.output is not None:
        claim(config.output, MARKDOWN_FILE, CSV_FILE)
        write_text(config.output / MARKDOWN_FILE, text + "\n")
        write_csv(comparison, config.output / CSV_FILE)
        say(f"written to {config.output / MARKDOWN_FILE} and {config.output / CSV_FILE}")
    return comparison


def compare_sets(predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`compare_predictions`, of runs on several data sets within each of them."""
    if not all(SET in table for table in predictions.values()):
        return compare_predictions(predictions)
    sets = next(iter(predictions.values()))[SET].unique()
    parts = {name: {run: table[table[SET] == name] for run, table in predictions.items()} for name in sets}
    return pd.concat([compare_predictions(part).assign(**{SET: name}) for name, part in parts.items()])


def cells(table: pd.DataFrame, name: str, digits: str) -> list[str]:
    """A column of estimates for reading, each with its interval in one cell, "0.868 [0.855, 0.880]"."""
    rows = table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
    return [format(Estimate(*row), digits) for row in rows]


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """The name of each run's folder, with as many parent folders as make it unique.

    Example:
        >>> distinct_names([Path("/a/concat-seed1"), Path("/b/concat-seed1")])
        ['a/concat-seed1', 'b/concat-seed1']
    """
    places = [run.resolve().parts for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise FusiqaError(f"{run} is named twice; every run is compared once")
    depths = range(1, 1 + max(map(len, places), default=1))
    depth = next(n for n in depths if len({place[-n:] for place in places}) == len(runs))
    return ["/".join(place[-depth:]) for place in places]
