"""Trained models on the Hugging Face hub: fetched and published as safetensors and JSON, never a pickle."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fusiqa import hub
from fusiqa.errors import FusiqaError
from fusiqa.models.checkpoint import TrainedModel, load_checkpoint, save_checkpoint
from fusiqa.scoring.models import download_model


def from_pretrained(name: str | Path, *, revision: str | None = None) -> TrainedModel:
    """A trained model from a folder, or from the hub as "owner/name", by way of its cache.

    Args:
        name: a run folder, or "owner/name".
        revision: branch, tag or commit on the hub; by default main.

    Raises:
        FusiqaError: no such model, none in this format, or a hub that does not answer.
    """
    return load_checkpoint(Path(name) if Path(name).exists() else download_model(str(name), revision=revision))


def push_to_hub(trained: TrainedModel, name: str, *, token: str | None = None, private: bool = False) -> str:
    """Publish a model as "owner/name", which is made if it is not there.

    Args:
        trained: the model.
        name: "owner/name".
        token: of the hub; by default the one that `hf auth login` left.
        private: whether a new repository is for its owner alone.

    Returns:
        The address of the commit.

    Raises:
        FusiqaError: the hub refuses, or does not answer.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(trained, Path(folder))
        Path(folder, "README.md").write_text(card(trained, name), encoding="utf-8")
        try:
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="A model of fusiqa"))
        except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
            raise FusiqaError(f"{name} could not be published: {hub.in_one_line(reason)}") from reason


def card(trained: TrainedModel, name: str) -> str:
    """README.md of a model on the hub: what it is, how it is used, where it comes from. It states no licence."""
    config = trained.model.config
    low, high = config.score_range
    told = "\n".join(f"- {key}: {value}" for key, value in trained.provenance.items())
    return f"""---
library_name: fusiqa
tags: [image-quality-assessment, no-reference]
---
# {name.rpartition("/")[2]}

Scores the quality of an image without a reference, on {low:g} to {high:g}; higher is better.
{config.backbone} with {config.fusion} fusion; crops of {config.crop_size} pixels after the resize {trained.resize}.

```python
import fusiqa

print(fusiqa.Scorer("{name}")("photo.jpg").score)
```

{told}
"""
