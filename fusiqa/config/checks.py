"""One validator of settings: the bounds and types of a dataclass's fields, read from their annotations."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fusiqa.errors import FusiqaError

T = TypeVar("T")
UNIONS = (Union, types.UnionType)
TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Bounds:
    """The finite numbers that a setting may have; NaN is never allowed."""

    at_least: float = -inf
    above: float = -inf
    below: float = inf

    def allow(self, value: float) -> bool:
        finite = abs(value) <= sys.float_info.max  # math.isfinite raises for integers beyond it
        return finite and self.at_least <= value < self.below and value > self.above

    def __str__(self) -> str:
        words = {"at least": self.at_least, "above": self.above, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in words.items() if abs(bound) != inf)


Device = Annotated[str, "auto, cpu, cuda, cuda:1 or mps."]  # the text describes a field that has no docstring
Progress = Annotated[bool, "Show progress bars, on a terminal."]
COUNT = Bounds(at_least=1)
NOT_NEGATIVE = Bounds(at_least=0)
POSITIVE = Bounds(above=0)
FRACTION = Bounds(at_least=0, below=1)
SEED = Bounds(at_least=0, below=2**63)


def refuse(*rules: tuple[object, str]) -> None:
    """Raise a FusiqaError with the reason of the first rule that holds."""
    for holds, reason in rules:
        if holds:
            raise FusiqaError(reason)


class Settings:
    """A dataclass that refuses fields which their annotations do not allow: `Annotated[int, Bounds(...)]` or a type.

    The FusiqaError names the field, what it must be, and what it is.

    Example:
        >>> @dataclass(frozen=True)
        ... class Training(Settings):
        ...     epochs: Annotated[int, Bounds(at_least=1)] = 30
        >>> Training(epochs=0)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: `epochs` must be at least 1, got 0
    """

    prefix: ClassVar[str] = ""  # of the names of its fields in errors, such as "weighing."

    def __post_init__(self) -> None:
        check_values(type(self), vars(self), prefix=self.prefix)


def check_values(cls: type, values: Mapping[str, Any], *, prefix: str = "") -> None:
    """Raise a FusiqaError for the first value that the annotation of its field in a dataclass does not allow."""
    for name, hint in hints(cls).items():
        if name not in values:
            continue
        value, (plain, extras) = values[name], unannotated(hint)
        if not is_a(value, plain):
            raise FusiqaError(f"`{prefix}{name}` must be {words_of(plain)}, got {value!r:.80}")
        bounds = next((extra for extra in extras if isinstance(extra, Bounds)), None)
        for number in value if isinstance(value, tuple) else (value,):
            if bounds is not None and number is not None and not bounds.allow(number):
                needed = " and ".join(filter(None, ["" if Bounds().allow(number) else "finite", str(bounds)]))
                raise FusiqaError(f"`{prefix}{name}` must be {needed}, got {number!r:.80}")


def from_plain(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """A dataclass of settings from what JSON or TOML can hold: lists become tuples, strings paths, tables dataclasses.

    Fields that are not given have their default. Raises FusiqaError, with the file as `where`, for no table, an unknown
    or missing name, and a value of another type or out of bounds.
    """
    if not isinstance(values, Mapping):
        raise FusiqaError(f"{where}: expected a table of settings, got {values!r:.80}")
    known = hints(cls)
    if unknown := sorted(set(values) - set(known), key=str):
        raise FusiqaError(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
    found = {name: _from_plain(known[name], value, where=f"{where}: {name}") for name, value in values.items()}
    try:
        # Before `cls` does it: not every class does, and a runtime type checker, as the tests have, would come first.
        check_values(cls, found, prefix=getattr(cls, "prefix", ""))
        return cls(**found)
    except (FusiqaError, TypeError) as reason:  # a TypeError names a missing field
        raise FusiqaError(f"{where}: {str(reason).rpartition('__init__() ')[2]}") from reason


def _from_plain(hint: Any, value: Any, *, where: str) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise FusiqaError(f"{where}: a text with a NUL character")
    plain, _ = unannotated(hint)
    options = get_args(plain) if get_origin(plain) in UNIONS else (plain,)
    for option in options:
        if value is not None and isinstance(option, type) and is_dataclass(option):
            return from_plain(option, value, where=where)
        if isinstance(value, list) and len(getattr(option, "_fields", ())) == len(value) > 0:
            return option(*tuples(value))
    return Path(value) if isinstance(value, str) and Path in options else tuples(value)


def tuples(value: Any) -> Any:
    """Lists, also within lists, as tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, bounds included, in their order."""
    found = get_type_hints(cls, include_extras=True)
    return {each.name: found[each.name] for each in fields(cls)}


def unannotated(hint: Any) -> tuple[Any, list[Any]]:
    """A type, and what it was annotated with."""
    plain, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return plain, extras


def is_a(value: Any, hint: Any) -> bool:
    """Whether a value has an annotated type; an int is a float too, True and False are no numbers.

    Example:
        >>> is_a(3, float | None), is_a(True, int), is_a((1, "x"), tuple[int, ...]), is_a("b", Literal["a", "b"])
        (True, False, False, True)
    """
    hint, _ = unannotated(hint)
    arguments, origin = get_args(hint), get_origin(hint)
    if origin in UNIONS:
        return any(is_a(value, option) for option in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        kinds = arguments[:1] * len(value) if isinstance(value, tuple) and arguments[-1] is ... else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(is_a, value, kinds))
    if origin in (dict, Mapping):
        kind, of = arguments
        return isinstance(value, origin) and all(is_a(k, kind) and is_a(v, of) for k, v in value.items())
    if hasattr(hint, "_fields"):
        return isinstance(value, hint) and all(map(is_a, value, get_type_hints(hint).values()))
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def words_of(hint: Any) -> str:
    """A type as errors name it.

    Example:
        >>> words_of(Literal["a", "b"] | None), words_of(tuple[float, float])
        ("'a', 'b' or none", 'a list of 2 values')
    """
    hint, _ = unannotated(hint)
    arguments, origin = get_args(hint), get_origin(hint)
    if origin in UNIONS:
        return " or ".join(map(words_of, arguments))
    if origin is Literal:
        return ", ".join(map(repr, arguments))
    if origin is tuple:
        return "a list" if arguments[-1] is ... else f"a list of {len(arguments)} values"
    if hasattr(hint, "_fields"):
        return f"{len(hint._fields)} numbers ({hint.__module__}.{hint.__name__})"
    if origin in (dict, Mapping):
        return "a table"
    return "none" if hint is types.NoneType else TYPE_WORDS.get(hint, getattr(hint, "__name__", str(hint)))
