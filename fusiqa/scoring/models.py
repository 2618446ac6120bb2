"""Models by name: in the package, in a run folder, in a file, on the Hugging Face hub; and the runtime protocol."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from fusiqa import hub
from fusiqa.config.checks import from_plain, refuse
from fusiqa.config.model import CropSize, ModelConfig, ScoreRange, check_average, check_range
from fusiqa.errors import FusiqaError
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE

IN_THE_PACKAGE, DEFAULT = Path(__file__).parents[1] / "pretrained", "fusiqa-fast"
ONNX_FILE = "model.onnx"
FORMAT = 1  # of model.json
MOST_BYTES = 1_000_000  # of a model.json, which has some 1,000: reading a huge one could exhaust the memory
HUB_FILES = (DESCRIPTION_FILE, WEIGHTS_FILE)
FIGURE_PREFIXES = ("val_", "test_", "seconds_")  # of what model.json states of accuracy and speed
MODEL_FILES = (".safetensors", ".onnx")
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")
Batch = UInt8[np.ndarray, "views height width 3"]


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of a model."""

    name: str  # and fingerprint of the weights, as in rows of tables
    score_range: ScoreRange  # higher is better
    crop_size: CropSize  # side of the crops, pixels
    resize: str  # the protocol, as `Resize.parse` reads it
    view: Literal["crops", "whole"] = "crops"  # that cover the resized image, or the "whole" of it in one pass
    scale_sizes: tuple[tuple[int, int], ...] = ()  # (height, width) of each map of a crop, finest first, once loaded
    backbone: str = ""  # name of the timm model, or several: "tf_efficientnet_lite2 + tf_efficientnet_lite0"
    fusion: str = ""
    data: str = ""  # set that it was trained on
    licence: str = ""  # of the weights
    figures: Mapping[str, float] = field(default_factory=dict)  # val_..., test_... and seconds_per_photograph, if known

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> ModelInfo:
        """From the metadata of an ONNX file. Raises FusiqaError for values of another type or out of bounds."""
        known = {name: stated[name] for name in cls.__dataclass_fields__ if name in stated}
        info = from_plain(cls, known, where="its metadata")
        check_range(info.score_range)
        return info


class Outputs(NamedTuple):
    """The outputs of a network for a batch of views: scores on the score range, and what else it computes.

    `windows` are the scores of 3x3 windows of each view, row by row, each half as high and wide as the view.
    """

    score: Float[np.ndarray, " views"]
    scale_weights: Float[np.ndarray, "views 4"] | None = None
    flaws: Float[np.ndarray, "views flaws"] | None = None
    windows: Float[np.ndarray, "views 9"] | None = None


@runtime_checkable
class Network(Protocol):
    """A trained network in some runtime."""

    info: ModelInfo

    def __call__(self, views: Batch) -> Outputs:
        """The outputs for each view; windows only if the network was opened with them. Thread-safe."""

    def at_once(self, shape: tuple[int, ...]) -> int:
        """How many views of this shape one call should take, at least 1; bounds the memory."""


def list_models() -> list[ModelInfo]:
    """The models in the package.

    Example:
        >>> [(info.name.partition("@")[0], info.view, info.score_range.high) for info in list_models()]
        [('biq2021', 'crops', 1.0), ('fusiqa-accurate', 'whole', 100.0), ('fusiqa-fast', 'whole', 100.0)]
    """
    return [describe(IN_THE_PACKAGE / name, name) for name in names()]


def names() -> list[str]:
    """Names of the models in the package."""
    return sorted(path.name for path in IN_THE_PACKAGE.iterdir() if path.is_dir())


def find(model: str | PathLike[str] | None = None) -> tuple[Path, str]:
    """The path of a model, and its name in tables.

    An existing path is that path; a name in the package comes next; "owner/name" is downloaded from the hub. Raises
    FusiqaError where there is nothing by that name, for a pickle, and where the hub does not answer.
    """
    words = model.as_posix() if isinstance(model, PurePath) else DEFAULT if model is None else fspath(model)
    path = Path(os.path.expanduser(words))
    if path.suffix in PICKLES:
        raise FusiqaError(
            f"{words} is a pickle, which can run code when it is loaded: write its weights with "
            "safetensors.torch.save_file where you trust it, and put the model.json of its run beside them"
        )
    known = f"{', '.join(names())}, a run folder, a model.safetensors or model.onnx"
    expected = f"expected one of {known}, or owner/name on the Hugging Face hub"
    if model is not None and path.exists():
        other = path.is_file() and path.suffix.lower() not in MODEL_FILES
        refuse((other, f"{words} is no file of a model that scores: {expected}"))
        return path, (path if path.is_dir() else path.parent).resolve().name
    if words in names():
        return IN_THE_PACKAGE / words, words
    if re.fullmatch(r"[\w.-]+/[\w.-]+", words, re.ASCII):
        return download_model(words), words
    raise FusiqaError(f"no model {words}: {expected}")


