"""The question of an ablation: one of the presets by name, or one's own from a TOML file. It trains nothing.

    question = "Does dropout in the attention network matter?"

    [variants]
    "dropout 0.1" = "--attention_fusion"
    "no dropout" = "--attention_fusion --attention_dropout 0"

A variant is what one would type after `fusiqa train`; the first is what the others are compared with.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from fusiqa.config import TrainConfig
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError, listed
from fusiqa.runs.presets import COMMON, PRESETS, Preset, Variant

TOML = ".toml"
FRAME = " ╭─╮│╰╯"
EXAMPLE = 'question = "..." and, under [variants], "name" = "--flags of fusiqa train", two or more'


def find_question(words: str) -> Preset:
    """The preset of that name, or the question in the file of that path (which ends in .toml).

    Raises:
        FusiqaError: neither, or a file that holds no question.
    """
    if words in PRESETS:
        return PRESETS[words]
    path = Path(words)
    if path.suffix == TOML:
        return read_question(path)
    close = difflib.get_close_matches(words, PRESETS, n=1)
    raise FusiqaError(
        f"no preset {words!r}{f', did you mean {close[0]}?' if close else ''} There are {', '.join(PRESETS)}; a "
        f"question of your own is a file that ends in {TOML}"
    )


def read_question(path: Path) -> Preset:
    """A question from its file. Raises FusiqaError, naming the file and the variant that cannot be used."""
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as reason:
        raise FusiqaError(f"{path}: no such file; expected {EXAMPLE}") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as reason:
        raise FusiqaError(f"{path} cannot be read as TOML: {reason}") from reason
    unknown = sorted(set(stated) - {"question", "variants"})
    if unknown:
        raise FusiqaError(f"{path}: unknown {listed(unknown)}; expected {EXAMPLE}")
    question, variants = stated.get("question"), stated.get("variants")
    if not (isinstance(question, str) and isinstance(variants, dict) and len(variants) >= 2):
        raise FusiqaError(f"{path} holds no question: expected {EXAMPLE}")
    read = tuple(read_variant(path, name, flags) for name, flags in variants.items())
    return Preset(question, read, read[0].name)


def read_variant(path: Path, name: str, flags: object) -> Variant:
    """A variant from what would be typed. Raises FusiqaError for flags that do not exist or that all runs share."""
    if not isinstance(flags, str):
        raise FusiqaError(f"{path}: variant {name!r} is {flags!r}; expected its flags in quotes, such as '--epochs 3'")
    try:
        words = shlex.split(flags)
    except ValueError as reason:
        raise FusiqaError(f"{path}: variant {name!r}, {flags}: {reason}") from reason
    if {"-h", "--help"} & set(words):
        raise FusiqaError(f"{path}: variant {name!r}, {flags}: expected settings; fusiqa train --help lists them")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            config = tyro.cli(TrainConfig, args=words, config=(tyro.conf.OmitSubcommandPrefixes,))
    except FusiqaError as reason:
        raise FusiqaError(f"{path}: variant {name!r}: {reason}") from reason
    except SystemExit as reason:
        raise FusiqaError(f"{path}: variant {name!r}, {flags}: {told_by_parser(said.getvalue())}") from reason
    edits = {field: config[field] for field in map(field_of, words) if field is not None}
    shared = sorted(COMMON & edits.keys())
    if shared:
        raise FusiqaError(
            f"{path}: variant {name!r} sets --{' and --'.join(shared)}, which all runs share; give it to fusiqa ablate"
        )
    return Variant(name, edits)


def told_by_parser(box: str) -> str:
    """What is wrong, from the framed message of the command line's parser: its first line that is no title."""
    lines = [line.strip(FRAME) for line in box.splitlines()]
    said = [line for line in lines if ": " in line and "helptext" not in line]
    return said[0] if said else "expected settings; fusiqa train --help lists them"


def field_of(word: str) -> str | None:
    """The setting that a word of a command line names; None for a value.

    Example:
        >>> [field_of(word) for word in ("--weighing.gain", "4", "--no-multiscale", "--use_multiscale", "-1")]
        ['weighing', None, 'multiscale', 'multiscale', None]
    """
    if not word.startswith("--"):
        return None
    name = word[2:].partition("=")[0].partition(".")[0].replace("-", "_")
    known = groups()
    return next(
        (short for short in (name, name.removeprefix("no_"), name.removeprefix("use_")) if short in known), None
    )


def narrowed(preset: Preset, names: Sequence[str]) -> Preset:
    """The preset with these variants alone, in this order, the first as the reference; all of them for no name.

    Raises:
        FusiqaError: a name that the preset does not have, or one given twice.
    """
    if not names:
        return preset
    if len(names) == 1:
        raise FusiqaError("--variants: name two or more; the first is what the others are compared with")
    by_name: dict[str, Any] = {variant.name: variant for variant in preset.variants}
    unknown = [name for name in names if name not in by_name]
    if unknown or len(set(names)) < len(names):
        wrong = f"there is no {listed(unknown)}" if unknown else "one is named twice"
        raise FusiqaError(f"--variants: {wrong}; this question has {', '.join(map(repr, by_name))}")
    return replace(preset, variants=tuple(by_name[name] for name in names), reference=names[0])
