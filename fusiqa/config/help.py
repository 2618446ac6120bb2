"""What `--help` prints: settings and what they do, in groups, without tyro's boxes, which take two screens."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin

import tyro

from fusiqa.config.checks import hints, unannotated

WIDEST = 120  # columns
FLAGS = 25  # columns of a flag with its value
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH", ...: "..."}
FIRST = {"dataset", "data_dir", "backbone", "attention_fusion", "epochs", "batch_size", "run_dir", "seed", "device"}
"""Of the flags of training, those that stand first."""


class Option(NamedTuple):
    """One entry of the help: the title of its group, "batch_size", "--batch_size N", and what it does."""

    group: str
    name: str
    invocation: str
    text: str


def help_text(settings: type, program: str) -> str:
    """The help of a command that is called as `program`."""
    options = list(options_of(settings))
    arguments = " ".join(option.invocation for option in options if option.group == "arguments")
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    lines = [f"usage: {program} {arguments} [OPTIONS]   (defaults in brackets)".replace("  [", " ["), ""]
    wrapper = textwrap.TextWrapper(width, break_on_hyphens=False)
    lines += wrapper.wrap(inspect.getdoc(settings) or "")
    for title in sorted(dict.fromkeys(option.group for option in options), key=lambda title: title != "arguments"):
        lines += ["", f"{title}:"]
        for option in (option for option in options if option.group == title):
            wrapper.initial_indent, wrapper.subsequent_indent = f"  {option.invocation:{FLAGS}}  ", " " * (FLAGS + 4)
            lines += wrapper.wrap(option.text)
    return "\n".join(lines)


def options_of(settings: type, group: str = "options", prefix: str = "") -> list[Option]:
    """Every argument and flag of a command: its own, then those of its nested dataclasses, each a group.

    The docstrings below the fields describe them; a comment above a field is the title of the group that it begins.
    """
    own, nested = [], []
    known, documented = hints(settings), _documented(settings)
    for field in fields(settings):
        text, title = documented[field.name]
        kind, extras = unannotated(known[field.name])
        if NoneType in get_args(kind):  # X | None
            kind = get_args(kind)[0]
        default = field.default if field.default_factory is MISSING else ()
        text = (text or next((extra for extra in extras if isinstance(extra, str)), "")).replace("`", "")
        name, group = prefix + field.name, title or group
        if is_dataclass(kind):
            flat = "" in (getattr(extra, "name", None) for extra in extras)
            nested += options_of(cast(type, kind), *((field.name, prefix) if flat else (group, f"{name}.")))
        elif tyro.conf.Positional in extras:
            values = f"{name.upper()} ..." if get_origin(kind) is tuple else name.upper()
            own.append(Option("arguments", name, values if default is MISSING else f"[{values}]", text))
        else:
            own.append(Option(group, name, _invocation(name, kind, default), f"{text} {_bracketed(default)}".strip()))
    if not prefix and nested:  # the common flags of training first
        nested = [option._replace(group="common") if option.name in FIRST else option for option in nested]
        nested.sort(key=lambda option: option.group != "common")
    return own + nested


def _invocation(name: str, kind: Any, default: Any) -> str:
    if kind is bool:
        return f"--[no_]{name}" if default is True else f"--{name}"
    if get_origin(kind) is Literal:
        return f"--{name} {{{','.join(map(str, get_args(kind)))}}}"
    kinds = get_args(kind) if get_origin(kind) is tuple else (kind,)
    return f"--{name} {' '.join(METAVARS.get(each, 'TEXT') for each in kinds)}"


def _bracketed(default: Any) -> str:
    """A default value in brackets; "" for those that need no word."""
    if default is None or default is False or default in ("", ()):
        return ""
    if default is MISSING:
        return "(required)"
    if default is True:
        return "[on]"
    return f"[{' '.join(map(str, default)) if isinstance(default, tuple) else default}]"


def _documented(settings: type) -> dict[str, tuple[str, str]]:
    """The docstring below each field, its bases' too, and the comment above it or ""."""
    found = {}
    for each in reversed([each for each in settings.__mro__ if is_dataclass(each)]):
        lines = textwrap.dedent(inspect.getsource(each)).splitlines()
        body = cast(ast.ClassDef, ast.parse("\n".join(lines)).body[0]).body
        for node, below in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign):
                text = str(getattr(below.value, "value", "")) if isinstance(below, ast.Expr) else ""
                above = lines[node.lineno - 2].strip()
                title = above.removeprefix("# ") if above.startswith("# ") else ""
                found[ast.unparse(node.target)] = " ".join(text.split()), title
    return found
