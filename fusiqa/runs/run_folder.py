"""The run folder: its name, its files, and whether a run may start, resume or replace what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fusiqa.config import TrainConfig
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import same_place, write_json

CONFIG_FILE = "config.json"
SPLIT_FILE = "split.csv"
TEST_FILE = "test.json"
PREDICTIONS_FILE = "predictions.csv"
ATTENTION_FILE = "attention.png"
SHARED_NAME = "FUSIQA_RUN_DIR"  # tells the other processes of a distributed run the name that the first one chose
MAY_DIFFER = (
    "resume",
    "overwrite",
    "progress",
    "num_workers",
    "cache_dir",
    "cache_gb",
    "run_dir",
    "precision",
)  # on resume; the precision is compared as resolved
RENAMED = {
    "validation_share": "validation_fraction",
    "warmup_share": "warmup_fraction",
    "accelerator": "device",
    "devices": "num_devices",
}
PATHS = ("dataset", "data_dir", "split_file", "backbone_weights", "spaq_dir")  # or names, for some of them


def folder_of(model: Path) -> Path:
    """The folder of a run, given itself or its model.safetensors."""
    return model if model.is_dir() else model.parent


def choose_run_dir(config: TrainConfig, fusion: str) -> Path:
    """The folder asked for, else a readable name that every process of the run shares."""
    if config.run.run_dir is not None:
        return config.run.run_dir
    stem = f"{Path(config.data.dataset).stem}-{config.network.backbone}-{fusion}-seed{config.run.seed}"
    return Path(os.environ.setdefault(SHARED_NAME, f"runs/{stem}-{datetime.now():%Y%m%d-%H%M%S}"))


def check_run_dir(folder: Path, config: TrainConfig) -> None:
    """Refuse a folder that the run must not write into; changes nothing.

    Raises:
        FusiqaError: it holds a run and neither --resume nor --overwrite was given, it holds something else, or the
            run to resume had other settings.
    """
    if config.run.resume and config.run.overwrite:
        raise FusiqaError("--resume and --overwrite exclude each other: continue the run, or start it anew")
    if config.run.resume and config.run.run_dir is None:
        raise FusiqaError("--resume needs the run to continue: add --run_dir DIR")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / CONFIG_FILE).is_file():
        raise FusiqaError(
            f"{folder} is not empty and holds no run ({CONFIG_FILE} is missing); choose another --run_dir"
        )
    if config.run.resume:
        check_same_settings(folder, config)
    elif not config.run.overwrite:
        raise FusiqaError(
            f"{folder} already holds a run; add --resume to continue it, --overwrite to discard it, "
            "or another --run_dir"
        )


def make_run_dir(folder: Path, config: TrainConfig) -> None:
    """Make the folder, or empty it where the run in it is to be discarded."""
    if config.run.overwrite and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def changed_settings(folder: Path, config: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that would change the numbers of the run in a folder, by name: (its own, those given now).

    A setting that was not there yet when the run was made had its default.
    """
    before = read_record(folder)["settings"]
    now = flat(config.to_json())
    kept = [name for name in now if name not in MAY_DIFFER]
    return {name: (before[name], now[name]) for name in kept if not same(name, before[name], now[name])}


def flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of all groups by their own names."""
    return {name: value for group in settings.values() for name, value in group.items()}


def read_record(folder: Path) -> dict[str, Any]:
    """config.json of a run folder: `resolved`, `provenance`, and `settings` by name, without their groups.

    A setting that there was not yet has its default, and one that was renamed its new name.
    """
    record = read_json(folder / CONFIG_FILE)
    settings: dict[str, Any] = record["settings"]
    given = flat(settings) if isinstance(settings.get("data"), dict) else settings  # version 0.1.0 had no groups
    now = {RENAMED.get(name, name): value for name, value in given.items()}
    return {**record, "settings": flat(TrainConfig().to_json()) | now}


def same(name: str, before: Any, now: Any) -> bool:
    """Whether two values of a setting come to the same: a path does, however it is spelled."""
    if before == now or name not in PATHS or None in (before, now):
        return before == now
    return same_place(before, now)


def check_same_settings(folder: Path, config: TrainConfig) -> None:
    """Refuse to resume a run under settings that would change its numbers."""
    changed = [f"--{name} {before} -> {now}" for name, (before, now) in changed_settings(folder, config).items()]
    if changed:
        raise FusiqaError(
            f"{folder} was run with other settings: {listed(changed)}; repeat the command that started it"
        )


def write_config(folder: Path, config: TrainConfig, *, resolved: dict[str, Any], provenance: dict[str, Any]) -> None:
    """config.json: the settings as given, what they came to, and where the run comes from.

    A resumed run keeps the first start's record and adds its own to `resumed`.
    """
    path = folder / CONFIG_FILE
    if config.run.resume and path.is_file():
        record = read_json(path)
        check_same_data(folder, record["resolved"], resolved)
        record.setdefault("resumed", []).append(provenance)
    else:
        record = {"settings": config.to_json(), "resolved": resolved, "provenance": provenance}
    write_json(path, record)


def check_same_data(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume on images or a split that have changed since."""
    if before["precision"] != now["precision"]:
        raise FusiqaError(
            f"{folder}: it was computed in {before['precision']}, and {now['precision']} would change its numbers; "
            f"add --precision {before['precision']}"
        )
    for name in ("data_fingerprint", "split_fingerprint"):
        if before[name] != now[name]:
            raise FusiqaError(
                f"{folder}: the {name.replace('_', ' ')} was {before[name]} and is {now[name]} now; the data have "
                "changed since the run started, so it cannot be continued to the same numbers"
            )


def backbone_of(model: Path) -> str:
    """Whether a run's backbone was "frozen" or "fine-tuned"; "unknown" for a model outside a run folder."""
    path = folder_of(model) / CONFIG_FILE
    return read_json(path)["resolved"].get("backbone", "fine-tuned") if path.is_file() else "unknown"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file. Raises FusiqaError if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as reason:
        raise FusiqaError(f"{path} is missing; is {path.parent} a run folder?") from reason
    except json.JSONDecodeError as reason:
        raise FusiqaError(f"{path} is not JSON: {reason}") from reason
