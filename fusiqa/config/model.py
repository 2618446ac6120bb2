"""The configuration of a network: architecture, fusion, score range; all that is needed to build it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, get_args

import tyro

from fusiqa.config.backbone_args import TimmArg, check_timm_args, parse_backbone_args
from fusiqa.config.checks import FRACTION, NOT_NEGATIVE, POSITIVE, Bounds, Settings, refuse
from fusiqa.errors import FusiqaError

FusionName = Literal["single", "concat", "attention", "spatial", "cross-scale"]
FUSIONS: tuple[str, ...] = get_args(FusionName)
FLAWS = ("blur", "noise", "compression", "blocks", "colour", "exposure", "sharpening", "none")
"""What a model with a flaw head names: blocks are pixelation and blocks of foreign content."""
COARSEST = 3  # of the four scales, which are counted from the finest, 0
MOST_NETWORKS = 16  # of an average, which are built before their weights are read
MUST_AGREE = ("view", "crop_size", "fusion", "flaws", "score_range")
"""Settings in which the networks of an average must agree, beside the resize."""
CropSize = Annotated[int, Bounds(at_least=1, below=2_049)]
"""A side, pixels: a network computes one such crop when it is loaded, and somebody else may have described it."""
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
        """A score in 0-1 (number, array or tensor) on this range; `to_unit` is its inverse."""
        return self.low + self.width * score

    def to_unit(self, score):
        return (score - self.low) / self.width


def check_range(score_range: ScoreRange) -> None:
    """Raise FusiqaError unless a range has finite numbers, the low one below the high one."""
    low, high = score_range
    sound = all(map(Bounds().allow, score_range)) and low < high
    got = f"got {low!r:.40}, {high!r:.40}"
    refuse((not sound, f"`score_range` must be finite numbers, low below high, {got}"))


UNIT_RANGE = ScoreRange(0.0, 1.0)


@dataclass(frozen=True)
class ScaleWeighing(Settings):
    """How attention fusion makes the weights of the scales, and what they multiply."""

    gate: Literal["softmax", "sigmoid"] = "softmax"
    """softmax: weights sum to one; sigmoid: each is in 0-1."""
    temperature: Annotated[float, POSITIVE, "Divisor of the logits: the higher, the more even the weights."] = 1.0
    gain: Annotated[float, NOT_NEGATIVE] = 1.0
    """Factor of the weights; 4 leaves maps as they are for equal ones."""
    normalised: Annotated[bool, "Divide each pooled map by its root mean square first, image by image."] = False
    prefix = "weighing."


SEED_WEIGHING = ScaleWeighing()  # of the published design: a plain softmax on unscaled maps


@dataclass(frozen=True)
class Architecture(Settings):
    """The architecture of a network."""

    backbone: Annotated[str, "Name of a timm model with four or more feature stages."] = DEFAULT_BACKBONE
    crop_size: CropSize = 224
    """Side of the square crops that the network sees, pixels."""
    view: Literal["crops", "whole"] = "crops"
    """What is scored: crops that cover the image, or the whole in one pass, by a convolutional backbone or Swin.
    Training sees random crops either way."""
    single_scale: Annotated[int, Bounds(at_least=0, below=COARSEST + 1)] = COARSEST
    """Scale that single fusion reads: 0, the finest, to 3, the coarsest."""
    attention_dropout: Annotated[float, FRACTION, "Dropout in the attention network."] = 0.1
    weighing: ScaleWeighing = SEED_WEIGHING
    """How attention fusion makes the weights of the scales, and what they multiply."""


@dataclass(frozen=True)
class NetworkSettings(Architecture):
    """The network of a run before it is trained."""

    backbone_weights: str = "imagenet"
    """imagenet (timm's, downloaded), a safetensors file, or none: random."""
    start_from: str | None = None
    """Model to start from, with its architecture: fusiqa-fast, a run folder."""
    attention_fusion: Annotated[bool, "Weigh the four scales of every image by an attention network."] = False
    multiscale: Annotated[bool, tyro.conf.arg(aliases=("--use_multiscale", "--use-multiscale"))] = True
    """Feed all four scales to the hypernetwork, not the last one alone."""
    fusion: FusionName | None = None
    """How scales become one map; by default as `--attention_fusion` and `--multiscale` say."""
    backbone_args: tuple[str, ...] = ()
    """Sizes of the backbone, as timm takes them: embed_dim=24 depths=1,1,3,1."""
    dropout: Annotated[float | None, FRACTION] = None
    """Dropout in the head; by default 0.3, 0.35, 0.4 for a pretrained Swin-Tiny, -Small, -Base, else 0.1."""
    drop_path: Annotated[float | None, FRACTION] = None
    """Stochastic depth of the backbone; by default 0.2, 0.25, 0.3 for those, else 0."""

    flaws: bool = False
    """Learn to name flaws too, where they are known: distorted, synthetic, kadid-10k."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_backbone_args(self.backbone_args)

    @property
    def timm_args(self) -> tuple[TimmArg, ...]:
        """`backbone_args` as timm takes them."""
        return parse_backbone_args(self.backbone_args)

    @property
    def chosen_fusion(self) -> FusionName:
        """The fusion that the flags ask for. Raises FusiqaError where they contradict each other."""
        if self.fusion is None and not self.multiscale:
            return "single"
        if self.fusion is None:
            return "attention" if self.attention_fusion else "concat"
        if self.attention_fusion and self.fusion != "attention":
            raise FusiqaError(f"`fusion` {self.fusion} contradicts `attention_fusion`: keep one")
        if not self.multiscale and self.fusion != "single":
            raise FusiqaError(f"`fusion` {self.fusion} contradicts `no_multiscale`: keep one")
        return self.fusion


@dataclass(frozen=True)
class ModelConfig(Architecture):
    """All that is needed to build the network again, without any download."""

    fusion: FusionName = "concat"
    """How the scales become one map."""
    gates_on_pools: bool = False
    """Let spatial fusion gate the 7x7 pools of the maps instead of the maps: what heads on a frozen backbone train."""
    flaws: bool = False
    """Whether there is a second head, which names flaws."""
    score_range: ScoreRange = UNIT_RANGE
    """The interval of the scores that the network gives."""
    dropout: Annotated[float, FRACTION] = 0.3
    """Fraction of values dropped in the hypernetwork and target network while training."""
    drop_path: Annotated[float, FRACTION] = 0.2
    """Fraction of backbone blocks skipped while training, where the backbone has stochastic depth."""
    mean: Annotated[tuple[float, float, float] | None, Bounds()] = None
    """Mean of the RGB input in 0-1 that the backbone expects; None asks timm."""
    std: Annotated[tuple[float, float, float] | None, POSITIVE] = None
    """Standard deviation of the RGB input in 0-1 that the backbone expects; None asks timm."""
    timm_args: tuple[TimmArg, ...] = ()
    """Further arguments of timm.create_model, as (name, value) pairs: sizes and kinds of the backbone's parts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_timm_args(self.timm_args)
        check_range(self.score_range)


def check_average(networks: Sequence[ModelConfig], *, where: str = "") -> None:
    """Raise FusiqaError, which begins with `where`, unless networks can be averaged: few, and alike in what they see
    and give."""
    too_many = f"{where}an average of {len(networks)} networks; expected at most {MOST_NETWORKS}"
    refuse((len(networks) > MOST_NETWORKS, too_many))
    for number, network in enumerate(networks, start=1):
        for name in MUST_AGREE:
            value, first = getattr(network, name), getattr(networks[0], name)
            why = f"{where}network {number} of an average has `{name}` {value}, the first {first}"
            refuse((value != first, f"{why}: average models that agree in it"))
