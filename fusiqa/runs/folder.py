"""A run directory: its name and files, what a run may resume or replace there, and reading it back."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import pandas as pd
import torch

import fusiqa
from fusiqa.config import TrainConfig
from fusiqa.config.checks import Bounds, Settings, from_plain, hints, refuse
from fusiqa.config.train import groups
from fusiqa.data.catalog import find_dataset, is_custom, place_of
from fusiqa.data.distortions import content_of_version
from fusiqa.errors import FusiqaError
from fusiqa.io import DESCRIPTION_FILE, same_place, write_json
from fusiqa.scoring.models import find, read_description

CONFIG_FILE, TEST_FILE = "config.json", "test.json"
PARTS = ("settings", "resolved", "provenance")  # of config.json
SPLIT_FILE, PREDICTIONS_FILE, ATTENTION_FILE = "split.csv", "predictions.csv", "attention.png"
SHARED_NAME = "FUSIQA_RUN_DIR"  # for the other processes of a distributed run: the first one's id and the name it chose
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.\w+")  # what `write_atomically` leaves when it is killed
MAY_VARY = {"resume", "overwrite", "progress", "num_workers", "cache_dir", "cache_gb", "run_dir", "precision", "export"}
"""Settings that may change when a run is resumed; the precision is compared as resolved."""
PATHS = ("dataset", "data_dir", "data_root", "split_file", "backbone_weights", "start_from", "spaq_dir")
"""Settings that are paths, or names for some of them: another spelling of one path is the same setting."""
RENAMED = {"validation_share": "validation_fraction", "warmup_share": "warmup_fraction"}
RENAMED |= {"accelerator": "device", "devices": "num_devices"}
"""Settings of version 0.1.0, whose names have changed."""
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "scipy", "pandas", "pillow", "safetensors")


@dataclass(frozen=True)
class Resolved(Settings):
    """What config.json records as resolved and is read again; the defaults are those of a record without it."""

    fusion: str = ""
    backbone: str = "fine-tuned"  # or "frozen"
    lr_backbone: Annotated[float, Bounds()] = 0.0
    lr_head: Annotated[float, Bounds()] = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    precision: str = ""
    resize: str = ""
    data_fingerprint: str = ""
    split_fingerprint: str = ""
    broken: tuple[dict[str, str], ...] = ()  # each with `image` and `reason`


def choose_run_dir(config: TrainConfig) -> Path:
    """The folder asked for, else a readable name that every process of the run shares."""
    if config.run.run_dir is not None:
        return config.run.run_dir
    network = f"{config.network.backbone}-{config.network.chosen_fusion}"
    stem = "-".join([*(Path(dataset).stem for dataset in config.data.datasets), network, f"seed{config.run.seed}"])
    own = str(os.getpid())
    chooser, _, name = (os.environ.get(SHARED_NAME) or own).partition(" ")
    if chooser == own:  # also where an earlier run of this process chose one
        name = f"runs/{stem}-{datetime.now():%Y%m%d-%H%M%S}"
        os.environ[SHARED_NAME] = f"{own} {name}"
    return Path(name)


def check_run_dir(folder: Path, config: TrainConfig, *, precision: str) -> None:
    """Refuse a folder that holds other files, a run that is neither resumed nor replaced, or one of other settings."""
    if config.run.resume and config.run.overwrite:
        raise FusiqaError("`resume` and `overwrite` exclude each other")
    if config.run.resume and config.run.run_dir is None:
        raise FusiqaError("`resume` needs the `run_dir` of the run to continue")
    if not folder.exists() or all(TEMPORARY.fullmatch(each.name) for each in folder.iterdir()):
        return
    if not is_run(folder):
        raise FusiqaError(f"{folder} is not empty and was not made by a training run; choose another `run_dir`")
    if config.run.resume:
        if changed := changed_settings(folder, config, precision=precision):
            raise FusiqaError(f"{folder} has other settings: {changed}; repeat the command that started it")
        return
    if not config.run.overwrite:
        raise FusiqaError(f"{folder} already holds a run; add `resume` or `overwrite`, or choose another `run_dir`")
    folders = (*config.data.folders.values(), config.data.data_root, config.run.spaq_dir)
    weights = config.network.backbone_weights, config.network.start_from
    read: list[Any] = [*config.data.datasets, config.data.split_file, *weights, *folders]
    for given in filter(None, read):
        path = Path(os.path.expanduser(given))
        if path.exists() and folder.resolve() in (path.resolve(), *path.resolve().parents):
            raise FusiqaError(f"`overwrite` would remove {given}, which the run reads; choose another `run_dir`")


def changed_settings(folder: Path, config: TrainConfig, *, precision: str) -> str:
    """The settings, with the resolved precision, that differ from those of a run and would change its results."""
    record, now = read_record(folder), flat(config.to_json())
    pairs = {name: (record["settings"][name], now[name]) for name in now if name not in MAY_VARY}
    pairs["precision"] = record["resolved"]["precision"], precision
    for name in PATHS:
        before, after = pairs[name]
        if isinstance(before, str) and isinstance(after, str) and same_place(before, after):
            del pairs[name]
    return ", ".join(f"`{name}` {before} -> {after}" for name, (before, after) in pairs.items() if before != after)


def start_run(folder: Path, config: TrainConfig, *, resolved: dict[str, Any]) -> dict[str, Any]:
    """Make the folder, emptied where a run is replaced, and write config.json; returns its provenance."""
    path, provenance = folder / CONFIG_FILE, describe_origin()
    place = folder.resolve()  # that a link names
    if config.run.overwrite and place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        if TEMPORARY.fullmatch(left.name):
            left.unlink()
    if config.run.resume and path.is_file():
        record = read_json(path)
        known = with_current_names(record, where=str(path))["resolved"]
        for name in ("data_fingerprint", "split_fingerprint"):
            before, now = known[name], resolved[name]
            if before != now:
                changed = f"{folder}: the {name.replace('_', ' ')} was {before} and is now {now}"
                raise FusiqaError(f"{changed}, which would change its results; it cannot be resumed")
        earlier = record.get("resumed")
        record["resumed"] = [*(earlier if isinstance(earlier, list) else ()), provenance]
    else:
        record = {"settings": config.to_json(), "resolved": resolved, "provenance": provenance}
    write_json(path, record)
    return provenance


def describe_origin() -> dict[str, Any]:
    """The provenance of a run: command, commit, versions, machine."""
    gpu = torch.cuda.is_available()
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "directory": os.getcwd(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "fusiqa": fusiqa.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads",
    }


def commit() -> str | None:
    """Commit of the source tree that the package runs from, with "-dirty" where files differ; None if installed."""
    root = Path(fusiqa.__file__).resolve().parents[1]
    command = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run([*command, "--abbrev=12", "--exclude=*"], capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def is_run(folder: Path) -> bool:
    """Whether a folder has a config.json with the parts that a training run writes."""
    try:
        return has_parts(read_json(folder / CONFIG_FILE))
    except (OSError, FusiqaError):
        return False


def has_parts(record: Mapping[str, Any]) -> bool:
    return all(isinstance(record.get(part), dict) for part in PARTS)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises FusiqaError if it is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    except FileNotFoundError as reason:
        raise FusiqaError(f"{path} is missing; is {path.parent} a run directory?") from reason
    except (ValueError, RecursionError) as reason:
        raise FusiqaError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(found, dict):
        raise FusiqaError(f"{path} must hold a JSON object, got {found!r:.40}")
    return found


def refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def read_run_table(path: Path) -> pd.DataFrame:
    """A CSV of a run folder, floats as written (before pandas 3.1 but for the last bit). Raises FusiqaError."""
    if not path.is_file():
        raise FusiqaError(f"{path} is missing: {path.parent} is not a finished run")
    try:
        return pd.read_csv(path)
    except ValueError as reason:  # of pandas's parser, and text that is not UTF-8
        raise FusiqaError(f"{path} is damaged: {str(reason).strip()}") from reason


def read_record(folder: Path) -> dict[str, Any]:
    """config.json of a run folder: `resolved`, `provenance`, and `settings` by their current names, not in groups.

    Raises FusiqaError for a value of another type than a run writes: the folder may be somebody else's.
    """
    file = folder / CONFIG_FILE
    return with_current_names(read_json(file), where=str(file))


def with_current_names(record: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A config.json as `read_record` returns it, with its values checked."""
    if not has_parts(record):
        raise FusiqaError(f"{where} is not of a training run")
    settings: dict[str, Any] = record["settings"]
    if grouped := isinstance(settings.get("data"), dict):  # version 0.1.0 had no groups
        refuse(*((not isinstance(each, dict), f"{where}: `{name}` is no object") for name, each in settings.items()))
    now = {RENAMED.get(name, name): value for name, value in (flat(settings) if grouped else settings).items()}
    by_group: dict[str, dict[str, Any]] = {group: {} for group in groups().values()}
    for name in set(now) & set(groups()):
        by_group[groups()[name]][name] = now[name]
    from_plain(TrainConfig, by_group, where=where)
    resolved = {name: value for name, value in record["resolved"].items() if name in hints(Resolved)}
    known = asdict(from_plain(Resolved, resolved, where=where))
    return {**record, "settings": flat(TrainConfig().to_json()) | now, "resolved": {**record["resolved"], **known}}


def flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of all groups by their own names."""
    return {name: value for group in settings.values() for name, value in group.items()}


@dataclass(frozen=True)
class TrainedModel:
    """The folder of a model, and, if it is a run folder, its record of the training."""

    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)  # as `read_record`
    datasets: tuple[str, ...] = ()  # of its training, as they were given
    backbone: str = "unknown"  # or "frozen" or "fine-tuned"

    @classmethod
    def at(cls, path: Path) -> TrainedModel:
        """The model of a run folder, or a model.safetensors in one or elsewhere."""
        folder = path if path.is_dir() else path.parent
        if not is_run(folder):
            return cls(folder)
        record = read_record(folder)
        given = record["settings"]["dataset"]
        datasets = (given,) if isinstance(given, str) else tuple(given)
        return cls(folder, record, datasets, record["resolved"]["backbone"])

    @classmethod
    def named(cls, model: Path, outputs: str) -> tuple[TrainedModel, Path, Path]:
        """Find a model by path or name.

        Returns it, its path, and the default folder for `outputs`: in the model's own folder where it is given by path,
        else in the working directory. Raises FusiqaError as `find` does.
        """
        path, name = find(model)
        trained = cls.at(path)
        if model.expanduser().exists():
            return trained, path, trained.folder / outputs
        return trained, path, Path(f"{outputs}_{name.replace('/', '_')}")

    @property
    def trained_on(self) -> str:
        """The data sets of its training, by their names in the catalog where they have one; else as model.json says."""
        infos = [find_dataset(dataset) or dataset for dataset in self.datasets]
        names = " + ".join(info if isinstance(info, str) else info.name for info in infos)
        if names or not (self.folder / DESCRIPTION_FILE).is_file():
            return names or "unknown"
        return str(read_description(self.folder).provenance.get("dataset", "unknown"))

    def own_name(self, dataset: str) -> str | None:
        """The training data set that a name, alias or path refers to, as it was given then; None for others."""
        wanted = place_of(dataset)
        return next((own for own in self.datasets if place_of(self.name_now(own)) == wanted), None)

    def name_now(self, own: str) -> str:
        """A data set of its training as it is named now: by its name, or by where its table is."""
        return str(self.place(own)) if is_custom(own) else own

    def place(self, path: str | Path) -> Path:
        """A path of its training: from the working directory then if it is still there, else from that of now."""
        directory = self.record.get("provenance", {}).get("directory")
        then = Path(directory if isinstance(directory, str) else "", os.path.expanduser(path))
        return then if os.path.exists(then) else Path(path)

    def seen(self, contents: Collection[str]) -> int:
        """How many images, by SHA-256 (hex) of their content, training or validation had, as they are or distorted."""
        path = self.folder / SPLIT_FILE
        split = read_run_table(path) if path.is_file() else pd.DataFrame()
        if "sha256" not in split:  # outside a run, or in one of an earlier version
            return 0
        known = set(split.loc[split["split"] != "test", "sha256"])
        return sum(not known.isdisjoint((content, content_of_version(content))) for content in contents)
