"""The settings of a training run: its command line, and what its `config.json` records."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fusiqa.config.checks import COUNT, FRACTION, NOT_NEGATIVE, SEED, Device, Progress, Settings, refuse
from fusiqa.config.model import NetworkSettings
from fusiqa.errors import FusiqaError

DISTORTED = "distorted"  # the data set that is made of a folder of sharp images
FLAT = tyro.conf.arg(name="")  # --epochs, not --optimiser.epochs


@dataclass(frozen=True)
class DataSettings(Settings):
    """What a run is trained and tested on, and how its images are read."""

    dataset: str | tuple[str, ...] = "synthetic"
    """Name (`fusiqa data list`), or a CSV, Excel or Parquet file with the columns image and mos; or several."""
    data_dir: Path | tuple[str, ...] | None = None
    """Folder of the data set, of several NAME=FOLDER each; by default $FUSIQA_DATA/<name> or ./data/<name>, for a table
    its own folder."""
    data_root: Path | None = None
    """Folder that holds the folders of several data sets."""
    score_range: tuple[float, float] | None = None
    """Bounds of the ratings; by default as published, or of the table."""
    lower_is_better: bool = False
    """Invert a table's ratings, of distortion as DMOS is, within their range."""
    resize: str = "auto"
    """Resize before cropping: none, a short side in pixels, WIDTHxHEIGHT, or auto: the data set's protocol, for a table
    384."""
    validation_fraction: Annotated[float, FRACTION] = 0.1
    """Fraction of training images for validation, if none is given."""
    split_seed: Annotated[int, SEED, "Seed of splits that are drawn, independent of `--seed`."] = 0
    split_file: Path | None = None
    """CSV of image and split to use instead, such as a run's split.csv."""
    skip_broken: Annotated[bool, "Leave out rows that cannot be used; by default they are an error."] = False
    cache_dir: Path | None = None
    """Cache of resized images; by default $FUSIQA_CACHE or ~/.cache/fusiqa."""
    cache_gb: Annotated[float, NOT_NEGATIVE, "Largest size of the cache, GB; 0 turns it off."] = 20.0
    num_workers: Annotated[int | None, NOT_NEGATIVE] = None
    """Image-reading processes a device; by default spare cores, at most 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = self.score_range or self.lower_is_better or self.split_file
        unnamed = [folder for name, folder in self._named_folders() if not name] if self.datasets[1:] else []
        refuse(
            (not self.datasets, "`dataset`: name at least one"),
            (len(set(self.datasets)) < len(self.datasets), "`dataset`: one is named twice"),
            (
                alone and self.datasets[1:],
                "`score_range`, `lower_is_better` and `split_file` need one `dataset` alone",
            ),
            (unnamed, f"`data_dir` of several data sets is NAME=FOLDER for each, got {', '.join(unnamed)}"),
        )

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset,) if isinstance(self.dataset, str) else self.dataset

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that `data_dir` gives, by data set."""
        return {name or self.datasets[0]: Path(folder) for name, folder in self._named_folders()}

    def _named_folders(self) -> list[tuple[str, str]]:
        """The data set, if it is named, and the folder of each value of `data_dir`."""
        given = self.data_dir if isinstance(self.data_dir, tuple) else filter(None, [self.data_dir])
        found = []
        for text in map(str, given):
            name = next((name for name in self.datasets if text.startswith(f"{name}=")), "")
            found.append((name, text.removeprefix(f"{name}=") if name else text))
        return found


