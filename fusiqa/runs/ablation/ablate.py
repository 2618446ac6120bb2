"""Train the runs of an ablation, in turn or in parallel processes, and write its report after every run."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.data import splits
from fusiqa.data.audit import Checked
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import claim
from fusiqa.machine import cores
from fusiqa.progress import Say
from fusiqa.runs.ablation.questions import Run, find_question, plan_runs, select_variants
from fusiqa.runs.ablation.report import REPORT_FILES, write_report
from fusiqa.runs.data import prepare, read_ratings
from fusiqa.runs.folder import CONFIG_FILE, TEST_FILE, read_record
from fusiqa.runs.train import build, train
from fusiqa.training.recipe import inherit

FINGERPRINTS = {"data_fingerprint": "images or ratings", "split_fingerprint": "split"}
HEADS_AT_ONCE = 8  # each takes about a gigabyte
Ended = Generator[tuple[Run, Exception | None], None, None]  # runs as they end, each with its error if it failed


def ablate(config: AblateConfig, *, say: Say = print) -> Path:
    """Train every variant with every seed; finished runs are kept, interrupted ones resumed, failed ones reported."""
    question = select_variants(find_question(config.preset), config.variants)
    config = replace(config, base=inherit(config.base))
    folder = config.base.run.run_dir or Path("runs") / f"ablation-{Path(config.preset).stem}"
    if (folder / CONFIG_FILE).is_file():
        raise FusiqaError(f"{folder} is the folder of a single run; give the ablation another `run_dir`")
    runs = plan_runs(config, question.variants, folder)
    claim(folder, *REPORT_FILES)
    waiting, failures = [run for run in runs if not run.finished], dict[str, str]()
    to_do = f"{len(waiting)} of {len(runs)} runs to do"
    say(f"{question.text} {to_do} ({len(question.variants)} variants, {config.seeds} seeds)")
    if others := {path.parent for path in folder.glob(f"*-seed*/{TEST_FILE}")} - {run.folder for run in runs}:
        say(f"notice: not in this report: {listed(sorted(path.name for path in others))}, finished in {folder}")

    def report(say: Say = lambda _: None) -> None:
        done = [run for run in runs if run.finished]
        check_data([run.folder for run in done])
        missing = {run.name: failures.get(run.name, "not trained yet") for run in runs if not run.finished}
        write_report(folder, question, done, missing, say=say)

    if waiting:
        with closing(train_runs(waiting, runs, config, say)) as ended:
            for run, reason in ended:
                if reason is not None:
                    failures[run.name] = report_failure(run, reason, say)
                report()
    report(say)
    if failures:
        reasons = listed([f"{name}: {words}" for name, words in failures.items()])
        raise FusiqaError(f"{len(failures)} of {len(runs)} runs failed and are not in the report: {reasons}")
    return folder


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
            why = f"{one} and {other} differ in {words} ({name.replace('_', ' ')}) and cannot be compared"
            raise FusiqaError(f"{why}: restore the data, or choose another `run_dir`")


def train_runs(waiting: Sequence[Run], runs: Sequence[Run], config: AblateConfig, say: Say) -> Ended:
    """Prepare the images, which all variants share, check that every network can be built, and train.

    By default one run at a time per GPU; on a CPU one per core for heads on a frozen backbone, else one.
    """
    base, sets = config.base, read_ratings(config.base.data)
    prepared = prepare(base.data, sets, view=base.network.view, say=say, progress=base.run.progress)
    check_data([run.folder for run in runs if run.finished], prepared)
    for run in {run.variant: run for run in waiting}.values():
        try:
            build(run.config.network, run.recipe, prepared.ratings)
        except FusiqaError as reason:
            raise FusiqaError(f"variant {run.variant!r}: {reason}") from reason
    gpus = torch.cuda.device_count() if base.run.device in ("auto", "cuda") else 0  # 0 where one is meant by its name
    heads = base.optimiser.freeze_backbone and runs[0].recipe.device.type == "cpu"
    jobs = config.jobs or gpus or (min(cores(), HEADS_AT_ONCE) if heads else 1)
    if jobs > 1 and len(waiting) > 1:
        return train_in_parallel(waiting, prepared, say, jobs=jobs, gpus=gpus)
    return train_in_turn(waiting, prepared, say)


def train_in_turn(runs: Sequence[Run], prepared: Checked, say: Say) -> Ended:
    """One run after the other."""
    for number, run in enumerate(runs, start=1):
        say(f"[{number} of {len(runs)}] {run.name}")
        config, failure = resuming(run), None
        try:
            train(config, prepared=prepared, say=say)
        except Exception as reason:
            failure = reason
        yield run, failure


def train_in_parallel(runs: Sequence[Run], prepared: Checked, say: Say, *, jobs: int, gpus: int) -> Ended:
    """Several runs at a time, each in its own process. Raises FusiqaError if one was killed.

    No more runs are submitted than there are processes, so that none starts after an interruption.
    """
    waiting, training = list(reversed(runs)), dict[Future, Run]()
    processes = start_processes(jobs, gpus)
    try:
        while waiting or training:
            while waiting and len(training) < jobs:
                run = waiting.pop()
                training[processes.submit(train_quietly, resuming(run), prepared)] = run
            for future in wait(training, return_when=FIRST_COMPLETED).done:
                run, failure = training[future], None
                try:
                    for warning in future.result():
                        say(f"{run.name}: {warning}")
                    say(f"finished: {run.name}")
                except BrokenProcessPool:
                    raise
                except Exception as reason:
                    failure = reason
                del training[future]
                yield run, failure
    except BrokenProcessPool as reason:
        lost = "a process was killed, most often because memory ran out, while training"
        again = "Finished runs are kept: run the same command again, with fewer `jobs` to use less memory"
        raise FusiqaError(f"{lost} {'; '.join(run.name for run in training.values())}. {again}") from reason
    except BaseException:
        for process in multiprocessing.active_children():  # which may not have received the signal
            process.terminate()
        raise
    finally:
        processes.shutdown(cancel_futures=True)


def start_processes(jobs: int, gpus: int) -> ProcessPoolExecutor:
    """Processes that each see one of the GPUs and use their fraction of the cores."""
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for job in range(jobs):
        free.put(str(job % gpus) if gpus else None)
    return ProcessPoolExecutor(jobs, context, initializer=initialise, initargs=(free, max(1, cores() // jobs)))


def initialise(free, threads: int) -> None:
    """Restrict this process to one GPU, before torch looks for any, and to so many threads; end it with its parent."""
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


def resuming(run: Run) -> TrainConfig:
    return run.config.replace(resume=run.begun)


def report_failure(run: Run, reason: Exception, say: Say) -> str:
    """Print why a run failed, with a traceback unless it is a user's mistake; return the message."""
    mistake = isinstance(reason, FusiqaError)
    message = str(reason) if mistake else f"{type(reason).__name__}: {reason}"
    trace = "" if mistake else "\n" + "".join(traceback.format_exception(reason))
    say(f"failed: {run.name}: {message}{trace}")
    return message
