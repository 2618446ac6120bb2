"""A finished model on other data sets: `fusiqa evaluate`. It trains nothing and chooses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fusiqa.config import EvaluateConfig
from fusiqa.data import catalog
from fusiqa.data.audit import check
from fusiqa.data.catalog import find_dataset
from fusiqa.data.kinds import kinds
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots import score_scatter
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.runs.folder import Say, backbone_of, folder_of, is_own, own_dataset, own_part, seen_in_training
from fusiqa.scoring.sheet import Shown, contact_sheet
from fusiqa.stats.metrics import Estimate, estimate, measure
from fusiqa.training.predict import predict_on_range

TABLE_FILE = "evaluation"
SHOWN_METRICS = ("srcc", "plcc", "plcc_logistic", "krcc", "rmse")


@dataclass(frozen=True)
class Measured:
    """A data set and the predictions for it: image, mos, score, and kind and group where they are known."""

    ratings: Ratings
    resize: str
    part: str
    predictions: pd.DataFrame


def evaluate(config: EvaluateConfig, *, say: Say = print) -> Path:
    """Measure on every data set; one that cannot be read is said and left out, and never loses the others.

    Returns:
        The folder with evaluation.md and .csv, and for each data set predictions_, scatter_, worst_ and, where it has
        kinds or groups, kinds_ and groups_.

    Raises:
        FusiqaError: no model, or not one of the data sets could be measured on.
    """
    trained = load_checkpoint(config.model)
    folder = config.output or folder_of(config.model) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)  # one that cannot be made is known before anything is computed
    rows = []
    for dataset, stem in stems(config.dataset).items():
        try:
            measured = measure_on(dataset, trained, config, say)
            rows.append(write_one(measured, folder, stem, config))
        except FusiqaError as reason:
            say(f"notice: not measured on {dataset}: {reason}")
    if not rows:
        raise FusiqaError(f"{config.model}: not one of {', '.join(config.dataset)} could be measured on (see above)")
    table = pd.DataFrame(rows).assign(backbone=backbone_of(config.model))
    write_csv(table, folder / f"{TABLE_FILE}.csv")
    text = to_markdown(readable(table))
    own = own_dataset(config.model) or "unknown"
    note = (
        f"Trained on {own}; backbone {backbone_of(config.model)}. SRCC and PLCC with 95 % intervals over images; "
        "resize is what each was brought to before it was cropped: a published set as its protocol says, a table of "
        "one's own as the model was trained. Scores were brought to each set's range linearly, "
        "which RMSE depends on."
    )
    write_text(folder / f"{TABLE_FILE}.md", f"{text}\n\n{note}\n")
    say(f"{text}\nwritten to {folder}")
    return folder


def measure_on(dataset: str, trained: QualityModel, config: EvaluateConfig, say: Say) -> Measured:
    """Predict a data set on its own score range, under its resize protocol; a table of one's own as in training."""
    facts = find_dataset(dataset)
    name = facts.name if facts else dataset
    if is_own(config.model, dataset):
        ratings, resize, part = own_part(config.model, "test", data_dir=data_dir(name, config)), trained.resize, "test"
    else:
        ratings = catalog.read(dataset, data_dir=data_dir(name, config))
        resize, part = trained.resize if catalog.is_custom(dataset) else ratings.resize, "all"
        seen = seen_in_training(config.model, ratings.table["image"].tolist()) if catalog.is_custom(dataset) else 0
        if seen:
            say(
                f"warning: {seen} of the {len(ratings)} images of {dataset} are called as images that this model was "
                "trained or chosen on, and figures on those flatter it; its own data set, named as then, gives its test"
            )
    checked = check(ratings, skip_broken=True, progress=config.progress)
    if checked.broken:
        say(f"notice: {name} without {len(checked.broken)} images that cannot be used")
    table = predict_on_range(trained, checked.ratings, resize=resize, device=config.device, progress=config.progress)
    told = kinds(name, table["image"].tolist())
    groups = table["image"].map(checked.ratings.table.set_index("image")["group"])
    if told is not None:
        table = table.assign(kind=told)
    if groups.nunique() < len(table):
        table = table.assign(group=groups)
    return Measured(checked.ratings, resize, part, table)


