"""The question of an ablation, a preset or a TOML file in the form of presets.toml, and the runs that it asks for."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from fusiqa.config import AblateConfig, NetworkSettings, OptimiserSettings, RunSettings, TrainConfig
from fusiqa.config.checks import from_plain
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError, listed
from fusiqa.runs.folder import CONFIG_FILE, TEST_FILE, changed_settings
from fusiqa.runs.train import ignored
from fusiqa.training.recipe import Recipe, inherit, resolve

QUESTION_FORM = 'expected question = "..." and two or more tables [variants."NAME"] of settings'
EDITABLE = {"network": NetworkSettings, "optimiser": OptimiserSettings, "run": RunSettings}
SHARED = frozenset(name for name, group in groups().items() if group in ("data", "run")) - {"precision"}
"""Settings that no variant may edit: all runs share their images, and are paired by seed."""
FUSION_SWITCHES = {"fusion", "attention_fusion", "multiscale"}  # together they choose the fusion
LONGEST_NAME = 100  # bytes of a variant's folder name, which fits any file system with "-seed1" after it


Edits = Mapping[str, Any]  # the settings that a variant changes, by name


@dataclass(frozen=True)
class Question:
    """A question, its variants by name, and the name of the one that the others are compared with."""

    text: str
    variants: Mapping[str, Edits]
    reference: str


@dataclass(frozen=True)
class Run:
    """A training run of an ablation: its variant, seed and folder, and its settings, as given and resolved."""

    variant: str
    seed: int
    folder: Path
    config: TrainConfig
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    @property
    def begun(self) -> bool:
        return (self.folder / CONFIG_FILE).is_file()

    @property
    def finished(self) -> bool:
        return (self.folder / TEST_FILE).is_file()


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
        raise FusiqaError(f"{where}: unknown {name!r}{closest(name, known)}; {QUESTION_FORM}")
    text, variants = stated.get("question"), stated.get("variants")
    if not (isinstance(text, str) and isinstance(variants, dict) and len(variants) >= 2):
        raise FusiqaError(f"{where} holds no question: {QUESTION_FORM}")
    reference = stated.get("reference", next(iter(variants)))
    if reference not in variants:
        raise FusiqaError(f"{where}: reference {reference!r} is none of the variants {listed(list(variants))}")
    parsed = {name: parse_edits(edits, where=f"{where}: variant {name!r}") for name, edits in variants.items()}
    return Question(text, parsed, reference)


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
        edits[name] = getattr(from_plain(EDITABLE[groups()[name]], {name: value}, where=where), name)
    return edits


def closest(word: str, known: Iterable[str]) -> str:
    """The end of an error on an unknown word: the nearest known one, if any is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def select_variants(question: Question, names: Sequence[str]) -> Question:
    """The question with these variants alone, in this order, the first as the reference; all of them for no name."""
    if not names:
        return question
    unknown = [name for name in names if name not in question.variants]
    if unknown or len(set(names)) < len(names):
        wrong = f"unknown {listed(unknown)}" if unknown else "one is named twice"
        raise FusiqaError(f"`variants`: {wrong}; this question has {', '.join(map(repr, question.variants))}")
    if len(names) == 1:
        raise FusiqaError("`variants` needs two or more names; the first is what the others are compared with")
    return Question(question.text, {name: question.variants[name] for name in names}, reference=names[0])


def plan_runs(config: AblateConfig, variants: Mapping[str, Edits], folder: Path) -> list[Run]:
    """Every run, seed by seed, so that an interrupted ablation has finished all variants of the first seeds."""
    base, default = config.base, TrainConfig()
    if base.run.overwrite or base.run.resume:
        raise FusiqaError("an ablation always continues: leave out `resume` and `overwrite` (or remove its folder)")
    edited = {name for edits in variants.values() for name in edits}
    if edited & FUSION_SWITCHES:
        edited |= FUSION_SWITCHES
    if given := sorted(f"`{name}`" for name in edited if base[name] != default[name]):
        raise FusiqaError(f"the variants of this question set {' and '.join(given)}; leave it out")
    if base.data.resize == "auto" and any("start_from" in edits for edits in variants.values()):
        raise FusiqaError("a variant with `start_from` needs a `resize` that all runs share, such as 384")
    check_distinct({name: base.replace(**edits) for name, edits in variants.items()})
    runs = []
    for seed, (variant, edits) in product(range(base.run.seed, base.run.seed + config.seeds), variants.items()):
        run_dir = folder / f"{folder_name(variant)}-seed{seed}"
        # No cross-test and no export of every run: they take long, and the report does not use them.
        own = inherit(base.replace(**edits, seed=seed, run_dir=run_dir, spaq=False, export=False))
        run = Run(variant, seed, run_dir, own, resolve(own))
        if run.begun and (changed := changed_settings(run_dir, own, precision=run.recipe.precision)):
            raise FusiqaError(f"{run_dir} has other settings: {changed}; choose another `run_dir`, or remove it")
        runs.append(run)
    return runs


def check_distinct(variants: Mapping[str, TrainConfig]) -> None:
    """Refuse variants that would share a folder, that are the same design, or whose name cannot name a folder."""
    if wrong := [repr(name) for name in variants if not 0 < len(folder_name(name).encode()) <= LONGEST_NAME]:
        raise FusiqaError(f"the name of a variant needs letters or digits, in {LONGEST_NAME} bytes: {listed(wrong)}")
    for one, other in combinations(variants, 2):
        if folder_name(one) == folder_name(other):
            raise FusiqaError(f"the variants {one!r} and {other!r} would share a folder")
        if design(variants[one]) == design(variants[other]):
            raise FusiqaError(f"the variants {one!r} and {other!r} are the same settings")


def folder_name(variant: str) -> str:
    return re.sub(r"[\W_]+", "-", variant.lower()).strip("-")


def design(config: TrainConfig) -> tuple[str, TrainConfig]:
    """The fusion, however it is chosen, and the settings that affect the design."""
    default = TrainConfig()
    without_effect = {name: default[name] for name in [*ignored(config), *FUSION_SWITCHES]}
    return config.network.chosen_fusion, config.replace(**without_effect)


PRESETS: Mapping[str, Question] = {
    name: parse_question(stated, where=f"preset {name}")
    for name, stated in tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8")).items()
}
"""The questions that are known by name."""
