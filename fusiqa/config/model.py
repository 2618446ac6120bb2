"""What a network is: its sizes, its fusion, the scale of its scores. All that is needed to build it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from fusiqa.config.require import require, require_positive

FUSIONS = ("single", "concat", "attention", "spatial", "cross-scale")
COARSEST = 3  # of the four scales, which are counted from the finest, 0
DEFAULT_BACKBONE = "swin_tiny_patch4_window7_224"


class ScoreRange(NamedTuple):
    """The interval of the ratings; higher is always better.

    Example:
        >>> ScoreRange(1, 5).from_unit(0.5)
        3.0
    """

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def from_unit(self, score):
        """A score in 0-1 (number, array or tensor) on this range."""
        return self.low + self.width * score

    def to_unit(self, score):
        """A score on this range (number, array or tensor) in 0-1."""
        return (score - self.low) / self.width


UNIT_RANGE = ScoreRange(0.0, 1.0)


@dataclass(frozen=True)
class ScaleWeighing:
    """How attention fusion makes the weights of the scales, and what they multiply."""

    gate: Literal["softmax", "sigmoid"] = "softmax"
    """softmax weights sum to one; sigmoid gates are free of one another, each in 0-1."""
    temperature: float = 1.0
    """What the logits are divided by: the higher, the more even the weights."""
    gain: float = 1.0
    """What the weights are multiplied by; 4 gives scales of equal weight the size that they have unweighed."""
    normalised: bool = False
    """Divide each pooled map by its root mean square first, image by image."""

    def __post_init__(self) -> None:
        """Refuse what no weights come from, or weights that turn the maps around."""
        require_positive("weighing.temperature", self.temperature)
        require("weighing.gain", self.gain, at_least=0)


Scalar = str | int | float | bool
TimmArg = tuple[str, Scalar | tuple[Scalar, ...]]
"""Name and value of an argument of timm.create_model."""

SEED_WEIGHING = ScaleWeighing()
"""The weighing of the published design: a plain softmax onto the maps as they are."""


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again, without any download."""

    backbone: str = DEFAULT_BACKBONE
    """Name of the timm model whose last four stages are the scales."""
    fusion: str = "concat"
    """How the scales become one map: single, concat, attention, spatial or cross-scale."""
    single_scale: int = COARSEST
    """The scale that single fusion reads, 0 the finest to 3 the coarsest."""
    weighing: ScaleWeighing = SEED_WEIGHING
    """How attention fusion weighs."""
    gates_on_pools: bool = False
    """Let spatial fusion gate the 7x7 pools of the maps instead of the maps: what heads on a frozen backbone train."""
    crop_size: int = 224
    """Side of the square crops, pixels."""
    score_range: ScoreRange = UNIT_RANGE
    """The interval of the scores that the network gives."""
    dropout: float = 0.3
    """Share of values dropped in the hypernetwork and target network while training, 0-1."""
    drop_path: float = 0.2
    """Share of backbone blocks skipped while training, 0-1, where the backbone has stochastic depth."""
    attention_dropout: float = 0.1
    """Share of hidden units dropped in the scale-attention network while training, 0-1."""
    mean: tuple[float, float, float] | None = None
    """Mean of the RGB input in 0-1 that the backbone expects; None asks timm."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the RGB input in 0-1 that the backbone expects; None asks timm."""
    timm_args: tuple[TimmArg, ...] = ()
    """Further arguments of timm.create_model, as (name, value) pairs."""
