"""The settings of `fusiqa score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fusiqa.config.require import require
from fusiqa.errors import FusiqaError

TABLE_ENDINGS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class ScoreConfig:
    """Score images: files, folders and what is below them, patterns, or a list on standard input."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Files, folders, patterns such as 'holiday/**/*.jpg', or - for a list on standard input, one path a line."""
    model: str | None = None
    """A model in the package, a run folder, a model.safetensors or model.onnx, or owner/name on the Hugging Face hub;
    by default the model in the package."""
    output: str | None = None
    """Table to write, row by row: .csv, .jsonl or .parquet; by default rows go to the terminal, or as CSV to a pipe.
    With --engine ray the folder, here or at a URL, of the Parquet files."""
    resume: bool = False
    """Go on with --output: images that have a row there are skipped."""
    overwrite: bool = False
    """Discard what --output holds."""
    below: float | None = None
    """Keep images that score below this."""
    above: float | None = None
    """Keep images that score above this."""
    top: int | None = None
    """Keep this many, the best, best first."""
    bottom: int | None = None
    """Keep this many, the worst, worst first."""
    sort: Literal["given", "worst", "best", "path"] = "given"
    """Order of the rows: as given, worst first, best first, or by path."""
    sheet: Path | None = None
    """Picture to draw (.png or .jpg): the worst and the best images, with their scores and scale weights."""
    engine: Literal["local", "ray"] = "local"
    """local: this process. ray: Ray Data on this machine or a cluster ($RAY_ADDRESS), from files, folders, URLs such as
    s3://bucket/folder, or a Parquet with a column path or bytes, to Parquet."""
    workers: int | None = None
    """Processes of --engine ray that score; by default one for each GPU, or for each two cores."""
    device: str = "auto"
    """What the network runs on: auto, cpu, cuda, cuda:1, mps."""
    backend: Literal["torch", "onnx"] = "torch"
    """What runs the network; onnx needs onnxruntime."""
    readers: int = 2
    """Threads that decode images while the network computes."""
    progress: bool = True
    """Show a progress bar, where there is a terminal."""

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other, and tables and pictures of unknown kinds."""
        require("readers", self.readers, at_least=1)
        require("top", self.top, at_least=1)
        require("bottom", self.bottom, at_least=1)
        if not self.paths:
            raise FusiqaError("nothing to score: give files, folders, or - for a list on standard input")
        self._check_engine()
        if self.output is not None and self.engine == "local" and self.table.suffix.lower() not in TABLE_ENDINGS:
            raise FusiqaError(f"--output {self.output}: expected a name that ends in {', '.join(TABLE_ENDINGS)}")
        if self.resume and self.output is None:
            raise FusiqaError("--resume needs the table to go on with: add --output FILE")
        if self.resume and self.overwrite:
            raise FusiqaError("--resume and --overwrite exclude each other: go on with the table, or start anew")
        if self.top is not None and self.bottom is not None:
            raise FusiqaError("--top and --bottom exclude each other; --sheet draws both ends")
        if self.sort != "given" and (self.top or self.bottom):
            raise FusiqaError("--top and --bottom have an order of their own; leave out --sort")
        if self.sheet is not None and self.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise FusiqaError(f"--sheet {self.sheet}: expected a name that ends in .png or .jpg")

    def _check_engine(self) -> None:
        require("workers", self.workers, at_least=1)
        if self.engine == "local":
            return
        if self.output is None:
            raise FusiqaError("--engine ray writes Parquet files: say into which folder with --output")
        if self.chooses or self.sheet is not None:
            raise FusiqaError("--engine ray writes every row; choose, sort and draw from its Parquet files")

    @property
    def table(self) -> Path:
        """The output as a file."""
        assert self.output is not None
        return Path(self.output)

    @property
    def chooses(self) -> bool:
        """Whether rows are left out or put into another order, so that none can be shown before all are known."""
        kept = (self.below, self.above, self.top, self.bottom)
        return self.sort != "given" or any(each is not None for each in kept)

    @property
    def leaves_out(self) -> bool:
        """Whether rows are left out."""
        return any(each is not None for each in (self.below, self.above, self.top, self.bottom))
