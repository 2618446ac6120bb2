"""Plan the runs of an ablation, train what is missing, and write the report after every run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.data import splits
from fusiqa.data.audit import Checked
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import claim
from fusiqa.progress import Say
from fusiqa.runs.ablation.jobs import AfterEach, Failures, Run, train_runs
from fusiqa.runs.ablation.questions import Variant, find_question, select_variants
from fusiqa.runs.ablation.report import OUTPUTS, write_report
from fusiqa.runs.data import prepare, read_ratings
from fusiqa.runs.folder import CONFIG_FILE, TEST_FILE, changed_settings, read_record
from fusiqa.runs.train import build, ignored
from fusiqa.training.recipe import resolve

FUSION_SWITCHES = {"fusion", "attention_fusion", "multiscale"}  # they say one thing together
LONGEST_NAME = 100  # bytes of a folder's name, which file systems hold with a seed behind it
FINGERPRINTS = {"data_fingerprint": "images or ratings", "split_fingerprint": "split"}


def ablate(config: AblateConfig, *, say: Say = print) -> Path:
    """Train every variant with every seed; finished runs are kept, interrupted ones resumed, failed ones reported."""
    question = select_variants(find_question(config.preset), config.variants)
    folder = config.base.run.run_dir or Path("runs") / f"ablation-{Path(config.preset).stem}"
    if (folder / CONFIG_FILE).is_file():
        raise FusiqaError(f"{folder} is the folder of a single run; give the ablation another `run_dir`")
    runs = plan_runs(config, question.variants, folder)
    claim(folder, *OUTPUTS)
    waiting = [run for run in runs if not run.finished]
    size = f"{len(question.variants)} variants, {config.seeds} seeds"
    say(f"{question.text} {len(waiting)} of {len(runs)} runs to do ({size})")
    if others := {path.parent for path in folder.glob(f"*-seed*/{TEST_FILE}")} - {run.folder for run in runs}:
        say(f"notice: not in this report: {listed(sorted(path.name for path in others))}, finished in {folder}")

    def report(failures: Failures, say: Say = lambda _: None) -> None:
        done = [run for run in runs if run.finished]
        check_data([run.folder for run in done])
        missing = {run.name: failures.get(run.name, "not trained yet") for run in runs if not run.finished}
        write_report(folder, question, [(run.variant.name, run.seed, run.folder) for run in done], missing, say=say)

    failures = train_all(waiting, runs, config, say, after_each=report) if waiting else {}
    report(failures, say)
    if failures:
        reasons = listed([f"{name}: {words}" for name, words in failures.items()])
        raise FusiqaError(f"{len(failures)} of {len(runs)} runs failed and are not in the report: {reasons}")
    return folder


def plan_runs(config: AblateConfig, variants: Sequence[Variant], folder: Path) -> list[Run]:
    """Every run, seed by seed, so that an interrupted ablation has all variants of the seeds that it finished."""
    base, default = config.base, TrainConfig()
    if base.run.overwrite or base.run.resume:
        raise FusiqaError("an ablation always continues: leave out `resume` and `overwrite` (or remove its folder)")
    check_distinct(variants)
    edited = {name for variant in variants for name in variant.edits}
    if edited & FUSION_SWITCHES:
        edited |= FUSION_SWITCHES
    if given := sorted(f"`{name}`" for name in edited if base[name] != default[name]):
        raise FusiqaError(f"the variants of this question set {' and '.join(given)}; leave it out")
    runs = []
    for seed, variant in product(range(base.run.seed, base.run.seed + config.seeds), variants):
        run_dir = folder / f"{folder_name(variant)}-seed{seed}"
        # A cross-test and an export of every run would cost more than they tell:
        own = {"seed": seed, "run_dir": run_dir, "spaq": False, "export": False}
        runs.append(Run(variant, seed, run_dir, variant.of(base).replace(**own)))
        check_settings(runs[-1])
    return runs


def folder_name(variant: Variant) -> str:
    return re.sub(r"[\W_]+", "-", variant.name.lower()).strip("-")


def design(variant: Variant) -> tuple[str, TrainConfig]:
    """What a variant comes to: its fusion, however that was given, and the settings that have an effect on it."""
    config, default = variant.of(TrainConfig()), TrainConfig()
    without_effect = {name: default[name] for name in [*ignored(config), *FUSION_SWITCHES]}
    return config.network.chosen_fusion, config.replace(**without_effect)


def check_distinct(variants: Sequence[Variant]) -> None:
    """Refuse variants that would share a folder, that are one design twice, or whose name makes no folder."""
    if wrong := [repr(v.name) for v in variants if not 0 < len(folder_name(v).encode()) <= LONGEST_NAME]:
        raise FusiqaError(f"the name of a variant needs letters or digits, in {LONGEST_NAME} bytes: {listed(wrong)}")
    for key, problem in ((folder_name, "would share a folder"), (design, "are the same settings")):
        seen: dict[object, str] = {}
        for variant in variants:
            other = seen.setdefault(key(variant), variant.name)
            if other != variant.name:
                raise FusiqaError(f"the variants {other!r} and {variant.name!r} {problem}")


def check_settings(run: Run) -> None:
    """Refuse a finished or interrupted run that was made with other settings, or in another precision."""
    if not (run.folder / CONFIG_FILE).is_file():
        return
    changed = [f"`{name}`" for name in changed_settings(run.folder, run.config)]
    before, now = read_record(run.folder)["resolved"]["precision"], resolve(run.config).precision
    if before != now:
        changed.append(f"`precision` ({before}, and {now} now)")
    if changed:
        made = f"{run.folder} was {'finished' if run.finished else 'begun'} with another {' and '.join(changed)}"
        raise FusiqaError(f"{made}; choose another `run_dir`, or remove it")


def check_data(folders: Sequence[Path], now: Checked | None = None) -> None:
    """Refuse finished runs whose images, ratings or split differ, among themselves or from what is there now."""
    records = {folder: read_record(folder)["resolved"] for folder in folders}
    if now is not None:
        fingerprints = now.fingerprint, splits.split_fingerprint(now.ratings)
        records[Path("the data set as it is now")] = dict(zip(FINGERPRINTS, fingerprints, strict=True))
    for name, words in FINGERPRINTS.items():
        found = {resolved[name]: folder for folder, resolved in records.items()}
        if len(found) > 1:
            one, other, *_ = found.values()
            why = f"{one} and {other} have other {words} ({name.replace('_', ' ')}) and cannot be compared"
            raise FusiqaError(f"{why}: restore the data, or choose another `run_dir`")


def train_all(
    waiting: Sequence[Run], runs: Sequence[Run], config: AblateConfig, say: Say, *, after_each: AfterEach
) -> Failures:
    """Prepare the images once, for no variant edits what they come from, see that all can be built, and train."""
    base, data, view = config.base, config.base.data, config.base.network.view
    prepared = prepare(data, read_ratings(data), view=view, say=say, progress=base.run.progress)
    check_data([run.folder for run in runs if run.finished], prepared)
    for name, each in {run.variant.name: run.config for run in waiting}.items():
        try:
            build(each.network, resolve(each), prepared.ratings)
        except FusiqaError as reason:
            raise FusiqaError(f"variant {name!r}: {reason}") from reason
    return train_runs(waiting, prepared, base, config.jobs, say, after_each=after_each)
