"""`fusiqa ablate`: variants over seeds, resumed where they stopped, and one report that says what can be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.data import splits
from fusiqa.errors import FusiqaError, listed
from fusiqa.runs.ablation_report import write_report
from fusiqa.runs.ablation_runs import AfterEach, Failures, Run, train_at_once, train_in_turn, usual_jobs
from fusiqa.runs.notices import Say
from fusiqa.runs.prepare import Prepared, prepare, read_ratings
from fusiqa.runs.presets import Variant
from fusiqa.runs.questions import find_question, narrowed
from fusiqa.runs.run_folder import CONFIG_FILE, TEST_FILE, changed_settings, read_json
from fusiqa.runs.train import build, choose_fusion, ignored, settled_precision

FUSION_SWITCHES = {"fusion", "attention_fusion", "multiscale"}  # they say one thing together
LONGEST_NAME = 100  # characters of a folder, which file systems hold with a seed behind it
DATA = {"data_fingerprint": "images or ratings", "split_fingerprint": "split"}


def ablate(config: AblateConfig, *, say: Say = print) -> Path:
    """Train every variant with every seed, and report; what is finished already is not trained again.

    The report is written anew after every run, so that one that is interrupted leaves what it has. A run that fails is
    said, and the others go on.

    Returns:
        The folder of the runs and the report.

    Raises:
        FusiqaError: settings that contradict the preset, finished runs that were made otherwise, a variant that cannot
            be built, images that training refuses; and, after all others, runs that failed.
    """
    preset = narrowed(find_question(config.preset), config.variants)
    folder = config.base.run.run_dir or Path("runs") / f"ablation-{Path(config.preset).stem}"
    if (folder / CONFIG_FILE).is_file():
        raise FusiqaError(f"{folder} holds a run of its own; give the ablation another --run_dir")
    runs = planned(config, preset.variants, folder)
    waiting = [run for run in runs if not run.finished]
    size = f"{len(preset.variants)} variants, {config.seeds} seeds"
    say(f"{preset.question} {len(waiting)} of {len(runs)} runs to do ({size})")
    others = {path.parent for path in folder.glob(f"*-seed*/{TEST_FILE}")} - {run.folder for run in runs}
    if others:
        say(f"notice: not in this report: {listed(sorted(path.name for path in others))}, finished in {folder}")

    def report(failures: Failures, say: Say = lambda _: None) -> None:
        done = [run for run in runs if run.finished]
        refuse_other_data([run.folder for run in done])
        missing = {run.name: failures.get(run.name, "not trained yet") for run in runs if not run.finished}
        write_report(folder, preset, [(run.variant.name, run.seed, run.folder) for run in done], missing, say=say)

    failures = train_all(waiting, runs, config, say, after_each=report) if waiting else {}
    report(failures, say)
    if failures:
        told = listed([f"{name}: {words}" for name, words in failures.items()])
        raise FusiqaError(f"{len(failures)} of {len(runs)} runs failed, and are not in the report: {told}")
    return folder


def planned(config: AblateConfig, variants: Sequence[Variant], folder: Path) -> list[Run]:
    """Every run, seed by seed, so that an interrupted ablation has all variants of the seeds that it finished.

    Raises:
        FusiqaError: settings that a variant edits, or a finished run in the folder with other settings.
    """
    if config.base.run.overwrite or config.base.run.resume:
        raise FusiqaError("an ablation always continues: leave --resume and --overwrite out (or remove its folder)")
    refuse_unclear(variants)
    edited = {name for variant in variants for name in variant.edits}
    if edited & FUSION_SWITCHES:
        edited |= FUSION_SWITCHES
    default = TrainConfig()
    asked = sorted(name for name in edited if config.base[name] != default[name])
    if asked:
        raise FusiqaError(f"--{' and --'.join(asked)}: the variants of this preset set that themselves; leave it out")
    base = config.base.replace(spaq=False)  # a cross-test of every run would cost more than it tells
    runs = []
    for seed in range(config.base.run.seed, config.base.run.seed + config.seeds):
        for variant in variants:
            run_dir = folder / f"{folder_name(variant)}-seed{seed}"
            runs.append(Run(variant, seed, variant.of(base).replace(seed=seed, run_dir=run_dir)))
    for run in runs:
        refuse_other_settings(run)
    return runs


def folder_name(variant: Variant) -> str:
    """What the folders of a variant's runs begin with."""
    return re.sub(r"[\W_]+", "-", variant.name.lower()).strip("-")


