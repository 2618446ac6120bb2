"""What `--help` prints: the fields of a settings dataclass with their docstrings, in groups.

tyro's own help draws boxes that take two screens for 20 flags; its compact form leaves the descriptions out.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

import tyro

WIDEST = 100  # columns
FLAGS = 25  # columns of a flag with its value
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


class Option(NamedTuple):
    """One line of the help.

    Attributes:
        group: title that it stands under.
        name: as it is typed, without dashes: "batch_size", "weighing.gate".
        invocation: "--batch_size N", "--[no_]progress", "[PATHS ...]".
        text: what it does, with its default.
    """

    group: str
    name: str
    invocation: str
    text: str


def help_text(settings: type, program: str) -> str:
    """The help of a command.

    Args:
        settings: dataclass whose field docstrings describe the flags. Its nested dataclasses are groups, and so are the
            fields below a comment line, which is then the group's title.
        program: how the command is called.
    """
    options = list(options_of(settings))
    positional = " ".join(option.invocation for option in options if option.group == "arguments")
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    lines = [f"usage: {program} {positional} [OPTIONS]   (defaults in brackets)".replace("  [", " ["), ""]
    lines += textwrap.wrap(inspect.getdoc(settings) or "", width)
    for title in dict.fromkeys(option.group for option in options):
        lines += ["", f"{title}:"]
        for option in options:
            if option.group == title:
                lines += _lines(option, width)
    return "\n".join(lines)


def _lines(option: Option, width: int) -> list[str]:
    text = textwrap.wrap(option.text, width - FLAGS - 4, break_on_hyphens=False) or [""]
    head = f"  {option.invocation:{FLAGS}}  "
    if len(option.invocation) > FLAGS:
        return [head.rstrip(), *(" " * (FLAGS + 4) + line for line in text)]
    return [head + text[0], *(" " * (FLAGS + 4) + line for line in text[1:])]


def options_of(settings: type, group: str = "options", prefix: str = "") -> Iterator[Option]:
    """Every argument and flag of a command: arguments first, then its own flags, then those of nested groups."""
    hints, texts, titles = get_type_hints(settings, include_extras=True), *_documented(settings)
    nested = []
    for field in sorted(fields(settings), key=lambda field: tyro.conf.Positional not in _split(hints[field.name])[1]):
        kind, extras = _split(hints[field.name])
        group = titles.get(field.name, group)
        default = field.default if field.default_factory is MISSING else ()
        if is_dataclass(kind):
            hidden = any(getattr(extra, "name", None) == "" for extra in extras)
            nested.append((kind, field.name if hidden else group, prefix if hidden else f"{prefix}{field.name}."))
        elif tyro.conf.Positional in extras:
            values = f"{field.name.upper()} ..." if get_origin(kind) is tuple else field.name.upper()
            yield Option("arguments", field.name, values if default is MISSING else f"[{values}]", texts[field.name])
        else:
            name = f"{prefix}{field.name}"
            yield Option(
                group, name, _invocation(name, kind, default), f"{texts[field.name]} {_default(default)}".strip()
            )
    for kind, title, names in nested:
        yield from options_of(cast(type, kind), title, names)


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without `Annotated` and `| None`, and what it was annotated with."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    kind = get_args(hint)[0] if extras else hint
    rest = [each for each in get_args(kind) if each is not NoneType]
    return (rest[0] if NoneType in get_args(kind) and len(rest) == 1 else kind), extras


def _default(value: Any) -> str:
    if value is MISSING:
        return "(required)"
    return "" if value in (None, (), False) else f"[{'on' if value is True else value}]"


def _invocation(name: str, kind: Any, default: Any) -> str:
    if kind is bool:
        return f"--[no_]{name}" if default is True else f"--{name}"
    if get_origin(kind) is Literal:
        return f"--{name} {{{','.join(map(str, get_args(kind)))}}}"
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        values = (
            f"{METAVARS.get(first, 'TEXT')} ..." if rest == [...] else " ".join(METAVARS[e] for e in (first, *rest))
        )
        return f"--{name} {values}"
    return f"--{name} {METAVARS.get(kind, 'TEXT')}"


def _documented(settings: type) -> tuple[dict[str, str], dict[str, str]]:
    """The docstring below each field, and the comment above it if there is one, by the field's name."""
    lines = textwrap.dedent(inspect.getsource(settings)).splitlines()
    (made,) = ast.parse("\n".join(lines)).body
    assert isinstance(made, ast.ClassDef)
    texts: dict[str, str] = {}
    titles: dict[str, str] = {}
    for node, following in zip(made.body, [*made.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            texts[node.target.id] = (
                " ".join(str(text.value).replace("`", "").split()) if isinstance(text, ast.Constant) else ""
            )
            above = lines[node.lineno - 2].strip()
            if above.startswith("# "):
                titles[node.target.id] = above.removeprefix("# ")
    return texts, titles
