"""Training of the heads alone, on the packed maps of a frozen backbone. It reads no image and no test split.

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

from fusiqa.config import TrainConfig
from fusiqa.models.quality import QualityModel
from fusiqa.training.history import (
    Row,
    epoch_line,
    figures_of_the_best,
    history_row,
    is_best,
    validation_figures,
    write_history,
)
from fusiqa.training.packed_maps import judge_packed
from fusiqa.training.recipe import Rates, choose_precision, choose_rates, create_optimizer, create_schedule
from fusiqa.training.step import loss_of, seed_step


class Packed(Protocol):
    """Packed maps of the crops of each image, by its row: float16, (crops, numbers)."""

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
        training: maps of the training images. Each epoch takes `crops_per_image` crops of each at random.
        training_mos: their ratings.
        config: the run's settings.
        validate: predictions for the validation images, a table with mos, score and scale_0 .. scale_3.
        run_dir: where history.csv goes.
        save_best: called with the model and the epoch's validation figures.
        say: told each epoch's figures.
    """
    model.pyramid.requires_grad_(False)
    optimizer = create_optimizer(
        model, choose_rates(config.network, config.optimiser), config.optimiser.weight_decay, fused=True
    )
    crops = len(training) * config.optimiser.crops_per_image
    steps = config.optimiser.epochs * -(-crops // config.optimiser.batch_size)
    schedule = create_schedule(optimizer, config.optimiser, steps=steps)
    bf16 = (
        choose_precision(config.run.precision, next(model.hypernetwork.parameters()).device.type, frozen=True) == "bf16"
    )
    history: list[Row] = []
    best: Row = {}
    for epoch in range(config.optimiser.epochs):
        started = time.perf_counter()
        model.train()
        model.pyramid.eval()
        errors = []
        for number, rows in enumerate(_batches(len(training), config, epoch)):
            seed_step(config.run.seed, epoch, number)
            packed = _draw(training, rows, config.run.seed, epoch, number)
            errors.append(_step(model, packed, training_mos[rows], config, bf16=bf16))
            _advance(model, optimizer, schedule, config)
        trained = time.perf_counter()
        table = validate()
        row = history_row(
            epoch=epoch + 1,
            train_mae=float(np.mean(errors)),
            validation=validation_figures(table["score"].to_numpy(float), table["mos"].to_numpy(float)),
            rates=Rates(0.0, optimizer.param_groups[0]["lr"]),
            scale_weights=[table[f"scale_{scale}"].mean() for scale in range(len(model.pyramid.channels))],
            train_seconds=trained - started,
            validation_seconds=time.perf_counter() - trained,
            crops=crops,
        )
        history.append(row)
        write_history(history, run_dir)
        say(epoch_line(row))
        if is_best(row, best):
            best = figures_of_the_best(row)
            save_best(model, best)
        if config.optimiser.patience is not None and row["epoch"] - best["epoch"] >= config.optimiser.patience:
            return


def _batches(images: int, config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """Rows of each batch: every image `crops_per_image` times, in an order drawn from (seed, epoch)."""
    random = np.random.default_rng((config.run.seed, epoch))
    order = random.permutation(np.repeat(np.arange(images), config.optimiser.crops_per_image))
    return [
        order[start : start + config.optimiser.batch_size]
        for start in range(0, len(order), config.optimiser.batch_size)
    ]


def _draw(training: Packed, rows: np.ndarray, seed: int, epoch: int, number: int) -> Tensor:
    """One crop of each image, drawn from (seed, epoch, batch)."""
    random = np.random.default_rng((seed, epoch, number))
    images = [training[int(row)] for row in rows]
    return torch.from_numpy(np.stack([maps[random.integers(len(maps))] for maps in images]))


def _step(model: QualityModel, packed: Tensor, mos: np.ndarray, config: TrainConfig, *, bf16: bool) -> float:
    """The mean absolute error of a batch, on the score range; the gradient is added to the parameters'."""
    device = next(model.hypernetwork.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        prediction = judge_packed(model, packed.to(device))
    target = torch.from_numpy(mos).float().to(device)
    loss = loss_of(prediction, target, model.config.score_range, entropy_weight=config.optimiser.entropy_weight)
    loss.total.backward()
    return float(loss.absolute_error)


def _advance(model: QualityModel, optimizer, schedule, config: TrainConfig) -> None:
    if config.optimiser.gradient_clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.gradient_clip)
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
