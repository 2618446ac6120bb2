"""The recipe of a training run: resolved defaults, parameter groups, schedule.

The defaults for pretrained transformers are those of the published recipe for Swin on KonIQ-10k (AdamW, L1): rates of
5e-7 to 1e-6 for the backbone and 10 times that for the rest, and dropout and stochastic depth by size. Those for
pretrained convolutional backbones, and for heads on a frozen one in batches of 64 and 128, were chosen on BIQ2021's
validation split with MobileNetV2, those for random weights on the synthetic set's (LOG.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch.optim import AdamW

from fusiqa.config import NetworkSettings, OptimiserSettings, RunSettings, TrainConfig
from fusiqa.config.backbone_args import format_backbone_args
from fusiqa.errors import FusiqaError, listed
from fusiqa.models.backbone import takes_image_size
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.models import find, read_description
from fusiqa.scoring.torch import choose_device

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of x86 and Arm that multiply bfloat16
COSINE_FLOOR = 0.01  # as a fraction of each group's own highest rate, so that no rate ever rises
STEP_FALLS = ((0.60, 0.1), (0.85, 0.01))  # (fraction of the steps done, factor from then on)


class Hyperparameters(NamedTuple):
    """The highest learning rates, and the fractions, 0-1, that are dropped in training."""

    lr_backbone: float  # 0 for a frozen one
    lr_head: float
    dropout: float  # of values in the head
    drop_path: float  # of blocks in the backbone


BY_SIZE = {"tiny": (0.3, 0.2), "small": (0.35, 0.25), "base": (0.4, 0.3)}  # dropout and drop path
ELSEWHERE = (0.1, 0.0)


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run, with every default resolved."""

    optimiser: OptimiserSettings
    run: RunSettings
    chosen: Hyperparameters
    device: torch.device
    precision: str  # of the training steps: "32", "bf16" or "fp16"

    @property
    def frozen(self) -> bool:
        return self.optimiser.freeze_backbone

    @property
    def backbone(self) -> str:
        """What happens to the backbone's weights: frozen or fine-tuned."""
        return "frozen" if self.frozen else "fine-tuned"

    @property
    def devices(self) -> int:
        """How many devices of a machine train."""
        if self.device.index is not None:
            return 1
        all_gpus = self.device.type == "cuda" and not self.frozen
        return self.run.num_devices or (torch.cuda.device_count() if all_gpus else 1)

    @property
    def processes(self) -> int:
        """How many processes train together, one for each device of each machine."""
        return self.devices * self.run.num_nodes


def inherit(config: TrainConfig) -> TrainConfig:
    """The settings with the architecture and resize of the `start_from` model, if there is one, where not given.

    Raises FusiqaError where its weights would not fit what was given, and where there is no such model.
    """
    network, usual = config.network, NetworkSettings()
    if network.start_from is None:
        return config
    path, name = find(network.start_from)
    model, resize, *_ = read_description(path)
    stated = {each: getattr(model, each) for each in ("backbone", "single_scale", "weighing")}
    stated["backbone_args"] = tuple(format_backbone_args(model.timm_args).split())
    given = [each for each, value in stated.items() if getattr(network, each) not in (getattr(usual, each), value)]
    if (network.fusion or network.attention_fusion or not network.multiscale) and network.chosen_fusion != model.fusion:
        given.append("fusion")
    if given:
        raise FusiqaError(f"`start_from` {name} has another {listed([f'`{each}`' for each in given])}: leave it out")
    if config.data.resize == "auto":
        stated["resize"] = resize
    own = [each for each in ("view", "crop_size") if getattr(network, each) == getattr(usual, each)]
    stated |= {each: getattr(model, each) for each in own}
    return config.replace(**stated, fusion=model.fusion, attention_fusion=False, multiscale=True)


