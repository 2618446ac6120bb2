"""Fits a network with Lightning: module, trainer, and the files of every epoch."""

from __future__ import annotations

import gc
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset
from torchmetrics.utilities.distributed import gather_all_tensors

from fusiqa.config import DataSettings
from fusiqa.data import loader
from fusiqa.data.audit import Checked
from fusiqa.data.loader import EvaluationBatch, TrainingBatch
from fusiqa.data.ratings import SET, Ratings, set_indices, weighed_rows
from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically, write_csv
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.progress import Say
from fusiqa.scoring.models import Network
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.scorer import is_out_of_memory, score_views
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.stats.metrics import direction, plcc, srcc
from fusiqa.training.depthwise import fast_depthwise
from fusiqa.training.loss import TrainingLoss
from fusiqa.training.predict import NO_WEIGHTS, crops_of, predict
from fusiqa.training.processes import LOST, PROCESS_LOST, WatchProcesses
from fusiqa.training.recipe import Recipe, create_optimizer, rate_factor

HISTORY_FILE, LAST_FILE, LOG_FOLDER = "history.csv", "last.ckpt", "logs"
KEPT_OF_THE_BEST = ("epoch", "val_srcc", "val_plcc", "val_mae")
PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # what Lightning calls them
FROZEN_PART = "model.pyramid."
CALIBRATION_RATE = 3e-3  # learning rate of how data sets relate to the common scale
WAITING = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning calls waiting for a training batch
EpochRow = dict[str, float]
"""A row of history.csv: epoch (from 1), train_mae and val_mae (on the score range), val_srcc, val_plcc, learning rates
at the epoch's end, mean scale weights of the validation images (NaN where the fusion has none), times."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a network, or its heads alone, is trained, validated and tested on, and what scores it."""

    ratings: Ratings  # of all three splits
    training: Dataset  # by `Draw`: a crop, or the maps of one, and the rating of its image
    validation: Sized  # by row: the views of an image, or the maps of them, and the row
    predict: Callable[[Tensor], Prediction]  # scores the crops of a training batch
    network: Network  # scores validation images
    predict_test: Callable[[QualityModel], pd.DataFrame]  # the test split, by the model of the best epoch
    num_workers: int | None = None
    images_at_once: int = loader.IMAGES_AT_ONCE


def whole_network(model: QualityModel, checked: Checked, data: DataSettings, recipe: Recipe) -> TrainingData:
    """Resized images, read again in every epoch, for training the whole network."""
    ratings, run = checked.ratings, recipe.run
    model.to(memory_format=torch.channels_last)

    def predict_crops(crops: Tensor) -> Prediction:
        with fast_depthwise(recipe.device.type, recipe.precision):
            return model(to_unit_range(crops))

    return TrainingData(
        ratings=ratings,
        training=loader.TrainingCrops(
            ratings.part("train"),
            model.config.crop_size,
            recipe.run.seed,
            distorted=recipe.optimiser.augment_distortions,
            view=model.config.view,
        ),
        validation=crops_of(model, ratings.part("validation"), overlap=0.0),
        predict=predict_crops,
        network=TorchNetwork(model),
        predict_test=partial(predict, ratings=ratings.part("test"), device=recipe.device, progress=run.progress),
        num_workers=data.num_workers,
    )


