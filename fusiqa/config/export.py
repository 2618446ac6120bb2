"""The settings of `fusiqa export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fusiqa.errors import FusiqaError

FORMATS = (".onnx", ".pt2")


@dataclass(frozen=True)
class ExportConfig:
    """Write a model for other runtimes: ONNX, or torch.export. The file is run and compared with torch."""

    output: Path
    """File to write: .onnx, or .pt2 for torch.export."""
    model: Annotated[str | None, tyro.conf.Positional] = None
    """A model of the package, a run folder, a model.safetensors, or owner/name on the Hugging Face hub; by default the
    model of the package."""
    overwrite: bool = False
    """Replace an earlier export of that name."""

    def __post_init__(self) -> None:
        if self.output.suffix.lower() not in FORMATS:
            raise FusiqaError(f"`output` must end in {' or '.join(FORMATS)}, got {self.output}")
