"""A trained network run by torch. It reads no image."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from fusiqa.errors import FusiqaError
from fusiqa.models.checkpoint import TrainedModel, load_checkpoint
from fusiqa.models.crops import crops_at_once, to_unit_range
from fusiqa.scoring.runtime import Crops, Facts, fingerprint_of, weights_of


class TorchNetwork:
    """A `Network` in torch, in float32 on every device: TensorFloat-32 is turned off for its own passes.

    Args:
        trained: the model.
        name: name and fingerprint.
        device: a torch device; "auto" is the first GPU where there is one.
    """

    def __init__(self, trained: TrainedModel, *, name: str, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.model = trained.model.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        config = trained.model.config
        sizes = tuple(trained.model.pyramid.scale_sizes())
        self.facts = Facts(name, config.score_range, config.crop_size, trained.resize, sizes)
        self.crops_at_once = crops_at_once(self.device.type, config.crop_size, config.crop_size)

    def __call__(self, crops: Crops) -> tuple[Float[np.ndarray, " crops"], Float[np.ndarray, "crops 4"] | None]:
        batch = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False), exact(self.device):
            score, weights = self.model(to_unit_range(batch))
        return score.double().cpu().numpy(), None if weights is None else weights.double().cpu().numpy()


def load_torch_network(path: Path, *, name: str, device: str = "auto") -> TorchNetwork:
    """The network of a run folder or a model.safetensors. Raises FusiqaError as `load_checkpoint` does."""
    trained = load_checkpoint(path)
    return TorchNetwork(trained, name=f"{name}@{fingerprint_of(weights_of(path))}", device=device)


def choose_device(words: str | torch.device) -> torch.device:
    """A device by name. Raises FusiqaError for one that torch does not know or that is not there."""
    if words == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(words)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as reason:
        raise FusiqaError(f"device {words} cannot be used: {str(reason).splitlines()[0]}; try cpu or auto") from reason
    return device


def exact(device: torch.device):
    """Float32 convolutions with all their bits: a score must not depend on the GPU's shortcuts."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device.type == "cuda" else nullcontext()