def resolve(config: TrainConfig) -> Recipe:
    """Resolve the defaults of a run. Raises FusiqaError for devices, a precision or a logger that cannot be used."""
    network, optimiser, run = config.network, config.optimiser, config.run
    frozen, device = optimiser.freeze_backbone, choose_device(run.device)
    if frozen and (run.num_devices or 1) * run.num_nodes > 1:
        raise FusiqaError("`freeze_backbone` trains in one process: leave out `num_devices` and `num_nodes`")
    if frozen and optimiser.augment_distortions:
        raise FusiqaError("`augment_distortions` distorts crops, which `freeze_backbone` does not see: leave one out")
    if run.logger == "tensorboard" and not frozen and not any(map(find_spec, ("tensorboard", "tensorboardX"))):
        raise FusiqaError("`logger` tensorboard needs TensorBoard: pip install 'fusiqa[tensorboard]'")
    chosen = choose_hyperparameters(network, optimiser)
    return Recipe(optimiser, run, chosen, device, choose_precision(run.precision, device.type, frozen=frozen))


def choose_hyperparameters(network: NetworkSettings, optimiser: OptimiserSettings) -> Hyperparameters:
    """As set, else the defaults for the backbone's kind, size and weights, or for heads on a frozen one."""
    frozen, pretrained = optimiser.freeze_backbone, bool(network.start_from) or network.backbone_weights != "none"
    transformer = takes_image_size(network.backbone)
    (lr, ratio), usual = ((1e-6, 10.0) if transformer else (2e-4, 5.0)), ELSEWHERE
    if frozen or not pretrained:
        lr, ratio = 1e-3, 1.0
    if transformer and pretrained:
        usual = next((value for size, value in BY_SIZE.items() if size in network.backbone), BY_SIZE["base"])
    asked = (optimiser.lr, optimiser.head_lr_ratio, network.dropout, network.drop_path)
    given = zip(asked, (lr, ratio, *usual), strict=True)
    lr, ratio, dropout, drop_path = (default if value is None else value for value, default in given)
    return Hyperparameters(0.0 if frozen else lr, lr * ratio, dropout, 0.0 if frozen else drop_path)


def choose_precision(asked: str, device_type: str, *, frozen: bool) -> str:
    """The precision asked for, else bf16 where the hardware multiplies it natively, else fp16 on a GPU, else 32."""
    if asked == "fp16" and frozen:  # their fused optimiser step cannot be clipped with scaled gradients
        raise FusiqaError("`precision` fp16 cannot train heads on a frozen backbone: use 32, bf16 or auto")
    if asked == "fp16" and device_type == "cpu":
        raise FusiqaError("`precision` fp16 needs a GPU; on a CPU use 32, bf16 or auto")
    if asked != "auto":
        return asked
    if device_type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "32" if frozen else "fp16"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # absent before torch 2.10
    return "bf16" if any(capabilities.get(name) for name in NATIVE_BF16) else "32"


def create_optimizer(
    model: QualityModel, chosen: Hyperparameters, weight_decay: float, *, fused: bool = False
) -> AdamW:
    """AdamW with every trainable parameter in one of four groups: backbone or head, matrices (decayed) or the rest."""
    backbone, groups = {id(parameter) for parameter in model.pyramid.parameters()}, []
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for name, rate in (("backbone", chosen.lr_backbone), ("head", chosen.lr_head)):
        part = [each for each in trainable if (id(each) in backbone) == (name == "backbone")]
        decayed, kept = [each for each in part if each.ndim > 1], [each for each in part if each.ndim <= 1]
        groups.append({"name": name, "params": decayed, "lr": rate, "weight_decay": weight_decay})
        groups.append({"name": f"{name}_not_decayed", "params": kept, "lr": rate, "weight_decay": 0.0})
    return AdamW([group for group in groups if group["params"]], fused=fused)


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
        if kind == "cosine":
            return COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2
        falls = STEP_FALLS if kind == "step" else ()
        return min([1.0, *(factor for start, factor in falls if done >= start)])

    return factor