@dataclass(frozen=True)
class OptimiserSettings(Settings):
    """How a network is trained: epochs, batches, learning rates, loss."""

    epochs: Annotated[int, COUNT, "Passes over the training split."] = 30
    batch_size: Annotated[int, COUNT, "Crops per optimiser step, over all devices together."] = 32
    patience: Annotated[int | None, COUNT, "Stop after this many epochs without a better validation SRCC."] = None
    lr_scheduler: Literal["cosine", "step", "none"] = "cosine"
    """Decay of the learning rates: cosine to 1 %, step to a tenth after 60 % and a hundredth after 85 % of the run."""
    lr: Annotated[float | None, NOT_NEGATIVE] = None
    """Highest learning rate of the backbone; by default 1e-6 for a pretrained transformer, 2e-4 for another pretrained
    one, 1e-3 from random weights (batches of 32) and for heads on a frozen one (of 64 to 128)."""
    head_lr_ratio: Annotated[float | None, NOT_NEGATIVE] = None
    """Learning rate of the rest over `--lr`; by default 10, 5, 1, 1 in turn."""
    warmup_fraction: Annotated[float, FRACTION, "Fraction of the steps of the linear warm-up."] = 0.05
    weight_decay: Annotated[float, NOT_NEGATIVE, "AdamW's weight decay, on matrices and kernels only."] = 2e-4
    gradient_clip: Annotated[float, NOT_NEGATIVE, "Largest L2 norm of the gradient; 0 turns clipping off."] = 1.0
    crops_per_image: Annotated[int, COUNT, "Random crops of every training image per epoch."] = 1
    loss: Literal["l1", "fidelity", "both"] = "l1"
    """l1: errors of scores, fidelity: order of pairs, or both."""
    dataset_weights: Annotated[tuple[float, ...], NOT_NEGATIVE] = ()
    """Loss weight of each of several data sets; 0: not trained on; default 1."""
    augment_distortions: Annotated[float, FRACTION] = 0.0
    """Fraction of crops also shown distorted (fine-tuning only)."""
    entropy_weight: Annotated[float, NOT_NEGATIVE] = 0.0
    """Weight of the loss 1 - entropy / log 4 of the scale weights."""
    freeze_backbone: bool = False
    """Train the heads alone, on cached feature maps: minutes, not an hour."""


@dataclass(frozen=True)
class RunSettings(Settings):
    """Where a run is computed and what it writes."""

    run_dir: Annotated[Path | None, tyro.conf.arg(aliases=("--output",))] = None
    """Folder for all results (or --output); by default one in runs/, named by settings and time."""
    seed: Annotated[int, SEED, "Seed of initial weights, order of images, crops and dropout."] = 0
    resume: Annotated[bool, "Continue the run in `--run_dir` after its last finished epoch."] = False
    overwrite: Annotated[bool, "Replace the run in `--run_dir`."] = False
    device: Device = "auto"
    num_devices: Annotated[int | None, COUNT, "Devices per machine; by default every GPU, or one CPU process."] = None
    num_nodes: Annotated[int, COUNT, "Machines that train together."] = 1
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """auto: bf16 where native, fp16 on other GPUs, else 32."""
    spaq: Annotated[bool, "Also test on SPAQ, where its folder is found."] = True
    export: Annotated[bool, "Write model.onnx too, by which images are scored without torch."] = True
    spaq_dir: Annotated[Path | None, "Folder of SPAQ; by default $FUSIQA_DATA/spaq or ./data/spaq."] = None
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Log of training error and validation, in the run folder; none with `--freeze_backbone`."""
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

    def __post_init__(self) -> None:
        sets, weights = len(self.data.datasets), self.optimiser.dataset_weights
        refuse(
            (len(weights) not in (0, sets), f"`dataset_weights` must have one value for each `dataset`, {sets} in all"),
            (weights and not any(weights), "`dataset_weights`: one must be above 0"),
        )

    @classmethod
    def of(cls, **settings: Any) -> TrainConfig:
        """The defaults with these settings, by the names of their flags.

        Example:
            >>> TrainConfig.of(dataset="koniq-10k", epochs=7).optimiser.epochs
            7
        """
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> TrainConfig:
        """A copy with these settings, by the names of their flags. Raises FusiqaError for an unknown one."""
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
