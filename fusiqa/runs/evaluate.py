"""`fusiqa evaluate`: a finished model on other data sets, or on distorted versions of sharp images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusiqa.config import EvaluateConfig
from fusiqa.data import catalog
from fusiqa.data.catalog import kinds
from fusiqa.data.distortions import DISTORTIONS, EVERY, distorted, treatment_of
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.opinions import calibration, measures, opinions, scores_by_cell
from fusiqa.explain.plots.runs import level_curves, reliability, score_scatter
from fusiqa.io import claim, to_markdown, write_csv, write_text
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.progress import Say, progress_bar
from fusiqa.runs.compare import cells
from fusiqa.runs.data import own_part, say_range, usable, warn_of_seen
from fusiqa.runs.folder import TrainedModel
from fusiqa.scoring.image import Resize
from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.result import FLAW_COLUMNS
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sheet import Shown, contact_sheet
from fusiqa.stats.intervals import Estimate
from fusiqa.stats.metrics import METRICS, direction, estimate, measure
from fusiqa.training.predict import predict


def evaluate(config: EvaluateConfig, *, say: Say = print) -> Path:
    """Measure on every data set; one that cannot be read is reported and skipped. Returns the folder of the files."""
    trained, path, folder = TrainedModel.named(config.model, "evaluation")
    folder = config.output or folder
    if (config.score_range or config.lower_is_better) and not any(map(catalog.is_custom, config.dataset)):
        raise FusiqaError("`score_range` and `lower_is_better` are of tables: those of published data sets are known")
    if config.of_distortions:
        evaluate_distorted(config, trained, folder, say=say)
        return folder
    model = load_checkpoint(path)
    tables = ("evaluation.csv", "evaluation.md", "predictions_*.csv", "kinds_*.csv", "groups_*.csv")
    claim(folder, *tables, "scatter_*.png", "worst_*.png")
    rows = []
    for dataset, stem in catalog.short_names(config.dataset).items():
        try:
            ratings, part = images_to_measure(dataset, config, trained, model.resize, say)
            rows.append(evaluate_set(ratings, part, stem, model, trained, folder, config, say))
        except FusiqaError as reason:
            say(f"notice: not measured on {dataset}: {reason}")
    if not rows:
        raise FusiqaError(f"{config.model}: none of {', '.join(config.dataset)} could be measured on (see above)")
    table = pd.DataFrame(rows).assign(backbone=trained.backbone)
    write_csv(table, folder / "evaluation.csv")
    shown = {name.upper().replace("_LOGISTIC", " after the logistic"): cells(table, name, ".3f") for name in METRICS}
    text = to_markdown(table[["dataset", "part", "n"]].assign(**shown, **table[["resize", "backbone"]]))
    note = f"""Trained on {trained.trained_on}; backbone {trained.backbone}.

The 95 % intervals are over images. Images are resized before they are cropped: those of another published set by
its protocol, others as in training. Scores are mapped linearly to each set's range, on which RMSE depends."""
    write_text(folder / "evaluation.md", f"{text}\n\n{note}\n")
    say(f"{text}\nwritten to {folder}")
    return folder


def images_to_measure(
    dataset: str, config: EvaluateConfig, trained: TrainedModel, resize: str, say: Say
) -> tuple[Ratings, str]:
    """The images of a data set, and which part they are: of the model's own set its test split, of others all.

    Away from its run folder a model no longer knows its split: the published one is taken, else all with a warning.
    """
    data_dir = config.data_dir or catalog.folder_below(config.data_root, dataset)
    if trained.own_name(dataset):
        if config.score_range or config.lower_is_better:
            raise FusiqaError("`score_range` and `lower_is_better` are those of the training; leave them out")
        return own_part(trained, "test", dataset=dataset, data_dir=data_dir), "test"
    custom, stated = catalog.is_custom(dataset), config.score_range
    of_table: dict[str, Any] = {"score_range": stated, "lower_is_better": config.lower_is_better} if custom else {}
    ratings = catalog.read(dataset, data_dir=data_dir, **of_table)
    if custom and stated is None:
        say_range(ratings, say)
    if trained.datasets or ratings.name not in trained.trained_on.split(" + "):  # a run knows its own, as above
        return ratings, "all"
    if "test" in set(ratings.table["split"]):
        return replace(ratings.part("test"), resize=resize), "test"
    say(f"warning: the model was trained on {dataset}, and not on which images is known: the figures are too high")
    return ratings, "all"


