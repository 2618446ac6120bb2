"""The command line: one function per command, heavy imports inside, one line for a user's mistake."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tyro

from fusiqa.config import (
    AblateConfig,
    AttentionConfig,
    CompareConfig,
    DemoConfig,
    DistortConfig,
    EvaluateConfig,
    TrainConfig,
)
from fusiqa.config.data import DataCheckConfig, DataConfig, DataDownloadConfig, DataInfoConfig, DataListConfig
from fusiqa.config.export import ExportConfig
from fusiqa.config.score import ScoreConfig
from fusiqa.config.serve import ServeConfig
from fusiqa.errors import FusiqaError
from fusiqa.machine import prepare_cpu

FAULTY_COPY = SOME_UNREADABLE = 1
USER_MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143
PARSING = (tyro.conf.OmitSubcommandPrefixes,)


def score(config: ScoreConfig) -> None:
    from fusiqa.scoring.batch import score_images

    if score_images(config):
        sys.exit(SOME_UNREADABLE)


def export(config: ExportConfig) -> None:
    from fusiqa.models.export import export
    from fusiqa.scoring.find import find

    path, name = find(config.model)
    difference = export(path, name=name, output=config.output)
    print(f"{config.output}: differs from torch by {difference:.1e} of its range at most")


def serve(config: ServeConfig) -> None:
    from fusiqa.scoring.web.run import serve

    serve(config)


def train(config: TrainConfig) -> None:
    from fusiqa.runs.train import train

    train(config)


def attention(config: AttentionConfig) -> None:
    from fusiqa.runs.explain import explain

    explain(config)


def compare(config: CompareConfig) -> None:
    from fusiqa.runs.compare import compare_runs

    compare_runs(config)


def evaluate(config: EvaluateConfig) -> None:
    from fusiqa.runs.evaluate import evaluate

    evaluate(config)


def ablate(config: AblateConfig) -> None:
    from fusiqa.runs.ablate import ablate

    ablate(config)


def demo(config: DemoConfig) -> None:
    from fusiqa.runs.demo import demo

    demo(config)


def distort(config: DistortConfig) -> None:
    from fusiqa.runs.distort import distort_images

    distort_images(config)


def data(config: DataConfig) -> None:
    match config.action:
        case DataListConfig():
            from fusiqa.data.facts import list_text

            print(list_text())
        case DataInfoConfig(name):
            from fusiqa.data.facts import info_text

            print(info_text(name))
        case DataCheckConfig() as asked:
            check_copy(asked)
        case DataDownloadConfig(name, folder, accept, progress):
            from fusiqa.data.download import download

            download(name, folder=folder, accept=accept, progress=progress)


def check_copy(config: DataCheckConfig) -> None:
    """Report on a copy of a data set; exit code 1 where something is wrong with it."""
    from fusiqa.data.inspection import inspect
    from fusiqa.io import write_text

    report = inspect(config.name, data_dir=config.data_dir, progress=config.progress)
    print(report.text())
    if config.output is not None:
        write_text(config.output, report.to_json() + "\n")
    if not report.ok:
        sys.exit(FAULTY_COPY)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers, `timeout` and `docker stop` send: an orderly end, as after Ctrl-C."""


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Let the first SIGTERM raise Terminated here, and those after it do nothing, so that they disturb no clean-up.

    A SIGTERM that somebody else sees to is left to them, and forked children end by it at once.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    own, terminated = os.getpid(), False

    def terminate(number: int, _: object) -> None:
        nonlocal terminated
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not terminated:
            terminated = True
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if not terminated:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "score": (ScoreConfig, score),
    "train": (TrainConfig, train),
    "attention": (AttentionConfig, attention),
    "evaluate": (EvaluateConfig, evaluate),
    "compare": (CompareConfig, compare),
    "ablate": (AblateConfig, ablate),
    "data": (DataConfig, data),
    "distort": (DistortConfig, distort),
    "export": (ExportConfig, export),
    "serve": (ServeConfig, serve),
    "demo": (DemoConfig, demo),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """`fusiqa COMMAND ...`."""

    def run() -> None:
        config = tyro.extras.subcommand_cli_from_dict(
            {name: settings for name, (settings, _) in COMMANDS.items()},
            prog="fusiqa",
            description="No-reference image quality assessment: a score, and the feature scales it came from.",
            args=arguments,
            config=PARSING,
        )
        next(command for settings, command in COMMANDS.values() if type(config) is settings)(config)

    guard(run)


def main_of(name: str, program: str) -> None:
    """One command as a program of its own: `python train_swin.py` is `fusiqa train`."""
    settings, command = COMMANDS[name]
    guard(lambda: command(tyro.cli(settings, prog=program, config=PARSING)))


def guard(run: Callable[[], None]) -> None:
    """Run a command; a mistake of the user's, or a path that cannot be used, ends in one line and exit code 2."""
    prepare_cpu()
    try:
        with orderly_termination():
            run()
    except FusiqaError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(USER_MISTAKE)
    except OSError as reason:
        if reason.filename is None:  # of no file that somebody named
            raise
        print(f"error: {reason.filename}: {reason.strerror}; name a place that can be used", file=sys.stderr)
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt as reason:
        word, code = ("terminated", TERMINATED) if isinstance(reason, Terminated) else ("interrupted", INTERRUPTED)
        kept = "what is finished is kept, and the same command goes on from there (train and score: with --resume)"
        print(f"{word}; {kept}", file=sys.stderr)
        sys.exit(code)
