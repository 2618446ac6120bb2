"""The settings of a training run: its command line, and what its `config.json` records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any

import tyro

from fusiqa.config.checks import from_plain
from fusiqa.config.data import DataSettings
from fusiqa.config.model import NetworkSettings
from fusiqa.config.optimiser import OptimiserSettings
from fusiqa.config.run import RunSettings
from fusiqa.errors import FusiqaError

FLAT = tyro.conf.arg(name="")  # --epochs, not --optimiser.epochs


@dataclass(frozen=True)
class TrainConfig:
    """Train a quality model, choose its epoch on the validation split, and test it once."""

    data: Annotated[DataSettings, FLAT] = field(default_factory=DataSettings)
    """What the run is trained and tested on."""
    network: Annotated[NetworkSettings, FLAT] = field(default_factory=NetworkSettings)
    """The network before it is trained."""
    optimiser: Annotated[OptimiserSettings, FLAT] = field(default_factory=OptimiserSettings)
    """How it is trained."""
    run: Annotated[RunSettings, FLAT] = field(default_factory=RunSettings)
    """Where the run is computed and what it writes."""

    @classmethod
    def of(cls, **settings: Any) -> TrainConfig:
        """The defaults but for these settings, by the names of their flags.

        Example:
            >>> TrainConfig.of(dataset="koniq-10k", epochs=7).optimiser.epochs
            7
        """
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> TrainConfig:
        """These settings but for some, by the names of their flags.

        Raises:
            FusiqaError: a setting that there is not.
        """
        by_group: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            by_group.setdefault(group_of(name), {})[name] = value
        edited = {group: dataclasses.replace(getattr(self, group), **edits) for group, edits in by_group.items()}
        return dataclasses.replace(self, **edited)

    def __getitem__(self, name: str) -> Any:
        """The setting of that name, whichever group it is in."""
        return getattr(getattr(self, group_of(name)), name)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The settings as they stand in config.json, by group."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    @classmethod
    def from_json(cls, settings: Mapping[str, Any], *, where: str) -> TrainConfig:
        """The settings of a config.json. A setting that is not in it, because it is newer, has its default.

        Raises:
            FusiqaError: unknown settings, or values that are not allowed.
        """
        return from_plain(cls, settings, where=where)


@cache
def groups() -> dict[str, str]:
    """The group of each setting."""
    return {setting.name: group.name for group in fields(TrainConfig) for setting in fields(group.default_factory)}  # type: ignore[arg-type]


def group_of(name: str) -> str:
    """The group of a setting. Raises FusiqaError if there is no such setting."""
    try:
        return groups()[name]
    except KeyError:
        raise FusiqaError(f"there is no setting `{name}`; there are {', '.join(groups())}") from None
