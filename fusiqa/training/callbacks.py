"""What a run keeps on disk while it trains: the best model, its history, and the last epoch to resume from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fusiqa.io import write_atomically
from fusiqa.models.quality import QualityModel
from fusiqa.training.history import epoch_line, figures_of_the_best, is_best, write_history
from fusiqa.training.module import QualityModule

LAST_FILE = "last.ckpt"


class KeepBest(Callback):
    """Save the model whenever the validation SRCC is higher than in every epoch before (ties keep the earlier)."""

    def __init__(self, save: Callable[[QualityModel, dict[str, float]], None]) -> None:
        self.save = save
        self.best: dict[str, float] = {}

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, QualityModule)
        if not is_best(module.epoch_row, self.best):
            return
        self.best = figures_of_the_best(module.epoch_row)
        if trainer.is_global_zero:
            self.save(module.model, self.best)

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = dict(state_dict["best"])


class WriteHistory(Callback):
    """Keep history.csv: one row per finished epoch, also across a resume; `say` is told each as a line."""

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder
        self.say = say
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, QualityModule)
        self.rows.append(module.epoch_row)
        if trainer.is_global_zero:
            write_history(self.rows, self.folder)
            self.say(epoch_line(module.epoch_row))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside the old one and swap them, so that a kill in the middle leaves the old one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))


def keep_last(folder: Path) -> ModelCheckpoint:
    """Save the whole training state after every epoch, replacing that of the epoch before."""
    return ModelCheckpoint(
        dirpath=folder, filename=Path(LAST_FILE).stem, save_on_train_epoch_end=True, enable_version_counter=False
    )


def stop_early(patience: int) -> EarlyStopping:
    """Stop after `patience` epochs without a higher validation SRCC."""
    return EarlyStopping("val_srcc", mode="max", patience=patience, check_on_train_epoch_end=False)
