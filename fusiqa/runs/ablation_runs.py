"""The runs of an ablation, trained in turn or at once. One that fails costs itself and none of the others."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from fusiqa.config import TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.machine import cores
from fusiqa.runs.notices import Say
from fusiqa.runs.prepare import Prepared
from fusiqa.runs.presets import Variant
from fusiqa.runs.run_folder import CONFIG_FILE, TEST_FILE
from fusiqa.runs.train import train

HEADS_AT_ONCE = 8  # each takes about a gigabyte


@dataclass(frozen=True)
class Run:
    """One training run of an ablation: its variant, its seed and its settings, which name its folder."""

    variant: Variant
    seed: int
    config: TrainConfig

    @property
    def name(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        assert self.config.run.run_dir is not None
        return self.config.run.run_dir

    @property
    def finished(self) -> bool:
        return (self.folder / TEST_FILE).is_file()


Failures = dict[str, str]
"""What went wrong, in the words of its error, by the name of the run."""
AfterEach = Callable[[Failures], None]
"""Called after every run with what has failed so far."""


def usual_jobs(base: TrainConfig) -> int:
    """One run a GPU; without any, a run a core of heads on a frozen backbone, which fill no more than one, else one."""
    if torch.cuda.is_available() and base.run.device != "cpu":
        return torch.cuda.device_count()
    return min(cores(), HEADS_AT_ONCE) if base.optimiser.freeze_backbone else 1


def train_in_turn(runs: Sequence[Run], prepared: Prepared, say: Say, *, after_each: AfterEach) -> Failures:
    """One run after the other."""
    failures: Failures = {}
    for number, run in enumerate(runs, start=1):
        say(f"[{number} of {len(runs)}] {run.name}")
        try:
            train(resuming(run), prepared=prepared, say=say)
        except Exception as reason:
            failures[run.name] = failed(run, reason, say)
        after_each(failures)
    return failures


def train_at_once(runs: Sequence[Run], prepared: Prepared, jobs: int, say: Say, *, after_each: AfterEach) -> Failures:
    """Several runs at once, each in a process, which sees one GPU where there are any and has its share of the cores.

    No more are handed out than there are processes, so that an interruption leaves none that would still be begun.

    Raises:
        FusiqaError: a process was killed.
    """
    failures: Failures = {}
    waiting, trained = list(reversed(runs)), dict[Future, Run]()
    processes = start_processes(jobs)
    try:
        while waiting or trained:
            while waiting and len(trained) < jobs:
                run = waiting.pop()
                trained[processes.submit(train_quietly, resuming(run), prepared)] = run
            for future in wait(trained, return_when=FIRST_COMPLETED).done:
                run = trained.pop(future)
                try:
                    for warning in future.result():
                        say(f"{run.name}: {warning}")
                    say(f"finished: {run.name}")
                except BrokenProcessPool:
                    trained[future] = run
                    raise
                except Exception as reason:
                    failures[run.name] = failed(run, reason, say)
                after_each(failures)
    except BrokenProcessPool as reason:
        under_way = "; ".join(run.name for run in trained.values())
        raise FusiqaError(
            f"a process was killed, most often for want of memory (under way besides: {under_way or 'none'}). The same "
            "command goes on from what is finished; a lower --jobs takes less memory"
        ) from reason
    except BaseException:
        for process in multiprocessing.active_children():  # they may not have had the signal that this one had
            process.terminate()
        raise
    finally:
        processes.shutdown(cancel_futures=True)
    return failures


def start_processes(jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for job in range(jobs):
        free.put(job % max(1, torch.cuda.device_count()))
    share = (free, max(1, cores() // jobs))
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=take_share, initargs=share)


def take_share(free, threads: int) -> None:
    """Let this process see one GPU only, before torch looks for any, and compute with its share of the cores.

    It ends when the process that started it does, however that ended: nobody would count what it trains.
    """
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    if torch.cuda.device_count():
        os.environ["CUDA_VISIBLE_DEVICES"] = str(free.get())
    torch.set_num_threads(threads)


def end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def train_quietly(config: TrainConfig, prepared: Prepared) -> list[str]:
    """Train without a word but for what it warns of."""
    said: list[str] = []
    train(config.replace(progress=False), prepared=prepared, say=said.append)
    return [line for line in said if line.startswith(("warning:", "notice:"))]


def failed(run: Run, reason: Exception, say: Say) -> str:
    """Say at once what went wrong, with the place in the code unless it is the user's to mend; keep the words."""
    words = str(reason) if isinstance(reason, FusiqaError) else f"{type(reason).__name__}: {reason}"
    say(f"failed: {run.name}: {words}")
    if not isinstance(reason, FusiqaError):
        say("".join(traceback.format_exception(reason)))
    return words


def resuming(run: Run) -> TrainConfig:
    """The run's settings, continuing it where it was interrupted; heads on frozen maps begin anew."""
    begun = (run.folder / CONFIG_FILE).is_file()
    frozen = run.config.optimiser.freeze_backbone
    return run.config.replace(resume=begun and not frozen, overwrite=begun and frozen)
