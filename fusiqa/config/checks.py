"""One validator of settings: the bounds and types of a dataclass's fields, read from their annotations."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fusiqa.errors import FusiqaError

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """The finite numbers that a setting may have.

    Attributes:
        at_least: the smallest allowed.
        above: what all allowed are larger than.
        below: what all allowed are smaller than.
    """

    at_least: float | None = None
    above: float | None = None
    below: float | None = None

    def allow(self, value: float) -> bool:
        """Whether a number is finite and within them; NaN is not."""
        return (
            abs(value) <= sys.float_info.max  # math.isfinite raises for integers beyond it
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = {"at least": self.at_least, "above": self.above, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None)


COUNT = Bounds(at_least=1)
NOT_NEGATIVE = Bounds(at_least=0)
POSITIVE = Bounds(above=0)
FRACTION = Bounds(at_least=0, below=1)
SEED = Bounds(at_least=0, below=2**63)


def check_fields(settings: Any, *, prefix: str = "") -> None:
    """Refuse a dataclass with a field that its annotation does not allow: `Annotated[int, Bounds(...)]` or a type.

    Args:
        settings: the dataclass, checked in its `__post_init__`.
        prefix: of the names of its fields in errors, such as "weighing.".

    Raises:
        FusiqaError: names the field, what it must be, and what it is.

    Example:
        >>> @dataclass(frozen=True)
        ... class Settings:
        ...     epochs: Annotated[int, Bounds(at_least=1)] = 30
        >>> check_fields(Settings(epochs=0))
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: `epochs` must be at least 1, got 0
    """
    for name, hint in hints(type(settings)).items():
        check(prefix + name, getattr(settings, name), hint)


def check(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of the annotated type, or out of its bounds, in every part of a tuple."""
    plain, bounds = unpack(hint)
    if not is_a(value, plain):
        raise FusiqaError(f"`{name}` must be {words_of(plain)}, got {value!r:.80}")
    for number in value if isinstance(value, tuple) else (value,):
        if bounds is not None and number is not None and not bounds.allow(number):
            finite = "finite and " if not Bounds().allow(number) else ""
            raise FusiqaError(f"`{name}` must be {finite}{bounds}, got {number!r:.80}")


def from_plain(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """A dataclass of settings from what JSON or TOML can hold: lists become tuples, words paths, tables dataclasses.

    Args:
        cls: a dataclass; fields that are not given have their default.
        values: by the names of its fields.
        where: the file, for errors.

    Raises:
        FusiqaError: no table, an unknown name, a missing one, a value of another type or out of its bounds.
    """
    if not isinstance(values, Mapping):
        raise FusiqaError(f"{where}: expected a table of settings, got {values!r:.80}")
    known = hints(cls)
    if unknown := sorted(set(values) - set(known), key=str):
        raise FusiqaError(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
    found = {name: _from_plain(known[name], value, where=f"{where}: {name}") for name, value in values.items()}
    try:
        return cls(**found)
    except FusiqaError as reason:
        raise FusiqaError(f"{where}: {reason}") from reason
    except TypeError as reason:
        raise FusiqaError(f"{where}: {str(reason).partition('__init__() ')[2] or reason}") from reason


def _from_plain(hint: Any, value: Any, *, where: str) -> Any:
    plain, _ = unpack(hint)
    options = get_args(plain) if _is_union(plain) else (plain,)
    kinds = [option for option in options if isinstance(option, type) and is_dataclass(option)]
    if kinds and value is not None:
        return from_plain(kinds[0], value, where=where)
    named = [option for option in options if hasattr(option, "_fields")]
    if isinstance(value, list):
        parts = _tuples(value)
        return named[0](*parts) if named and len(parts) == len(named[0]._fields) else parts
    return Path(value) if isinstance(value, str) and Path in options else value


def _tuples(value: Any) -> Any:
    """Lists, also within lists, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, bounds included, in their order."""
    found = get_type_hints(cls, include_extras=True)
    return {each.name: found[each.name] for each in fields(cls)}


def unpack(hint: Any) -> tuple[Any, Bounds | None]:
    """A type without its metadata, and its bounds where it has any."""
    if get_origin(hint) is not Annotated:
        return hint, None
    plain, *metadata = get_args(hint)
    return plain, next((each for each in metadata if isinstance(each, Bounds)), None)


def is_a(value: Any, hint: Any) -> bool:
    """Whether a value has an annotated type; an int is a float too, True and False are no numbers.

    Example:
        >>> is_a(3, float | None), is_a(True, int), is_a((1, "x"), tuple[int, ...]), is_a("b", Literal["a", "b"])
        (True, False, False, True)
    """
    hint, _ = unpack(hint)
    arguments = get_args(hint)
    if hint is Any:
        return True
    if _is_union(hint):
        return any(is_a(value, option) for option in arguments)
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return len(value) == len(kinds) and all(map(is_a, value, kinds))
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    return value is None if hint is type(None) else isinstance(value, hint)


def words_of(hint: Any) -> str:
    """A type in words.

    Example:
        >>> words_of(Literal["a", "b"] | None), words_of(tuple[float, float])
        ("'a', 'b' or none", 'a list of 2 values')
    """
    hint, _ = unpack(hint)
    arguments = get_args(hint)
    if _is_union(hint):
        return " or ".join(map(words_of, arguments))
    if get_origin(hint) is Literal:
        return ", ".join(map(repr, arguments))
    if get_origin(hint) is tuple:
        return "a list" if arguments[-1] is ... else f"a list of {len(arguments)} values"
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return "none" if hint is type(None) else plain.get(hint, getattr(hint, "__name__", str(hint)))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)
