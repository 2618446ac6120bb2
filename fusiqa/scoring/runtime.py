"""What a scorer needs of a network, whatever runs it, and where models are found by name. It imports no runtime."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from fusiqa.config import ScoreRange
from fusiqa.io import WEIGHTS_FILE

Crops = UInt8[np.ndarray, "crops side side 3"]


@dataclass(frozen=True)
class Facts:
    """What is to be known of a network before it is fed.

    Attributes:
        name: name and fingerprint, as rows of tables carry it.
        score_range: of its scores.
        crop_size: side of the crops, pixels.
        resize: the resize protocol before cropping, in the words of `--resize`.
        scale_sizes: (height, width) of each scale's map for one crop, finest first.
    """

    name: str
    score_range: ScoreRange
    crop_size: int
    resize: str
    scale_sizes: tuple[tuple[int, int], ...]


class Network(Protocol):
    """A trained network in some runtime.

    Attributes:
        facts: of the network.
        crops_at_once: crops that it is best fed at once.
    """

    facts: Facts
    crops_at_once: int

    def __call__(self, crops: Crops) -> tuple[Float[np.ndarray, " crops"], Float[np.ndarray, "crops 4"] | None]:
        """The score of each crop on the score range, and its scale weights if the fusion weighs. Thread-safe."""


def weights_of(path: Path) -> Path:
    """The file of weights of a run folder, or that file itself."""
    return path / WEIGHTS_FILE if path.is_dir() else path


def fingerprint_of(path: Path) -> str:
    """First 8 hex digits of the SHA-256 of a file of weights."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
