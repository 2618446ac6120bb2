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
from fusiqa.data.audit import Checked
from fusiqa.errors import FusiqaError
from fusiqa.machine import cores
from fusiqa.progress import Say
from fusiqa.runs.ablation.questions import Variant
from fusiqa.runs.folder import CONFIG_FILE, TEST_FILE
from fusiqa.runs.train import train
from fusiqa.scoring.torch import choose_device

HEADS_AT_ONCE = 8  # each takes about a gigabyte


@dataclass(frozen=True)
class Run:
    """One training run of an ablation: its variant, its seed, its folder, and its settings, which have all three."""

    variant: Variant
    seed: int
    folder: Path
    config: TrainConfig

    @property
    def name(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        return (self.folder / TEST_FILE).is_file()


Failures = dict[str, str]  # message of the error, by the name of the run
AfterEach = Callable[[Failures], None]  # called after every run with the failures so far


def train_runs(
    runs: Sequence[Run], prepared: Checked, base: TrainConfig, jobs: int | None, say: Say, *, after_each: AfterEach
) -> Failures:
    """Begin or continue runs: by default one a GPU, on a CPU one a core for heads on a frozen backbone, else one."""
    device = base.run.device
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0  # 0 where one is meant by its name
    heads = base.optimiser.freeze_backbone and not gpus and choose_device(device).type == "cpu"
    jobs = jobs or gpus or (min(cores(), HEADS_AT_ONCE) if heads else 1)
    if jobs > 1 and len(runs) > 1:
        return train_in_parallel(runs, prepared, say, jobs=jobs, gpus=gpus, after_each=after_each)
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
    runs: Sequence[Run], prepared: Checked, say: Say, *, jobs: int, gpus: int, after_each: AfterEach
) -> Failures:
    """Several runs at once, each in a process of its own. Raises FusiqaError if one was killed.

    No more are submitted than there are processes, so that an interruption leaves none that would still begin.
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
                run = training[future]
                try:
                    for warning in future.result():
                        say(f"{run.name}: {warning}")
                    say(f"finished: {run.name}")
                except BrokenProcessPool:
                    raise
                except Exception as reason:
                    failures[run.name] = report_failure(run, reason, say)
                del training[future]
                after_each(failures)
    except BrokenProcessPool as reason:
        lost = "a process was killed, most often because memory ran out, while training"
        again = "Finished runs are kept: run the same command again, with fewer `jobs` to use less memory"
        raise FusiqaError(f"{lost} {'; '.join(run.name for run in training.values())}. {again}") from reason
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
    return ProcessPoolExecutor(jobs, context, initializer=initialise, initargs=(free, max(1, cores() // jobs)))


def initialise(free, threads: int) -> None:
    """Let this process see one GPU only, before torch looks for any, use so many threads, and end with its parent."""
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    if (gpu := free.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)


def end_with_the_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def train_quietly(config: TrainConfig, prepared: Checked) -> list[str]:
    said: list[str] = []
    train(config.replace(progress=False), prepared=prepared, say=said.append)
    return [line for line in said if line.startswith(("warning:", "notice:"))]


def report_failure(run: Run, reason: Exception, say: Say) -> str:
    """Say what went wrong, with a traceback unless the user can mend it; return its message."""
    if isinstance(reason, FusiqaError):
        say(f"failed: {run.name}: {reason}")
        return str(reason)
    message = f"{type(reason).__name__}: {reason}"
    say(f"failed: {run.name}: {message}\n{''.join(traceback.format_exception(reason))}")
    return message


def resuming(run: Run) -> TrainConfig:
    return run.config.replace(resume=(run.folder / CONFIG_FILE).is_file())
