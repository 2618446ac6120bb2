"""The command line: `fusiqa COMMAND ...`. A user's mistake ends in one line and exit code 2."""

from __future__ import annotations

import difflib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any

import tyro

import fusiqa
from fusiqa.config import (
    AblateConfig,
    AttentionConfig,
    CompareConfig,
    DataCheckConfig,
    DataDownloadConfig,
    DataInfoConfig,
    DataListConfig,
    DemoConfig,
    DistortConfig,
    EvaluateConfig,
    TrainConfig,
)
from fusiqa.config.export import ExportConfig
from fusiqa.config.help import help_text, options_of
from fusiqa.config.score import ScoreConfig
from fusiqa.config.serve import ServeConfig
from fusiqa.errors import FusiqaError
from fusiqa.machine import prepare_cpu

FAULTY_COPY = SOME_UNREADABLE = 1
USER_MISTAKE = 2
INTERRUPTED = 130
CLOSED_PIPE = 141
TERMINATED = 143
PARSING = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone)
DESCRIPTION = "No-reference image quality assessment: a score, and the feature scales it came from."
HELP = {"-h", "--help"}
EXTRAS = {
    **dict.fromkeys(("torch", "timm", "safetensors", "huggingface_hub", "onnx", "onnxscript", "torchmetrics"), "torch"),
    **dict.fromkeys(("pandas", "scipy", "lightning", "matplotlib", "statsmodels", "openpyxl"), "train"),
}
"""What installs a package that a command needs and the core does not have."""
AGAIN = "progress is saved; run the same command "


def lazily(path: str) -> Callable[[Any], object]:
    """A function that is imported when it is called, so that `fusiqa --help` imports no heavy library."""
    module, _, name = path.rpartition(".")
    return lambda config: getattr(import_module(module), name)(config)


def score(config: ScoreConfig) -> None:
    if config.engine == "ray":
        from fusiqa.scoring.cluster import score_on_cluster as score_images
    else:
        from fusiqa.scoring.batch import score_images

    if score_images(config):
        sys.exit(SOME_UNREADABLE)


def export(config: ExportConfig) -> None:
    from fusiqa.io import check_output
    from fusiqa.models.export import export
    from fusiqa.scoring.models import find, source_of
    from fusiqa.scoring.torch import load_torch_network

    check_output(config.output, replace=config.overwrite)
    path, name = find(config.model)
    difference = export(load_torch_network(path, name=name, device="cpu"), config.output, source=source_of(path))
    print(f"{config.output}: differs from torch by at most {difference:.1e} of the score range")


def list_data(_: DataListConfig) -> None:
    from fusiqa.data.catalog import list_text

    print(list_text())


def describe_data(config: DataInfoConfig) -> None:
    from fusiqa.data.catalog import info_text

    print(info_text(config.name))


def check_data(config: DataCheckConfig) -> None:
    from fusiqa.data.audit import audit
    from fusiqa.io import write_text

    report = audit(config.name, data_dir=config.data_dir, progress=config.progress)
    print(report.text())
    if config.output is not None:
        write_text(config.output, report.to_json() + "\n")
    if not report.ok:
        sys.exit(FAULTY_COPY)


def download_data(config: DataDownloadConfig) -> None:
    from fusiqa.data.download import download

    download(config.name, folder=config.data_dir, accept=config.accept_licence, progress=config.progress)


COMMANDS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "score": (ScoreConfig, score),
    "serve": (ServeConfig, lazily("fusiqa.scoring.web.server.serve")),
    "export": (ExportConfig, export),
    "train": (TrainConfig, lazily("fusiqa.runs.train.train")),
    "evaluate": (EvaluateConfig, lazily("fusiqa.runs.evaluate.evaluate")),
    "attention": (AttentionConfig, lazily("fusiqa.runs.explain.explain")),
    "compare": (CompareConfig, lazily("fusiqa.runs.compare.compare_runs")),
    "ablate": (AblateConfig, lazily("fusiqa.runs.ablation.ablate.ablate")),
    "data list": (DataListConfig, list_data),
    "data info": (DataInfoConfig, describe_data),
    "data check": (DataCheckConfig, check_data),
    "data download": (DataDownloadConfig, download_data),
    "distort": (DistortConfig, lazily("fusiqa.runs.distort.distort_images")),
    "demo": (DemoConfig, lazily("fusiqa.runs.demo.demo")),
}
MODEL_FIRST = ("evaluate", "attention", "export")
"""Commands whose first argument is a model; they take it as --model MODEL too."""
CONTINUED = {
    "score": AGAIN + "with --resume",
    "train": AGAIN + "with --resume",
    "ablate": AGAIN + "to continue",
    "data download": AGAIN + "to continue",
}
"""What to do after an interruption; other commands start anew."""