def download_model(name: str, *, revision: str | None = None) -> Path:
    """The folder, in the hub's cache, of the model "owner/name". Without a network, what the cache has is used.

    Raises FusiqaError where there is no such model, or none in this format, and where the hub does not answer.
    """
    import huggingface_hub

    files: list[Any] = [huggingface_hub.try_to_load_from_cache(name, file, revision=revision) for file in HUB_FILES]
    try:
        hub.ask(huggingface_hub.hf_hub_url(name, DESCRIPTION_FILE, revision=revision))
        files = [huggingface_hub.hf_hub_download(name, file, revision=revision) for file in HUB_FILES]
    except huggingface_hub.errors.EntryNotFoundError as reason:
        raise FusiqaError(
            f"{name} on the Hugging Face hub is not a model of fusiqa: it lacks {' or '.join(HUB_FILES)}. Pickles "
            "(.pth, .bin) are never loaded: publish weights written with safetensors.torch.save_file, and a model.json"
        ) from reason
    except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
        if not all(isinstance(path, str) for path in files):
            failed = f"the model {name} could not be downloaded from the Hugging Face hub: {hub.in_one_line(reason)}"
            raise FusiqaError(f"{failed}. Name a run folder or a model.safetensors on this machine instead") from reason
    return Path(files[0]).parent


class Description(NamedTuple):
    """The content of model.json: the network, the resize protocol, the provenance of the weights, other networks."""

    config: ModelConfig
    resize: str
    provenance: dict[str, Any]
    others: tuple[ModelConfig, ...]  # of an average, the networks but the first


def describe(path: Path, name: str) -> ModelInfo:
    """The metadata of a run folder or a model.safetensors; its network is not built. Raises as `read_description`."""
    config, resize, provenance, others = read_description(path)
    same = {each: getattr(config, each) for each in ("score_range", "crop_size", "view", "fusion")}
    same["backbone"] = " + ".join(each.backbone for each in (config, *others))
    own = {"name": f"{name}@{fingerprint_of(path)}", "resize": resize, **same}
    own |= {"data": provenance.get("dataset", ""), "licence": provenance.get("licence", "")}
    figures = {k: v for k, v in provenance.items() if k.startswith(FIGURE_PREFIXES) and isinstance(v, float)}
    return from_plain(ModelInfo, {**own, "figures": figures}, where=str(path))


def read_description(path: Path) -> Description:
    """The model.json of a run folder or beside a model.safetensors, with the type of every value checked.

    Raises:
        FusiqaError: it is missing, not JSON, of another format, or has a value that is unknown, missing or not allowed.
    """
    file, stated = _stated(path)
    model, preprocessing, provenance = (stated.get(name, {}) for name in ("model", "preprocessing", "provenance"))
    resize = preprocessing.get("resize") if isinstance(preprocessing, dict) else None
    others = stated.get("others", [])
    refuse((not isinstance(others, list), f"{file}: `others` must be a list of networks, got {others!r:.80}"))
    networks = {"model": model} | {f"others[{place}]": other for place, other in enumerate(others)}
    needed = f"{file}: `%s` must be a table%s, got %.80r"
    for name, network in networks.items():
        sound = isinstance(network, dict) and {"backbone", "fusion", "score_range"} <= network.keys()
        refuse((not sound, needed % (name, " with backbone, fusion and score_range", network)))
    refuse(
        (not isinstance(resize, str), needed % ("preprocessing", " with the text `resize`", preprocessing)),
        (not isinstance(provenance, dict), needed % ("provenance", "", provenance)),
    )
    first, *further = (from_plain(ModelConfig, each, where=f"{file}: {name}") for name, each in networks.items())
    check_average([first, *further], where=f"{file}: ")
    return Description(first, str(resize), provenance, tuple(further))


def fingerprint_of(path: Path) -> str:
    """First 8 hex digits of the SHA-256 of the weights of a run folder or of a file. Raises FusiqaError without."""
    with open(weights_of(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def weights_of(path: Path) -> Path:
    """The weights of a run folder, or the file itself. Raises FusiqaError where there are none."""
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    if not weights.is_file():
        raise FusiqaError(f"no model at {path}: expected a run folder with {WEIGHTS_FILE}, or that file")
    return weights


def source_of(path: Path) -> str:
    """A hash of what an ONNX file of a run folder or model.safetensors depends on: weights, network, preprocessing."""
    stated = _stated(path)[1]
    depends = {name: stated[name] for name in ("model", "others", "preprocessing") if name in stated}
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return f"{fingerprint_of(path)}{digest[:8]}"


def _stated(path: Path) -> tuple[Path, dict[str, Any]]:
    """The model.json of a run folder or beside a model.safetensors, and what it holds."""
    file = (path if path.is_dir() else path.parent) / DESCRIPTION_FILE
    if not file.is_file():
        raise FusiqaError(f"{file} is missing: it says how to build the network; keep it beside {WEIGHTS_FILE}")
    if file.stat().st_size > MOST_BYTES:
        raise FusiqaError(f"{file} is not a model description: it has {file.stat().st_size:,} bytes")
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as reason:  # no UTF-8, no JSON, huge integers; nested too deeply
        raise FusiqaError(f"{file} is not JSON: {reason}") from reason
    if not isinstance(stated, dict) or repr(stated.get("format")) != repr(FORMAT):
        raise FusiqaError(f"{file} is not a model description of format {FORMAT}; was it written by another version?")
    return file, stated
