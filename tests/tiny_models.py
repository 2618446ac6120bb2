"""A small network with random weights, trained by nobody, and images that it tells apart."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusiqa.config import ModelConfig, ScoreRange
from fusiqa.models.quality import QualityModel

CROP = 32
RESIZE = "48"
RANGE = ScoreRange(1, 5)
TINY_RUN = [
    "--dataset", "biq2021", "--backbone", "test_resnet", "--backbone_weights", "none", "--crop_size", "40", "--resize",
    "48", "--batch_size", "8", "--epochs", "2", "--validation_fraction", "0.2", "--no_spaq", "--no_export",
    "--no_progress", "--device", "cpu", "--num_workers", "0",
]  # fmt: skip
"""The settings of a training run of seconds."""


def make_model(
    folder: Path, *, fusion: str = "attention", crop: int = CROP, resize: str = RESIZE, seed: int = 0, **network: Any
) -> Path:
    """A run folder's model; its head is spread out, so that images differ in score."""
    torch.manual_seed(seed)
    protocol = {"crop_size": crop, "score_range": RANGE, "dropout": 0.0}
    config = ModelConfig(backbone="test_resnet", fusion=fusion, **protocol, **network)
    model = QualityModel(config, resize=resize, provenance={"dataset": "none"}).eval()
    with torch.no_grad():
        for parameter in model.hypernetwork.parameters():
            parameter.mul_(3)
    model.save_pretrained(folder)
    return folder


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image whose left half is dark and smooth, so that its crops differ."""
    pixels = random_pixels(height, width, seed)
    pixels[:, : width // 2] //= 8
    return pixels


def random_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
