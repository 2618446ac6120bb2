"""Fits a model to a training split, watched on a validation split, with Lightning. It never sees a test split."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.utilities import rank_zero_only

from fusiqa.config import DataSettings
from fusiqa.data.audit import Checked
from fusiqa.data.loader import TrainingCrops
from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically, write_csv
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.quality import QualityModel
from fusiqa.progress import Say
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.training.module import QualityModule, Row, TrainingData
from fusiqa.training.predict import crops_of, predict
from fusiqa.training.recipe import Recipe

HISTORY_FILE, LAST_FILE, LOG_FOLDER = "history.csv", "last.ckpt", "logs"
KEPT_OF_THE_BEST = ("epoch", "val_srcc", "val_plcc", "val_mae")
PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # what Lightning calls them


def whole_network(model: QualityModel, checked: Checked, data: DataSettings, recipe: Recipe) -> TrainingData:
    """Images after the model's resize, read anew in every epoch, for training the whole network."""
    ratings, device, progress = checked.ratings, recipe.device, recipe.run.progress
    validation = crops_of(model, ratings.part("validation"), overlap=0.0)
    model.to(memory_format=torch.channels_last)
    return TrainingData(
        ratings=ratings,
        training=TrainingCrops(ratings.part("train"), validation.resize, model.config.crop_size, recipe.run.seed),
        validation=validation,
        predict=lambda crops: model(to_unit_range(crops)),
        network=TorchNetwork(model),
        predict_test=partial(predict, ratings=ratings.part("test"), device=device, progress=progress),
        num_workers=data.num_workers,
    )


def fit(model: QualityModel, data: TrainingData, recipe: Recipe, run_dir: Path, say: Say) -> bool:
    """Train in place, from a training state if there is one; whether this is the first of the processes that train.

    The best epoch (model.safetensors, model.json), history.csv, last.ckpt to resume from and the logs go to `run_dir`;
    `say` receives each epoch's figures where no progress bar is shown.
    """
    trainer, module = create_trainer(model, recipe, run_dir, say), QualityModule(model, data, recipe)
    world, batch_size = trainer.world_size, recipe.optimiser.batch_size
    if batch_size % world:
        raise FusiqaError(f"`batch_size` must be a multiple of the {world} devices, got {batch_size}")
    if not recipe.frozen:
        check_batches(model, crops=math.ceil(module.crops / world), batch_size=batch_size // world)
    last = run_dir / LAST_FILE
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and logging, not on results
        try:
            trainer.fit(module, ckpt_path=str(last) if recipe.run.resume and last.is_file() else None)
        except SystemExit as ended:
            if not trainer.interrupted:
                raise
            reason = ended.__context__  # Lightning exits on Ctrl-C by itself, with a code that says a failure
            raise (reason if isinstance(reason, KeyboardInterrupt) else KeyboardInterrupt()) from None
    return trainer.is_global_zero


def check_batches(model: QualityModel, *, crops: int, batch_size: int) -> None:
    """Refuse the one case that batch normalisation cannot train on: a batch of one crop whose last map is one cell."""
    normalised = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normalised and model.pyramid.scale_sizes()[-1] == (1, 1) and (batch_size == 1 or crops % batch_size == 1):
        why = f"batch normalisation cannot train on one crop whose last map is one cell, as {crops} crops in batches of"
        raise FusiqaError(f"{why} {batch_size} leave: use a larger `crop_size`, or another `batch_size`")


def is_first_process() -> bool:
    """Whether this is the one of the processes training together that writes and speaks; true outside such a group."""
    return getattr(rank_zero_only, "rank", None) in (None, 0)


def create_trainer(model: QualityModel, recipe: Recipe, run_dir: Path, say: Say) -> lightning.Trainer:
    """Lightning's trainer: devices, precision, clipping, logs, callbacks, and on a terminal a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    run, optimiser, device = recipe.run, recipe.optimiser, recipe.device
    bar = run.progress and sys.stderr.isatty()  # in a log file it would be megabytes
    # Every epoch's whole state, replacing that of the epoch before:
    state: dict[str, Any] = {"filename": "last", "save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[Callback] = [KeepBest(run_dir, (lambda _: None) if bar else say), ModelCheckpoint(run_dir, **state)]
    if (patience := optimiser.patience) is not None:
        callbacks.append(EarlyStopping("val_srcc", mode="max", patience=patience, check_on_train_epoch_end=False))
    if bar:
        callbacks.append(TQDMProgressBar())
    devices = run.num_devices or (1 if recipe.frozen or device.type == "cpu" else "auto")
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.index is not None else devices,
        num_nodes=run.num_nodes,
        strategy="ddp" if (run.num_devices or 1) * run.num_nodes > 1 else "auto",
        precision=PRECISIONS[recipe.precision],
        max_epochs=optimiser.epochs,
        gradient_clip_val=optimiser.gradient_clip or None,
        callbacks=callbacks,
        logger=create_logger("none" if recipe.frozen else run.logger, run_dir),
        plugins=[SafeCheckpointIO(model)],
        profiler=SimpleProfiler(),  # of the time that an epoch waits for data
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
        return TensorBoardLogger(run_dir, name=LOG_FOLDER, version="")
    except ModuleNotFoundError as reason:
        raise FusiqaError("`logger` tensorboard needs TensorBoard: pip install 'fusiqa[tensorboard]'") from reason


class KeepBest(Callback):
    """Write history.csv after every epoch, and the model where its validation SRCC is the highest (ties: the earlier).

    Lightning's ModelCheckpoint would pickle the best epoch, and its CSVLogger delete the rows before a resume.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.say, self.rows = folder, say, list[Row]()

    @property
    def best(self) -> Row:
        row = max(self.rows, key=lambda row: row["val_srcc"])  # the first of equal ones
        return {name: row[name] for name in KEPT_OF_THE_BEST}

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self.rows.append(row := module.epoch_row)
        if trainer.is_global_zero:
            if self.best["epoch"] == row["epoch"]:
                module.model.provenance |= self.best
                module.model.save_pretrained(self.folder)
            write_csv(pd.DataFrame(self.rows), self.folder / HISTORY_FILE)
            self.say(f"epoch {row['epoch']}: train_mae {row['train_mae']:.4g}, validation SRCC {row['val_srcc']:.4f}")

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


class SafeCheckpointIO(TorchCheckpointIO):
    """Training states that a kill leaves whole, and that run no code when they are read.

    Lightning writes through the default temporary folder, from where a kill cuts a copy short, and unpickles anything.
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
        except Exception as reason:  # whatever hostile bytes make torch raise
            raise FusiqaError(f"{path} is not a training state, or a damaged one; `overwrite` starts anew") from reason
        if missing or not shapes.items() <= self.shapes.items():
            raise FusiqaError(f"{path} is the training state of another network; `overwrite` starts anew")
        return state
