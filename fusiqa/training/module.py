"""What Lightning calls: a training step, a validation over all processes, an optimiser. It writes no file."""

from __future__ import annotations

import time

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fusiqa.config import TrainConfig
from fusiqa.data.loader import EvaluationBatch, TrainingBatch
from fusiqa.models.crops import to_unit_range
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.scorer import score_views
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.training.history import Row, history_row, validation_figures
from fusiqa.training.recipe import Rates, create_optimizer, create_schedule
from fusiqa.training.step import loss_of, seed_step
from fusiqa.training.waiting import WaitingTime

NO_WEIGHTS = [float("nan")] * 4  # of a fusion that does not weigh its scales


class QualityModule(lightning.LightningModule):
    """L1 regression of the ratings; validation SRCC, on whole images, chooses the epoch.

    Args:
        model: the network to train.
        config: the run's settings.
        rates: highest learning rates.
        validation_mos: ratings of the validation images, in the order of their rows.
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
        self.epoch_row: Row = {}
        self.errors: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        self.errors = []
        self.started = time.perf_counter()
        self.waited_before = self.seconds_waited()

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank) alone, so that a resumed epoch repeats the interrupted one.

        Once an epoch would not do: loaders draw from the same generator, and at other moments after a resume.
        """
        seed_step(self.settings.run.seed, self.global_step, self.global_rank)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        prediction = self.model(to_unit_range(batch.crops))
        score_range = self.model.config.score_range
        loss = loss_of(prediction, batch.mos, score_range, entropy_weight=self.settings.optimiser.entropy_weight)
        self.errors.append(loss.absolute_error)
        self.log("train_mae", loss.absolute_error, prog_bar=True)
        return loss.total

    def seconds_waited(self) -> float:
        """Seconds that training steps have waited for their batch since the fit began; NaN under another trainer."""
        profiler = self.trainer.profiler  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        return profiler.seconds if isinstance(profiler, WaitingTime) else float("nan")

    def on_validation_epoch_start(self) -> None:
        self.trained = time.perf_counter()
        self.waited = self.seconds_waited() - self.waited_before
        self.rows = []

    def validation_step(self, batch: EvaluationBatch, _: int) -> None:
        scored = score_views(TorchNetwork(self.model), batch.views)
        self.rows += [
            (row, one.score, one.scale_weights or NO_WEIGHTS) for row, one in zip(batch.rows, scored, strict=True)
        ]

    def transfer_batch_to_device(self, batch, device: torch.device, dataloader_idx: int):
        """Leave images that are scored where they are: their views go to the device pass by pass."""
        if isinstance(batch, EvaluationBatch):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Bring all processes' images together, each once, and measure on the whole split."""
        rows = sorted(gathered(self.rows))
        scores = np.array([score for _, score, _ in rows])
        mos = self.validation_mos[[row for row, _, _ in rows]]
        figures = validation_figures(scores, mos)
        self.log_dict(figures, prog_bar=True, rank_zero_only=False)
        self.epoch_row = self.describe_epoch(figures, np.array([weights for _, _, weights in rows]).mean(axis=0))

    def describe_epoch(self, validation: Row, scale_weights: np.ndarray) -> Row:
        """One row of history.csv."""
        seconds = self.trained - self.started
        rates = {group["name"]: group["lr"] for group in self.trainer.optimizers[0].param_groups}
        row = history_row(
            epoch=self.current_epoch + 1,
            train_mae=float(torch.stack(self.errors).mean()),
            validation=validation,
            rates=Rates(rates["backbone"], rates["head"]),
            scale_weights=scale_weights.tolist(),
            train_seconds=seconds,
            validation_seconds=time.perf_counter() - self.trained,
            crops=self.crops_per_epoch,
        )
        return {**row, "data_wait_share": round(self.waited / seconds, 4)}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = create_optimizer(self.model, self.rates, self.settings.optimiser.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = create_schedule(optimizer, self.settings.optimiser, steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def gathered(rows: list) -> list:
    """The rows of all processes, on each of them."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return rows
    parts: list[list] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]
