"""Every setting, once: these frozen dataclasses are the command line, and what `config.json` of a run records."""

from fusiqa.config.commands import (
    AblateConfig,
    AttentionConfig,
    CompareConfig,
    DemoConfig,
    DistortConfig,
    EvaluateConfig,
)
from fusiqa.config.data import DataCheckConfig, DataDownloadConfig, DataInfoConfig, DataListConfig
from fusiqa.config.model import (
    COARSEST,
    DEFAULT_BACKBONE,
    FUSIONS,
    SEED_WEIGHING,
    UNIT_RANGE,
    ModelConfig,
    ScaleWeighing,
    ScoreRange,
)
from fusiqa.config.train import TrainConfig

__all__ = [
    "COARSEST",
    "DEFAULT_BACKBONE",
    "FUSIONS",
    "SEED_WEIGHING",
    "UNIT_RANGE",
    "AblateConfig",
    "AttentionConfig",
    "CompareConfig",
    "DataCheckConfig",
    "DataDownloadConfig",
    "DataInfoConfig",
    "DataListConfig",
    "DemoConfig",
    "DistortConfig",
    "EvaluateConfig",
    "ModelConfig",
    "ScaleWeighing",
    "ScoreRange",
    "TrainConfig",
]
