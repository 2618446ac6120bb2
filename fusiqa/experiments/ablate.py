"""`fusiqa ablate`: variants over seeds, resumed where they stopped, and one report that says what can be told."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.data.cores import cores
from fusiqa.errors import FusiqaError
from fusiqa.experiments.ablation_report import write_report
from fusiqa.experiments.notices import Say
from fusiqa.experiments.prepare import Prepared, prepare, read_ratings
from fusiqa.experiments.presets import Variant
from fusiqa.experiments.questions import find_question, narrowed
from fusiqa.experiments.run_folder import CONFIG_FILE, TEST_FILE, changed_settings
from fusiqa.experiments.train import train

HEADS_AT_ONCE = 8  # each takes about a gigabyte
FUSION_SWITCHES = {"fusion", "attention_fusion", "multiscale"}  # they say one thing together


@dataclass(frozen=True)
class Run:
    """One training run of an ablation: its variant, its seed and its settings, which name its folder."""

    variant: Variant
    seed: int
    config: TrainConfig

    @property
    def folder(self) -> Path:
        assert self.config.run_dir is not None
        return self.config.run_dir

    @property
    def finished(self) -> bool:
        return (self.folder / TEST_FILE).is_file()


def ablate(config: AblateConfig, *, say: Say = print) -> Path:
    """Train every variant with every seed, and report; what is finished already is not trained again.

    The report is written anew after every run, so that one that is interrupted leaves what it has.

    Returns:
        The folder of the runs and the report.

    Raises:
        FusiqaError: settings that contradict the preset, a folder of another ablation, or what training refuses.
    """
    preset = narrowed(find_question(config.preset), config.variants)
    folder = config.base.run_dir or Path("runs") / f"ablation-{Path(config.preset).stem}"
    runs = planned(config, preset.variants, folder)
    waiting = [run for run in runs if not run.finished]
    size = f"{len(preset.variants)} variants, {config.seeds} seeds"
    say(f"{preset.question} {len(waiting)} of {len(runs)} runs to do ({size})")

    def report(say: Say = lambda _: None) -> None:
        done = [run for run in runs if run.finished]
        write_report(folder, config, preset, [(run.variant.name, run.seed, run.folder) for run in done], say=say)

    if waiting:
        train_all(waiting, config, say, after_each=report)
    report(say)
    return folder


def planned(config: AblateConfig, variants: Sequence[Variant], folder: Path) -> list[Run]:
    """Every run, seed by seed, so that an interrupted ablation has all variants of the seeds that it finished.

    Raises:
        FusiqaError: settings that a variant edits, or a finished run in the folder with other settings.
    """
    if config.base.overwrite or config.base.resume:
        raise FusiqaError("an ablation always continues: leave --resume and --overwrite out (or remove its folder)")
    refuse_unclear(variants)
    edited = {name for variant in variants for name in variant.edits}
    if edited & FUSION_SWITCHES:
        edited |= FUSION_SWITCHES
    default = TrainConfig()
    asked = sorted(name for name in edited if getattr(config.base, name) != getattr(default, name))
    if asked:
        raise FusiqaError(f"--{' and --'.join(asked)}: the variants of this preset set that themselves; leave it out")
    base = replace(config.base, spaq=False)  # a cross-test of every run would cost more than it tells
    runs = []
    for seed in range(config.base.seed, config.base.seed + config.seeds):
        for variant in variants:
            run_dir = folder / f"{folder_name(variant)}-seed{seed}"
            runs.append(Run(variant, seed, replace(variant.of(base), seed=seed, run_dir=run_dir)))
    for run in runs:
        refuse_other_settings(run)
    return runs


def folder_name(variant: Variant) -> str:
    """What the folders of a variant's runs begin with."""
    return re.sub(r"[\W_]+", "-", variant.name.lower()).strip("-")


def refuse_unclear(variants: Sequence[Variant]) -> None:
    """Refuse variants that would share a folder, or that are one design twice."""
    for what, told in (
        (folder_name, "would have one folder"),
        (lambda v: v.of(TrainConfig()), "are the same settings"),
    ):
        seen: dict[object, str] = {}
        for variant in variants:
            other = seen.setdefault(what(variant), variant.name)
            if other is not variant.name:
                raise FusiqaError(f"the variants {other!r} and {variant.name!r} {told}: name or set one otherwise")
        if "" in seen:
            raise FusiqaError(f"the variant {seen['']!r} needs a name with letters or digits")


def refuse_other_settings(run: Run) -> None:
    """A finished run counts only if it was made with these settings."""
    if not run.finished:
        return
    changed = changed_settings(run.folder, run.config)
    if changed:
        raise FusiqaError(
            f"{run.folder} was run with another --{' and --'.join(changed)}; give another --run_dir, or remove it"
        )


def train_all(runs: Sequence[Run], config: AblateConfig, say: Say, *, after_each: Callable[[], None]) -> None:
    """Look at the photographs once, for no variant edits what they come from, and train every run on them."""
    ratings, resize = read_ratings(config.base)
    prepared = prepare(config.base, ratings, resize, say=say, progress=config.base.progress)
    jobs = config.jobs or usual_jobs(config.base)
    if jobs > 1 and len(runs) > 1:
        train_at_once(runs, prepared, jobs, say, after_each=after_each)
    else:
        train_in_turn(runs, prepared, say, after_each=after_each)


def usual_jobs(base: TrainConfig) -> int:
    """One run a GPU; without any, a run a core of heads on a frozen backbone, which fill no more than one, else one."""
    if torch.cuda.is_available() and base.accelerator != "cpu":
        return torch.cuda.device_count()
    return min(cores(), HEADS_AT_ONCE) if base.freeze_backbone else 1


def train_in_turn(runs: Sequence[Run], prepared: Prepared, say: Say, *, after_each: Callable[[], None]) -> None:
    """One run after the other."""
    for number, run in enumerate(runs, start=1):
        say(f"[{number} of {len(runs)}] {run.variant.name}, seed {run.seed}")
        train(resuming(run), prepared=prepared, say=say)
        after_each()


def train_at_once(
    runs: Sequence[Run], prepared: Prepared, jobs: int, say: Say, *, after_each: Callable[[], None]
) -> None:
    """Several runs at once, each in a process of its own, which sees one GPU where there are any."""
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for job in range(jobs):
        free.put(job % max(1, torch.cuda.device_count()))
    threads = max(1, cores() // jobs)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=take_share, initargs=(free, threads)) as processes:
        futures: dict[Future, Run] = {processes.submit(train_quietly, resuming(run), prepared): run for run in runs}
        for future in as_completed(futures):
            future.result()
            say(f"finished: {futures[future].variant.name}, seed {futures[future].seed}")
            after_each()


def take_share(free, threads: int) -> None:
    """Let this process see one GPU only, before torch looks for any, and compute with its share of the cores."""
    if torch.cuda.device_count():
        os.environ["CUDA_VISIBLE_DEVICES"] = str(free.get())
    torch.set_num_threads(threads)


def train_quietly(config: TrainConfig, prepared: Prepared) -> None:
    train(replace(config, progress=False), prepared=prepared, say=lambda _: None)


def resuming(run: Run) -> TrainConfig:
    """The run's settings, continuing it where it was interrupted; heads on frozen maps begin anew."""
    begun = (run.folder / CONFIG_FILE).is_file()
    frozen = run.config.freeze_backbone
    return replace(run.config, resume=begun and not frozen, overwrite=begun and frozen)
