"""Progress bars on standard error, where that is a terminal: in a log file they would be megabytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

Say = Callable[[str], object]
"""Receives each line that is meant for the user."""


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    what: str,
    total: int | None = None,
    initial: int = 0,
    unit: str = "images",
    shown: bool,
) -> tqdm[Any]:
    """A bar that counts the items as they are taken, or is moved by its `update`.

    Args:
        items: what is gone through; None for a bar that is moved by hand.
        what: is done with them.
        total: their number, where it is known and they do not tell.
        initial: how many were done before.
        unit: what they are.
        shown: whether a bar is wanted; it is shown on a terminal alone.
    """
    return tqdm(items, desc=what, total=total, initial=initial, unit=f" {unit}", disable=None if shown else True)
