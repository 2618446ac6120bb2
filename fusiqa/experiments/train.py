"""One whole run: read, check, split, fit, test once, explain. Each step is somebody else's; this is their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fusiqa.analysis.plots import scale_bars
from fusiqa.analysis.scale_weights import summarise
from fusiqa.config import ModelConfig, TrainConfig
from fusiqa.data import catalog, splits
from fusiqa.data.check import Checked, check
from fusiqa.data.photo import Resize
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import FusiqaError
from fusiqa.evaluation.predict import SCALE_COLUMNS, predict
from fusiqa.experiments import provenance
from fusiqa.experiments.groups import with_groups
from fusiqa.experiments.run_folder import (
    ATTENTION_FILE,
    PREDICTIONS_FILE,
    SPLIT_FILE,
    TEST_FILE,
    check_run_dir,
    choose_run_dir,
    make_run_dir,
    write_config,
)
from fusiqa.files import write_atomically, write_json
from fusiqa.metrics import FEWEST_IMAGES, measure
from fusiqa.models.checkpoint import TrainedModel, load_checkpoint, save_checkpoint
from fusiqa.models.quality import QualityModel, build_model
from fusiqa.training.callbacks import HISTORY_FILE
from fusiqa.training.fit import choose_accelerator, choose_precision, fit, is_first_process
from fusiqa.training.recipe import choose_rates, choose_regularisation


def train(config: TrainConfig, *, say: Callable[[str], None] = print) -> Path:
    """Train, choose the epoch on validation, test once, explain; everything ends up in the run folder.

    Args:
        config: the run's settings.
        say: receives each line meant for the user.

    Returns:
        The run folder.

    Raises:
        FusiqaError: anything in the settings or the data that cannot be used.
    """
    first = is_first_process()
    say = say if first else (lambda _: None)
    fusion = choose_fusion(config, say)
    run_dir = choose_run_dir(config, fusion)
    if first:
        check_run_dir(run_dir, config)
    if config.resume and (run_dir / TEST_FILE).is_file():
        say(f"{run_dir} is finished already: nothing to resume")
        return run_dir
    ratings = catalog.read(
        config.dataset, data_dir=config.data_dir, score_range=config.score_range, seed=config.split_seed
    )
    resize = Resize.parse(config.resize if config.resize != "auto" else ratings.resize)
    torch.manual_seed(config.seed)
    model = build_model(model_config(config, fusion, ratings), config.backbone_weights)
    checked = usable_ratings(ratings, config, say, progress=config.progress and first)
    if first:
        make_run_dir(run_dir, config)
        record(run_dir, config, checked, model, resize)
    say(describe_start(run_dir, model, checked.ratings))

    def save_best(model: QualityModel, best: dict[str, float]) -> None:
        where = {"dataset": checked.ratings.name, "seed": config.seed, "commit": provenance.commit(), **best}
        save_checkpoint(TrainedModel(model, str(resize), where), run_dir)

    if fit(model, checked.ratings, config, resize=resize, run_dir=run_dir, save_best=save_best):
        test(run_dir, checked.ratings.part("test"), progress=config.progress, say=say)
        cross_test_on_spaq(run_dir, config, say)
        say(f"everything is in {run_dir}")
    return run_dir


def choose_fusion(config: TrainConfig, say: Callable[[str], None]) -> str:
    """The fusion that the flags come to."""
    if config.attention_fusion and not config.multiscale:
        say("warning: --attention_fusion is ignored, because --no_multiscale leaves one scale and nothing to weigh")
    if not config.multiscale:
        return "single"
    return "attention" if config.attention_fusion else "concat"


def usable_ratings(ratings: Ratings, config: TrainConfig, say: Callable[[str], None], *, progress: bool) -> Checked:
    """The ratings that can be used, with their split: every photograph is decoded once before training starts."""
    checked = check(ratings, skip_broken=config.skip_broken, progress=progress)
    if checked.broken:
        say(f"warning: going on without {len(checked.broken)} broken rows; config.json lists them")
    ratings = splits.assign(checked.ratings, validation_share=config.validation_share, seed=config.split_seed)
    splits_measured: tuple[Split, ...] = ("validation", "test")
    for split in splits_measured:
        check_measurable(ratings.part(split), split)
    return Checked(ratings, checked.broken, checked.fingerprint)


def check_measurable(part: Ratings, split: str) -> None:
    """Refuse a split on which no correlation exists, before epochs are spent. Raises FusiqaError."""
    if len(part) < FEWEST_IMAGES or part.table["mos"].nunique() < 2:
        raise FusiqaError(
            f"{part.name}: the {split} split has {len(part)} photographs with {part.table['mos'].nunique()} different "
            f"ratings; a correlation needs {FEWEST_IMAGES} photographs and 2 ratings (--validation_share holds out more)"
        )


def model_config(config: TrainConfig, fusion: str, ratings: Ratings) -> ModelConfig:
    """The network that the settings and the data set come to."""
    regularisation = choose_regularisation(config)
    return ModelConfig(
        backbone=config.backbone,
        fusion=fusion,
        image_height=config.crop_size,
        image_width=config.crop_size,
        score_range=ratings.score_range,
        dropout=regularisation.dropout,
        drop_path=regularisation.drop_path,
        attention_dropout=config.attention_dropout,
    )


def record(run_dir: Path, config: TrainConfig, checked: Checked, model: QualityModel, resize: Resize) -> None:
    """Write config.json and the split before training starts."""
    rates = choose_rates(config)
    resolved: dict[str, Any] = {
        "fusion": model.config.fusion,
        "lr_backbone": rates.backbone,
        "lr_head": rates.head,
        "dropout": model.config.dropout,
        "drop_path": model.config.drop_path,
        "precision": choose_precision(config, choose_accelerator(config)),
        "resize": str(resize),
        "score_range": list(model.config.score_range),
        "photographs": checked.ratings.table["split"].value_counts().to_dict(),
        "data_fingerprint": checked.fingerprint,
        "split_fingerprint": splits.split_fingerprint(checked.ratings),
        "broken": [{"image": row.image, "reason": row.reason} for row in checked.broken],
    }
    write_config(run_dir, config, resolved=resolved, provenance=provenance.describe())
    splits.save(checked.ratings, run_dir / SPLIT_FILE)


def describe_start(run_dir: Path, model: QualityModel, ratings: Ratings) -> str:
    counts = ratings.table["split"].value_counts()
    photographs = ", ".join(f"{counts.get(split, 0)} {split}" for split in ("train", "validation", "test"))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return (
        f"{ratings.name}: {photographs} | {model.config.backbone}, {model.config.fusion}, {millions:.1f} M | {run_dir}"
    )


def test(run_dir: Path, ratings: Ratings, *, progress: bool, say: Callable[[str], None]) -> None:
    """Read the test split once, with the best epoch's weights: predictions.csv, test.json, attention.png."""
    trained = load_checkpoint(run_dir)
    predictions = predict(trained, ratings, progress=progress)
    write_atomically(run_dir / PREDICTIONS_FILE, lambda path: predictions.to_csv(path, index=False))
    result = test_record(run_dir, trained, predictions)
    write_json(run_dir / TEST_FILE, result)
    say(describe_test(ratings.name, result))
    if predictions[SCALE_COLUMNS[0]].notna().all():
        summary = summarise(with_groups(predictions, ratings.name))
        title = f"Scale weights on the test split of {ratings.name}"
        sizes = trained.model.pyramid.scale_sizes()
        scale_bars(summary, scale_sizes=sizes, title=title, path=run_dir / ATTENTION_FILE)
    else:
        say(f"no {ATTENTION_FILE}: {trained.model.config.fusion} fusion does not weigh its scales")


