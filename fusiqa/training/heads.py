"""Training of the heads alone, on the packed maps of a frozen backbone. It reads no photograph and no test split.

A plain loop: there is nothing in it for a trainer to spread over devices, and a run takes a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from fusiqa.config import TrainConfig
from fusiqa.files import write_atomically
from fusiqa.metrics import plcc, srcc
from fusiqa.models.frozen import judge_packed
from fusiqa.models.quality import QualityModel
from fusiqa.training.callbacks import HISTORY_FILE
from fusiqa.training.fit import choose_precision
from fusiqa.training.module import missing_entropy
from fusiqa.training.recipe import choose_rates, create_optimizer, create_schedule


class Packed(Protocol):
    """Packed maps of the crops of each photograph, by its row: float16, (crops, numbers)."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> np.ndarray: ...


def fit_heads(
    model: QualityModel,
    training: Packed,
    training_mos: np.ndarray,
    config: TrainConfig,
    *,
    validate: Callable[[], pd.DataFrame],
    run_dir: Path,
    save_best: Callable[[QualityModel, dict[str, float]], None],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train everything but the backbone; the epoch with the highest validation SRCC is saved.

    Args:
        model: trained in place.
        training: maps of the training photographs. Each epoch takes `crops_per_image` crops of each at random.
        training_mos: their ratings.
        config: the run's settings.
        validate: predictions for the validation photographs, a table with mos, score and scale_0 .. scale_3.
        run_dir: where history.csv goes.
        save_best: called with the model and the epoch's validation figures.
        say: told each epoch's figures.
    """
    model.pyramid.requires_grad_(False)
    optimizer = create_optimizer(model, choose_rates(config), config.weight_decay, fused=True)
    crops = len(training) * config.crops_per_image
    steps = config.epochs * -(-crops // config.batch_size)
    schedule = create_schedule(optimizer, kind=config.lr_scheduler, steps=steps, warmup_share=config.warmup_share)
    history: list[dict[str, float]] = []
    best: dict[str, float] = {}
    for epoch in range(config.epochs):
        started = time.perf_counter()
        model.train()
        model.pyramid.eval()
        losses = []
        for number, rows in enumerate(_batches(len(training), config, epoch)):
            torch.manual_seed(_seed(config.seed, epoch, number))
            losses.append(_step(model, _draw(training, rows, config.seed, epoch, number), training_mos[rows], config))
            _advance(model, optimizer, schedule, config)
        trained = time.perf_counter()
        table = validate()
        row = _describe(epoch, losses, table, optimizer, model, seconds=trained - started, crops=crops)
        history.append({**row, "validation_seconds": round(time.perf_counter() - trained, 2)})
        _write(history, run_dir / HISTORY_FILE)
        say(f"epoch {epoch + 1}: train_mae {row['train_mae']:.4g}, validation SRCC {row['val_srcc']:.4f}")
        if not best or row["val_srcc"] > best["val_srcc"]:
            best = {name: row[name] for name in ("epoch", "val_srcc", "val_plcc", "val_mae")}
            save_best(model, best)
        if config.patience is not None and row["epoch"] - best["epoch"] >= config.patience:
            return


def _write(history: list[dict[str, float]], path: Path) -> None:
    write_atomically(path, lambda temporary: pd.DataFrame(history).to_csv(temporary, index=False))


def _batches(photographs: int, config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """Rows of each batch: every photograph `crops_per_image` times, in an order drawn from (seed, epoch)."""
    random = np.random.default_rng((config.seed, epoch))
    order = random.permutation(np.repeat(np.arange(photographs), config.crops_per_image))
    return [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _draw(training: Packed, rows: np.ndarray, seed: int, epoch: int, number: int) -> Tensor:
    """One crop of each photograph, drawn from (seed, epoch, batch)."""
    random = np.random.default_rng((seed, epoch, number))
    photographs = [training[int(row)] for row in rows]
    return torch.from_numpy(np.stack([maps[random.integers(len(maps))] for maps in photographs]))


def _step(model: QualityModel, packed: Tensor, mos: np.ndarray, config: TrainConfig) -> float:
    """The mean absolute error of a batch, on the score range; the gradient is added to the parameters'."""
    device = next(model.hypernetwork.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=choose_precision(config, accelerator(device)) == "bf16"):
        score, scale_weights = judge_packed(model, packed.to(device))
    score_range = model.config.score_range
    target = torch.from_numpy(mos).float().to(device)
    error = F.l1_loss(score_range.to_unit(score), score_range.to_unit(target))
    loss = error
    if config.entropy_weight and scale_weights is not None:
        loss = loss + config.entropy_weight * missing_entropy(scale_weights)
    loss.backward()
    return float(error.detach()) * score_range.width


def accelerator(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else "gpu"


def _advance(model: QualityModel, optimizer, schedule, config: TrainConfig) -> None:
    if config.gradient_clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()


def _describe(
    epoch: int, losses: list[float], table: pd.DataFrame, optimizer, model: QualityModel, *, seconds: float, crops: int
) -> dict[str, float]:
    """One row of history.csv, as of a fine-tuned run; the backbone's rate is 0."""
    scores, mos = table["score"].to_numpy(float), table["mos"].to_numpy(float)
    return {
        "epoch": epoch + 1,
        "train_mae": float(np.mean(losses)),
        "val_srcc": srcc(scores, mos),
        "val_plcc": plcc(scores, mos),
        "val_mae": float(abs(scores - mos).mean()),
        "lr_backbone": 0.0,
        "lr_head": optimizer.param_groups[0]["lr"],
        **{f"scale_{i}": float(table[f"scale_{i}"].mean()) for i in range(len(model.pyramid.channels))},
        "train_seconds": round(seconds, 2),
        "crops_per_second": round(crops / seconds, 2),
    }