def seed_step(*numbers: int) -> None:
    """Seed dropout from these numbers alone."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def validation_figures(
    scores: Float[np.ndarray, " images"], mos: Float[np.ndarray, " images"], sets: Sequence[str] = ()
) -> EpochRow:
    """SRCC, PLCC and mean absolute error; of several data sets the means of theirs, and the SRCC of each."""
    parts = {name: np.array(sets) == name for name in dict.fromkeys(sets)} or {"": np.full(len(mos), True)}
    ranks = {name: float(srcc(scores[part], mos[part])) for name, part in parts.items()}
    linear = np.mean([float(plcc(scores[part], mos[part])) for part in parts.values()])
    figures = {"val_srcc": float(np.mean(list(ranks.values()))), "val_plcc": float(linear)}
    figures |= {f"val_srcc_{name}": value for name, value in ranks.items() if name}
    return figures | {"val_mae": float(abs(scores - mos).mean())}


class QualityModule(lightning.LightningModule):
    """Learns with `TrainingLoss`; the validation SRCC, on whole images, chooses the epoch."""

    def __init__(self, model: QualityModel, data: TrainingData, recipe: Recipe, *, parts: int = 1) -> None:
        super().__init__()
        self.model, self.data, self.recipe, self.parts = model, data, recipe, parts
        self.drawn = weighed_rows(data.ratings.part("train"), recipe.optimiser.dataset_weights)
        self.crops = len(self.drawn) * recipe.optimiser.crops_per_image  # of an epoch, in all processes
        validated = data.ratings.part("validation").table
        self.mos = validated["mos"].to_numpy(float)
        self.sets = validated[SET].to_numpy(str) if SET in validated else np.array([], str)
        optimiser, sets = recipe.optimiser, 1 + max(set_indices(data.ratings))
        self.loss = TrainingLoss(
            model.config.score_range, optimiser.loss, entropy_weight=optimiser.entropy_weight,
            weights=optimiser.dataset_weights or (1.0,) * sets,
        )  # fmt: skip
        self.rows: list[list[float]] = []  # of validation images: row, score, scale weights
        self.epoch_row: EpochRow = {}
        self.errors: list[Tensor] = []
        self.strict_loading = not recipe.frozen  # a frozen backbone is not in last.ckpt

    def train_dataloader(self) -> DataLoader:
        world, settings = self.trainer.world_size, self.recipe.optimiser
        order = loader.TrainingOrder(
            rows=self.drawn, crops_per_image=settings.crops_per_image, seed=self.recipe.run.seed,
            rank=self.trainer.global_rank, world_size=world,
        )  # fmt: skip
        sizes = {"batch_size": settings.batch_size // world, "num_workers": self.workers}
        return loader.training_loader(self.data.training, order, **sizes)

    def val_dataloader(self) -> DataLoader:
        own = {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size, "num_workers": self.workers}
        return loader.evaluation_loader(self.data.validation, images_at_once=self.data.images_at_once, **own)

    @property
    def workers(self) -> int:
        return loader.choose_workers(self.data.num_workers, self.data.ratings, devices=self.trainer.num_devices)

    def on_train_start(self) -> None:
        """Train no further where a run is resumed that had stopped early, which Lightning forgets."""
        if (stopping := self.trainer.early_stopping_callback) is not None:
            self.trainer.should_stop = stopping.wait_count >= stopping.patience

    def on_train_epoch_start(self) -> None:
        self.errors, self.started = [], time.perf_counter()
        self.durations.clear()

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank) alone: loaders use the same generator, after a resume at other times."""
        seed_step(self.recipe.run.seed, self.global_step, self.global_rank)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        if batch.distorted is None:
            loss, error = self.loss(self.predict(batch.crops), batch.mos, batch.sets)
        else:
            both, count = self.predict(torch.cat([batch.crops, batch.distorted.crops])), len(batch.crops)
            weights = None if both.scale_weights is None else both.scale_weights[:count]
            loss, error = self.loss(Prediction(both.score[:count], weights), batch.mos, batch.sets)
            of = batch.distorted
            loss = loss + self.loss.of_order(both.score[of.better], both.score[of.worse], of.fall, of.sets)
        self.errors.append(error)
        self.log("train_mae", error, prog_bar=True)
        return loss

    def predict(self, crops: Tensor) -> Prediction:
        """The scores of a batch, in `parts` micro-batches of two crops or more with gradient checkpointing.

        The memory holds the activations of one, and the loss is still that of the batch. Batch normalisation sees one.
        """
        parts = min(self.parts, max(1, len(crops) // 2))
        if parts == 1:
            return self.data.predict(crops)
        made = [checkpoint(self.data.predict, part, use_reentrant=False) for part in crops.tensor_split(parts)]
        weights = [each.scale_weights for each in made if each.scale_weights is not None]
        return Prediction(torch.cat([each.score for each in made]), torch.cat(weights) if weights else None)

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip by the norm, also for a fused optimiser in bfloat16, which Lightning refuses because of float16."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    @property
    def durations(self) -> dict[str, list[float]]:
        """Seconds of each action of this epoch, as Lightning's profiler records them."""
        return self.trainer.profiler.recorded_durations  # type: ignore[attr-defined]  # of a SimpleProfiler

    def on_validation_epoch_start(self) -> None:
        self.trained, self.rows = time.perf_counter(), []

    def transfer_batch_to_device(self, batch, device: torch.device, dataloader_idx: int):
        """Leave evaluation batches where they are: their network moves its views to the device."""
        if isinstance(batch, EvaluationBatch):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def validation_step(self, batch: EvaluationBatch, _: int) -> None:
        scored = zip(batch.rows, score_views(self.data.network, batch.views), strict=True)
        self.rows += [[row, one.score, *(one.scale_weights or NO_WEIGHTS)] for row, one in scored]

    def on_validation_epoch_end(self) -> None:
        """Gather the images of all processes, measure on the whole split, and make the row of the epoch."""
        rows = torch.tensor(self.rows, dtype=torch.float64)
        if self.trainer.world_size > 1:
            rows = torch.cat(gather_all_tensors(rows.to(self.device)))
        table = np.array(sorted(rows.tolist()))
        if not np.isfinite(table[:, 1]).all():
            raise FusiqaError("training diverged: the network no longer gives finite scores; use a lower `lr`")
        places = table[:, 0].astype(int)
        sets = self.sets[places].tolist() if len(self.sets) else []
        figures = validation_figures(table[:, 1].copy(), self.mos[places], sets)
        self.log_dict(figures, prog_bar=True, rank_zero_only=False)
        seconds = self.trained - self.started
        rates = {group["name"]: float(group["lr"]) for group in self.trainer.optimizers[0].param_groups}
        self.epoch_row = {
            "epoch": self.current_epoch + 1,
            "train_mae": float(torch.stack(self.errors).mean()),
            **figures,
            "lr_backbone": rates.get("backbone", 0.0),
            "lr_head": rates["head"],
            **dict(zip(SCALE_COLUMNS, table[:, 2:].mean(axis=0).tolist(), strict=True)),
            "train_seconds": round(seconds, 2),
            "validation_seconds": round(time.perf_counter() - self.trained, 2),
            "crops_per_second": round(self.crops / seconds, 2),
            "data_wait_fraction": round(sum(self.durations[WAITING]) / seconds, 4),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.recipe.optimiser
        fused = self.recipe.precision != "fp16"  # whose scaled gradients a fused step cannot clip
        optimizer = create_optimizer(self.model, self.recipe.chosen, settings.weight_decay, fused=fused)
        if self.loss.calibration is not None:
            own = {"name": "calibration", "params": list(self.loss.parameters()), "lr": CALIBRATION_RATE}
            optimizer.add_param_group({**own, "weight_decay": 0.0})
        steps = int(self.trainer.estimated_stepping_batches)
        factor = rate_factor(settings.lr_scheduler, steps=steps, warmup=settings.warmup_fraction)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def calibrations(self) -> dict[str, Any]:
        """Of several data sets, offset and slope, in 0-1, that relate the score to each one's ratings."""
        if self.loss.calibration is None:
            return {}
        lines = self.loss.calibration.lines().tolist()
        return {"calibration": dict(zip(dict.fromkeys(self.sets), lines, strict=True))}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Leave out a frozen backbone, which never changes."""
        if self.recipe.frozen:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: state[name] for name in state if not name.startswith(FROZEN_PART)}


def fit(model: QualityModel, data: TrainingData, recipe: Recipe, run_dir: Path, say: Say) -> bool:
    """Train in place, from a training state if there is one; whether this is the first of the processes that train.

    The best epoch (model.safetensors, model.json), history.csv, last.ckpt to resume from and the logs go to `run_dir`;
    `say` receives each epoch's figures where no progress bar is shown. Out of memory, a batch is computed in 2, 4 or
    more micro-batches; the optimiser's steps stay the same.
    """
    start, parts, last = {k: v.cpu().clone() for k, v in model.state_dict().items()}, 1, run_dir / LAST_FILE
    resume, batch_size = recipe.run.resume, recipe.optimiser.batch_size
    while True:
        module = QualityModule(model, data, recipe, parts=parts)
        trainer = create_trainer(module, recipe, run_dir, say)
        try:
            run_trainer(trainer, module, last if resume and last.is_file() else None)
            return trainer.is_global_zero
        except Exception as fault:
            if not is_out_of_memory(fault):
                raise
            if trainer.world_size > 1 or parts > batch_size // 4:  # others would wait; a micro-batch needs two crops
                raise FusiqaError(f"out of memory in training; use a smaller `batch_size` than {batch_size}") from fault
        if parts == 1:
            say(f"notice: out of memory; using micro-batches, the effective batch size is still {batch_size}")
        parts, resume = 2 * parts, True  # from the last finished epoch, if there is one
        model.load_state_dict(start)
        model.train()
        del module, trainer
        gc.collect()  # they refer to each other, and hold the tensors of the step that failed


def run_trainer(trainer: lightning.Trainer, module: QualityModule, state: Path | None) -> None:
    """Train, from a training state if one is given. Raises FusiqaError where another process is lost."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and logging, not on results
        try:
            trainer.fit(module, ckpt_path=state)
        except SystemExit as ended:
            if not trainer.interrupted:
                raise
            reason = ended.__context__  # Lightning exits on Ctrl-C by itself, with a code that says a failure
            raise (reason if isinstance(reason, KeyboardInterrupt) else KeyboardInterrupt()) from None
        except Exception as fault:
            if trainer.world_size > 1 and PROCESS_LOST.search(str(fault)):
                raise FusiqaError(LOST) from fault
            raise


def check_batches(model: QualityModel, ratings: Ratings, recipe: Recipe) -> None:
    """Refuse batches that the devices cannot share, and one crop whose last map is one cell for batch normalisation."""
    settings, world = recipe.optimiser, recipe.processes
    if settings.batch_size % world:
        raise FusiqaError(f"`batch_size` must be a multiple of the {world} devices, got {settings.batch_size}")
    if settings.loss == "fidelity" and settings.batch_size == world:
        raise FusiqaError("`loss` fidelity compares the images of a batch: use a larger `batch_size` than one a device")
    drawn = weighed_rows(ratings.part("train"), settings.dataset_weights)
    crops, size = math.ceil(len(drawn) * settings.crops_per_image / world), settings.batch_size // world
    normalised = any(isinstance(each, torch.nn.modules.batchnorm._BatchNorm) for each in model.modules())
    alone = not recipe.frozen and (size == 1 or crops % size == 1)
    if normalised and alone and model.pyramid.scale_sizes()[-1] == (1, 1):
        why = f"batch normalisation cannot train on one crop whose last map is one cell, as {crops} crops in batches of"
        raise FusiqaError(f"{why} {size} leave: use a larger `crop_size`, or another `batch_size`")


def is_first_process() -> bool:
    """Whether this process writes and prints: rank 0 of a distributed run, or any other process."""
    return getattr(rank_zero_only, "rank", None) in (None, 0)


def create_trainer(module: QualityModule, recipe: Recipe, run_dir: Path, say: Say) -> lightning.Trainer:
    """Lightning's trainer: devices, precision, clipping, logs, callbacks, and on a terminal a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    run, optimiser, device = recipe.run, recipe.optimiser, recipe.device
    bar = run.progress and sys.stderr.isatty()  # in a log file it would be megabytes
    # Every epoch's whole state, replacing that of the epoch before:
    state: dict[str, Any] = {"filename": "last", "save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[Callback] = [KeepBest(run_dir, (lambda _: None) if bar else say), ModelCheckpoint(run_dir, **state)]
    callbacks.append(WatchProcesses())
    if (patience := optimiser.patience) is not None:
        callbacks.append(EarlyStopping("val_srcc", mode="max", patience=patience, check_on_train_epoch_end=False))
    if bar:
        callbacks.append(TQDMProgressBar())
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.index is not None else recipe.devices,
        num_nodes=run.num_nodes,
        strategy="ddp" if (run.num_devices or 1) * run.num_nodes > 1 else "auto",
        precision=PRECISIONS[recipe.precision],
        max_epochs=optimiser.epochs,
        gradient_clip_val=optimiser.gradient_clip or None,
        callbacks=callbacks,
        logger=create_logger("none" if recipe.frozen else run.logger, run_dir),
        plugins=[SafeCheckpointIO(module)],
        profiler=SimpleProfiler(),  # of the time that an epoch waits for data
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=bar,
        enable_model_summary=False,
        log_every_n_steps=10,
    )


def create_logger(kind: str, run_dir: Path) -> Logger | bool:
    """Where each step is logged."""
    if kind == "none":
        return False
    if kind == "csv":
        metrics = run_dir / LOG_FOLDER / "metrics.csv"
        if metrics.is_file() and is_first_process():  # of the epochs before a resume: CSVLogger would delete it
            before = len(list(metrics.parent.glob("metrics*.csv")))
            metrics.rename(metrics.with_name(f"metrics-{before}.csv"))
        return CSVLogger(run_dir, name=LOG_FOLDER, version="")
    return TensorBoardLogger(run_dir, name=LOG_FOLDER, version="")


class KeepBest(Callback):
    """Write history.csv after every epoch, and the model where its validation SRCC is higher than before."""

    # Lightning's ModelCheckpoint pickles the best epoch, and its CSVLogger deletes the rows before a resume.
    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.say, self.rows = folder, say, list[EpochRow]()

    @property
    def best(self) -> EpochRow:
        row = max(self.rows, key=lambda row: row["val_srcc"])  # the first of equal ones
        return {name: row[name] for name in KEPT_OF_THE_BEST}

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self.rows.append(row := module.epoch_row)
        if trainer.is_global_zero:
            if self.best["epoch"] == row["epoch"]:
                module.model.provenance |= self.best | module.calibrations()
                module.model.save_pretrained(self.folder)
            write_csv(pd.DataFrame(self.rows), self.folder / HISTORY_FILE)
            figures = f"train_mae {row['train_mae']:.4g}, validation SRCC {row['val_srcc']:.4f}"
            self.say(f"epoch {row['epoch']}: {figures}{direction(row['val_srcc'])}")

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


class SafeCheckpointIO(TorchCheckpointIO):
    """Training states that are written atomically, and run no code when they are read."""

    # Lightning writes through the temporary folder, from where a kill cuts a copy short, and unpickles anything.
    def __init__(self, module: torch.nn.Module) -> None:
        self.shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """The state, of tensors and plain types alone. Raises FusiqaError for anything else, or another network's."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            shapes = {name: tensor.shape for name, tensor in state["state_dict"].items()}
            missing = {"loops", "callbacks", "optimizer_states", "lr_schedulers"} - set(state)
        except Exception as reason:  # malformed files make torch raise almost anything
            raise FusiqaError(f"{path} is not a training state, or a damaged one; `overwrite` starts anew") from reason
        if missing or not shapes.items() <= self.shapes.items():
            raise FusiqaError(f"{path} is the training state of another network; `overwrite` starts anew")
        return state
