"""The recipe of a training run: every default settled once, parameter groups, schedule.

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
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from fusiqa.config import NetworkSettings, OptimiserSettings, TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.models.backbone import takes_image_size
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.torch import choose_device

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of x86 and Arm that multiply bfloat16
COSINE_FLOOR = 0.01  # as a fraction of each group's own highest rate, so that no rate ever rises
STEP_FALLS = ((0.60, 0.1), (0.85, 0.01))  # (fraction of the steps done, factor from then on)


@dataclass(frozen=True)
class Rates:
    """Highest learning rates: of the backbone, 0 where it is frozen, and of the rest."""

    backbone: float
    head: float


def choose_rates(network: NetworkSettings, optimiser: OptimiserSettings) -> Rates:
    """The rates asked for, else those that suit the backbone's kind and weights, or heads alone."""
    if optimiser.freeze_backbone or network.backbone_weights == "none":
        lr, ratio = 1e-3, 1.0
    elif takes_image_size(network.backbone):
        lr, ratio = 1e-6, 10.0
    else:
        lr, ratio = 2e-4, 5.0
    lr = optimiser.lr if optimiser.lr is not None else lr
    head = lr * (optimiser.head_lr_ratio if optimiser.head_lr_ratio is not None else ratio)
    return Rates(0.0 if optimiser.freeze_backbone else lr, head)


@dataclass(frozen=True)
class Regularisation:
    """Fractions dropped in training, 0-1: of values in the head, and of blocks in the backbone."""

    dropout: float
    drop_path: float


BY_SIZE = {"tiny": Regularisation(0.3, 0.2), "small": Regularisation(0.35, 0.25), "base": Regularisation(0.4, 0.3)}
ELSEWHERE = Regularisation(0.1, 0.0)


def choose_regularisation(network: NetworkSettings, *, frozen: bool) -> Regularisation:
    """What was asked for, else what suits the backbone's kind, size and weights; a frozen one has no drop path."""
    usual = ELSEWHERE
    if takes_image_size(network.backbone) and network.backbone_weights != "none":
        usual = next((value for size, value in BY_SIZE.items() if size in network.backbone), BY_SIZE["base"])
    drop_path = usual.drop_path if network.drop_path is None else network.drop_path
    return Regularisation(
        usual.dropout if network.dropout is None else network.dropout,
        0.0 if frozen else drop_path,
    )


def choose_precision(asked: str, device_type: str, *, frozen: bool) -> str:
    """The precision asked for, else bf16 where the hardware multiplies it natively, else fp16 on a GPU, else 32.

    Heads on a frozen backbone have no fp16, because their fused optimiser step cannot be clipped with scaled gradients.

    Raises:
        FusiqaError: fp16 was asked for where nothing trains in it.
    """
    if asked == "fp16" and frozen:
        raise FusiqaError("`precision` fp16 cannot train heads on a frozen backbone: use 32, bf16 or auto")
    if asked == "fp16" and device_type == "cpu":
        raise FusiqaError("`precision` fp16 needs a GPU; on a CPU use 32, bf16 or auto")
    if asked != "auto":
        return asked
    if device_type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "32" if frozen else "fp16"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # absent before torch 2.10
    return "bf16" if any(capabilities.get(name) for name in NATIVE_BF16) else "32"


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run with every default settled; no part of the run asks again.

    Attributes:
        optimiser: the settings as given.
        rates: highest learning rates.
        regularisation: dropout and stochastic depth.
        device: to train on.
        precision: of the training steps: "32", "bf16" or "fp16".
    """

    optimiser: OptimiserSettings
    rates: Rates
    regularisation: Regularisation
    device: torch.device
    precision: str

    @property
    def frozen(self) -> bool:
        """Whether the heads alone are trained."""
        return self.optimiser.freeze_backbone


def resolve(config: TrainConfig) -> Recipe:
    """Settle the defaults of a run. Raises FusiqaError for a device or precision that cannot be used."""
    frozen = config.optimiser.freeze_backbone
    device = choose_device(config.run.device)
    return Recipe(
        config.optimiser,
        choose_rates(config.network, config.optimiser),
        choose_regularisation(config.network, frozen=frozen),
        device,
        choose_precision(config.run.precision, device.type, frozen=frozen),
    )


def create_optimizer(model: QualityModel, rates: Rates, weight_decay: float, *, fused: bool = False) -> AdamW:
    """AdamW with every trainable parameter in exactly one of four groups: backbone or head, decayed or not.

    Only matrices and kernels are decayed, not biases and normalisation. `fused` does a step in one kernel, whose
    gradients cannot be clipped when they are scaled for float16.
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


def create_schedule(optimizer: AdamW, settings: OptimiserSettings, *, steps: int) -> LambdaLR:
    """A schedule that multiplies every group's own rate by the same factor."""
    return LambdaLR(optimizer, rate_factor(settings.lr_scheduler, steps=steps, warmup=settings.warmup_fraction))


def rate_factor(kind: str, *, steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at each step: a linear rise from above zero, then the named fall.

    Example:
        >>> factor = rate_factor("cosine", steps=100, warmup=0.1)
        >>> [round(factor(step), 3) for step in (0, 9, 10, 55, 100)]
        [0.1, 1.0, 1.0, 0.505, 0.01]
    """
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, steps - rising))
        return fall(kind, done)

    return factor


def fall(kind: str, done: float) -> float:
    """Factor after the warm-up, when a fraction `done` (0-1) of the remaining steps is over."""
    if kind == "cosine":
        return COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2
    if kind == "step":
        return min([1.0, *(factor for start, factor in STEP_FALLS if done >= start)])
    return 1.0
