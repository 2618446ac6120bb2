"""The settings of a training run: its command line, and what its `config.json` records."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fusiqa.config.checks import COUNT, FRACTION, NOT_NEGATIVE, SEED, Device, Progress, Settings
from fusiqa.config.model import NetworkSettings
from fusiqa.errors import FusiqaError

FLAT = tyro.conf.arg(name="")  # --epochs, not --optimiser.epochs


@dataclass(frozen=True)
class DataSettings(Settings):
    """What a run is trained and tested on, and how its images are read."""

    dataset: str = "synthetic"
    """Name of a data set (`fusiqa data list`), or a CSV, Excel or Parquet file with the columns image and mos."""
    data_dir: Path | None = None
    """Folder of the data set; by default $FUSIQA_DATA/<dataset> or ./data/<dataset>, for a table its own folder."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest possible rating; by default the data set's, for a table its smallest and largest rating."""
    lower_is_better: bool = False
    """A table's ratings are of distortion, as DMOS: invert them within the score range. Published sets are known."""
    resize: str = "auto"
    """Resize before cropping: auto (the data set's protocol; a table: 384), none, a short side in pixels, or
    WIDTHxHEIGHT."""
    validation_fraction: Annotated[float, FRACTION] = 0.1
    """Fraction of the training split held out for validation, where none is published."""
    split_seed: Annotated[int, SEED] = 0
    """Seed of the splits that are drawn; runs with another `--seed` share their split."""
    split_file: Path | None = None
    """CSV with the columns image and split (such as a run's split.csv) to use instead."""
    skip_broken: Annotated[bool, "Leave out rows that cannot be used, instead of stopping before training."] = False
    cache_dir: Path | None = None
    """Folder of the cache of resized images; by default $FUSIQA_CACHE or ~/.cache/fusiqa."""
    cache_gb: Annotated[float, NOT_NEGATIVE] = 20.0
    """Largest size of the cache, GB; 0 decodes every image anew in every epoch."""
    num_workers: Annotated[int | None, NOT_NEGATIVE] = None
    """Processes per device that read images; by default the spare cores, at most 8."""


@dataclass(frozen=True)
class OptimiserSettings(Settings):
    """How a network is trained: epochs, batches, learning rates, loss."""

    epochs: Annotated[int, COUNT, "Passes over the training split."] = 30
    batch_size: Annotated[int, COUNT, "Crops per optimiser step, over all devices together."] = 32
    patience: Annotated[int | None, COUNT, "Stop after this many epochs without a better validation SRCC."] = None
    lr_scheduler: Literal["cosine", "step", "none"] = "cosine"
    """Fall of the learning rates: cosine to 1 %, step (a tenth after 60 % of the steps, a hundredth after 85 %)."""
    lr: Annotated[float | None, NOT_NEGATIVE] = None
    """Highest learning rate of the backbone; by default 1e-6 (pretrained transformer), 2e-4 (other pretrained) or 1e-3
    (random weights), for batches of about 32. With --freeze_backbone of the heads: 1e-3, for 64 to 128."""
    head_lr_ratio: Annotated[float | None, NOT_NEGATIVE] = None
    """Learning rate of the rest, as a multiple of `--lr`; by default 10, 5 or 1 in that order, 1 when frozen."""
    warmup_fraction: Annotated[float, FRACTION] = 0.05
    """Fraction of the steps over which the learning rates rise linearly."""
    weight_decay: Annotated[float, NOT_NEGATIVE, "AdamW's decoupled weight decay, on matrices and kernels only."] = 2e-4
    gradient_clip: Annotated[float, NOT_NEGATIVE, "Largest L2 norm of the gradient; 0 turns clipping off."] = 1.0
    crops_per_image: Annotated[int, COUNT, "Random crops of every training image per epoch."] = 1
    entropy_weight: Annotated[float, NOT_NEGATIVE] = 0.0
    """Weight of a loss term, 0-1, that keeps scale weights even: 1 - entropy / log 4."""
    freeze_backbone: bool = False
    """Train the heads alone, on cached feature maps of the backbone: minutes instead of an hour."""


@dataclass(frozen=True)
class RunSettings(Settings):
    """Where a run is computed and what it writes."""

    run_dir: Annotated[Path | None, tyro.conf.arg(aliases=("--output",))] = None
    """Folder for all results (or --output); by default runs/<data set>-<backbone>-<fusion>-seed<seed>-<time>."""
    seed: Annotated[int, SEED, "Seed of the initial weights, the order of the images, the crops and the dropout."] = 0
    resume: Annotated[bool, "Continue the run in `--run_dir` after its last finished epoch."] = False
    overwrite: Annotated[bool, "Replace the run in `--run_dir`."] = False
    device: Device = "auto"
    num_devices: Annotated[int | None, COUNT, "Devices per machine; by default every GPU, or one CPU process."] = None
    num_nodes: Annotated[int, COUNT, "Machines that train together."] = 1
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """auto is bf16 where the hardware multiplies it natively, else fp16 on a GPU, else 32."""
    spaq: Annotated[bool, "Also test on SPAQ, where its folder is found (`--no_spaq` skips it)."] = True
    export: bool = True
    """Leave model.onnx too, by which the model is scored without torch (`--no_export` does not)."""
    spaq_dir: Annotated[Path | None, "Folder of SPAQ; by default $FUSIQA_DATA/spaq or ./data/spaq."] = None
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Log of every step in the run folder; not with `--freeze_backbone`."""
    progress: Progress = True


@dataclass(frozen=True)
class TrainConfig:
    """Train a quality model, choose its epoch on the validation split, and test it once."""

    data: Annotated[DataSettings, FLAT, "What the run is trained and tested on."] = field(default_factory=DataSettings)
    network: Annotated[NetworkSettings, FLAT] = field(default_factory=NetworkSettings)
    """The network before it is trained."""
    optimiser: Annotated[OptimiserSettings, FLAT, "How it is trained."] = field(default_factory=OptimiserSettings)
    run: Annotated[RunSettings, FLAT] = field(default_factory=RunSettings)
    """Where the run is computed and what it writes."""

    @classmethod
    def of(cls, **settings: Any) -> TrainConfig:
        """The defaults but for these settings, by the names of their flags.

        Example:
            >>> TrainConfig.of(dataset="koniq-10k", epochs=7).optimiser.epochs
            7
        """
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> TrainConfig:
        """These settings but for some, by the names of their flags. Raises FusiqaError for one that there is not."""
        by_group: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            by_group.setdefault(group_of(name), {})[name] = value
        edited = {group: dataclasses.replace(getattr(self, group), **edits) for group, edits in by_group.items()}
        return dataclasses.replace(self, **edited)

    def __getitem__(self, name: str) -> Any:
        """The setting of that name, whichever group it is in."""
        return getattr(getattr(self, group_of(name)), name)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The settings as they stand in config.json, by group; `from_plain` reads them."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))


@cache
def groups() -> dict[str, str]:
    """The group of each setting."""
    default = TrainConfig()
    return {setting.name: each.name for each in fields(default) for setting in fields(getattr(default, each.name))}


def group_of(name: str) -> str:
    """The group of a setting. Raises FusiqaError if there is no such setting."""
    if name not in groups():
        raise FusiqaError(f"there is no setting `{name}`; there are {', '.join(groups())}")
    return groups()[name]
