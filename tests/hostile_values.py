"""Values that a JSON file from somebody else may hold in the place of any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from fusiqa.errors import FusiqaError

NESTED: list[Any] = []
for _ in range(50):
    NESTED = [NESTED]
HOSTILE = [
    None, True, False, -1, 0, 1, 10**400, -(10**19), 1e308, float("nan"), float("-inf"),
    "", "\0", "~nobody/../..", "x" * 999, "9" * 999, "=1+1", "\ud800",
    [], [None], [1, 2, 3, 4, 5, 6], ["a", "b"], [[], {}], NESTED, {}, {"a": {"b": []}}, {"": None},
]  # fmt: skip


def places_in(value: Any, *above: object) -> Iterator[tuple]:
    """The keys that lead to each value in nested tables and lists, those of the tables too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield *above, key
        yield from places_in(below, *above, key)


def with_value(whole: Any, place: tuple, value: object) -> Any:
    """A copy with another value at a place."""
    copy = deepcopy(whole)
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copy


def refusal_of(read: Callable[[], object]) -> str:
    """What a reader says against what it reads; nothing where it takes it. Other errors but the system's are raised."""
    try:
        read()
    except (FusiqaError, OSError) as refusal:  # the command line prints both in a line
        return str(refusal)
    return ""
