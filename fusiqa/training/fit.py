"""Fit a model to a training split, watched on a validation split. It never sees a test split."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from fusiqa.config import TrainConfig
from fusiqa.data.loader import (
    EvaluationCrops,
    TrainingBatches,
    TrainingCrops,
    choose_workers,
    evaluation_loader,
)
from fusiqa.data.order import TrainingOrder, mixing_window
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.image import Resize
from fusiqa.scoring.torch import choose_device
from fusiqa.training.callbacks import LAST_FILE, AtomicCheckpointIO, KeepBest, WriteHistory, keep_last, stop_early
from fusiqa.training.module import QualityModule
from fusiqa.training.recipe import choose_precision, choose_rates
from fusiqa.training.waiting import WaitingTime

ACCELERATORS = {"cuda": "gpu"}  # what Lightning calls it
PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def fit(
    model: QualityModel,
    ratings: Ratings,
    config: TrainConfig,
    *,
    resize: Resize,
    run_dir: Path,
    save_best: Callable[[QualityModel, dict[str, float]], None],
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Train, keeping the best epoch, the history and a state to resume from in the run folder.

    Args:
        model: trained in place; its best epoch is what `save_best` was last called with.
        ratings: with a train and a validation split.
        config: the run's settings.
        resize: the resize protocol.
        run_dir: where history.csv, last.ckpt and the logs go.
        save_best: called on the first process with the model and the epoch's validation figures.
        say: told each epoch's figures where no progress bar is shown.

    Returns:
        Whether this is the first of the processes that trained together: the one that goes on to test.

    Raises:
        FusiqaError: a batch size that the devices cannot share.
        KeyboardInterrupt: Ctrl-C, or what a handler made of another signal.
    """
    trainer = create_trainer(config, run_dir, save_best, say)
    world = trainer.world_size
    if config.optimiser.batch_size % world:
        raise FusiqaError(f"`batch_size` must be a multiple of the {world} devices, got {config.optimiser.batch_size}")
    training, validation = ratings.part("train"), ratings.part("validation")
    crops_per_epoch = len(training) * config.optimiser.crops_per_image
    check_batches(model, crops=-(-crops_per_epoch // world), batch_size=config.optimiser.batch_size // world)
    module = QualityModule(
        model,
        config,
        choose_rates(config.network, config.optimiser),
        validation_mos=validation.table["mos"].to_numpy(float),
        crops_per_epoch=crops_per_epoch,
    )
    model.to(memory_format=torch.channels_last)
    workers = choose_workers(config.data.num_workers, ratings, devices=trainer.num_devices)
    order = TrainingOrder(
        images=len(training),
        crops_per_image=config.optimiser.crops_per_image,
        seed=config.run.seed,
        window=mixing_window(crops_per_image=config.optimiser.crops_per_image, crop_size=config.network.crop_size),
        rank=trainer.global_rank,
        world_size=world,
    )
    last = run_dir / LAST_FILE
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and logging, not on results
        try:
            trainer.fit(
                module,
                TrainingBatches(
                    TrainingCrops(training, resize, config.network.crop_size, config.run.seed),
                    order,
                    batch_size=config.optimiser.batch_size // world,
                    num_workers=workers,
                ),
                evaluation_loader(
                    EvaluationCrops(validation, resize, config.network.crop_size),
                    num_workers=workers,
                    rank=trainer.global_rank,
                    world_size=world,
                ),
                ckpt_path=str(last) if config.run.resume and last.is_file() else None,
            )
        except SystemExit as ended:
            if not trainer.interrupted:
                raise
            reason = ended.__context__  # Lightning exits on Ctrl-C by itself, with a code that says a failure
            raise (reason if isinstance(reason, KeyboardInterrupt) else KeyboardInterrupt()) from None
    return trainer.is_global_zero


def check_batches(model: QualityModel, *, crops: int, batch_size: int) -> None:
    """Refuse the one case that batch normalisation cannot train on: a batch of one crop whose last map is one cell.

    Raises:
        FusiqaError: some batch of an epoch would be of that kind.
    """
    normalised = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normalised and model.pyramid.scale_sizes()[-1] == (1, 1) and (batch_size == 1 or crops % batch_size == 1):
        raise FusiqaError(
            f"`crop_size` {model.config.crop_size} leaves one cell in the last map of {model.config.backbone}, and "
            f"{crops} crops in batches of {batch_size} leave a batch of one: batch normalisation has nothing to "
            f"average there. Use `crop_size` {model.config.crop_size + 1} or more, or another `batch_size`"
        )


def is_first_process() -> bool:
    """Whether this is the one of the processes training together that writes and speaks; true outside such a group."""
    return getattr(rank_zero_only, "rank", None) in (None, 0)


def create_trainer(
    config: TrainConfig, run_dir: Path, save_best: Callable, say: Callable[[str], None]
) -> lightning.Trainer:
    """Lightning's trainer: devices, precision, clipping, logs, callbacks, and on a terminal a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = config.run.progress and sys.stderr.isatty()  # in a log file it would be megabytes
    history = WriteHistory(run_dir) if bar else WriteHistory(run_dir, say)
    callbacks = [KeepBest(save_best), history, keep_last(run_dir)]
    if config.optimiser.patience is not None:
        callbacks.append(stop_early(config.optimiser.patience))
    if bar:
        callbacks.append(TQDMProgressBar())
    device = choose_device(config.run.device)
    some = "auto" if device.index is None else [device.index]
    return lightning.Trainer(
        accelerator=ACCELERATORS.get(device.type, device.type),
        devices=config.run.num_devices or (1 if device.type == "cpu" else some),
        num_nodes=config.run.num_nodes,
        strategy="ddp" if (config.run.num_devices or 1) * config.run.num_nodes > 1 else "auto",
        precision=PRECISIONS[choose_precision(config.run.precision, device.type, frozen=False)],
        max_epochs=config.optimiser.epochs,
        gradient_clip_val=config.optimiser.gradient_clip or None,
        callbacks=callbacks,
        logger=create_logger(config, run_dir),
        plugins=[AtomicCheckpointIO()],
        profiler=WaitingTime(),  # history.csv says what share of an epoch went into waiting for data
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=bar,
        enable_model_summary=False,
        log_every_n_steps=10,
    )


def create_logger(config: TrainConfig, run_dir: Path) -> Logger | bool:
    """Where each step is logged. Raises FusiqaError where TensorBoard is asked for and not installed."""
    if config.run.logger == "none":
        return False
    if config.run.logger == "csv":
        return CSVLogger(run_dir, name="logs", version="")
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(run_dir, name="logs", version="")
    except ModuleNotFoundError as reason:
        raise FusiqaError("`logger` tensorboard needs TensorBoard: pip install 'fusiqa[tensorboard]'") from reason
