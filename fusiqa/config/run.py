"""Where a run is computed and what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fusiqa.config.checks import COUNT, SEED, check_fields


@dataclass(frozen=True)
class RunSettings:
    """Where a run is computed and what it writes."""

    run_dir: Path | None = None
    """Folder for all results; by default runs/<data set>-<backbone>-<fusion>-seed<seed>-<time>."""
    seed: Annotated[int, SEED] = 0
    """Seed of the initial weights, the order of the images, the crops and the dropout."""
    resume: bool = False
    """Continue the run in `--run_dir` after its last finished epoch."""
    overwrite: bool = False
    """Replace the run in `--run_dir`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    num_devices: Annotated[int | None, COUNT] = None
    """Devices per machine; by default every GPU, or one CPU process."""
    num_nodes: Annotated[int, COUNT] = 1
    """Machines that train together."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """auto is bf16 where the hardware multiplies it natively, else fp16 on a GPU, else 32."""
    spaq: bool = True
    """Also test on SPAQ, where its folder is found (`--no_spaq` skips it)."""
    spaq_dir: Path | None = None
    """Folder of SPAQ; by default $FUSIQA_DATA/spaq or ./data/spaq."""
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Log of every step in the run folder; not with `--freeze_backbone`."""
    progress: bool = True
    """Show progress bars, on a terminal."""

    def __post_init__(self) -> None:
        check_fields(self)
