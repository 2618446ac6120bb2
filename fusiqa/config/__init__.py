"""Every setting, once: these frozen dataclasses are the command line, and what `config.json` of a run records."""

from fusiqa.config.commands import (
    AblateConfig,
    AttentionConfig,
    CompareConfig,
    DemoConfig,
    DistortConfig,
    EvaluateConfig,
    ReportConfig,
    ScoreConfig,
    ServeConfig,
    SortConfig,
    TableSettings,
)
from fusiqa.config.model import FUSIONS, ModelConfig, NetworkSettings, ScaleWeighing, ScoreRange
from fusiqa.config.train import DataSettings, OptimiserSettings, RunSettings, TrainConfig
