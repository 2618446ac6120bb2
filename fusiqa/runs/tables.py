"""Reading back the tables that a run wrote, digit for digit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fusiqa.errors import FusiqaError


def read_table(path: Path) -> pd.DataFrame:
    """A CSV of a run folder, floats as written (before pandas 3.1 but for the last bit).

    Raises:
        FusiqaError: it is missing.
    """
    if not path.is_file():
        raise FusiqaError(f"{path} is missing: {path.parent} is not a finished run")
    return pd.read_csv(path)
