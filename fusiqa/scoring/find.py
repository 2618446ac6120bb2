"""Models by name: in the package, in a run folder, in a file, on the Hugging Face hub."""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path

from fusiqa.errors import FusiqaError
from fusiqa.scoring.runtime import Network

IN_THE_PACKAGE = Path(__file__).parents[1] / "pretrained"
DEFAULT = "biq2021"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")


def names() -> list[str]:
    """The models in the package."""
    return sorted(path.name for path in IN_THE_PACKAGE.iterdir() if path.is_dir())


def find(model: str | PathLike[str] | None = None) -> tuple[Path, str]:
    """Where a model lies, and its name in tables.

    Args:
        model: as `Scorer` takes it. What exists as a path is that path; a name in the package comes next; "owner/name"
            is looked up in the hub's cache, then downloaded.

    Raises:
        FusiqaError: nothing by that name, a pickle, or a hub that does not answer.
    """
    words = fspath(model) if model is not None else DEFAULT
    path = Path(words).expanduser()
    if path.suffix in PICKLES:
        raise FusiqaError(
            f"{words} is a pickle, which can run code when it is loaded, so it is not. Load it where you trust it, "
            "write its weights with safetensors.torch.save_file, and put the model.json of its run beside it"
        )
    if model is not None and path.exists():
        return path, (path if path.is_dir() else path.parent).resolve().name
    if words in names():
        return IN_THE_PACKAGE / words, words
    if HUB_NAME.fullmatch(words):
        from fusiqa.models.published import download_model

        return download_model(words), words
    raise FusiqaError(
        f"no model {words}: expected one of {', '.join(names())}, a run folder, a model.safetensors or model.onnx, or "
        "owner/name on the Hugging Face hub"
    )


def load_network(model: str | PathLike[str] | None, *, device: str, backend: str) -> Network:
    """A model by name, in the runtime asked for. Raises FusiqaError as `find`, or for an unknown backend."""
    if backend not in ("torch", "onnx"):
        raise FusiqaError(f"unknown backend {backend!r}; there are torch and onnx")
    path, name = find(model)
    if backend == "onnx" or path.suffix == ".onnx":
        from fusiqa.scoring.onnx import load_onnx_network

        return load_onnx_network(path, name=name)
    from fusiqa.scoring.torch import load_torch_network

    return load_torch_network(path, name=name, device=device)
