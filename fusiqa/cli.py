"""The command line: `fusiqa COMMAND ...`. A user's mistake ends in one line and exit code 2."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any

import tyro

import fusiqa
from fusiqa.config import TrainConfig, commands
from fusiqa.config.help import help_text, options_of
from fusiqa.errors import FusiqaError
from fusiqa.machine import prepare_cpu

FAULTY_COPY = SOME_UNREADABLE = 1
USER_MISTAKE = 2
INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143
HELP = {"-h", "--help"}
EXTRAS = {  # what installs a package that a command needs and the core does not have
    **dict.fromkeys(("torch", "timm", "safetensors", "huggingface_hub", "onnx", "onnxscript", "torchmetrics"), "torch"),
    **dict.fromkeys(("fastapi", "prometheus_client", "starlette", "uvicorn"), "serve"),
    **dict.fromkeys(("pandas", "scipy", "lightning", "matplotlib", "statsmodels", "openpyxl"), "train"),
}


def lazily(path: str) -> Callable[..., Any]:
    """A function that is imported when it is called, so that `fusiqa --help` imports no heavy library."""
    module, _, name = path.rpartition(".")
    return lambda *given, **named: getattr(import_module(module), name)(*given, **named)


def make_table(config: commands.TableSettings) -> None:
    name = "sort.sort_images" if isinstance(config, commands.SortConfig) else "batch.score_images"
    if isinstance(config, commands.ScoreConfig) and config.engine == "ray":
        name = "cluster.score_on_cluster"
    if lazily(f"fusiqa.scoring.{name}")(config):
        sys.exit(SOME_UNREADABLE)


def write_export(config: commands.ExportConfig) -> None:
    from fusiqa.config.checks import refuse
    from fusiqa.io import WEIGHTS_FILE, check_output, hold, same_place
    from fusiqa.scoring.models import find, weights_of
    from fusiqa.scoring.torch import export_model

    path, name = find(config.model)
    check_output(config.output, replace=config.overwrite, inputs=[path])
    weights, beside = weights_of(path), config.output.with_name(WEIGHTS_FILE)
    apart = config.share_weights and not same_place(weights, beside)
    linked = config.share_weights and weights.resolve().parent != config.output.resolve().parent
    refuse(
        (apart, f"`share_weights` reads {beside}, but {name} has its weights in {weights}"),
        (linked, f"`share_weights` needs {beside} as a file of that folder; it is a link"),
    )
    with hold(config.output):
        difference = export_model(path, config.output, name=name, share_weights=config.share_weights)
    print(f"{config.output}: differs from torch by at most {difference:.1e} of the score range")


def check_copy(config: commands.DataCheckConfig) -> None:
    from fusiqa.data.audit import audit, is_report
    from fusiqa.io import check_output, write_text

    if config.output is not None:
        check_output(config.output, replace=True, ours=is_report, inputs=[config.name])
    report = audit(config.name, data_dir=config.data_dir, progress=config.progress)
    print(report.text())
    if config.output is not None:
        write_text(config.output, report.to_json() + "\n")
    if not report.ok:
        sys.exit(FAULTY_COPY)


def download_data(config: commands.DataDownloadConfig) -> None:
    download, folder = lazily("fusiqa.data.download.download"), config.data_dir
    download(config.name, folder=folder, accept=config.accept_licence, progress=config.progress)


COMMANDS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "score": (commands.ScoreConfig, make_table),
    "sort": (commands.SortConfig, make_table),
    "report": (commands.ReportConfig, lazily("fusiqa.scoring.report.report")),
    "serve": (commands.ServeConfig, lazily("fusiqa.scoring.web.app.serve")),
    "export": (commands.ExportConfig, write_export),
    "train": (TrainConfig, lazily("fusiqa.runs.train.train")),
    "evaluate": (commands.EvaluateConfig, lazily("fusiqa.runs.evaluate.evaluate")),
    "attention": (commands.AttentionConfig, lazily("fusiqa.runs.explain.explain")),
    "compare": (commands.CompareConfig, lazily("fusiqa.runs.compare.compare_runs")),
    "ablate": (commands.AblateConfig, lazily("fusiqa.runs.ablation.ablate.ablate")),
    "data list": (commands.DataListConfig, lambda _: print(lazily("fusiqa.data.catalog.list_text")())),
    "data info": (commands.DataInfoConfig, lambda config: print(lazily("fusiqa.data.catalog.info_text")(config.name))),
    "data check": (commands.DataCheckConfig, check_copy),
    "data download": (commands.DataDownloadConfig, download_data),
    "distort": (commands.DistortConfig, lazily("fusiqa.runs.distort.distort_images")),
    "demo": (commands.DemoConfig, lazily("fusiqa.runs.demo.demo")),
}
MODEL_FIRST = ("evaluate", "attention", "export")  # a model is their first argument, also as --model MODEL
TABLE_WRITERS = ("score", "sort")  # can be continued where they have an --output
# How the same command goes on after an interruption; other commands start anew.
RESUMED = dict.fromkeys((*TABLE_WRITERS, "train"), "the same command with --resume")
RESUMED |= dict.fromkeys(("ablate", "data download"), "the same command")


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


def run(name: str, words: Sequence[str], program: str | None = None) -> None:
    """Parse the words of a command and run it, or print its help; `program` is how it is called, if not by `fusiqa`."""
    settings, command = COMMANDS[name]
    if HELP & set(words):
        guard(lambda: print(help_text(settings, program or f"fusiqa {name}")))
        return
    saved = name in RESUMED and (name not in TABLE_WRITERS or any(word.startswith("--output") for word in words))
    how = RESUMED.get(name, "")
    if "--overwrite" in words:
        how = how.replace("with --resume", "with --resume in place of --overwrite")
    if name == "train" and not any(word.startswith("--run_dir") for word in words):
        how += " and --run_dir, the folder that it named,"
    after = f"{how} goes on from what is saved" if saved else ""
    guard(lambda: command(parse(name, words, program)), settings=settings, after=after)


def command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and the words after it. Raises FusiqaError for an unknown one."""
    for count in (2, 1):
        if (name := " ".join(words[:count])) in COMMANDS:
            return name, list(words[count:])
    wanted = " ".join(words[: 2 if words[0] == "data" else 1])
    near = difflib.get_close_matches(wanted, COMMANDS, n=1)
    raise FusiqaError(f"no command {wanted!r}{f'; did you mean {near[0]}?' if near else '.'} See fusiqa --help")


