"""The settings of `fusiqa export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fusiqa.errors import FusiqaError

EXPORT_ENDINGS = (".onnx", ".pt2")


@dataclass(frozen=True)
class ExportConfig:
    """Write a model for other runtimes: ONNX, or torch.export. What was written is run and held against torch."""

    output: Path
    """File to write: .onnx, or .pt2 for torch.export."""
    model: Annotated[str | None, tyro.conf.Positional] = None
    """A model in the package, a run folder, a model.safetensors, or owner/name on the Hugging Face hub; by default the
    model in the package."""

    def __post_init__(self) -> None:
        """Refuse formats that there are not."""
        if self.output.suffix.lower() not in EXPORT_ENDINGS:
            raise FusiqaError(f"--output {self.output}: expected a name that ends in {' or '.join(EXPORT_ENDINGS)}")
