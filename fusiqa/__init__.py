"""No-reference image quality assessment: HyperIQA with attention-based multi-scale feature fusion.

Example:
    >>> import fusiqa
    >>> config = fusiqa.ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64)
    >>> model = fusiqa.build_model(config, backbone_weights="none")
    >>> type(model).__name__
    'QualityModel'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fusiqa.config import ModelConfig, ScoreRange, TrainConfig
    from fusiqa.errors import FusiqaError
    from fusiqa.models.quality import Prediction, QualityModel, build_model, load_checkpoint
    from fusiqa.runs.train import train
    from fusiqa.scoring.scorer import Scorer
    from fusiqa.stats.metrics import measure

HOMES = {
    "FusiqaError": "fusiqa.errors",
    "ModelConfig": "fusiqa.config",
    "Prediction": "fusiqa.models.quality",
    "QualityModel": "fusiqa.models.quality",
    "ScoreRange": "fusiqa.config",
    "Scorer": "fusiqa.scoring.scorer",
    "TrainConfig": "fusiqa.config",
    "build_model": "fusiqa.models.quality",
    "load_checkpoint": "fusiqa.models.quality",
    "measure": "fusiqa.stats.metrics",
    "train": "fusiqa.runs.train",
}

__all__ = [
    "FusiqaError",
    "ModelConfig",
    "Prediction",
    "QualityModel",
    "ScoreRange",
    "Scorer",
    "TrainConfig",
    "build_model",
    "load_checkpoint",
    "measure",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `fusiqa --help` does not wait for torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'fusiqa' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
