"""The settings of `fusiqa data`: what data sets there are, and whether a copy of one is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class DataListConfig:
    """List the data sets that are read by name, with what is known of each."""


@dataclass(frozen=True)
class DataInfoConfig:
    """Say all that is known of a data set: figures, licence, citation, layout, where to get it."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set."""


@dataclass(frozen=True)
class DataCheckConfig:
    """Check a copy of a data set: counts, files, ratings, duplicates across the split."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set, or the path of a CSV with image and mos columns."""
    data_dir: Path | None = None
    """Its folder; by default $FUSIQA_DATA/<name> or ./data/<name>."""
    output: Path | None = None
    """JSON file for the report; by default it is only printed."""
    progress: bool = True
    """Show progress bars."""


@dataclass(frozen=True)
class DataDownloadConfig:
    """Download a data set that may be passed on; of the others, say where to ask for them."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the data set."""
    folder: Path | None = None
    """Where it is to lie; by default $FUSIQA_DATA/<name> or ./data/<name>."""
    accept_licence: bool = False
    """Take the licence, which is shown first, as accepted; otherwise it is asked for on a terminal."""
    progress: bool = True
    """Show progress bars."""