def design(variant: Variant) -> tuple[str, TrainConfig]:
    """What a variant comes to: its fusion, however that was asked for, and the settings that it has a use for."""
    config = variant.of(TrainConfig())
    fusion = choose_fusion(config, lambda _: None)
    usual = TrainConfig()
    without_use = {name: usual[name] for name in ignored(config, fusion)}
    return fusion, config.replace(fusion=None, attention_fusion=False, multiscale=True, **without_use)


def refuse_unclear(variants: Sequence[Variant]) -> None:
    """Refuse variants that would share a folder, that are one design twice, or whose name makes no folder."""
    wrong = [repr(v.name) for v in variants if not 0 < len(folder_name(v).encode()) <= LONGEST_NAME]
    if wrong:
        raise FusiqaError(f"a variant needs a name with letters or digits, in {LONGEST_NAME} bytes: {listed(wrong)}")
    for what, told in ((folder_name, "would have one folder"), (design, "are the same settings")):
        seen: dict[object, str] = {}
        for variant in variants:
            other = seen.setdefault(what(variant), variant.name)
            if other is not variant.name:
                raise FusiqaError(f"the variants {other!r} and {variant.name!r} {told}: name or set one otherwise")


def refuse_other_settings(run: Run) -> None:
    """A run that is finished or begun counts only if it was made with these settings, in this precision."""
    if not (run.folder / CONFIG_FILE).is_file():
        return
    changed = list(changed_settings(run.folder, run.config))
    before = read_json(run.folder / CONFIG_FILE)["resolved"]["precision"]
    now = settled_precision(run.config)
    if before != now:
        changed.append(f"precision ({before}, and {now} now)")
    if changed:
        state = "run" if run.finished else "begun"
        raise FusiqaError(
            f"{run.folder} was {state} with another --{' and --'.join(changed)}; give another --run_dir, or remove it"
        )


def refuse_other_data(folders: Sequence[Path], now: Prepared | None = None) -> None:
    """Finished runs can be compared only where images, ratings and split were the same, and are so still."""
    records = {folder: read_json(folder / CONFIG_FILE)["resolved"] for folder in folders}
    if now is not None:
        fingerprints = now.checked.fingerprint, splits.split_fingerprint(now.ratings)
        records[Path("what is there now")] = dict(zip(DATA, fingerprints, strict=True))
    for name, words in DATA.items():
        first: dict[str, Path] = {}
        for folder, resolved in records.items():
            first.setdefault(resolved[name], folder)
        if len(first) > 1:
            one, other, *_ = first.values()
            raise FusiqaError(
                f"{one} and {other} have other {words} ({name.replace('_', ' ')}), so they cannot be compared: bring "
                "the data back, or give another --run_dir"
            )


def train_all(
    waiting: Sequence[Run], runs: Sequence[Run], config: AblateConfig, say: Say, *, after_each: AfterEach
) -> Failures:
    """Look at the images once, for no variant edits what they come from, and train every waiting run on them.

    Raises:
        FusiqaError: images that cannot be used or are not those of the finished runs, or a variant that cannot be
            built; no run has begun then.
    """
    ratings, resize = read_ratings(config.base.data)
    prepared = prepare(config.base.data, ratings, resize, say=say, progress=config.base.run.progress)
    refuse_other_data([run.folder for run in runs if run.finished], prepared)
    for run in {run.variant.name: run for run in waiting}.values():
        try:
            build(run.config, choose_fusion(run.config, lambda _: None), ratings)
        except FusiqaError as reason:
            raise FusiqaError(f"variant {run.variant.name!r}: {reason}") from reason
    jobs = config.jobs or usual_jobs(config.base)
    if jobs > 1 and len(waiting) > 1:
        return train_at_once(waiting, prepared, jobs, say, after_each=after_each)
    return train_in_turn(waiting, prepared, say, after_each=after_each)
