"""Fits a model to a training split, watched on a validation split, with Lightning. It never sees a test split."""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from fusiqa.config import RunSettings
from fusiqa.data.loader import (
    EvaluationCrops,
    TrainingCrops,
    TrainingOrder,
    choose_workers,
    evaluation_loader,
    training_loader,
)
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.image import Resize
from fusiqa.training.history import WaitingTime, epoch_line, figures_of_the_best, is_best, write_history
from fusiqa.training.module import QualityModule
from fusiqa.training.recipe import Recipe

LAST_FILE = "last.ckpt"
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError)
LOG_FOLDER = "logs"
ACCELERATORS = {"cuda": "gpu"}  # what Lightning calls it
PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}

Say = Callable[[str], object]
SaveBest = Callable[[QualityModel, dict[str, float]], None]
"""Called on the first process with the model and the validation figures of the best epoch so far."""


def fit(
    model: QualityModel,
    ratings: Ratings,
    recipe: Recipe,
    run: RunSettings,
    *,
    resize: Resize,
    num_workers: int | None,
    run_dir: Path,
    save_best: SaveBest,
    say: Say = lambda _: None,
) -> bool:
    """Train the whole network, keeping the best epoch, the history and a state to resume from in the run folder.

    Args:
        model: trained in place; its best epoch is what `save_best` was last called with.
        ratings: with a train and a validation split.
        recipe: learning rates, device and precision.
        run: seed, devices, logs, whether to resume.
        resize: the resize protocol.
        num_workers: processes that read images; chosen by default.
        run_dir: where history.csv, last.ckpt and the logs go.
        save_best: called after each epoch that is better than all before.
        say: receives each epoch's figures where no progress bar is shown.

    Returns:
        Whether this is the first of the processes that trained together: the one that goes on to test.

    Raises:
        FusiqaError: a batch size that the devices cannot share, or a training state that cannot be read.
        KeyboardInterrupt: Ctrl-C, or what a handler made of another signal.
    """
    trainer = create_trainer(model, recipe, run, run_dir, save_best, say)
    world, batch_size = trainer.world_size, recipe.optimiser.batch_size
    if batch_size % world:
        raise FusiqaError(f"`batch_size` must be a multiple of the {world} devices, got {batch_size}")
    training, validation = ratings.part("train"), ratings.part("validation")
    crops_per_image, size = recipe.optimiser.crops_per_image, model.config.crop_size
    crops = len(training) * crops_per_image
    check_batches(model, crops=-(-crops // world), batch_size=batch_size // world)
    mos = validation.table["mos"].to_numpy(float)
    module = QualityModule(model, recipe, seed=run.seed, validation_mos=mos, crops_per_epoch=crops)
    model.to(memory_format=torch.channels_last)
    workers = choose_workers(num_workers, ratings, devices=trainer.num_devices)
    order = TrainingOrder(
        images=len(training),
        crops_per_image=crops_per_image,
        seed=run.seed,
        rank=trainer.global_rank,
        world_size=world,
    )
    return run_trainer(
        trainer,
        module,
        training_loader(
            TrainingCrops(training, resize, size, run.seed), order, batch_size=batch_size // world, num_workers=workers
        ),
        evaluation_loader(
            EvaluationCrops(validation, resize, size, view=model.config.view),
            num_workers=workers,
            rank=trainer.global_rank,
            world_size=world,
        ),
        resume_from=run_dir / LAST_FILE if run.resume else None,
    )


def check_batches(model: QualityModel, *, crops: int, batch_size: int) -> None:
    """Refuse the one case that batch normalisation cannot train on: a batch of one crop whose last map is one cell.

    Raises:
        FusiqaError: some batch of an epoch would be of that kind.
    """
    normalised = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normalised and model.pyramid.scale_sizes()[-1] == (1, 1) and (batch_size == 1 or crops % batch_size == 1):
        raise FusiqaError(
            f"batch normalisation cannot train on a batch of one crop whose last map is one cell, and {crops} crops in "
            f"batches of {batch_size} leave one: use a larger `crop_size`, or another `batch_size`"
        )


def run_trainer(
    trainer: lightning.Trainer,
    module: QualityModule,
    training: DataLoader,
    validation: DataLoader,
    *,
    resume_from: Path | None,
) -> bool:
    """Fit, from a training state where there is one. Returns and raises as `fit` does."""
    state = str(resume_from) if resume_from is not None and resume_from.is_file() else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and logging, not on results
        try:
            trainer.fit(module, training, validation, ckpt_path=state)
        except SystemExit as ended:
            if not trainer.interrupted:
                raise
            reason = ended.__context__  # Lightning exits on Ctrl-C by itself, with a code that says a failure
            raise (reason if isinstance(reason, KeyboardInterrupt) else KeyboardInterrupt()) from None
    return trainer.is_global_zero


def is_first_process() -> bool:
    """Whether this is the one of the processes training together that writes and speaks; true outside such a group."""
    return getattr(rank_zero_only, "rank", None) in (None, 0)


def create_trainer(
    model: QualityModel, recipe: Recipe, run: RunSettings, run_dir: Path, save_best: SaveBest, say: Say
) -> lightning.Trainer:
    """Lightning's trainer: devices, precision, clipping, logs, callbacks, and on a terminal a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = run.progress and sys.stderr.isatty()  # in a log file it would be megabytes
    optimiser, device = recipe.optimiser, recipe.device
    callbacks: list[Callback] = [KeepBest(run_dir, save_best, (lambda _: None) if bar else say)]
    # Every epoch's whole state, replacing that of the epoch before:
    callbacks.append(
        ModelCheckpoint(
            run_dir, filename=Path(LAST_FILE).stem, save_on_train_epoch_end=True, enable_version_counter=False
        )
    )
    if optimiser.patience is not None:
        callbacks.append(
            EarlyStopping("val_srcc", mode="max", patience=optimiser.patience, check_on_train_epoch_end=False)
        )
    if bar:
        callbacks.append(TQDMProgressBar())
    devices = run.num_devices or (1 if recipe.frozen or device.type == "cpu" else "auto")
    return lightning.Trainer(
        accelerator=ACCELERATORS.get(device.type, device.type),
        devices=[device.index] if device.index is not None else devices,
        num_nodes=run.num_nodes,
        strategy="ddp" if (run.num_devices or 1) * run.num_nodes > 1 else "auto",
        precision=PRECISIONS[recipe.precision],
        max_epochs=optimiser.epochs,
        gradient_clip_val=optimiser.gradient_clip or None,
        callbacks=callbacks,
        logger=create_logger("none" if recipe.frozen else run.logger, run_dir),
        plugins=[SafeCheckpointIO(model)],
        profiler=WaitingTime(),  # history.csv says which fraction of an epoch went into waiting for data
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=bar,
        enable_model_summary=False,
        log_every_n_steps=10,
    )


def create_logger(kind: str, run_dir: Path) -> Logger | bool:
    """Where each step is logged. Raises FusiqaError where TensorBoard is asked for and not installed."""
    if kind == "none":
        return False
    if kind == "csv":
        metrics = run_dir / LOG_FOLDER / "metrics.csv"
        if metrics.is_file() and is_first_process():  # of the epochs before a resume: CSVLogger would delete it
            before = len(list(metrics.parent.glob("metrics*.csv")))
            metrics.rename(metrics.with_name(f"metrics-{before}.csv"))
        return CSVLogger(run_dir, name=LOG_FOLDER, version="")
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(run_dir, name=LOG_FOLDER, version="")
    except ModuleNotFoundError as reason:
        raise FusiqaError("`logger` tensorboard needs TensorBoard: pip install 'fusiqa[tensorboard]'") from reason


class KeepBest(Callback):
    """Write history.csv and save the model after every epoch whose validation SRCC is the highest (ties: the earlier).

    Lightning's ModelCheckpoint would keep the best epoch as a pickle of its own shape; a trained model is a
    model.safetensors with its model.json, and both have to be there whole whenever the run is killed.
    """

    def __init__(self, folder: Path, save: SaveBest, say: Say) -> None:
        self.folder = folder
        self.save = save
        self.say = say
        self.best: dict[str, float] = {}
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, QualityModule)
        row = module.epoch_row
        better = is_best(row, self.best)
        if better:
            self.best = figures_of_the_best(row)
        self.rows.append(row)
        if trainer.is_global_zero:
            if better:
                self.save(module.model, self.best)
            write_history(self.rows, self.folder)
            self.say(epoch_line(row))

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), "rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.rows = dict(state_dict["best"]), [dict(row) for row in state_dict["rows"]]


class SafeCheckpointIO(TorchCheckpointIO):
    """Training states that a kill leaves whole, and that run no code when they are read.

    Lightning's own writer goes through the default temporary folder, so that on another file system the last step is a
    copy that a kill cuts short; and its reader unpickles whatever the file holds, unless it is told otherwise.
    """

    def __init__(self, model: QualityModel) -> None:
        self.shapes = {f"model.{name}": tensor.shape for name, tensor in model.state_dict().items()}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """The state, of tensors and plain types alone. Raises FusiqaError for anything else, or another network's."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            shapes = {name: tensor.shape for name, tensor in state["state_dict"].items()}
            missing = {"loops", "callbacks", "optimizer_states", "lr_schedulers"} - set(state)
        except UNREADABLE as reason:
            raise FusiqaError(f"{path} is not a training state, or a damaged one; `overwrite` starts anew") from reason
        if missing or not shapes.items() <= self.shapes.items():
            raise FusiqaError(f"{path} is the training state of another network; `overwrite` starts anew")
        return state
