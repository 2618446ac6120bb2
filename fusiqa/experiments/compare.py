"""Finished runs on the same test images, side by side: `fusiqa compare`."""

from __future__ import annotations

import pandas as pd

from fusiqa.config import CompareConfig
from fusiqa.errors import FusiqaError
from fusiqa.evaluation.compare import compare, readable, to_markdown, write_csv
from fusiqa.experiments.notices import Say
from fusiqa.experiments.run_folder import PREDICTIONS_FILE, backbone_of
from fusiqa.experiments.tables import read_table
from fusiqa.files import write_text

MARKDOWN_FILE = "comparison.md"
CSV_FILE = "comparison.csv"


def compare_runs(config: CompareConfig, *, say: Say = print) -> pd.DataFrame:
    """Measure runs on their test images, each against the first, and say what can be told.

    Raises:
        FusiqaError: a folder without predictions, two runs of one name, or runs on different images.
    """
    predictions: dict[str, pd.DataFrame] = {}
    for run in config.runs:
        name = run.resolve().name
        if name in predictions:
            raise FusiqaError(f"two runs are called {name}; rename one of the folders")
        predictions[name] = read_table(run / PREDICTIONS_FILE)
    comparison, backbones = compare(predictions), [backbone_of(run) for run in config.runs]
    shown = readable(comparison)
    for table in (comparison, shown):
        table.insert(1, "backbone", backbones)
    text = to_markdown(shown)
    say(text)
    if config.output is not None:
        write_text(config.output / MARKDOWN_FILE, text + "\n")
        write_csv(comparison, config.output / CSV_FILE)
        say(f"written to {config.output / MARKDOWN_FILE} and {config.output / CSV_FILE}")
    return comparison
