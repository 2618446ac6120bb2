"""Files: a model's names, and writing so that a killed process leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
"""A trained model in a folder: its numbers, and all that is needed to build and feed the network again."""


def same_place(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one place, however they are spelled."""
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then put it in its place in one step.

    Args:
        path: where the file is to be; its folder is made if it is not there.
        write: called with the path of the temporary file, which keeps the ending of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN and infinity are refused by JSON, so they are an error here."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, every digit kept, atomically."""
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown, numbers right-aligned with four digits; missing values are empty cells.

    Example:
        >>> import pandas as pd
        >>> print(to_markdown(pd.DataFrame({"run": ["a|b"], "srcc": [0.86791]})))
        | run | srcc |
        | :--- | ---: |
        | a\\|b | 0.8679 |
    """

    def cell(value: object) -> str:
        if value is None or value != value:
            return ""
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    rules = ["---:" if dtype.kind in "biuf" else ":---" for dtype in table.dtypes]
    rows = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(table.columns), rules, *rows])
