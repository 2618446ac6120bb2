"""The settings of a training run, which are its command line and what its `config.json` records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fusiqa.config.backbone_args import parse_backbone_args
from fusiqa.config.model import COARSEST, DEFAULT_BACKBONE, SEED_WEIGHING, ScaleWeighing
from fusiqa.config.require import require


@dataclass(frozen=True)
class TrainConfig:
    """Train a quality model, choose its epoch on the validation split, and test it once."""

    dataset: str = "synthetic"
    """Name of a data set (`fusiqa data list` has them; synthetic needs no files), or the path of a CSV, Excel workbook
    or Parquet with image and mos columns."""
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
    split_file: Path | None = None
    """CSV with the columns image and split (as a run's split.csv) to use in place of the published or a drawn split."""
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
    backbone_args: tuple[str, ...] = ()
    """Other sizes of the backbone, as NAME=VALUE for timm: a Swin of a quarter of the width is
    embed_dim=24 depths=1,1,3,1. Pretrained weights then seldom fit."""
    attention_fusion: bool = False
    """Weigh the four scales for every image by an attention network."""
    fusion: Literal["single", "concat", "attention", "spatial", "cross-scale"] | None = None
    """How the four scales become one map; by default what --attention_fusion and --no_multiscale say."""
    single_scale: int = COARSEST
    """The scale that --fusion single reads: 0, the finest, to 3, the coarsest."""
    weighing: ScaleWeighing = SEED_WEIGHING
    """How attention fusion makes the weights of the scales, and what they multiply."""
    multiscale: Annotated[bool, tyro.conf.arg(aliases=("--use-multiscale",))] = True
    """Feed all four scales to the hypernetwork; --no_multiscale feeds it the last alone."""
    freeze_backbone: bool = False
    """Train the heads alone, on maps of the backbone that are computed once and kept: minutes in place of an hour."""
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
    """Random crops of every training image per epoch."""
    lr: float | None = None
    """Highest learning rate of the backbone; by default, for batches of about 32, 1e-6 (pretrained transformer),
    2e-4 (other pretrained backbone) or 1e-3 (random weights). With --freeze_backbone that of the heads; by default
    1e-3, for batches of 64 to 128."""
    head_lr_ratio: float | None = None
    """Learning rate of everything else, as a multiple of --lr; by default 10, 5 or 1 (in the same order), and 1 with
    --freeze_backbone."""
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
    """Seed of the initial weights, the order of the images, the crops and the dropout."""
    run_dir: Path | None = None
    """Folder for everything that the run writes; by default runs/<data set>-<backbone>-<fusion>-seed<seed>-<time>."""
    resume: bool = False
    """Continue the run in --run_dir from its last finished epoch; with --freeze_backbone from its first, on the maps
    that are kept."""
    overwrite: bool = False
    """Start anew in a --run_dir that already holds a run, discarding it."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """Arithmetic of the training steps; auto is bf16 where the hardware multiplies it natively, else fp16 on a
    GPU and 32 on a CPU or with a frozen backbone. fp16 needs a GPU and a backbone that is trained."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """What to train on."""
    devices: int | None = None
    """Devices per node; by default every GPU, or one CPU process."""
    num_nodes: int = 1
    """Machines that train together."""
    num_workers: int | None = None
    """Processes that read images, per device; by default what the machine has to spare, at most 8."""
    cache_dir: Path | None = None
    """Folder in which resized images are kept for later epochs and runs; by default $FUSIQA_CACHE or
    ~/.cache/fusiqa."""
    cache_gb: float = 20.0
    """Disk that the kept images may take, GB; 0 keeps none, and they are decoded anew in every epoch."""
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Where each step's loss and learning rates are logged, inside the run folder; not with --freeze_backbone."""
    progress: bool = True
    """Show progress bars, where standard error is a terminal."""

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
            "entropy_weight",
            "gradient_clip",
            "num_workers",
            "cache_gb",
        ):
            require(name, getattr(self, name), at_least=0)
        require("single_scale", self.single_scale, at_least=0, below=COARSEST + 1)
        for name in ("seed", "split_seed"):
            require(name, getattr(self, name), at_least=0, below=2**63)
        parse_backbone_args(self.backbone_args)
