"""Every setting, once: these frozen dataclasses are the command line, and what `config.json` of a run records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from fusiqa.errors import FusiqaError

FUSIONS = ("single", "concat", "attention", "spatial", "cross-scale")
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


SEED_WEIGHING = ScaleWeighing()
"""The weighing of the published design: a plain softmax onto the maps as they are."""


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again, without any download."""

    backbone: str = DEFAULT_BACKBONE
    """Name of the timm model whose last four stages are the scales."""
    fusion: str = "concat"
    """How the scales become one map: single, concat, attention, spatial or cross-scale."""
    weighing: ScaleWeighing = SEED_WEIGHING
    """How attention fusion weighs."""
    image_height: int = 224
    """Height of a crop, pixels."""
    image_width: int = 224
    """Width of a crop, pixels."""
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
    timm_args: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Further arguments of timm.create_model, as (name, value) pairs."""


@dataclass(frozen=True)
class TrainConfig:
    """Train a quality model, choose its epoch on the validation split, and test it once."""

    dataset: str = "synthetic"
    """koniq-10k, spaq, biq2021, synthetic (needs no files), or the path of a CSV with image and mos columns."""
    data_dir: Path | None = None
    """Folder of the data set; by default $FUSIQA_DATA/<dataset> or ./data/<dataset>, for a CSV the CSV's own."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest possible rating; by default the data set's own (a CSV's: smallest and largest rating)."""
    resize: str = "auto"
    """Resize before cropping: auto (the data set's protocol; for a CSV 384), none, the short side in pixels, or
    WIDTHxHEIGHT."""
    validation_share: float = 0.1
    """Share of the training split held out for validation, 0-1, where the data set has no validation split."""
    split_seed: int = 0
    """Seed of the validation split and of random splits; apart from --seed, so that runs share their split."""
    skip_broken: bool = False
    """Go on without rows that cannot be used, and record which; otherwise they stop the run before training."""
    spaq: bool = True
    """Also test on SPAQ after training, where its folder is found (--no_spaq skips it)."""
    spaq_dir: Path | None = None
    """Folder of SPAQ; by default ./data/spaq."""

    backbone: str = DEFAULT_BACKBONE
    """Name of any timm model with four or more pyramid stages."""
    backbone_weights: str = "imagenet"
    """imagenet (timm's own, downloaded once), a safetensors file, or none (random)."""
    attention_fusion: bool = False
    """Weigh the four scales for every image by an attention network."""
    fusion: Literal["single", "concat", "attention", "spatial", "cross-scale"] | None = None
    """How the four scales become one map; by default what --attention_fusion and --no_multiscale say."""
    weighing: ScaleWeighing = SEED_WEIGHING
    """How attention fusion makes the weights of the scales, and what they multiply."""
    multiscale: Annotated[bool, tyro.conf.arg(aliases=("--use-multiscale",))] = True
    """Feed all four scales to the hypernetwork; --no_multiscale feeds it the last alone."""
    freeze_backbone: bool = False
    """Train the heads alone, on maps of the backbone that are computed once and kept: minutes in place of hours, and
    lower figures."""
    crop_size: int = 224
    """Side of the square crops that the network sees, pixels."""
    dropout: float | None = None
    """Share of values dropped in the hypernetwork and target network while training, 0-1; by default 0.3, 0.35 or
    0.4 for a pretrained Swin-Tiny, -Small or -Base, else 0.1."""
    drop_path: float | None = None
    """Share of backbone blocks skipped while training, 0-1, where it has stochastic depth; by default 0.2, 0.25
    or 0.3 for a pretrained Swin-Tiny, -Small or -Base, else 0."""
    attention_dropout: float = 0.1
    """Share of hidden units dropped in the scale-attention network while training, 0-1."""

    epochs: int = 30
    """Passes over the training split."""
    batch_size: int = 32
    """Crops per optimiser step, over all devices together."""
    crops_per_image: int = 1
    """Random crops of every training photograph per epoch."""
    lr: float | None = None
    """Highest learning rate of the backbone; by default, for batches of about 32, 1e-6 (pretrained transformer),
    2e-4 (other pretrained backbone) or 1e-3 (random weights)."""
    head_lr_ratio: float | None = None
    """Learning rate of everything else, as a multiple of the backbone's; by default 10, 5 or 1 (in the same order)."""
    weight_decay: float = 2e-4
    """AdamW's decoupled weight decay, on weight matrices and kernels only."""
    lr_scheduler: Literal["cosine", "step", "none"] = "cosine"
    """How both learning rates fall after the warm-up: cosine to 1 %, step (to a tenth after 60 % of the steps and a
    hundredth after 85 %), or none."""
    warmup_share: float = 0.05
    """Share of all steps over which the learning rates rise linearly to their highest, 0-1."""
    entropy_weight: float = 0.0
    """Weight of a term of the loss that keeps scale weights even: the share by which the entropy of an image's weights
    falls short of that of four equal ones, 0-1."""
    gradient_clip: float = 1.0
    """Largest L2 norm of the gradient; 0 turns clipping off."""
    patience: int | None = None
    """Stop after this many epochs without a better validation SRCC."""

    seed: int = 0
    """Seed of the initial weights, the order of the photographs, the crops and the dropout."""
    run_dir: Path | None = None
    """Folder for everything that the run writes; by default runs/<data set>-<backbone>-<fusion>-seed<seed>-<time>."""
    resume: bool = False
    """Continue the run in --run_dir from its last finished epoch."""
    overwrite: bool = False
    """Start anew in a --run_dir that already holds a run, discarding it."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """Arithmetic of the training steps; auto is bf16 where the hardware multiplies it natively, else fp16 on a
    GPU and 32 on a CPU."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """What to train on."""
    devices: int | None = None
    """Devices per node; by default every GPU, or one CPU process."""
    num_nodes: int = 1
    """Machines that train together."""
    num_workers: int | None = None
    """Processes that read photographs, per device; by default what the machine has to spare, at most 8."""
    cache_dir: Path | None = None
    """Folder in which resized photographs are kept for later epochs and runs; by default $FUSIQA_CACHE or
    ~/.cache/fusiqa."""
    cache_gb: float = 20.0
    """Disk that the kept photographs may take, GB; 0 keeps none, and they are decoded anew in every epoch."""
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Where each step's loss and learning rates are logged, inside the run folder."""
    progress: bool = True
    """Show progress bars."""

    def __post_init__(self) -> None:
        """Refuse settings that no run could use. Raises FusiqaError naming the flag and what is allowed."""
        for name in ("epochs", "batch_size", "crops_per_image", "crop_size", "num_nodes", "devices", "patience"):
            require(name, getattr(self, name), at_least=1)
        for name in ("dropout", "drop_path", "attention_dropout", "validation_share", "warmup_share"):
            require(name, getattr(self, name), at_least=0, below=1)
        for name in (
            "lr",
            "head_lr_ratio",
            "weight_decay",
            "gradient_clip",
            "num_workers",
            "cache_gb",
            "seed",
            "split_seed",
        ):
            require(name, getattr(self, name), at_least=0)


def require(name: str, value: float | None, *, at_least: float, below: float | None = None) -> None:
    """Raise FusiqaError if a setting is given and outside its interval.

    Example:
        >>> require("epochs", 0, at_least=1)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: --epochs 0: allowed is 1 and more
    """
    if value is None or (value >= at_least and (below is None or value < below)):
        return
    allowed = f"{at_least} and more" if below is None else f"{at_least} to below {below}"
    raise FusiqaError(f"--{name} {value}: allowed is {allowed}")


@dataclass(frozen=True)
class AttentionConfig:
    """Explain a model: which feature scales its scores came from, over photographs or a data set."""

    model: Annotated[Path, tyro.conf.Positional]
    """A run folder, or a model.safetensors."""
    photographs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Photographs, or folders of them."""
    dataset: str | None = None
    """A data set to explain instead: the run's own by default, when no photographs are given."""
    data_dir: Path | None = None
    """Folder of the data set."""
    split: Literal["train", "validation", "test"] = "test"
    """Split of the data set; photographs given have none."""
    groups: Literal["auto", "distortion", "quality", "make"] = "auto"
    """One series per known distortion, per band of quality, or make blur, JPEG, colour and pristine of each image;
    auto is make for photographs, distortion for synthetic, quality for other data sets."""
    level: int = 4
    """Strength of the distortions of --groups make: KADID-10k's level, 1 (hardly visible) to 5."""
    limit: int | None = None
    """Use at most this many photographs, evenly spaced through the list."""
    output: Path | None = None
    """Folder for the figures and tables; by default attention/ in the run folder."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        """Refuse a level or a limit that does not exist."""
        require("level", self.level, at_least=1, below=6)
        require("limit", self.limit, at_least=1)


@dataclass(frozen=True)
class CompareConfig:
    """Compare finished runs on the same test images, paired: each against the first."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Two or more run folders; the first is what the others are compared with."""
    output: Path | None = None
    """Folder for comparison.md and comparison.csv; by default only printed."""


@dataclass(frozen=True)
class AblateConfig:
    """Settle a question of design: train named variants over several seeds, compare them paired, and report."""

    preset: Annotated[
        Literal["attention", "scales", "fusions", "collapse", "backbones", "swin"], tyro.conf.Positional
    ] = "scales"
    """attention (against none), scales (single, multi-scale, attention), fusions (all five), collapse (what keeps scale
    weights even), backbones (five kinds), or swin (Tiny, Small, Base)."""
    base: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig()
    """Settings of every run but for what its variant edits; --seed is the first seed, --run_dir the folder of all."""
    seeds: int = 5
    """Runs of each variant, with consecutive seeds; every variant has the same ones."""
    jobs: int | None = None
    """Runs at once; by default one for each GPU, or one."""

    def __post_init__(self) -> None:
        """Refuse settings that no ablation could use."""
        require("seeds", self.seeds, at_least=1)
        require("jobs", self.jobs, at_least=1)


@dataclass(frozen=True)
class DemoConfig:
    """The whole loop in minutes, without data: train, test, compare, explain on the built-in synthetic set."""

    output: Path = Path("runs/demo")
    """Folder for both runs and the comparison; an earlier demo there is replaced."""
    seed: int = 0
    """Seed of both runs."""
    progress: bool = True
    """Show progress bars."""
