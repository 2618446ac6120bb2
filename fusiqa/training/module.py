"""What Lightning calls: a training step, a validation over all processes, an optimiser. It writes no file."""

from __future__ import annotations

import math
import time

import lightning
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F

from fusiqa.config import TrainConfig
from fusiqa.data.loader import EvaluationBatch, TrainingBatch
from fusiqa.metrics import plcc, srcc
from fusiqa.models.crops import predict_photographs, to_unit_range
from fusiqa.models.quality import QualityModel
from fusiqa.training.recipe import Rates, create_optimizer, create_schedule

NO_WEIGHTS = [float("nan")] * 4  # of a fusion that does not weigh its scales
WAITING = "[_TrainingEpochLoop].train_dataloader_next"  # what Lightning's profiler calls waiting for a training batch


class QualityModule(lightning.LightningModule):
    """L1 regression of the ratings; validation SRCC, on whole photographs, chooses the epoch.

    Args:
        model: the network to train.
        config: the run's settings.
        rates: highest learning rates.
        validation_mos: ratings of the validation photographs, in the order of their rows.
        crops_per_epoch: over all processes; for the rate in history.csv.
    """

    def __init__(
        self,
        model: QualityModel,
        config: TrainConfig,
        rates: Rates,
        *,
        validation_mos: np.ndarray,
        crops_per_epoch: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = config
        self.rates = rates
        self.validation_mos = validation_mos
        self.crops_per_epoch = crops_per_epoch
        self.rows: list[tuple[int, float, list[float]]] = []
        self.epoch_row: dict[str, float] = {}
        self.losses: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        self.losses = []
        self.started = time.perf_counter()
        self.waited_before = self.seconds_waited()

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank) alone, so that a resumed epoch repeats the interrupted one.

        Once an epoch would not do: loaders draw from the same generator, and at other moments after a resume.
        """
        sequence = np.random.SeedSequence((self.settings.seed, self.global_step, self.global_rank))
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        score, scale_weights = self.model(to_unit_range(batch.crops))
        score_range = self.model.config.score_range
        loss = F.l1_loss(score_range.to_unit(score), score_range.to_unit(batch.mos))
        self.losses.append(loss.detach() * score_range.width)
        self.log("train_mae", self.losses[-1], prog_bar=True)
        if self.settings.entropy_weight and scale_weights is not None:
            loss = loss + self.settings.entropy_weight * missing_entropy(scale_weights)
        return loss

    def seconds_waited(self) -> float:
        """Seconds that training steps have waited for their batch since the fit began, by Lightning's profiler."""
        profiler = self.trainer.profiler  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        return sum(profiler.recorded_durations[WAITING]) if isinstance(profiler, SimpleProfiler) else float("nan")

    def on_validation_epoch_start(self) -> None:
        self.trained = time.perf_counter()
        self.waited = self.seconds_waited() - self.waited_before
        self.rows = []

    def validation_step(self, batch: EvaluationBatch, _: int) -> None:
        score, weights = predict_photographs(self.model, batch.crops, batch.counts)
        per_image = [NO_WEIGHTS] * len(batch.rows) if weights is None else weights.tolist()
        self.rows += list(zip(batch.rows, score.tolist(), per_image, strict=True))

    def on_validation_epoch_end(self) -> None:
        """Bring all processes' photographs together, each once, and measure on the whole split."""
        rows = sorted(gathered(self.rows))
        scores = np.array([score for _, score, _ in rows])
        mos = self.validation_mos[[row for row, _, _ in rows]]
        values = {"val_srcc": srcc(scores, mos), "val_plcc": plcc(scores, mos), "val_mae": abs(scores - mos).mean()}
        self.log_dict({name: float(value) for name, value in values.items()}, prog_bar=True, rank_zero_only=False)
        self.epoch_row = self.describe_epoch(values, np.array([weights for _, _, weights in rows]).mean(axis=0))

    def describe_epoch(self, values: dict[str, float], scale_weights: np.ndarray) -> dict[str, float]:
        """One row of history.csv."""
        seconds = self.trained - self.started
        crops = self.crops_per_epoch
        rates = {group["name"]: group["lr"] for group in self.trainer.optimizers[0].param_groups}
        return {
            "epoch": self.current_epoch + 1,
            "train_mae": float(torch.stack(self.losses).mean()),
            **{name: float(value) for name, value in values.items()},
            "lr_backbone": rates["backbone"],
            "lr_head": rates["head"],
            **{f"scale_{i}": float(weight) for i, weight in enumerate(scale_weights)},
            "train_seconds": round(seconds, 2),
            "validation_seconds": round(time.perf_counter() - self.trained, 2),
            "crops_per_second": round(crops / seconds, 2),
            "data_wait_share": round(self.waited / seconds, 4),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = create_optimizer(self.model, self.rates, self.settings.weight_decay)
        schedule = create_schedule(
            optimizer,
            kind=self.settings.lr_scheduler,
            steps=int(self.trainer.estimated_stepping_batches),
            warmup_share=self.settings.warmup_share,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def missing_entropy(scale_weights: Float[Tensor, "batch scales"]) -> Float[Tensor, ""]:
    """Share by which the entropy of each image's weights falls short of that of equal ones, 0-1, averaged."""
    entropy = -(scale_weights * scale_weights.clamp_min(1e-9).log()).sum(dim=1)
    return 1 - entropy.mean() / math.log(scale_weights.shape[1])


def gathered(rows: list) -> list:
    """The rows of all processes, on each of them."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return rows
    parts: list[list] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]