def parse(name: str, words: Sequence[str], program: str | None = None, *, quiet: bool = False) -> Any:
    """Parse the words after the command `name` into its settings; `program` is how usage messages call it.

    Raises FusiqaError for a setting that is out of its bounds or excludes another, and SystemExit for an unknown flag
    or a value that cannot be read, which is reported on standard error unless `quiet`.
    """
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--model=") else [word])]
    if name in MODEL_FIRST and "--model" in words[:-1]:
        place = words.index("--model")
        words = [words[place + 1], *words[:place], *words[place + 2 :]]
    printed, config = StringIO(), (tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone)
    named: dict[str, Any] = {"prog": program or f"fusiqa {name}", "use_underscores": True, "config": config}
    try:
        with redirect_stderr(printed):
            return tyro.cli(COMMANDS[name][0], args=words, **named)
    except SystemExit as refused:
        reason: BaseException | None = refused
        while reason is not None and (reason := reason.__context__):
            if isinstance(reason, FusiqaError):  # of the settings themselves, which tyro would put into a box
                raise reason from None
        if not quiet:
            print(printed.getvalue(), end="", file=sys.stderr)
        raise


def overview(within: str = "") -> str:
    """The commands, one a line."""
    usage = f"usage: fusiqa {within}COMMAND ...   (fusiqa COMMAND --help describes each)"
    about = "No-reference image quality assessment: a score, and the feature scales it came from."
    known = [(name, (settings.__doc__ or "").split()) for name, (settings, _) in COMMANDS.items()]
    lines = [f"  {name:14} {' '.join(words)}" for name, words in known if name.startswith(within)]
    return "\n".join([usage, "", about, "", *lines, "", "  --version      Print the version."])


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers, `timeout` and `docker stop` send: an orderly end, as after Ctrl-C."""


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Raise Terminated at the first SIGTERM, and ignore later ones, which would disturb the clean-up.

    A handler that is installed already stays; forked children end at once.
    """
    foreign = threading.current_thread() is not threading.main_thread()
    if foreign or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    own, received = os.getpid(), list[int]()

    def terminate(number: int, _: object) -> None:
        received.append(number)
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif len(received) == 1:
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if not received:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def guard(run: Callable[[], object], *, settings: type | None = None, after: str = "") -> None:
    """Run a command; a user's mistake, or a path that cannot be used, ends in one line and exit code 2.

    Errors name the `settings` of the command as flags, --crop_size for `crop_size`; an interruption says `after`.
    """
    prepare_cpu()
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 until the program ends
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding does not have
    try:
        with orderly_termination():
            run()
            sys.stdout.flush()
        return
    except ModuleNotFoundError as absent:
        package, code = (absent.name or "").partition(".")[0], USER_MISTAKE
        if package not in EXTRAS:
            raise
        message = f"error: this needs {package}: pip install 'fusiqa[{EXTRAS[package]}]'"
    except FusiqaError as mistake:
        flags = {option.name for option in options_of(settings)} if settings else ()
        named = re.sub(r"`([\w.]+)`", lambda word: f"--{word[1]}" if word[1] in flags else word[0], str(mistake))
        message, code = f"error: {named}", USER_MISTAKE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python's last flush fails again
        sys.exit(CLOSED_PIPE)
    except OSError as reason:
        if reason.errno is None:  # not of the system
            raise
        place, advice = (f"{reason.filename}: ", "; choose a path that can be used") if reason.filename else ("", "")
        message, code = f"error: {place}{reason.strerror}{advice}", USER_MISTAKE
    except KeyboardInterrupt as reason:
        word, code = ("terminated", TERMINATED) if isinstance(reason, Terminated) else ("interrupted", INTERRUPTED)
        message = f"{word}; {after}" if after else word
    print(message, file=sys.stderr)
    sys.exit(code)
