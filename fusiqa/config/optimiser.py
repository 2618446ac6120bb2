"""How a network is trained: epochs, batches, learning rates, loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fusiqa.config.checks import COUNT, FRACTION, NOT_NEGATIVE, check_fields


@dataclass(frozen=True)
class OptimiserSettings:
    """How a network is trained: epochs, batches, learning rates, loss."""

    epochs: Annotated[int, COUNT] = 30
    """Passes over the training split."""
    batch_size: Annotated[int, COUNT] = 32
    """Crops per optimiser step, over all devices together."""
    patience: Annotated[int | None, COUNT] = None
    """Stop after this many epochs without a better validation SRCC."""
    lr_scheduler: Literal["cosine", "step", "none"] = "cosine"
    """Fall of the learning rates: cosine to 1 %, step (a tenth after 60 % of the steps, a hundredth after 85 %)."""
    lr: Annotated[float | None, NOT_NEGATIVE] = None
    """Highest learning rate of the backbone; by default 1e-6 (pretrained transformer), 2e-4 (other pretrained) or 1e-3
    (random weights), for batches of about 32. With --freeze_backbone of the heads: 1e-3, for 64 to 128."""
    head_lr_ratio: Annotated[float | None, NOT_NEGATIVE] = None
    """Learning rate of the rest, as a multiple of `--lr`; by default 10, 5 or 1 in that order, 1 when frozen."""
    warmup_fraction: Annotated[float, FRACTION] = 0.05
    """Fraction of the steps over which the learning rates rise linearly."""
    weight_decay: Annotated[float, NOT_NEGATIVE] = 2e-4
    """AdamW's decoupled weight decay, on matrices and kernels only."""
    gradient_clip: Annotated[float, NOT_NEGATIVE] = 1.0
    """Largest L2 norm of the gradient; 0 turns clipping off."""
    crops_per_image: Annotated[int, COUNT] = 1
    """Random crops of every training image per epoch."""
    entropy_weight: Annotated[float, NOT_NEGATIVE] = 0.0
    """Weight of a loss term, 0-1, that keeps scale weights even: 1 - entropy / log 4."""
    freeze_backbone: bool = False
    """Train the heads alone, on cached feature maps of the backbone: minutes instead of an hour."""

    def __post_init__(self) -> None:
        check_fields(self)
