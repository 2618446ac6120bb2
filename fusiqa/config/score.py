"""The settings of `fusiqa score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fusiqa.config.checks import COUNT, check_fields
from fusiqa.errors import FusiqaError

FORMATS = (".csv", ".jsonl", ".parquet")
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class ScoreConfig:
    """Score images: files, folders and what is below them, patterns, or a list on standard input."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Files, folders, patterns such as 'holiday/**/*.jpg', or - for a list on standard input: one path a line, or each
    ended by NUL."""
    # output
    output: str | None = None
    """Table to write, row by row: .csv, .jsonl or .parquet; by default the terminal, or CSV to a pipe. With --engine
    ray a folder or URL for Parquet files."""
    resume: bool = False
    """Continue --output: images that have a row are skipped."""
    overwrite: bool = False
    """Replace an earlier --output and --sheet."""
    sheet: Path | None = None
    """Picture to draw (.png or .jpg) of the worst and best images."""
    # selection
    top: Annotated[int | None, COUNT] = None
    """Keep this many of the best, best first."""
    bottom: Annotated[int | None, COUNT] = None
    """Keep this many of the worst, worst first."""
    below: float | None = None
    """Keep scores below this."""
    above: float | None = None
    """Keep scores above this."""
    sort: Literal["given", "worst", "best", "path"] = "given"
    """Order of the rows: as given, worst first, best first, or by path."""
    # computing
    model: str | None = None
    """A model of the package, a run folder, a model.safetensors or model.onnx, or owner/name on the Hugging Face hub;
    by default the model of the package."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    backend: Literal["auto", "torch", "onnx"] = "auto"
    """auto is ONNX Runtime on a CPU if the model has a model.onnx, else torch."""
    readers: Annotated[int, COUNT] = 2
    """Threads that decode images while the network computes."""
    engine: Literal["local", "ray"] = "local"
    """ray is Ray Data on this machine or a cluster ($RAY_ADDRESS): also reads URLs such as s3://bucket/folder, and
    Parquet files with a column path or bytes."""
    workers: Annotated[int | None, COUNT] = None
    """Processes of --engine ray; by default one per GPU, or per two cores."""
    progress: bool = True
    """Show a progress bar, on a terminal."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.paths:
            raise FusiqaError("nothing to score: give files, folders, or - for a list on standard input")
        if self.resume and self.output is None:
            raise FusiqaError("`resume` needs the table to continue: add `output` FILE")
        if self.resume and self.overwrite:
            raise FusiqaError("`resume` and `overwrite` exclude each other")
        if self.top is not None and self.bottom is not None:
            raise FusiqaError("`top` and `bottom` exclude each other; `sheet` draws both ends")
        if self.sort != "given" and (self.top or self.bottom):
            raise FusiqaError("`sort` has no effect with `top` or `bottom`, which are sorted")
        if self.sheet is not None and self.sheet.suffix.lower() not in PICTURES:
            raise FusiqaError(f"`sheet` must end in {', '.join(PICTURES)}, got {self.sheet}")
        if self.engine == "local":
            if self.output is not None and self.table.suffix.lower() not in FORMATS:
                raise FusiqaError(f"`output` must end in {', '.join(FORMATS)}, got {self.output}")
        elif self.output is None:
            raise FusiqaError("`engine` ray writes Parquet files: add `output` FOLDER")
        elif self.chooses or self.sheet is not None:
            raise FusiqaError("`engine` ray writes every row: select, sort and draw from its Parquet files")

    @property
    def table(self) -> Path:
        """The output as a file."""
        assert self.output is not None
        return Path(self.output)

    @property
    def leaves_out(self) -> bool:
        """Whether some rows are left out."""
        return any(limit is not None for limit in (self.below, self.above, self.top, self.bottom))

    @property
    def chooses(self) -> bool:
        """Whether rows are left out or sorted, so that none can be shown before all are known."""
        return self.sort != "given" or self.leaves_out
