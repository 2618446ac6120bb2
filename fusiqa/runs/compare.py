"""`fusiqa compare`: finished runs on the same test images, each against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fusiqa.config import CompareConfig
from fusiqa.data.catalog import short_names
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
    predictions = {name: read_run_table(run / PREDICTIONS_FILE) for name, run in zip(names, config.runs, strict=True)}
    trained = {name: TrainedModel.at(run) for name, run in zip(names, config.runs, strict=True)}
    comparison = compare_sets(predictions, trained, say)
    backbones = {name: each.backbone for name, each in trained.items()}
    comparison.insert(1, "backbone", comparison["run"].map(backbones))
    measured = {name.upper(): cells(comparison, name, ".3f") for name in COMPARED}
    measured |= {f"{name.upper()} minus first": cells(comparison, f"{name}_difference", "+.4f") for name in COMPARED}
    stated = [name for name in ("set", "run", "backbone", "n") if name in comparison]
    text = to_markdown(comparison[stated].assign(**measured, verdict=comparison["verdict"]))
    if (count := int(comparison["srcc_difference"].notna().sum())) > 1:
        text += f"\n\n{count} {MANY}"
    say(text)
    if config.output is not None:
        claim(config.output, MARKDOWN_FILE, CSV_FILE)
        write_text(config.output / MARKDOWN_FILE, text + "\n")
        write_csv(comparison, config.output / CSV_FILE)
        say(f"written to {config.output / MARKDOWN_FILE} and {config.output / CSV_FILE}")
    return comparison


def compare_sets(predictions: dict[str, pd.DataFrame], trained: Mapping[str, TrainedModel], say: Say) -> pd.DataFrame:
    """`compare_predictions`; where a run had several data sets, within each that all runs have."""
    if not any(SET in table for table in predictions.values()):
        return compare_predictions(predictions)
    tables = {run: by_set(table, trained[run]) for run, table in predictions.items()}
    sets = {run: list(table[SET].unique()) for run, table in tables.items()}
    common = [name for name in next(iter(sets.values())) if all(name in own for own in sets.values())]
    if not common:
        found = "; ".join(f"{run}: {', '.join(own)}" for run, own in sets.items())
        raise FusiqaError(f"no data set that all runs were tested on ({found})")
    if left_out := sorted({name for own in sets.values() for name in own} - set(common)):
        say(f"notice: not compared on {', '.join(left_out)}: not every run has it")
    parts = {name: {run: scaled(table[table[SET] == name]) for run, table in tables.items()} for name in common}
    return pd.concat([compare_predictions(part).assign(**{SET: name}) for name, part in parts.items()])


def by_set(table: pd.DataFrame, run: TrainedModel) -> pd.DataFrame:
    """The predictions of a run on one or several data sets, with set and names of images as one on several has them."""
    if SET in table:
        return table
    if not run.record:
        raise FusiqaError(f"{run.folder} is not a run directory, so its data set is not known")
    (name,) = short_names(run.datasets).values()
    return table.assign(image=f"{name}/" + table["image"].astype(str), **{SET: name})


def scaled(table: pd.DataFrame) -> pd.DataFrame:
    """Ratings from 1 to 2, lowest to highest: runs state those of one set on ranges of their own."""
    low, high = table["mos"].min(), table["mos"].max()
    return table.assign(mos=1 + (table["mos"] - low) / ((high - low) or 1))


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
