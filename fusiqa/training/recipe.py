"""The optimisation recipe in plain torch: learning rates, parameter groups, schedule. It knows no trainer.

Where the default rates come from:

- pretrained transformers: 1e-6 and 10 times that for the rest, the published recipe for Swin on KonIQ-10k (AdamW, L1,
  5e-7 to 1e-6 for the backbone);
- pretrained convolutional backbones: 2e-4 and 5 times that, chosen on BIQ2021's validation split with MobileNetV2;
- random weights: 1e-3 throughout, chosen on the synthetic set's validation split;
- heads on a frozen backbone, whose weights are random too: 1e-3, tried on BIQ2021's validation split with MobileNetV2
  in batches of 64 and 128, where 2e-3 does as well (LOG.md).

Dropout and stochastic depth: the same recipe's 0.3/0.35/0.4 and 0.2/0.25/0.3 for Swin-Tiny/Small/Base; elsewhere 0.1
and none, chosen on BIQ2021's validation split (LOG.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from fusiqa.config import TrainConfig
from fusiqa.models.backbone import takes_image_size
from fusiqa.models.quality import QualityModel

COSINE_FLOOR = 0.01  # as a share of each group's own highest rate, so that no rate ever rises
STEP_FALLS = ((0.60, 0.1), (0.85, 0.01))  # (share of the steps done, factor from then on)


@dataclass(frozen=True)
class Rates:
    """Highest learning rates: of the backbone, 0 where it is frozen, and of everything else."""

    backbone: float
    head: float


def choose_rates(config: TrainConfig) -> Rates:
    """The rates that were asked for, else those that suit the backbone's kind and weights, or heads alone."""
    if config.freeze_backbone or config.backbone_weights == "none":
        lr, ratio = 1e-3, 1.0
    elif takes_image_size(config.backbone):
        lr, ratio = 1e-6, 10.0
    else:
        lr, ratio = 2e-4, 5.0
    lr = config.lr if config.lr is not None else lr
    head = lr * (config.head_lr_ratio if config.head_lr_ratio is not None else ratio)
    return Rates(0.0 if config.freeze_backbone else lr, head)


@dataclass(frozen=True)
class Regularisation:
    """Shares dropped while training, 0-1: of values in the head, and of blocks in the backbone."""

    dropout: float
    drop_path: float


BY_SIZE = {"tiny": Regularisation(0.3, 0.2), "small": Regularisation(0.35, 0.25), "base": Regularisation(0.4, 0.3)}
ELSEWHERE = Regularisation(0.1, 0.0)


def choose_regularisation(config: TrainConfig) -> Regularisation:
    """What was asked for, else what suits the backbone's kind, size and weights; a frozen one skips no block."""
    usual = ELSEWHERE
    if takes_image_size(config.backbone) and config.backbone_weights != "none":
        usual = next((value for size, value in BY_SIZE.items() if size in config.backbone), BY_SIZE["base"])
    drop_path = usual.drop_path if config.drop_path is None else config.drop_path
    return Regularisation(
        usual.dropout if config.dropout is None else config.dropout,
        0.0 if config.freeze_backbone else drop_path,
    )


def create_optimizer(model: QualityModel, rates: Rates, weight_decay: float, *, fused: bool = False) -> AdamW:
    """AdamW with every trainable parameter in exactly one of four groups: backbone or head, decayed or not.

    Only matrices and kernels are decayed, not biases and normalisation. `fused` does a step in one kernel, which a
    trainer that scales gradients for float16 cannot clip.
    """
    backbone = list(model.pyramid.parameters())
    ours = {id(parameter) for parameter in backbone}
    head = [parameter for parameter in model.parameters() if id(parameter) not in ours]
    groups = []
    for name, parameters, rate in (("backbone", backbone, rates.backbone), ("head", head, rates.head)):
        decayed, kept = split_by_decay(parameters)
        groups.append({"name": name, "params": decayed, "lr": rate, "weight_decay": weight_decay})
        groups.append({"name": f"{name}_not_decayed", "params": kept, "lr": rate, "weight_decay": 0.0})
    return AdamW([group for group in groups if group["params"]], fused=fused)


def split_by_decay(parameters: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices and kernels first, biases and normalisation second; frozen parameters in neither."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim <= 1]


def create_schedule(optimizer: AdamW, *, kind: str, steps: int, warmup_share: float) -> LambdaLR:
    """A schedule that multiplies every group's own rate by the same factor."""
    return LambdaLR(optimizer, rate_factor(kind, steps=steps, warmup_share=warmup_share))


def rate_factor(kind: str, *, steps: int, warmup_share: float) -> Callable[[int], float]:
    """Factor of the learning rate at each step: a linear rise from above zero, then the named fall.

    Example:
        >>> factor = rate_factor("cosine", steps=100, warmup_share=0.1)
        >>> [round(factor(step), 3) for step in (0, 9, 10, 55, 100)]
        [0.1, 1.0, 1.0, 0.505, 0.01]
    """
    warmup = max(1, round(warmup_share * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return fall(kind, done)

    return factor


def fall(kind: str, done: float) -> float:
    """Factor after the warm-up, when a share `done` (0-1) of the remaining steps is over."""
    if kind == "cosine":
        return COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2
    if kind == "step":
        return min([1.0, *(factor for share, factor in STEP_FALLS if done >= share)])
    return 1.0
