"""Images per second of training, frozen heads beside fine-tuning: python benchmarks/training.py

The crops are random and in memory, so that only the network is measured: forward, backward and the optimiser step.
With a frozen backbone the heads read packed maps, as `--freeze_backbone` does.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import fusiqa
from fusiqa.config import FUSIONS, ModelConfig, NetworkSettings, OptimiserSettings
from fusiqa.machine import prepare_cpu
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.training.depthwise import fast_depthwise
from fusiqa.training.frozen import pack, score_packed
from fusiqa.training.loss import TrainingLoss
from fusiqa.training.recipe import choose_hyperparameters, choose_precision, create_optimizer


@dataclass(frozen=True)
class Settings:
    """Measure how many images a second train the network, and its heads alone."""

    backbone: str = "mobilenetv2_100"
    """Name of a timm model; its weights are random, which costs the same."""
    batch_size: int = 32
    """Crops in a batch of fine-tuning."""
    frozen_batch_size: int = 128
    """Packed crops in a batch of the heads."""
    steps: int = 10
    """Steps of each, after one that is not counted; the median is reported."""
    output: Path | None = None
    """JSON file for the figures; by default they are only printed."""


def images_per_second(model: QualityModel, predict: Callable[[], Prediction], batch: int, settings: Settings) -> float:
    """One crop of each image; the median over steps."""
    optimiser = OptimiserSettings()
    chosen = choose_hyperparameters(NetworkSettings(settings.backbone), optimiser)
    optimizer = create_optimizer(model, chosen, optimiser.weight_decay, fused=True)
    mos = torch.rand(batch) * model.config.score_range.width + model.config.score_range.low
    loss_of, sets = TrainingLoss(model.config.score_range), torch.zeros(batch, dtype=torch.long)
    precision = choose_precision("auto", "cpu", frozen=False)
    seconds = []
    for _ in range(settings.steps + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"), fast_depthwise("cpu", precision):
            prediction = predict()
        loss, _ = loss_of(prediction, mos, sets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return batch / sorted(seconds[1:])[settings.steps // 2]


def measure(fusion: str, settings: Settings) -> dict[str, float | str]:
    config = ModelConfig(backbone=settings.backbone, fusion=fusion)
    model = QualityModel(config).to(memory_format=torch.channels_last).train()
    size = (3, config.crop_size, config.crop_size)
    crops = torch.randint(256, (settings.batch_size, *size), dtype=torch.uint8)
    images = (crops.float() / 255).contiguous(memory_format=torch.channels_last)
    tuned = images_per_second(model, lambda: model(images), settings.batch_size, settings)
    model.pyramid.requires_grad_(False).eval()
    packed = pack(model, crops).repeat(-(-settings.frozen_batch_size // len(crops)), 1)[: settings.frozen_batch_size]
    frozen = images_per_second(model, lambda: score_packed(model, packed), len(packed), settings)
    return {
        "fusion": fusion,
        "fine-tuned": round(tuned, 1),
        "frozen": round(frozen, 1),
        "ratio": round(frozen / tuned, 1),
    }


def main() -> None:
    prepare_cpu()
    settings = tyro.cli(Settings)
    found = []
    for fusion in FUSIONS:
        found.append(measure(fusion, settings))
        part = found[-1]
        print(
            f"{fusion:12} {part['fine-tuned']:8} fine-tuned {part['frozen']:8} frozen, {part['ratio']} times",
            flush=True,
        )
    report = {
        "backbone": settings.backbone,
        "images_per_second": found,
        "threads": torch.get_num_threads(),
        "versions": {"fusiqa": fusiqa.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    if settings.output is not None:
        settings.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
