"""What Lightning calls: loaders, a training step with its loss, a validation over all processes, an optimiser."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass

import lightning
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from fusiqa.config import ScoreRange
from fusiqa.data import loader
from fusiqa.data.loader import EvaluationBatch, TrainingBatch
from fusiqa.data.ratings import Ratings
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.scoring.models import Network
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.scorer import score_views
from fusiqa.stats.metrics import plcc, srcc
from fusiqa.training.predict import NO_WEIGHTS
from fusiqa.training.recipe import Recipe, create_optimizer, rate_factor

FROZEN_PART = "model.pyramid."
WAITING = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning calls waiting for a training batch
Row = dict[str, float]
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


def loss_of(
    prediction: Prediction, mos: Float[Tensor, " batch"], score_range: ScoreRange, *, entropy_weight: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """mean |score - mos| in 0-1 + entropy_weight * (1 - entropy of the scale weights / log 4), if there are any.

    `prediction` and `mos` are on the score range. Returns the loss and, detached, the mean error on that range.
    """
    total = error = F.l1_loss(score_range.to_unit(prediction.score), score_range.to_unit(mos))
    if entropy_weight and prediction.scale_weights is not None:
        total = error + entropy_weight * missing_entropy(prediction.scale_weights)
    return total, error.detach() * score_range.width


def missing_entropy(scale_weights: Float[Tensor, "batch scales"]) -> Float[Tensor, ""]:
    """1 - entropy / log(scales), 0-1, averaged over images: 0 for equal weights."""
    entropy = -(scale_weights * scale_weights.clamp_min(1e-9).log()).sum(dim=1)
    return 1 - entropy.mean() / math.log(scale_weights.shape[1])


def seed_step(*numbers: int) -> None:
    """Seed dropout from these numbers alone."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def validation_figures(scores: Float[np.ndarray, " images"], mos: Float[np.ndarray, " images"]) -> Row:
    mae = float(abs(scores - mos).mean())
    return {"val_srcc": float(srcc(scores, mos)), "val_plcc": float(plcc(scores, mos)), "val_mae": mae}


class QualityModule(lightning.LightningModule):
    """L1 regression of the ratings; the validation SRCC, on whole images, chooses the epoch."""

    def __init__(self, model: QualityModel, data: TrainingData, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.data, self.recipe = model, data, recipe
        self.images = len(data.ratings.part("train"))
        self.crops = self.images * recipe.optimiser.crops_per_image  # of an epoch, in all processes
        self.mos = data.ratings.part("validation").table["mos"].to_numpy(float)
        self.rows: list[tuple[int, float, list[float]]] = []
        self.epoch_row: Row = {}
        self.errors: list[Tensor] = []
        self.strict_loading = not recipe.frozen  # a frozen backbone is not in last.ckpt

    def train_dataloader(self) -> DataLoader:
        world, settings = self.trainer.world_size, self.recipe.optimiser
        order = loader.TrainingOrder(
            images=self.images, crops_per_image=settings.crops_per_image, seed=self.recipe.run.seed,
            rank=self.trainer.global_rank, world_size=world,
        )  # fmt: skip
        batch_size, workers = settings.batch_size // world, self.workers
        return loader.training_loader(self.data.training, order, batch_size=batch_size, num_workers=workers)

    def val_dataloader(self) -> DataLoader:
        own = {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size, "num_workers": self.workers}
        return loader.evaluation_loader(self.data.validation, images_at_once=self.data.images_at_once, **own)

    @property
    def workers(self) -> int:
        return loader.choose_workers(self.data.num_workers, self.data.ratings, devices=self.trainer.num_devices)

    def on_train_epoch_start(self) -> None:
        self.errors, self.started = [], time.perf_counter()
        self.durations.clear()

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank) alone: loaders use the same generator, after a resume at other times."""
        seed_step(self.recipe.run.seed, self.global_step, self.global_rank)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        prediction, weight = self.data.predict(batch.crops), self.recipe.optimiser.entropy_weight
        loss, error = loss_of(prediction, batch.mos, self.model.config.score_range, entropy_weight=weight)
        self.errors.append(error)
        self.log("train_mae", error, prog_bar=True)
        return loss

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
        self.rows += [(row, one.score, one.scale_weights or NO_WEIGHTS) for row, one in scored]

    def on_validation_epoch_end(self) -> None:
        """Bring all processes' images together, each once, measure on the whole split, and describe the epoch."""
        rows, scores, weights = zip(*sorted(gathered(self.rows)), strict=True)
        figures = validation_figures(np.array(scores), self.mos[list(rows)])
        self.log_dict(figures, prog_bar=True, rank_zero_only=False)
        seconds = self.trained - self.started
        rates = {group["name"]: float(group["lr"]) for group in self.trainer.optimizers[0].param_groups}
        self.epoch_row = {
            "epoch": self.current_epoch + 1,
            "train_mae": float(torch.stack(self.errors).mean()),
            **figures,
            "lr_backbone": rates.get("backbone", 0.0),
            "lr_head": rates["head"],
            **dict(zip(SCALE_COLUMNS, np.mean(weights, axis=0).tolist(), strict=True)),
            "train_seconds": round(seconds, 2),
            "validation_seconds": round(time.perf_counter() - self.trained, 2),
            "crops_per_second": round(self.crops / seconds, 2),
            "data_wait_fraction": round(sum(self.durations[WAITING]) / seconds, 4),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.recipe.optimiser
        optimizer = create_optimizer(self.model, self.recipe.chosen, settings.weight_decay, fused=self.recipe.frozen)
        steps = int(self.trainer.estimated_stepping_batches)
        factor = rate_factor(settings.lr_scheduler, steps=steps, warmup=settings.warmup_fraction)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Leave a frozen backbone out, which never changes and would be written every few seconds."""
        if self.recipe.frozen:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: state[name] for name in state if not name.startswith(FROZEN_PART)}


def gathered(rows: list) -> list:
    """The rows of all processes, on each of them: exact and of any number, where torchmetrics would pad tensors."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return rows
    parts: list[list] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]