def data_dir(name: str, config: EvaluateConfig) -> Path | None:
    """The data set's folder below --data_root; where there is none, None, for the run and `catalog.read` to look."""
    facts = find_dataset(name)
    if config.data_root is None or facts is None:
        return None
    folders = (config.data_root / each for each in (facts.name, *facts.aliases))
    return next((folder for folder in folders if folder.is_dir()), None)


def stems(datasets: Sequence[str]) -> dict[str, str]:
    """What the files of each data set end in: its name, and a number behind the second of one name.

    Example:
        >>> stems(["koniq-10k", "a/ratings.csv", "b/ratings.csv"])
        {'koniq-10k': 'koniq-10k', 'a/ratings.csv': 'ratings', 'b/ratings.csv': 'ratings-2'}
    """
    found: dict[str, str] = {}
    for dataset in datasets:
        facts = find_dataset(dataset)
        stem = facts.name if facts else Path(dataset).stem
        same = sum(each == stem or each.startswith(f"{stem}-") for each in found.values())
        found.setdefault(dataset, f"{stem}-{same + 1}" if same else stem)
    return found


def write_one(measured: Measured, folder: Path, stem: str, config: EvaluateConfig) -> dict[str, object]:
    """Tables and figures of one data set, and its row of the table of all."""
    predictions = measured.predictions
    scores, mos = predictions["score"].to_numpy(float), predictions["mos"].to_numpy(float)
    metrics = measure(scores, mos)
    write_csv(predictions, folder / f"predictions_{stem}.csv")
    score_scatter(scores, mos, folder / f"scatter_{stem}.png")
    for column in ("kind", "group"):
        if column in predictions:
            write_csv(by(column, predictions), folder / f"{column}s_{stem}.csv")
    if config.worst:
        worst_errors(measured, folder / f"worst_{stem}.png", count=config.worst)
    row: dict[str, object] = {"dataset": measured.ratings.name, "part": measured.part, "n": metrics.n}
    for name in SHOWN_METRICS:
        estimate = getattr(metrics, name)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {**row, "resize": measured.resize}


def by(column: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """SRCC with its 95 % interval within each kind or group of images, and mean errors.

    The SRCC of fewer than three images, or where ratings or scores are all alike, is NaN.
    """
    rows = []
    for name, part in predictions.groupby(column, sort=True):
        try:
            within = estimate(part["score"], part["mos"])
        except FusiqaError:  # of a correlation that is not defined
            within = Estimate(np.nan, np.nan, np.nan)
        error = part["score"] - part["mos"]
        rows.append(
            {
                column: name,
                "n": len(part),
                "srcc": within.value,
                "srcc_low": within.low,
                "srcc_high": within.high,
                "mean_error": float(error.mean()),
                "mean_absolute_error": float(error.abs().mean()),
            }
        )
    return pd.DataFrame(rows)


def worst_errors(measured: Measured, path: Path, *, count: int) -> None:
    """A contact sheet of the images whose score is farthest from their rating."""
    table = measured.predictions
    error = (table["score"] - table["mos"]).abs()
    shown = [
        Shown(
            measured.ratings.images.read(str(row.image)),
            (f"rated {row.mos:.3g}, scored {row.score:.3g}", str(row.image)),
        )
        for row in table.loc[error.sort_values(ascending=False, kind="stable").index[:count]].itertuples()
    ]
    contact_sheet(shown, path, title=f"Farthest from their ratings: {measured.ratings.name}")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all, each figure with its interval in one cell."""
    columns = {name: name.upper().replace("_LOGISTIC", " after the logistic") for name in SHOWN_METRICS}
    shown = table[["dataset", "part", "n"]].copy()
    for name, heading in columns.items():
        low, high = table[f"{name}_low"], table[f"{name}_high"]
        values = zip(table[name], low, high, strict=True)
        shown[heading] = [f"{value:.3f} [{least:.3f}, {most:.3f}]" for value, least, most in values]
    return shown.assign(resize=table["resize"], backbone=table["backbone"])
