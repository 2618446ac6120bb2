"""The test at the end of a run, and the cross-test on SPAQ. It trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.config import TrainConfig
from fusiqa.data import catalog
from fusiqa.data.audit import check
from fusiqa.data.catalog import SYNTHETIC
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots import scale_bars
from fusiqa.explain.weights import collapse_warning, summarise_weights, weights_array, with_groups
from fusiqa.io import write_atomically, write_json
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.runs.notices import Say
from fusiqa.runs.run_folder import ATTENTION_FILE, PREDICTIONS_FILE, TEST_FILE, backbone_of
from fusiqa.runs.tables import read_table
from fusiqa.stats.metrics import measure
from fusiqa.training.history import HISTORY_FILE
from fusiqa.training.predict import SCALE_COLUMNS, predict_on_range

SPAQ = "spaq"
SPAQ_TEST_FILE = "test_spaq.json"
SPAQ_PREDICTIONS_FILE = "predictions_spaq.csv"


def test(run_dir: Path, dataset: str, predict_test: Callable[[QualityModel], pd.DataFrame], *, say: Say) -> None:
    """Read the test split once, with the best epoch's weights: predictions.csv, attention.png and, last, test.json.

    A run with test.json is a finished one, so that nothing may come after it.

    Args:
        run_dir: the run's folder.
        dataset: name of the data set.
        predict_test: from the best epoch's model to the predictions for the test split.
        say: receives each line meant for the user.
    """
    trained = load_checkpoint(run_dir)
    predictions = predict_test(trained)
    write_atomically(run_dir / PREDICTIONS_FILE, lambda path: predictions.to_csv(path, index=False))
    result = test_record(run_dir, trained, predictions)
    if predictions[SCALE_COLUMNS[0]].notna().all():
        summary = summarise_weights(with_groups(predictions, dataset))
        title = f"Scale weights on the test split of {dataset}"
        sizes = trained.pyramid.scale_sizes()
        scale_bars(summary, scale_sizes=sizes, title=title, path=run_dir / ATTENTION_FILE)
        collapsed = collapse_warning(weights_array(predictions))
        if collapsed:
            say(f"warning: {collapsed}")
    else:
        say(f"no {ATTENTION_FILE}: {trained.config.fusion} fusion does not weigh its scales")
    write_json(run_dir / TEST_FILE, result)
    say(describe_test(dataset, result))


def test_record(run_dir: Path, trained: QualityModel, predictions: pd.DataFrame) -> dict[str, Any]:
    """test.json: the measures with their 95 % intervals, the size of the model and the time that it took."""
    history = read_table(run_dir / HISTORY_FILE)
    seconds = history["train_seconds"] + history["validation_seconds"]
    return {
        **measure(predictions["score"].to_numpy(), predictions["mos"].to_numpy()).to_json(),
        "backbone": backbone_of(run_dir),
        "resize": trained.resize,
        "parameters": sum(parameter.numel() for parameter in trained.parameters()),
        "seconds_per_epoch": round(float(seconds.mean()), 2),
        "epochs": len(history),
        "best_epoch": trained.provenance["epoch"],
        "validation_srcc": trained.provenance["val_srcc"],
    }


def describe_test(name: str, result: dict[str, Any]) -> str:
    figures = [
        f"{metric.upper()} {result[metric]['value']:.4f} [{result[metric]['low']:.4f}, {result[metric]['high']:.4f}]"
        for metric in ("srcc", "plcc")
    ]
    return f"test on {name}: {', '.join(figures)} (95 % interval), n = {result['n']}"


def cross_test_on_spaq(run_dir: Path, config: TrainConfig, *, device: str, say: Say) -> None:
    """Test on all of SPAQ, where its folder is found; whatever stands in the way is a notice, never a lost run."""
    if not config.run.spaq or config.data.dataset.lower() in (SYNTHETIC, SPAQ):
        return
    try:
        ratings = catalog.read(SPAQ, data_dir=config.run.spaq_dir)
        checked = check(ratings, skip_broken=True, progress=config.run.progress)
        if checked.broken:
            say(f"notice: SPAQ without {len(checked.broken)} images that cannot be used")
        result = test_on(run_dir, checked.ratings, device=device, progress=config.run.progress)
    except FusiqaError as reason:
        say(f"notice: no cross-test on SPAQ ({reason}); --no_spaq leaves it out")
        return
    write_json(run_dir / SPAQ_TEST_FILE, result)
    say(describe_test(SPAQ, result))


def test_on(run_dir: Path, ratings: Ratings, *, device: str, progress: bool) -> dict[str, Any]:
    """Measure the run's model on another data set, under that set's resize protocol and on its score range."""
    trained = load_checkpoint(run_dir)
    predictions = predict_on_range(trained, ratings, resize=ratings.resize, device=device, progress=progress)
    write_atomically(run_dir / SPAQ_PREDICTIONS_FILE, lambda path: predictions.to_csv(path, index=False))
    measured = measure(predictions["score"].to_numpy(), predictions["mos"].to_numpy()).to_json()
    return {**measured, "resize": ratings.resize}