def evaluate_set(
    ratings: Ratings, part: str, stem: str, model: QualityModel, trained: TrainedModel, folder: Path,
    config: EvaluateConfig, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """Predict a data set, write its tables and figures, and return its row of the table of all."""
    resize = model.resize if part == "all" and catalog.is_custom(ratings.name) else ratings.resizes[0]
    checked = usable(ratings, rated=True, progress=config.progress, say=say)
    ratings = replace(checked.ratings, resize=resize)
    if part == "all":
        warn_of_seen(trained, list(checked.contents.values()), ratings.name, say)
    table = predict(model, ratings, device=config.device, on_range=True, progress=config.progress)
    if (known := kinds(ratings.name, table["image"].tolist())) is not None:
        table = table.assign(kind=known)
    if ratings.table["group"].nunique() < len(table):
        table = table.assign(group=ratings.table["group"])
    write_csv(table, folder / f"predictions_{stem}.csv")
    scores, mos = table["score"].to_numpy(float), table["mos"].to_numpy(float)
    agreement = measure(scores, mos)
    if warning := direction(agreement.srcc.value):
        say(f"warning: SRCC {agreement.srcc.value:.3f} on {ratings.name}{warning}")
    score_scatter(scores, mos, folder / f"scatter_{stem}.png")
    for column in {"kind", "group"} & set(table):
        write_csv(measure_by(column, table), folder / f"{column}s_{stem}.csv")
    if config.worst:
        farthest = np.argsort(-abs(scores - mos), kind="stable")[: config.worst]
        words = [f"rated {mos[row]:.3g}, scored {scores[row]:.3g}" for row in farthest]
        images = table["image"].iloc[farthest]
        shown = [Shown(ratings.images.read(each), (line, each)) for each, line in zip(images, words, strict=True)]
        contact_sheet(shown, folder / f"worst_{stem}.png", title=f"Farthest from their ratings: {ratings.name}")
    row: dict[str, Any] = {"dataset": ratings.name, "part": part, "n": agreement.n}
    for name in METRICS:
        row |= getattr(agreement, name).columns(name)
    return {**row, "resize": resize}


def measure_by(column: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """SRCC with its 95 % interval, NaN where it is undefined, and mean errors within each kind or group of images."""
    rows = []
    for name, part in predictions.groupby(column, sort=True):
        try:
            agreement = estimate(part["score"], part["mos"])
        except FusiqaError:  # of a correlation that is not defined
            agreement = Estimate(np.nan, np.nan, np.nan)
        error = part["score"] - part["mos"]
        errors = {"mean_error": error.mean(), "mean_absolute_error": error.abs().mean()}
        rows.append({column: name, "n": len(part)} | agreement.columns("srcc") | errors)
    return pd.DataFrame(rows)


def evaluate_distorted(config: EvaluateConfig, trained: TrainedModel, folder: Path, *, say: Say) -> None:
    """Score the images of a folder, undistorted and under 25 distortions at 5 levels, and compare with opinions.

    Images are resized as the model needs and then distorted. distorted.csv has every score; for a model that names
    flaws reliability.png shows how well its probabilities are calibrated.
    """
    assert config.data_dir is not None, "a folder of sharp images, as the settings demand"
    images = catalog.read_images([config.data_dir], say=say)
    scorer = Scorer(config.model, device=config.device, readers=1)  # `DistortedImages` keeps the image read last
    claim(folder, "distorted.csv", "distorted.md", "distorted.png", "reliability.png")
    checked = usable(images, rated=False, progress=config.progress, say=say)
    sharp = checked.ratings
    if len(sharp) < 2:
        raise FusiqaError(f"{config.data_dir}: expected a folder of at least two sharp images")
    made, resize = distorted(sharp, EVERY), Resize.parse(scorer.info.resize, view=scorer.info.view)
    warn_of_seen(trained, list(checked.contents.values()), sharp.name, say)
    inputs = (ImageInput(name, partial(made.images.read, name, resize)) for name in made.names)
    rows = []
    with progress_bar(what="scoring distorted images", total=len(made), shown=config.progress) as bar:
        for result in scorer.stream(inputs):
            if result.error is not None:
                raise FusiqaError(f"{result.name}: {result.error}")
            original, name, level = treatment_of(result.name)
            flaws = dict(zip(FLAW_COLUMNS, (result.flaws or {}).values(), strict=False))
            rows.append({"image": original, "distortion": name, "level": int(level), "score": result.score, **flaws})
            bar.update()
    table = pd.DataFrame(rows)
    write_csv(table, folder / "distorted.csv")
    found = measures(table)
    means = scores_by_cell(table)[1].mean(axis=0)
    level_curves(means, opinions(), scorer.score_range, list(DISTORTIONS), folder / "distorted.png")
    if FLAW_COLUMNS[0] in table:
        stated, there, number = calibration(table).sum(axis=0).T
        reliability(stated, there, number, folder / "reliability.png")
    else:  # of another model
        (folder / "reliability.png").unlink(missing_ok=True)
    text = to_markdown(pd.DataFrame({"measure": list(found), "value": [f"{value:.3f}" for value in found.values()]}))
    note = f"{len(sharp)} images, {scorer.info.name}; 95 % intervals over images."
    write_text(folder / "distorted.md", f"{text}\n\n{note}\n")
    say(f"{text}\n{note}")