def test_record(run_dir: Path, trained: TrainedModel, predictions: pd.DataFrame) -> dict[str, Any]:
    """test.json: the measures with their 95 % intervals, the size of the model and the time that it took."""
    history = pd.read_csv(run_dir / HISTORY_FILE)
    seconds = history["train_seconds"] + history["validation_seconds"]
    return {
        **measure(predictions["score"].to_numpy(), predictions["mos"].to_numpy()).to_json(),
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
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


def cross_test_on_spaq(run_dir: Path, config: TrainConfig, say: Callable[[str], None]) -> None:
    """Test on all of SPAQ, where its folder is found; a notice where it is not."""
    if not config.spaq or config.dataset in ("synthetic", "spaq"):
        return
    try:
        ratings = catalog.read("spaq", data_dir=config.spaq_dir, score_range=None, seed=0)
    except FusiqaError as reason:
        say(f"notice: no cross-test on SPAQ ({reason}); --no_spaq leaves it out")
        return
    usable = check(ratings, skip_broken=True, progress=config.progress).ratings
    trained = load_checkpoint(run_dir)
    predictions = predict(trained, usable, resize=usable.resize, progress=config.progress)
    write_atomically(run_dir / "predictions_spaq.csv", lambda path: predictions.to_csv(path, index=False))
    own = trained.model.config.score_range
    scores = usable.score_range.from_unit(own.to_unit(predictions["score"].to_numpy()))
    result = measure(scores, predictions["mos"].to_numpy()).to_json()
    write_json(run_dir / "test_spaq.json", result)
    say(describe_test("spaq", result))
