"""A trained model on disk: model.safetensors (numbers) beside model.json (all else). No pickle, no network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fusiqa.config import ModelConfig, ScaleWeighing, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE, write_atomically, write_json
from fusiqa.models.quality import QualityModel

FORMAT = 1


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode, and what scoring an image with it needs.

    Attributes:
        model: the network, weights loaded.
        resize: the resize protocol before cropping, in the words of `--resize`.
        provenance: where the weights come from (data set, epoch, commit, ...).
    """

    model: QualityModel
    resize: str
    provenance: dict[str, Any]

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> TrainedModel:
        """A trained model from a folder or, as "owner/name", from the Hugging Face hub (`models/published.py`)."""
        from fusiqa.models.published import from_pretrained

        return from_pretrained(name, revision=revision)

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> None:
        """Write what `from_pretrained` reads: model.safetensors, in 16 bits if `half`, and model.json."""
        save_checkpoint(self, Path(folder), half=half)

    def push_to_hub(self, name: str, *, token: str | None = None, private: bool = False) -> str:
        """Publish the model as "owner/name" on the Hugging Face hub, and return the commit's address."""
        from fusiqa.models.published import push_to_hub

        return push_to_hub(self, name, token=token, private=private)


def save_checkpoint(trained: TrainedModel, folder: Path, *, half: bool = False) -> None:
    """Write model.safetensors and model.json into a folder, each in one step.

    Args:
        trained: the model.
        folder: made if it is not there.
        half: keep matrices and kernels in 16 bits, which halves the file; they compute in 32 all the same.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.model.state_dict().items()}
    if half:  # vectors stay: a variance may be too small or too large for 16 bits, and they are few
        state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    description = {
        "format": FORMAT,
        "model": asdict(trained.model.config),
        "preprocessing": {
            "colour": "sRGB, values 0-1; the network normalises",
            "resize": trained.resize,
            "crops": "deterministic, covering the image to its edges, overlapping by 2/3; scores are averaged",
        },
        "higher_is_better": True,
        "provenance": trained.provenance,
    }
    # Not save_file, whose file only its owner may read: a model is there to be shared.
    write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(save(state)))
    write_json(folder / DESCRIPTION_FILE, description)


def load_checkpoint(path: str | Path) -> TrainedModel:
    """Build the model of a run folder or a model.safetensors, and load its weights; touches no network.

    Raises:
        FusiqaError: no such file, no model.json beside it, or weights that do not fit the description.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    weights = folder / WEIGHTS_FILE if path.is_dir() else path
    if not weights.is_file():
        raise FusiqaError(f"no model at {path}: expected a run folder with {WEIGHTS_FILE}, or that file")
    description = read_description(folder / DESCRIPTION_FILE)
    model = QualityModel(model_config(description["model"]))
    try:
        model.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as reason:
        raise FusiqaError(
            f"{weights} does not fit {folder / DESCRIPTION_FILE}: {str(reason).splitlines()[0]}"
        ) from reason
    return TrainedModel(model.eval(), description["preprocessing"]["resize"], description["provenance"])


def read_description(path: Path) -> dict[str, Any]:
    """model.json. Raises FusiqaError if it is missing, not JSON, or of another format."""
    if not path.is_file():
        raise FusiqaError(f"{path} is missing: it says how to build the network; keep it beside {WEIGHTS_FILE}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as reason:
        raise FusiqaError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FusiqaError(f"{path} is not a model description of format {FORMAT}; was it written by another version?")
    return description


def model_config(stated: dict[str, Any]) -> ModelConfig:
    """The configuration from its JSON form, whose lists were tuples. Raises FusiqaError for unknown fields."""
    unknown = sorted(set(stated) - {field.name for field in fields(ModelConfig)})
    if unknown:
        raise FusiqaError(
            f"unknown settings in {DESCRIPTION_FILE}: {', '.join(unknown)}; was it written by another version?"
        )
    triples = {name: tuple(stated[name]) for name in ("mean", "std") if stated.get(name) is not None}
    arguments = tuple(
        (name, tuple(value) if isinstance(value, list) else value) for name, value in stated.get("timm_args", ())
    )
    built = {
        **triples,
        "timm_args": arguments,
        "score_range": ScoreRange(*stated["score_range"]),
        "weighing": ScaleWeighing(**stated.get("weighing", {})),
    }
    return ModelConfig(**{**stated, **built})