def main(arguments: Sequence[str] | None = None) -> None:
    """`fusiqa COMMAND ...`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        print(f"fusiqa {fusiqa.__version__}")
    elif not words or words[0] in HELP or words in (["data"], ["data", "-h"], ["data", "--help"]):
        guard(lambda: print(overview("data " if words[:1] == ["data"] else "")))
        sys.exit(0 if HELP & set(words) else USER_MISTAKE)
    else:
        guard(lambda: run(*command_of(words)))


def main_of(name: str, program: str) -> None:
    """One command as a program of its own: `python train_swin.py` is `fusiqa train`."""
    run(name, sys.argv[1:], program)


def run(name: str, words: Sequence[str], program: str | None = None) -> None:
    """Parse the words of a command and run it, or print its help."""
    settings, command = COMMANDS[name]
    program = program or f"fusiqa {name}"
    if HELP & set(words):
        guard(lambda: print(help_text(settings, program)))
        return
    flags = {option.name for option in options_of(settings)}
    saved = name != "score" or any(word.startswith("--output") for word in words)
    guard(lambda: command(parse(name, words, program)), flags=flags, after=CONTINUED.get(name, "") if saved else "")


def command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and the words after it. Raises FusiqaError for an unknown one."""
    for count in (2, 1):
        if (name := " ".join(words[:count])) in COMMANDS:
            return name, list(words[count:])
    wanted = " ".join(words[: 2 if words[0] == "data" else 1])
    near = difflib.get_close_matches(wanted, COMMANDS, n=1)
    raise FusiqaError(f"no command {wanted!r}{f'; did you mean {near[0]}?' if near else '.'} See fusiqa --help")


def parse(name: str, words: Sequence[str], program: str | None = None, *, quiet: bool = False) -> Any:
    """The settings that the words of a command come to.

    Args:
        name: of the command.
        words: after the command.
        program: how the command is called, for the messages.
        quiet: print nothing when words are refused.

    Raises:
        FusiqaError: a setting is out of its bounds, or excludes another.
        SystemExit: a word that is no flag, or a value that cannot be read; with a message on standard error.
    """
    words = list(words)
    if name in MODEL_FIRST:
        for place, word in enumerate(words):
            if word == "--model" and place + 1 < len(words):
                words = [words[place + 1], *words[:place], *words[place + 2 :]]
            elif word.startswith("--model="):
                words = [word.partition("=")[2], *words[:place], *words[place + 1 :]]
    settings, program = COMMANDS[name][0], program or f"fusiqa {name}"
    said = StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(settings, prog=program, args=words, use_underscores=True, config=PARSING)
    except SystemExit as refused:
        reason: BaseException | None = refused
        while reason is not None and (reason := reason.__context__):
            if isinstance(reason, FusiqaError):  # of the settings themselves, which tyro would put into a box
                raise reason from None
        if not quiet:
            print(said.getvalue(), end="", file=sys.stderr)
        raise


def overview(within: str = "") -> str:
    """The commands, one a line."""
    lines = [f"usage: fusiqa {within}COMMAND ...   (fusiqa COMMAND --help describes each)", "", DESCRIPTION, ""]
    for name, (settings, _) in COMMANDS.items():
        if name.startswith(within):
            lines.append(f"  {name:14} {' '.join((settings.__doc__ or '').split())}")
    return "\n".join([*lines, "", "  --version      Print the version."])


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers, `timeout` and `docker stop` send: an orderly end, as after Ctrl-C."""


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Raise Terminated here at the first SIGTERM, and ignore later ones, so that they disturb no clean-up.

    A SIGTERM that has another handler is left to it, and forked children end by it at once.
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


def guard(run: Callable[[], object], *, flags: Collection[str] = (), after: str = "") -> None:
    """Run a command; a user's mistake, or a path that cannot be used, ends in one line and exit code 2.

    Args:
        run: the command.
        flags: its flags; an error that names one as a parameter, `crop_size`, shows it as --crop_size.
        after: what an interruption says of going on.
    """
    prepare_cpu()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding does not have
    try:
        with orderly_termination():
            run()
            sys.stdout.flush()
    except ModuleNotFoundError as absent:
        package = (absent.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        print(f"error: this needs {package}: pip install 'fusiqa[{EXTRAS[package]}]'", file=sys.stderr)
        sys.exit(USER_MISTAKE)
    except FusiqaError as mistake:
        end(re.sub(r"`([\w.]+)`", lambda word: f"--{word[1]}" if word[1] in flags else word[0], f"error: {mistake}"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python's last flush fails again
        sys.exit(CLOSED_PIPE)
    except OSError as reason:
        if reason.filename is not None:
            end(f"error: {reason.filename}: {reason.strerror}; choose a path that can be used")
        if reason.errno != errno.ENOSPC:
            raise
        end(f"error: {reason.strerror}")
    except KeyboardInterrupt as reason:
        word, code = ("terminated", TERMINATED) if isinstance(reason, Terminated) else ("interrupted", INTERRUPTED)
        end(f"{word}; {after}" if after else word, code)


def end(message: str, code: int = USER_MISTAKE) -> None:
    """Say why on standard error, and exit."""
    print(message, file=sys.stderr)
    sys.exit(code)
