"""Train the runs of an ablation, in turn or in parallel processes; one that fails stops no other."""

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
from fusiqa.runs.ablation.questions import Variant
from fusiqa.runs.data import Prepared
from fusiqa.runs.folder import CONFIG_FILE, TEST_FILE, Say
from fusiqa.runs.train import train
from fusiqa.scoring.torch import choose_device

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
"""Message of the error, by the name of the run."""
AfterEach = Callable[[Failures], None]
"""Called after every run with the failures so far."""


def usual_jobs(base: TrainConfig) -> int:
    """One run a GPU; on a CPU one run a core for heads on a frozen backbone, which use no more than one, else one."""
    if gpus := gpus_for(base.run.device):
        return gpus
    on_cpu = choose_device(base.run.device).type == "cpu"
    return min(cores(), HEADS_AT_ONCE) if base.optimiser.freeze_backbone and on_cpu else 1


def gpus_for(device: str) -> int:
    """GPUs to distribute the runs over; 0 where the device is one of them by name, or none."""
    return torch.cuda.device_count() if device in ("auto", "cuda") else 0


def train_in_turn(runs: Sequence[Run], prepared: Prepared, say: Say, *, after_each: AfterEach) -> Failures:
    """One run after the other."""
    failures: Failures = {}
    for number, run in enumerate(runs, start=1):
        say(f"[{number} of {len(runs)}] {run.name}")
        try:
            train(resuming(run), prepared=prepared, say=say)
        except Exception as reason:
            failures[run.name] = report_failure(run, reason, say)
        after_each(failures)
    return failures


def train_in_parallel(
    runs: Sequence[Run], prepared: Prepared, say: Say, *, jobs: int, gpus: int, after_each: AfterEach
) -> Failures:
    """Several runs at once, each in a process with one GPU, where there are any, and its fraction of the cores.

    No more are submitted than there are processes, so that an interruption leaves none that would still begin.

    Raises:
        FusiqaError: a process was killed.
    """
    failures: Failures = {}
    waiting, training = list(reversed(runs)), dict[Future, Run]()
    processes = start_processes(jobs, gpus)
    try:
        while waiting or training:
            while waiting and len(training) < jobs:
                run = waiting.pop()
                training[processes.submit(train_quietly, resuming(run), prepared)] = run
            for future in wait(training, return_when=FIRST_COMPLETED).done:
                run = training.pop(future)
                try:
                    for warning in future.result():
                        say(f"{run.name}: {warning}")
                    say(f"finished: {run.name}")
                except BrokenProcessPool:
                    training[future] = run
                    raise
                except Exception as reason:
                    failures[run.name] = report_failure(run, reason, say)
                after_each(failures)
    except BrokenProcessPool as reason:
        under_way = "; ".join(run.name for run in training.values())
        raise FusiqaError(
            f"a process was killed, most often because memory ran out, while training {under_way}. Finished runs are "
            "kept: run the same command again, with fewer `jobs` to use less memory"
        ) from reason
    except BaseException:
        for process in multiprocessing.active_children():  # they may not have had the signal that this one had
            process.terminate()
        raise
    finally:
        processes.shutdown(cancel_futures=True)
    return failures


def start_processes(jobs: int, gpus: int) -> ProcessPoolExecutor:
    """Processes that each see one of the GPUs, and compute with their fraction of the cores."""
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for job in range(jobs):
        free.put(str(job % gpus) if gpus else None)
    arguments = (free, max(1, cores() // jobs))
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=initialise, initargs=arguments)


def initialise(free, threads: int) -> None:
    """Let this process see one GPU only, before torch looks for any, and use so many threads.

    It ends when the process that started it does, however that ended: nobody would count what it trains.
    """
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    gpu = free.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)


def end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def train_quietly(config: TrainConfig, prepared: Prepared) -> list[str]:
    """Train, and return the warnings and notices."""
    said: list[str] = []
    train(config.replace(progress=False), prepared=prepared, say=said.append)
    return [line for line in said if line.startswith(("warning:", "notice:"))]


def report_failure(run: Run, reason: Exception, say: Say) -> str:
    """Say what went wrong, with a traceback unless the user can mend it; return its message."""
    message = str(reason) if isinstance(reason, FusiqaError) else f"{type(reason).__name__}: {reason}"
    say(f"failed: {run.name}: {message}")
    if not isinstance(reason, FusiqaError):
        say("".join(traceback.format_exception(reason)))
    return message


def resuming(run: Run) -> TrainConfig:
    """The run's settings, continuing it where it was interrupted."""
    return run.config.replace(resume=(run.folder / CONFIG_FILE).is_file())
