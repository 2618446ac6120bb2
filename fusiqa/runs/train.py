"""Orchestrates one training run: read, check, split, fit, test once, explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fusiqa.config import ModelConfig, TrainConfig
from fusiqa.config.backbone_args import parse_backbone_args
from fusiqa.data import catalog, splits
from fusiqa.data.audit import check
from fusiqa.data.cache import open_store
from fusiqa.data.catalog import SYNTHETIC
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import FusiqaError
from fusiqa.explain.plots.scales import scale_bars
from fusiqa.explain.weights import collapse_warning, summarise_weights, weights_array, with_groups
from fusiqa.io import hold, write_csv, write_json
from fusiqa.models.checkpoint import save_checkpoint
from fusiqa.models.quality import QualityModel, build_model, load_checkpoint
from fusiqa.runs.data import Prepared, prepare, read_ratings
from fusiqa.runs.folder import (
    ATTENTION_FILE,
    PREDICTIONS_FILE,
    SPLIT_FILE,
    TEST_FILE,
    Say,
    backbone_of,
    check_run_dir,
    choose_run_dir,
    describe_origin,
    make_run_dir,
    read_table,
    write_config,
)
from fusiqa.scoring.image import OVERLAP
from fusiqa.stats.metrics import measure
from fusiqa.training.fit import SaveBest, fit, is_first_process
from fusiqa.training.frozen import PackedImages, fit_heads, pack_images, predict_packed
from fusiqa.training.history import HISTORY_FILE
from fusiqa.training.predict import SCALE_COLUMNS, predict, predict_on_range
from fusiqa.training.recipe import Recipe, resolve

SPAQ = "spaq"
SPAQ_TEST_FILE = "test_spaq.json"
SPAQ_PREDICTIONS_FILE = "predictions_spaq.csv"
USUAL_BATCH = 32  # of the published recipe, and of the runs that chose the other default rates
USUAL_FROZEN_BATCH = 64  # of the smallest batches that heads on a frozen backbone were tried with at their default rate
READ_BY: Mapping[str, tuple[str, ...]] = {
    "single_scale": ("single",),
    "weighing": ("attention",),
    "attention_dropout": ("attention", "cross-scale"),
    "entropy_weight": ("attention", "spatial", "cross-scale"),
}
"""Settings that only some fusions use."""
UNREAD_BY_HEADS = ("drop_path", "logger")
"""Settings that heads on a frozen backbone do not use."""

PredictTest = Callable[[QualityModel], pd.DataFrame]
"""From the best epoch's model to the predictions for the test split."""


def train(config: TrainConfig, *, prepared: Prepared | None = None, say: Say = print) -> Path:
    """Train, choose the epoch on validation, test once, explain; everything is written to the run folder.

    Args:
        config: the run's settings.
        prepared: the images, where another run of the same data settings has prepared them already.
        say: receives each line meant for the user.

    Returns:
        The run folder.

    Raises:
        FusiqaError: settings or data that cannot be used, or a run folder that another process writes.
    """
    first = is_first_process()
    say = say if first else (lambda _: None)
    recipe = resolve(config)
    for line in notices(config):
        say(line)
    run_dir = choose_run_dir(config)
    with hold(run_dir) if first else nullcontext():
        if first:
            check_run_dir(run_dir, config)
        if config.run.resume and (run_dir / TEST_FILE).is_file():
            say(f"{run_dir} is already finished: nothing to resume")
            return run_dir
        run(config, recipe, run_dir, prepared, say)
    return run_dir


