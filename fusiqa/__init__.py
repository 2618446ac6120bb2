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
    from fusiqa.config import ModelConfig
    from fusiqa.errors import FusiqaError
    from fusiqa.models.quality import QualityModel, build_model
    from fusiqa.scoring.loss import QualityLoss
    from fusiqa.scoring.metric import QualityMetric
    from fusiqa.scoring.models import list_models
    from fusiqa.scoring.result import Result
    from fusiqa.scoring.scorer import Scorer
    from fusiqa.stats.metrics import measure, plcc, srcc

HOMES = {
    "FusiqaError": "fusiqa.errors",
    "ModelConfig": "fusiqa.config",
    "QualityLoss": "fusiqa.scoring.loss",
    "QualityMetric": "fusiqa.scoring.metric",
    "QualityModel": "fusiqa.models.quality",
    "Result": "fusiqa.scoring.result",
    "Scorer": "fusiqa.scoring.scorer",
    "build_model": "fusiqa.models.quality",
    "list_models": "fusiqa.scoring.models",
    "measure": "fusiqa.stats.metrics",
    "plcc": "fusiqa.stats.metrics",
    "srcc": "fusiqa.stats.metrics",
}

__all__ = [
    "FusiqaError",
    "ModelConfig",
    "QualityLoss",
    "QualityMetric",
    "QualityModel",
    "Result",
    "Scorer",
    "build_model",
    "list_models",
    "measure",
    "plcc",
    "srcc",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `fusiqa --help` does not wait for torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'fusiqa' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
