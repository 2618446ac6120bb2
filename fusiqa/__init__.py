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
    from fusiqa.config import ModelConfig as ModelConfig
    from fusiqa.errors import FusiqaError as FusiqaError
    from fusiqa.models.quality import QualityModel as QualityModel
    from fusiqa.models.quality import build_model as build_model
    from fusiqa.scoring.loss import QualityLoss as QualityLoss
    from fusiqa.scoring.metric import QualityMetric as QualityMetric
    from fusiqa.scoring.models import list_models as list_models
    from fusiqa.scoring.result import Result as Result
    from fusiqa.scoring.scorer import Scorer as Scorer
    from fusiqa.stats.metrics import measure as measure
    from fusiqa.stats.metrics import plcc as plcc
    from fusiqa.stats.metrics import srcc as srcc

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

__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `fusiqa --help` does not wait for torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'fusiqa' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