def run(config: TrainConfig, recipe: Recipe, run_dir: Path, prepared: Prepared | None, say: Say) -> None:
    """Train and test in a run folder that is free for it."""
    first = is_first_process()
    ratings, resize = (prepared.ratings, prepared.resize) if prepared else read_ratings(config.data)
    model = build(config, recipe, ratings)
    if prepared is None:
        prepared = prepare(config.data, ratings, resize, say=say, progress=config.run.progress and first)
    origin = describe_origin()
    if first:
        make_run_dir(run_dir, config)
        record(run_dir, config, recipe, prepared, model, origin)
    say(describe_start(run_dir, model, prepared.ratings))

    def save_best(model: QualityModel, best: dict[str, float]) -> None:
        where = {"dataset": ratings.name, "seed": config.run.seed, "commit": origin["commit"], **best}
        model.resize, model.provenance = str(resize), where
        save_checkpoint(model, run_dir)

    fit_run = fit_frozen if recipe.frozen else fit_whole
    predict_test = fit_run(model, prepared, config, recipe, run_dir, save_best, say)
    if predict_test is not None:
        cross_test_on_spaq(run_dir, config, recipe, say=say)
        test(run_dir, ratings.name, predict_test, say=say)
        say(f"everything is in {run_dir}")


def fit_whole(
    model: QualityModel,
    prepared: Prepared,
    config: TrainConfig,
    recipe: Recipe,
    run_dir: Path,
    save_best: SaveBest,
    say: Say,
) -> PredictTest | None:
    """Train the whole network; the prediction of the test split, on the first of the processes that trained."""
    first = fit(
        model,
        prepared.ratings,
        recipe,
        config.run,
        resize=prepared.resize,
        num_workers=config.data.num_workers,
        run_dir=run_dir,
        save_best=save_best,
        say=say,
    )
    test_ratings, progress = prepared.ratings.part("test"), config.run.progress
    return partial(predict, ratings=test_ratings, device=recipe.device, progress=progress) if first else None


def fit_frozen(
    model: QualityModel,
    prepared: Prepared,
    config: TrainConfig,
    recipe: Recipe,
    run_dir: Path,
    save_best: SaveBest,
    say: Say,
) -> PredictTest:
    """Train the heads alone, on the fewest crops that cover an image; the test takes overlapping ones, as ever."""
    store = open_store(config.data.cache_dir, config.data.cache_gb)

    def packed(split: Split, overlap: float) -> PackedImages:
        return pack_images(
            model,
            prepared.ratings.part(split),
            prepared.checked.contents,
            prepared.resize,
            store,
            overlap=overlap,
            device=recipe.device,
            num_workers=config.data.num_workers,
            progress=config.run.progress,
        )

    validation = packed("validation", 0.0)
    fit_heads(
        model,
        packed("train", 0.0),
        validation,
        prepared.ratings,
        recipe,
        config.run,
        run_dir=run_dir,
        save_best=save_best,
        say=say,
    )
    test_ratings = prepared.ratings.part("test")
    return lambda trained: predict_packed(trained, packed("test", OVERLAP), test_ratings)


# --- settings --------------------------------------------------------------------------------------------------------


def notices(config: TrainConfig) -> list[str]:
    """Lines about settings that have no effect, or that do not suit the default learning rates."""
    network, optimiser = config.network, config.optimiser
    lines = [f"warning: `{name}` has no effect with {why}" for name, why in ignored(config).items()]
    if network.attention_fusion and network.chosen_fusion == "single":
        lines.append("warning: `attention_fusion` has no effect without `multiscale`: one scale has no weights")
    usual = USUAL_FROZEN_BATCH if optimiser.freeze_backbone else USUAL_BATCH
    if optimiser.lr is None and optimiser.batch_size < usual // 2:
        lines.append(f"notice: the default learning rates are for a `batch_size` of about {usual}; try a lower `lr`")
    return lines


def ignored(config: TrainConfig) -> dict[str, str]:
    """Settings that were given and have no effect, each with the setting that makes it so."""
    fusion = config.network.chosen_fusion
    unread = {name: f"`fusion` {fusion}" for name, readers in READ_BY.items() if fusion not in readers}
    if config.optimiser.freeze_backbone:
        unread |= dict.fromkeys(UNREAD_BY_HEADS, "`freeze_backbone`")
    usual = TrainConfig()
    return {name: why for name, why in unread.items() if config[name] != usual[name]}


