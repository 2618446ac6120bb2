"""The question of an ablation: a preset by name, or a TOML file in the form of presets.toml; its edits are checked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusiqa.config import NetworkSettings, OptimiserSettings, RunSettings, TrainConfig
from fusiqa.config.checks import from_plain
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError, listed

EXPECTED = 'expected question = "..." and two or more tables [variants."NAME"] of settings'
KINDS = {"network": NetworkSettings, "optimiser": OptimiserSettings, "run": RunSettings}
SHARED = frozenset(name for name, group in groups().items() if group in ("data", "run")) - {"precision"}
"""Settings that no variant edits: the images are prepared once for all runs, and the runs are paired by seed."""


@dataclass(frozen=True)
class Variant:
    """A design: its name, and the settings that it changes."""

    name: str
    edits: Mapping[str, Any] = field(default_factory=dict)

    def of(self, base: TrainConfig) -> TrainConfig:
        """The base settings with the edits."""
        return base.replace(**self.edits)


@dataclass(frozen=True)
class Question:
    """A question, its variants, and the name of the one that the others are compared with."""

    text: str
    variants: tuple[Variant, ...]
    reference: str


def find_question(words: str) -> Question:
    """The preset of that name, or the question in the TOML file of that path."""
    if words in PRESETS:
        return PRESETS[words]
    path = Path(words)
    if path.suffix != ".toml":
        known = f"presets are {', '.join(PRESETS)}, your own question is a file that ends in .toml"
        raise FusiqaError(f"no preset {words!r}{closest(words, PRESETS)}; {known}")
    try:
        return parse_question(tomllib.loads(path.read_text(encoding="utf-8")), where=str(path))
    except FileNotFoundError as reason:
        raise FusiqaError(f"{path}: no such file") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as reason:
        raise FusiqaError(f"{path} cannot be read as TOML: {reason}") from reason


def parse_question(stated: Mapping[str, Any], *, where: str) -> Question:
    """A question from what its TOML holds. Raises FusiqaError for a part that is missing, unknown or not allowed."""
    known = ("question", "reference", "variants")
    for name in set(stated) - set(known):
        raise FusiqaError(f"{where}: unknown {name!r}{closest(name, known)}; {EXPECTED}")
    text, variants = stated.get("question"), stated.get("variants")
    if not (isinstance(text, str) and isinstance(variants, dict) and len(variants) >= 2):
        raise FusiqaError(f"{where} holds no question: {EXPECTED}")
    reference = stated.get("reference", next(iter(variants)))
    if reference not in variants:
        raise FusiqaError(f"{where}: reference {reference!r} is none of the variants {listed(list(variants))}")
    parsed = [Variant(name, parse_edits(edits, where=f"{where}: variant {name!r}")) for name, edits in variants.items()]
    return Question(text, tuple(parsed), reference)


def parse_edits(stated: object, *, where: str) -> dict[str, Any]:
    """The settings that a variant edits, with the types of their annotations. Raises FusiqaError for all others.

    Example:
        >>> parse_edits({"weighing": {"gain": 4}, "epochs": 3}, where="own.toml: variant 'a'")
        {'weighing': ScaleWeighing(gate='softmax', temperature=1.0, gain=4, normalised=False), 'epochs': 3}
    """
    if not isinstance(stated, dict):
        raise FusiqaError(f"{where} must be a table of settings, such as {{epochs = 3}}, got {stated!r:.80}")
    allowed, edits = [name for name in groups() if name not in SHARED], {}
    for name, value in stated.items():
        if name in SHARED:
            raise FusiqaError(f"{where} sets `{name}`, which all runs share; give it to fusiqa ablate")
        if name not in allowed:
            near = closest(name, allowed) or f"; settings are {', '.join(allowed)}"
            raise FusiqaError(f"{where}: unknown setting {name!r}{near}")
        edits[name] = getattr(from_plain(KINDS[groups()[name]], {name: value}, where=where), name)
    return edits


def closest(word: str, known: Iterable[str]) -> str:
    """The end of an error on an unknown word: the nearest known one, if any is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def select_variants(question: Question, names: Sequence[str]) -> Question:
    """The question with these variants alone, in this order, the first as the reference; all of them for no name."""
    if not names:
        return question
    by_name = {variant.name: variant for variant in question.variants}
    unknown = [name for name in names if name not in by_name]
    if unknown or len(set(names)) < len(names):
        wrong = f"unknown {listed(unknown)}" if unknown else "one is named twice"
        raise FusiqaError(f"`variants`: {wrong}; this question has {', '.join(map(repr, by_name))}")
    if len(names) == 1:
        raise FusiqaError("`variants` needs two or more names; the first is what the others are compared with")
    return replace(question, variants=tuple(by_name[name] for name in names), reference=names[0])


PRESETS: Mapping[str, Question] = {
    name: parse_question(stated, where=f"preset {name}")
    for name, stated in tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8")).items()
}
"""The questions that are known by name."""
