"""One whole run: read, check, split, fit, test once, explain. Each step is somebody else's; this is their order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fusiqa.config import ModelConfig, TrainConfig
from fusiqa.config.backbone_args import parse_backbone_args
from fusiqa.data import splits
from fusiqa.data.ratings import Ratings
from fusiqa.models.checkpoint import save_checkpoint
from fusiqa.models.quality import QualityModel, build_model
from fusiqa.runs import provenance
from fusiqa.runs.frozen import PredictTest, SaveBest, fit_frozen
from fusiqa.runs.notices import Say
from fusiqa.runs.prepare import Prepared, prepare, read_ratings
from fusiqa.runs.run_folder import (
    SPLIT_FILE,
    TEST_FILE,
    check_run_dir,
    choose_run_dir,
    make_run_dir,
    write_config,
)
from fusiqa.runs.testing import cross_test_on_spaq, test
from fusiqa.scoring.torch import choose_device
from fusiqa.training.fit import fit, is_first_process
from fusiqa.training.predict import predict
from fusiqa.training.recipe import choose_precision, choose_rates, choose_regularisation

USUAL_BATCH = 32  # of the published recipe, and of the runs that chose the other default rates
USUAL_FROZEN_BATCH = 64  # of the smallest batches that heads on a frozen backbone were tried with at their default rate


def train(config: TrainConfig, *, prepared: Prepared | None = None, say: Say = print) -> Path:
    """Train, choose the epoch on validation, test once, explain; everything ends up in the run folder.

    Args:
        config: the run's settings.
        prepared: the images, where another run of the same data settings has prepared them already.
        say: receives each line meant for the user.

    Returns:
        The run folder.

    Raises:
        FusiqaError: anything in the settings or the data that cannot be used.
    """
    first = is_first_process()
    say = say if first else (lambda _: None)
    fusion = choose_fusion(config, say)
    for name, flag in ignored(config, fusion).items():
        say(f"warning: --{name} is ignored: it is nothing to {flag}")
    precision = settled_precision(config)
    run_dir = choose_run_dir(config, fusion)
    if first:
        check_run_dir(run_dir, config)
    if config.run.resume and (run_dir / TEST_FILE).is_file():
        say(f"{run_dir} is finished already: nothing to resume")
        return run_dir
    ratings, resize = (prepared.ratings, prepared.resize) if prepared else read_ratings(config.data)
    model = build(config, fusion, ratings)
    if prepared is None:
        prepared = prepare(config.data, ratings, resize, say=say, progress=config.run.progress and first)
    origin = provenance.describe()
    if first:
        make_run_dir(run_dir, config)
        record(run_dir, config, prepared, model, precision, origin)
    say(describe_start(run_dir, model, prepared.ratings))
    usual_batch = USUAL_FROZEN_BATCH if config.optimiser.freeze_backbone else USUAL_BATCH
    if config.optimiser.lr is None and config.optimiser.batch_size < usual_batch // 2:
        say(f"notice: the default learning rates suit batches of about {usual_batch}; --lr sets another")

    def save_best(model: QualityModel, best: dict[str, float]) -> None:
        where = {"dataset": ratings.name, "seed": config.run.seed, "commit": origin["commit"], **best}
        model.resize, model.provenance = str(resize), where
        save_checkpoint(model, run_dir)

    predict_test = (fit_frozen if config.optimiser.freeze_backbone else fit_whole)(
        model, prepared, config, run_dir, save_best, say
    )
    if predict_test is not None:
        cross_test_on_spaq(run_dir, config, device=config.run.device, say=say)
        test(run_dir, ratings.name, predict_test, say=say)
        say(f"everything is in {run_dir}")
    return run_dir


def fit_whole(
    model: QualityModel, prepared: Prepared, config: TrainConfig, run_dir: Path, save_best: SaveBest, say: Say
) -> PredictTest | None:
    """Train the whole network; what predicts the test split then, on the first of the processes that trained."""
    if not fit(model, prepared.ratings, config, resize=prepared.resize, run_dir=run_dir, save_best=save_best, say=say):
        return None
    test_ratings = prepared.ratings.part("test")
    return lambda trained: predict(trained, test_ratings, device=config.run.device, progress=config.run.progress)


def choose_fusion(config: TrainConfig, say: Say) -> str:
    """The fusion that the flags come to. Raises FusiqaError where they contradict each other."""
    fusion = config.network.chosen_fusion
    if config.network.attention_fusion and fusion == "single":
        say("warning: --attention_fusion is ignored, because --no_multiscale leaves one scale and nothing to weigh")
    return fusion


def settled_precision(config: TrainConfig) -> str:
    """The precision that the training steps will have on the device that was asked for."""
    device = choose_device(config.run.device)
    return choose_precision(config.run.precision, device.type, frozen=config.optimiser.freeze_backbone)


READ_BY: Mapping[str, tuple[str, ...]] = {
    "single_scale": ("single",),
    "weighing": ("attention",),
    "attention_dropout": ("attention", "cross-scale"),
    "entropy_weight": ("attention", "spatial", "cross-scale"),
}
"""Settings that some fusions only have a use for."""
UNREAD_BY_HEADS = ("drop_path", "logger")
"""Settings that heads on a frozen backbone have no use for: it skips no block, and history.csv is their only log."""


def ignored(config: TrainConfig, fusion: str) -> dict[str, str]:
    """Settings that were given and make no difference, each with the flag that it makes none to."""
    unread = {name: f"--fusion {fusion}" for name, readers in READ_BY.items() if fusion not in readers}
    if config.optimiser.freeze_backbone:
        unread |= dict.fromkeys(UNREAD_BY_HEADS, "--freeze_backbone")
    usual = TrainConfig()
    return {name: flag for name, flag in unread.items() if config[name] != usual[name]}


def build(config: TrainConfig, fusion: str, ratings: Ratings) -> QualityModel:
    """The network of a run before its training. Raises FusiqaError where it cannot be built."""
    torch.manual_seed(config.run.seed)
    return build_model(model_config(config, fusion, ratings), config.network.backbone_weights)


def model_config(config: TrainConfig, fusion: str, ratings: Ratings) -> ModelConfig:
    """The network that the settings and the data set come to."""
    regularisation = choose_regularisation(config.network, frozen=config.optimiser.freeze_backbone)
    return ModelConfig(
        backbone=config.network.backbone,
        fusion=fusion,
        single_scale=config.network.single_scale,
        weighing=config.network.weighing,
        gates_on_pools=fusion == "spatial" and config.optimiser.freeze_backbone,
        crop_size=config.network.crop_size,
        score_range=ratings.score_range,
        dropout=regularisation.dropout,
        drop_path=regularisation.drop_path,
        attention_dropout=config.network.attention_dropout,
        timm_args=parse_backbone_args(config.network.backbone_args),
    )


def record(
    run_dir: Path,
    config: TrainConfig,
    prepared: Prepared,
    model: QualityModel,
    precision: str,
    origin: dict[str, Any],
) -> None:
    """Write config.json and the split before training starts."""
    rates, checked = choose_rates(config.network, config.optimiser), prepared.checked
    resolved: dict[str, Any] = {
        "fusion": model.config.fusion,
        "backbone": "frozen" if config.optimiser.freeze_backbone else "fine-tuned",
        "lr_backbone": rates.backbone,
        "lr_head": rates.head,
        "dropout": model.config.dropout,
        "drop_path": model.config.drop_path,
        "precision": precision,
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
