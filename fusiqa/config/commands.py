"""The settings of the other commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fusiqa.config.checks import COUNT, NOT_NEGATIVE, Bounds, check_fields
from fusiqa.config.train import TrainConfig
from fusiqa.errors import FusiqaError

LEVEL = Bounds(at_least=1, below=6)


@dataclass(frozen=True)
class AttentionConfig:
    """Explain a model: which feature scales its scores came from, over images or a data set."""

    model: Annotated[Path, tyro.conf.Positional]
    """A run folder, or a model.safetensors."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Images, or folders of them."""
    dataset: str | None = None
    """A data set to explain instead: the run's own by default, when no images are given."""
    data_dir: Path | None = None
    """Folder of the data set."""
    split: Literal["train", "validation", "test"] = "test"
    """Split of the data set; images given have none."""
    groups: Literal["auto", "distortion", "quality", "make", "every-distortion"] = "auto"
    """How images are grouped: distortion (of the synthetic set), quality (thirds by rating or score), make (blur, JPEG,
    colour and undistorted versions of each image), every-distortion (KADID-10k's 25 at 5 levels, with statistics).
    auto: make for images, distortion for synthetic, quality for other data sets."""
    level: Annotated[int, LEVEL] = 4
    """Level of the distortions of --groups make, 1 (hardly visible) to 5."""
    seed: Annotated[int, NOT_NEGATIVE] = 0
    """Seed of the random distortions; each image has other noise, directions and places."""
    limit: Annotated[int | None, COUNT] = None
    """Use at most this many images, evenly spaced through the list."""
    other_seeds: tuple[Path, ...] = ()
    """With every-distortion: more runs of the same design; the hypothesis is then tested over seeds too."""
    output: Path | None = None
    """Folder for the figures and tables; by default attention/ in the run folder."""
    device: str = "auto"
    """What to run on: auto, cpu, cuda, cuda:1, mps."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and other seeds that no test would use."""
        check_fields(self)
        if self.other_seeds and self.groups != "every-distortion":
            raise FusiqaError("`other_seeds` needs `groups` every-distortion")


@dataclass(frozen=True)
class CompareConfig:
    """Compare finished runs on the same test images, paired: each against the first."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Two or more run folders; the first is what the others are compared with."""
    output: Path | None = None
    """Folder for comparison.md and comparison.csv; by default only printed."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a finished model on data sets: one table, and of each its kinds, its scatter and its worst errors."""

    model: Annotated[Path, tyro.conf.Positional]
    """A run folder, or a model.safetensors."""
    dataset: tuple[str, ...] = ()
    """Data sets by name, or paths of tables; of the run's own data set its test split is measured, of others all. A
    published set is resized by its own protocol, a custom table by the model's."""
    data_root: Path | None = None
    """Folder that holds the data sets' folders; by default $FUSIQA_DATA or ./data."""
    worst: Annotated[int, NOT_NEGATIVE] = 12
    """Images on the sheet of the worst errors of each data set; 0 draws none."""
    output: Path | None = None
    """Folder for tables and figures; by default evaluation/ in the run folder."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    progress: bool = True
    """Show progress bars."""

    def __post_init__(self) -> None:
        """Refuse nothing to measure on."""
        check_fields(self)
        if not self.dataset:
            raise FusiqaError("`dataset`: name at least one data set to measure on")


@dataclass(frozen=True)
class AblateConfig:
    """Settle a question of design: train named variants over several seeds, compare them paired, and report."""

    preset: Annotated[str, tyro.conf.Positional] = "scales"
    """attention (against none), scales (single, multi-scale, attention), fusions (all five), one-scale (each scale
    alone), weighing (none, softmax or gates), collapse (what keeps scale weights even), backbones (five kinds), swin
    (Tiny, Small, Base), or a question of your own in a TOML file."""
    base: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """Settings of every run but for what its variant edits; --seed is the first seed, --run_dir the folder of all."""
    variants: tuple[str, ...] = ()
    """Only these variants of it, by name; the first is what the others are compared with."""
    seeds: Annotated[int, COUNT] = 5
    """Runs of each variant, with consecutive seeds; every variant has the same ones."""
    jobs: Annotated[int | None, COUNT] = None
    """Runs at once, which share the cores; by default one for each GPU, and without any one, or of heads on a frozen
    backbone one a core (at most 8)."""

    def __post_init__(self) -> None:
        """Refuse settings that no ablation could use."""
        check_fields(self)


@dataclass(frozen=True)
class DistortConfig:
    """Distort images as KADID-10k does: any of its 25 distortions at its five levels."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, or folders of them."""
    output: Path = Path("distorted")
    """Folder for the distorted images: <distortion>/<level>/<image>.png."""
    distortion: tuple[str, ...] = ()
    """Names of distortions, such as gaussian_blur; by default all 25."""
    level: Annotated[tuple[int, ...], LEVEL] = (1, 2, 3, 4, 5)
    """Levels, 1 (hardly visible) to 5."""
    resize: str = "none"
    """Resize first: none, the short side in pixels, or WIDTHxHEIGHT; KADID-10k's images have 512x384."""
    seed: Annotated[int, NOT_NEGATIVE] = 0
    """Seed of the random distortions; each image has other noise, directions and places."""
    sheet: bool = False
    """Write one sheet of all versions for each image instead."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        """Refuse levels that do not exist."""
        check_fields(self)


@dataclass(frozen=True)
class DemoConfig:
    """The whole workflow in minutes, without data: score, train, test, compare, explain on synthetic images."""

    output: Path = Path("runs/demo")
    """Folder for all results; only an earlier demo there is replaced."""
    seed: int = 0
    """Seed of both runs."""
    progress: bool = True
    """Show progress bars."""


@dataclass(frozen=True)
class DataListConfig:
    """List the data sets that are read by name."""


@dataclass(frozen=True)
class DataInfoConfig:
    """Print what is known of a data set: figures, licence, citation, layout, source."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set."""


@dataclass(frozen=True)
class DataCheckConfig:
    """Check a copy of a data set: counts, files, ratings, duplicates across the split."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set, or the path of a CSV with image and mos columns."""
    data_dir: Path | None = None
    """Folder of the data set; by default $FUSIQA_DATA/<name> or ./data/<name>."""
    output: Path | None = None
    """JSON file for the report, which is printed too."""
    progress: bool = True
    """Show progress bars."""


@dataclass(frozen=True)
class DataDownloadConfig:
    """Download a data set that may be redistributed; for others, print where to request them."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set."""
    data_dir: Path | None = None
    """Folder of the data set; by default $FUSIQA_DATA/<name> or ./data/<name>."""
    accept_licence: bool = False
    """Accept the licence without being asked; it is printed all the same."""
    progress: bool = True
    """Show progress bars."""
