"""The data set that a run was trained on, found again from its folder, split as the run split it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusiqa.data import catalog, splits
from fusiqa.data.catalog import find_dataset
from fusiqa.data.ratings import Ratings, Split
from fusiqa.errors import FusiqaError
from fusiqa.io import same_place
from fusiqa.runs.run_folder import CONFIG_FILE, SPLIT_FILE, folder_of, read_record
from fusiqa.runs.tables import read_table


def own_dataset(model: Path) -> str | None:
    """The data set that a run was trained on, by its name in the catalog or as it was given; None outside a run."""
    path = folder_of(model) / CONFIG_FILE
    if not path.is_file():
        return None
    dataset = read_record(path.parent)["settings"]["dataset"]
    facts = find_dataset(dataset)
    return facts.name if facts else dataset


def is_own(model: Path, dataset: str) -> bool:
    """Whether a data set, by name or path, is the one that a run was trained on, however its path is spelled."""
    own, facts = own_dataset(model), find_dataset(dataset)
    if own is None or facts is not None:
        return facts is not None and facts.name == own
    return dataset == own or same_place(dataset, own)


def seen_in_training(model: Path, images: Sequence[str]) -> int:
    """How many of the images have the name of one that the run trained on or chose its epoch by."""
    path = folder_of(model) / SPLIT_FILE
    if not path.is_file():
        return 0
    split = read_table(path)
    return len(set(images) & set(split.loc[split["split"] != "test", "image"].astype(str)))


def own_part(model: Path, split: Split, *, data_dir: Path | None = None) -> Ratings:
    """One side of the run's own data set.

    Args:
        model: a run folder, or its model.safetensors.
        split: which side.
        data_dir: where the data set lies now; by default where it lay then.

    Raises:
        FusiqaError: not in a run folder, or the data set has moved or changed.
    """
    folder = folder_of(model)
    if not (folder / CONFIG_FILE).is_file():
        raise FusiqaError(f"{model} is no run folder, so there is no data set to take: give images or --dataset")
    record = read_record(folder)
    settings: dict[str, Any] = record["settings"]
    data_dir = data_dir or (Path(settings["data_dir"]) if settings["data_dir"] else None)
    score_range = tuple(settings["score_range"]) if settings["score_range"] else None
    ratings = catalog.read(
        settings["dataset"],
        data_dir=data_dir,
        score_range=score_range,
        lower_is_better=settings.get("lower_is_better", False),  # not in the settings of earlier versions
        seed=settings["split_seed"],
    )
    broken = [row["image"] for row in record["resolved"]["broken"]]
    return splits.load(ratings.without(broken), folder / SPLIT_FILE).part(split)