def build(config: TrainConfig, recipe: Recipe, ratings: Ratings) -> QualityModel:
    """The network of a run before its training. Raises FusiqaError where it cannot be built."""
    torch.manual_seed(config.run.seed)
    network = config.network
    model_config = ModelConfig(
        backbone=network.backbone,
        fusion=network.chosen_fusion,
        single_scale=network.single_scale,
        weighing=network.weighing,
        gates_on_pools=network.chosen_fusion == "spatial" and recipe.frozen,
        crop_size=network.crop_size,
        view=network.view,
        score_range=ratings.score_range,
        dropout=recipe.regularisation.dropout,
        drop_path=recipe.regularisation.drop_path,
        attention_dropout=network.attention_dropout,
        timm_args=parse_backbone_args(network.backbone_args),
    )
    return build_model(model_config, network.backbone_weights)


def record(
    run_dir: Path,
    config: TrainConfig,
    recipe: Recipe,
    prepared: Prepared,
    model: QualityModel,
    origin: dict[str, Any],
) -> None:
    """Write config.json and the split before training starts."""
    checked = prepared.checked
    resolved: dict[str, Any] = {
        "fusion": model.config.fusion,
        "backbone": "frozen" if recipe.frozen else "fine-tuned",
        "lr_backbone": recipe.rates.backbone,
        "lr_head": recipe.rates.head,
        "dropout": model.config.dropout,
        "drop_path": model.config.drop_path,
        "precision": recipe.precision,
        "resize": str(prepared.resize),
        "score_range": list(model.config.score_range),
        "images": checked.ratings.table["split"].value_counts().to_dict(),
        "data_fingerprint": checked.fingerprint,
        "split_fingerprint": splits.split_fingerprint(checked.ratings),
        "broken": [{"image": row.image, "reason": row.reason} for row in checked.broken],
    }
    write_config(run_dir, config, resolved=resolved, provenance=origin)
    splits.save(checked.ratings, run_dir / SPLIT_FILE)


def describe_start(run_dir: Path, model: QualityModel, ratings: Ratings) -> str:
    counts = ratings.table["split"].value_counts()
    images = ", ".join(f"{counts.get(split, 0)} {split}" for split in ("train", "validation", "test"))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"{ratings.name}: {images} | {model.config.backbone}, {model.config.fusion}, {millions:.1f} M | {run_dir}"


# --- the test at the end ---------------------------------------------------------------------------------------------


def test(run_dir: Path, dataset: str, predict_test: PredictTest, *, say: Say) -> None:
    """Read the test split once, with the best epoch's weights: predictions.csv, attention.png and, last, test.json.

    A run with test.json is a finished one, so nothing may come after it.
    """
    trained = load_checkpoint(run_dir)
    predictions = predict_test(trained)
    write_csv(predictions, run_dir / PREDICTIONS_FILE)
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


def cross_test_on_spaq(run_dir: Path, config: TrainConfig, recipe: Recipe, *, say: Say) -> None:
    """Test on all of SPAQ, where its folder is found; whatever fails is a notice, never a lost run.

    The images are resized by SPAQ's protocol, and the scores brought to its range.
    """
    if not config.run.spaq or config.data.dataset.lower() in (SYNTHETIC, SPAQ):
        return
    progress = config.run.progress
    try:
        checked = check(catalog.read(SPAQ, data_dir=config.run.spaq_dir), skip_broken=True, progress=progress)
        if checked.broken:
            say(f"notice: SPAQ without {len(checked.broken)} images that cannot be used")
        ratings, trained = checked.ratings, load_checkpoint(run_dir)
        predictions = predict_on_range(trained, ratings, resize=ratings.resize, device=recipe.device, progress=progress)
        measured = measure(predictions["score"].to_numpy(), predictions["mos"].to_numpy()).to_json()
    except FusiqaError as reason:
        say(f"notice: no test on SPAQ ({reason}); `no_spaq` skips it")
        return
    write_csv(predictions, run_dir / SPAQ_PREDICTIONS_FILE)
    result = {**measured, "resize": ratings.resize}
    write_json(run_dir / SPAQ_TEST_FILE, result)
    say(describe_test(SPAQ, result))
