"""Every setting, once: these frozen dataclasses are the command line, and what `config.json` of a run records."""

from fusiqa.config.commands import (
    AblateConfig,
    AttentionConfig,
    CompareConfig,
    DataCheckConfig,
    DataDownloadConfig,
    DataInfoConfig,
    DataListConfig,
    DemoConfig,
    DistortConfig,
    EvaluateConfig,
)
from fusiqa.config.data import DataSettings
from fusiqa.config.model import (
    COARSEST,
    DEFAULT_BACKBONE,
    FUSIONS,
    SEED_WEIGHING,
    UNIT_RANGE,
    ModelConfig,
    NetworkSettings,
    ScaleWeighing,
    ScoreRange,
)
from fusiqa.config.optimiser import OptimiserSettings
from fusiqa.config.run import RunSettings
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
    "DataSettings",
    "DemoConfig",
    "DistortConfig",
    "EvaluateConfig",
    "ModelConfig",
    "NetworkSettings",
    "OptimiserSettings",
    "RunSettings",
    "ScaleWeighing",
    "ScoreRange",
    "TrainConfig",
]
