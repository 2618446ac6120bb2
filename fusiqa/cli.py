"""The command line: one function per command, heavy imports inside, one line for a user's mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from fusiqa.config import AblateConfig, AttentionConfig, CompareConfig, DemoConfig, TrainConfig
from fusiqa.errors import FusiqaError

USER_MISTAKE = 2
INTERRUPTED = 130


def train(config: TrainConfig) -> None:
    from fusiqa.experiments.train import train

    train(config)


def attention(config: AttentionConfig) -> None:
    from fusiqa.experiments.attention import explain

    explain(config)


def compare(config: CompareConfig) -> None:
    from fusiqa.experiments.compare import compare_runs

    compare_runs(config)


def ablate(config: AblateConfig) -> None:
    from fusiqa.experiments.ablate import ablate

    ablate(config)


def demo(config: DemoConfig) -> None:
    from fusiqa.experiments.demo import demo

    demo(config)


COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "train": (TrainConfig, train),
    "attention": (AttentionConfig, attention),
    "compare": (CompareConfig, compare),
    "ablate": (AblateConfig, ablate),
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
        )
        next(command for settings, command in COMMANDS.values() if type(config) is settings)(config)

    guard(run)


def main_of(name: str, program: str) -> None:
    """One command as a program of its own: `python train_swin.py` is `fusiqa train`."""
    settings, command = COMMANDS[name]
    guard(lambda: command(tyro.cli(settings, prog=program)))


def guard(run: Callable[[], None]) -> None:
    """Run a command; a mistake of the user's ends in one line and exit code 2."""
    try:
        run()
    except FusiqaError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept (a training run continues with --resume)", file=sys.stderr)
        sys.exit(INTERRUPTED)
