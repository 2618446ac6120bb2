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
    """A bar that advances with the items that are taken, or by its `update`.

    Args:
        items: to iterate over; None for a bar that `update` advances.
        what: is done with them, shown before the bar.
        total: their number, where it is known and they have no length.
        initial: how many were done before.
        unit: plural noun of the items.
        shown: whether to show it; it is shown on a terminal only.
    """
    return tqdm(items, desc=what, total=total, initial=initial, unit=f" {unit}", disable=None if shown else True)
