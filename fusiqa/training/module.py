"""What Lightning calls: a training step, a validation over all processes, an optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fusiqa.data.loader import EvaluationBatch, TrainingBatch
from fusiqa.models.crops import to_unit_range
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.scoring.models import Network
from fusiqa.scoring.scorer import score_views
from fusiqa.scoring.torch import TorchNetwork
from fusiqa.training.history import Row, WaitingTime, validation_figures
from fusiqa.training.loss import loss_of, seed_step
from fusiqa.training.recipe import Recipe, create_optimizer, create_schedule

NO_WEIGHTS = [float("nan")] * 4  # of a fusion that does not weigh its scales
FROZEN_PART = "model.pyramid."


class QualityModule(lightning.LightningModule):
    """L1 regression of the ratings; the validation SRCC, on whole images, chooses the epoch.

    Args:
        model: the network to train.
        recipe: how.
        seed: of the dropout.
        validation_mos: ratings of the validation images, in the order of their rows.
        crops_per_epoch: over all processes; for the rate in history.csv.
        predict: from the crops of a training batch to their scores; by default the whole network.
        network: scores the validation images; by default the whole network.
    """

    def __init__(
        self,
        model: QualityModel,
        recipe: Recipe,
        *,
        seed: int,
        validation_mos: np.ndarray,
        crops_per_epoch: int,
        predict: Callable[[Tensor], Prediction] | None = None,
        network: Network | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.seed = seed
        self.validation_mos = validation_mos
        self.crops_per_epoch = crops_per_epoch
        self.predict = predict or (lambda crops: model(to_unit_range(crops)))
        self.network = network or TorchNetwork(model)
        self.rows: list[tuple[int, float, list[float]]] = []
        self.epoch_row: Row = {}
        self.errors: list[Tensor] = []
        self.strict_loading = not recipe.frozen  # a frozen backbone is not in last.ckpt

    def on_train_epoch_start(self) -> None:
        self.errors = []
        self.started = time.perf_counter()
        self.waited_before = self.seconds_waited()

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Draw dropout from (seed, step, rank) alone, so that a resumed epoch repeats the interrupted one.

        Once an epoch would not do: loaders draw from the same generator, and at other moments after a resume.
        """
        seed_step(self.seed, self.global_step, self.global_rank)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        prediction = self.predict(batch.crops)
        weight = self.recipe.optimiser.entropy_weight
        loss = loss_of(prediction, batch.mos, self.model.config.score_range, entropy_weight=weight)
        self.errors.append(loss.absolute_error)
        self.log("train_mae", loss.absolute_error, prog_bar=True)
        return loss.total

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip by the norm, also for a fused optimiser in bfloat16, which Lightning refuses because of float16."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def seconds_waited(self) -> float:
        """Seconds that training steps have waited for their batch since the fit began; NaN under another trainer."""
        profiler = self.trainer.profiler  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        return profiler.seconds if isinstance(profiler, WaitingTime) else float("nan")

    def on_validation_epoch_start(self) -> None:
        self.trained = time.perf_counter()
        self.waited = self.seconds_waited() - self.waited_before
        self.rows = []

    def transfer_batch_to_device(self, batch, device: torch.device, dataloader_idx: int):
        """Leave images that are scored where they are: their views go to the device pass by pass."""
        if isinstance(batch, EvaluationBatch):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def validation_step(self, batch: EvaluationBatch, _: int) -> None:
        scored = score_views(self.network, batch.views)
        self.rows += [
            (row, one.score, one.scale_weights or NO_WEIGHTS) for row, one in zip(batch.rows, scored, strict=True)
        ]

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
        rates = {group["name"]: float(group["lr"]) for group in self.trainer.optimizers[0].param_groups}
        return {
            "epoch": self.current_epoch + 1,
            "train_mae": float(torch.stack(self.errors).mean()),
            **validation,
            "lr_backbone": rates.get("backbone", 0.0),
            "lr_head": rates["head"],
            **{f"scale_{scale}": float(weight) for scale, weight in enumerate(scale_weights)},
            "train_seconds": round(seconds, 2),
            "validation_seconds": round(time.perf_counter() - self.trained, 2),
            "crops_per_second": round(self.crops_per_epoch / seconds, 2),
            "data_wait_fraction": round(self.waited / seconds, 4),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.recipe.optimiser
        optimizer = create_optimizer(self.model, self.recipe.rates, settings.weight_decay, fused=self.recipe.frozen)
        schedule = create_schedule(optimizer, settings, steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

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
