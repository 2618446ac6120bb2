"""`fusiqa evaluate`: a finished model on other data sets."""

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
from fusiqa.data.distorted import kinds
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.runs import score_scatter
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.runs.folder import Say, backbone_of, folder_of, is_own, own_dataset, own_part, seen_in_training
from fusiqa.scoring.sheet import Shown, contact_sheet
from fusiqa.stats.intervals import Estimate
from fusiqa.stats.metrics import METRICS, estimate, measure
from fusiqa.training.predict import predict_on_range

TABLE_FILE = "evaluation"


@dataclass(frozen=True)
class PredictedSet:
    """A data set and the predictions for it: image, mos, score, and kind and group where they are known."""

    ratings: Ratings
    resize: str
    part: str
    predictions: pd.DataFrame


def evaluate(config: EvaluateConfig, *, say: Say = print) -> Path:
    """Measure on every data set; one that cannot be read is reported and skipped.

    Returns:
        The folder with evaluation.md and .csv, and for each data set predictions_, scatter_, worst_ and, where it has
        kinds or groups, kinds_ and groups_.

    Raises:
        FusiqaError: no model, or none of the data sets could be measured on.
    """
    model = load_checkpoint(config.model)
    folder = config.output or folder_of(config.model) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)  # one that cannot be made is known before anything is computed
    rows = []
    for dataset, stem in file_stems(config.dataset).items():
        try:
            rows.append(write_results(predict_set(dataset, model, config, say), folder, stem, worst=config.worst))
        except FusiqaError as reason:
            say(f"notice: not measured on {dataset}: {reason}")
    if not rows:
        raise FusiqaError(f"{config.model}: none of {', '.join(config.dataset)} could be measured on (see above)")
    table = pd.DataFrame(rows).assign(backbone=backbone_of(config.model))
    write_csv(table, folder / f"{TABLE_FILE}.csv")
    text = to_markdown(format_evaluation(table))
    note = f"""Trained on {own_dataset(config.model) or "unknown"}; backbone {backbone_of(config.model)}.

The 95 % intervals are over images. Images are resized before they are cropped: those of a published set by its
protocol, those of a table as in training. Scores are mapped linearly to each set's range, on which RMSE depends."""
    write_text(folder / f"{TABLE_FILE}.md", f"{text}\n\n{note}\n")
    say(f"{text}\nwritten to {folder}")
    return folder


def predict_set(dataset: str, model: QualityModel, config: EvaluateConfig, say: Say) -> PredictedSet:
    """Predict a data set on its own score range, under its resize protocol; a custom table as in training."""
    info = find_dataset(dataset)
    name = info.name if info else dataset
    if is_own(config.model, dataset):
        ratings, resize, part = own_part(config.model, "test", data_dir=data_dir(name, config)), model.resize, "test"
    else:
        ratings = catalog.read(dataset, data_dir=data_dir(name, config))
        custom = catalog.is_custom(dataset)
        resize, part = model.resize if custom else ratings.resize, "all"
        seen = seen_in_training(config.model, ratings.table["image"].tolist()) if custom else 0
        if seen:
            say(
                f"warning: {seen} of the {len(ratings)} images of {dataset} have the names of training or validation "
                "images, which biases the figures upwards; the name of the training data set measures on its test split"
            )
    checked = check(ratings, skip_broken=True, progress=config.progress)
    if checked.broken:
        say(f"notice: {name} without {len(checked.broken)} images that cannot be used")
    table = predict_on_range(model, checked.ratings, resize=resize, device=config.device, progress=config.progress)
    known = kinds(name, table["image"].tolist())
    groups = table["image"].map(checked.ratings.table.set_index("image")["group"])
    if known is not None:
        table = table.assign(kind=known)
    if groups.nunique() < len(table):
        table = table.assign(group=groups)
    return PredictedSet(checked.ratings, resize, part, table)


def data_dir(name: str, config: EvaluateConfig) -> Path | None:
    """The data set's folder in `data_root`; None where there is none, for `catalog.read` to look elsewhere."""
    info = find_dataset(name)
    if config.data_root is None or info is None:
        return None
    folders = (config.data_root / each for each in (info.name, *info.aliases))
    return next((folder for folder in folders if folder.is_dir()), None)


def file_stems(datasets: Sequence[str]) -> dict[str, str]:
    """What the files of each data set end in: its name, and a number for the second of one name.

    Example:
        >>> file_stems(["koniq-10k", "a/ratings.csv", "b/ratings.csv"])
        {'koniq-10k': 'koniq-10k', 'a/ratings.csv': 'ratings', 'b/ratings.csv': 'ratings-2'}
    """
    found: dict[str, str] = {}
    for dataset in datasets:
        info = find_dataset(dataset)
        stem = info.name if info else Path(dataset).stem
        same = sum(each == stem or each.startswith(f"{stem}-") for each in found.values())
        found.setdefault(dataset, f"{stem}-{same + 1}" if same else stem)
    return found


def write_results(measured: PredictedSet, folder: Path, stem: str, *, worst: int) -> dict[str, object]:
    """Write the tables and figures of one data set; return its row of the table of all."""
    predictions = measured.predictions
    scores, mos = predictions["score"].to_numpy(float), predictions["mos"].to_numpy(float)
    agreement = measure(scores, mos)
    write_csv(predictions, folder / f"predictions_{stem}.csv")
    score_scatter(scores, mos, folder / f"scatter_{stem}.png")
    for column in ("kind", "group"):
        if column in predictions:
            write_csv(measure_by(column, predictions), folder / f"{column}s_{stem}.csv")
    if worst:
        draw_worst(measured, folder / f"worst_{stem}.png", count=worst)
    row: dict[str, object] = {"dataset": measured.ratings.name, "part": measured.part, "n": agreement.n}
    for name in METRICS:
        row |= getattr(agreement, name).columns(name)
    return {**row, "resize": measured.resize}


def measure_by(column: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """SRCC with its 95 % interval within each kind or group of images, and mean errors.

    The SRCC of fewer than three images, or of constant ratings or scores, is NaN.
    """
    rows = []
    for name, part in predictions.groupby(column, sort=True):
        try:
            srcc = estimate(part["score"], part["mos"])
        except FusiqaError:  # of a correlation that is not defined
            srcc = Estimate(np.nan, np.nan, np.nan)
        error = part["score"] - part["mos"]
        errors = {"mean_error": error.mean(), "mean_absolute_error": error.abs().mean()}
        rows.append({column: name, "n": len(part)} | srcc.columns("srcc") | errors)
    return pd.DataFrame(rows)


def draw_worst(measured: PredictedSet, path: Path, *, count: int) -> None:
    """A contact sheet of the images whose score is farthest from their rating."""
    table = measured.predictions
    error = (table["score"] - table["mos"]).abs()
    shown = []
    for row in table.loc[error.sort_values(ascending=False, kind="stable").index[:count]].itertuples():
        words = (f"rated {row.mos:.3g}, scored {row.score:.3g}", str(row.image))
        shown.append(Shown(measured.ratings.images.read(str(row.image)), words))
    contact_sheet(shown, path, title=f"Farthest from their ratings: {measured.ratings.name}")


def format_evaluation(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all for reading, each figure with its interval in one cell."""
    shown = table[["dataset", "part", "n"]].copy()
    for name in METRICS:
        rows = table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
        heading = name.upper().replace("_LOGISTIC", " after the logistic")
        shown[heading] = [f"{Estimate(*row):.3f}" for row in rows]
    return shown.assign(resize=table["resize"], backbone=table["backbone"])
