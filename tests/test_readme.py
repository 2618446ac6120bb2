"""What README and docs tell to type, held to the code: commands, flags and Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pages import (
    PAGES,
    README,
    ROOT,
    blocks,
    cases,
    code_spans,
    commands,
)
from PIL import Image

from fusiqa.cli import COMMANDS, HELP, command_of, parse
from fusiqa.config import TrainConfig
from fusiqa.config.help import options_of
from fusiqa.errors import FusiqaError

SCRIPTS = ("train_swin.py", "visualize_attention.py")
REQUESTED = {
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4": {
        "epochs": 30, "batch_size": 4, "attention_fusion": False, "multiscale": True, "spaq": True,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion": {
        "epochs": 30, "batch_size": 4, "attention_fusion": True, "multiscale": True, "spaq": True,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion --patience 7 "
    "--lr_scheduler cosine --no_spaq": {
        "batch_size": 4, "attention_fusion": True, "patience": 7, "lr_scheduler": "cosine", "spaq": False,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --no_multiscale --no_spaq": {
        "epochs": 30, "attention_fusion": False, "multiscale": False, "spaq": False,
    },
}  # fmt: skip


def parsed(command: str) -> object | None:
    """The settings that a command line comes to, None for one that has none; AssertionError if it would not run."""
    match shlex.split(command):
        case ["python", script, *arguments] if script.startswith("benchmarks/"):
            source = (ROOT / script).read_text("utf-8")
            flags = {argument.removeprefix("--") for argument in arguments if argument.startswith("--")}
            assert flags <= set(re.findall(r"^(?:    ){1,2}(\w+): ", source, re.MULTILINE))
            return None
        case ["python", script, *arguments]:
            assert script in SCRIPTS, f"no script {script}"
            name = re.findall(r'run\("(\w+)", sys\.argv\[1:\], "(.*)"\)', (ROOT / script).read_text("utf-8"))
            assert name[0][1] == script
            return settings(name[0][0], arguments)
        case ["fusiqa", *words]:
            try:
                return settings(*command_of(words))
            except FusiqaError as unknown:
                raise AssertionError(command) from unknown
        case ["make", *targets]:
            there = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert targets
            assert set(targets) <= set(there), f"the Makefile has the targets {there}"
            return None
        case ["pip", "install", package] if re.fullmatch(r"fusiqa(\[\w+\])?", package):
            return None
        case ["source", path]:
            venv = re.findall(r"^VENV := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert path == f"{venv[0]}/bin/activate"
            return None
    raise AssertionError(f"a command that no test knows how to check: {command}")


def settings(name: str, arguments: list[str]) -> object | None:
    if HELP & set(arguments):
        return None
    try:
        return parse(name, arguments, quiet=True)
    except SystemExit as end:
        raise AssertionError(f"{name} refuses {arguments}") from end


def is_mention(command: str) -> bool:
    """`fusiqa attention` in a sentence is a name, not a command line."""
    return re.fullmatch(r"fusiqa \w+|fusiqa data \w+( NAME)?", command) is not None


@pytest.mark.parametrize(("page", "command"), cases(commands))
def test_every_command_is_one_that_runs(page, command):
    if is_mention(command):
        words = command.removesuffix(" NAME").split()[1:]
        assert words == ["data"] or " ".join(words) in COMMANDS
    else:
        parsed(command)


@pytest.mark.parametrize("command", REQUESTED)
def test_the_requested_commands_stand_in_the_readme_and_mean_what_they_say(command):
    assert command in commands(README)
    config = parsed(command)
    assert isinstance(config, TrainConfig)
    assert {name: config[name] for name in REQUESTED[command]} == REQUESTED[command]
    assert config.data.dataset == "koniq-10k"


def test_the_readme_installs_first_and_sets_a_clone_up_with_two_commands():
    assert commands(README)[0] == "pip install fusiqa"
    assert [command for command in commands(README) if command.startswith("make")][:2] == ["make demo", "make test"]


@pytest.mark.parametrize(
    "command",
    [
        "python train_swin.py --epoch 3",
        "python train_swin.py --epochs 0",
        "python train.py",
        "python benchmarks/data.py --colour 3",
        "fusiqa explain runs/first",
        "fusiqa attention",
        "make install",
        "source venv/bin/activate",
        "pip install other",
    ],
)
def test_a_command_that_would_not_run_is_found_out(command):
    with pytest.raises((AssertionError, FusiqaError)):
        parsed(command)


def run(block: str) -> dict:
    """The names that a block of Python leaves."""
    names: dict = {}
    exec(compile(block, "page", "exec"), names)
    return names


def test_the_python_of_the_readme_runs(an_image):
    (scoring,) = blocks(README, "python")
    result = run(scoring)["result"]
    assert result.score_range.low <= result.score <= result.score_range.high


@pytest.fixture
def an_image(tmp_path, monkeypatch):
    """photo.jpg in the working folder."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((240, 320, 3), 99, np.uint8)).save("photo.jpg")


def test_the_python_of_the_scoring_page_runs(an_image, capsys):
    scoring, models = blocks(ROOT / "docs" / "score.md", "python")
    assert run(scoring)["result"].ok
    assert "gone.jpg no such file" in capsys.readouterr().out
    assert "push_to_hub" in models  # it needs a hub: tests/models/test_published.py


def known_flags() -> set[str]:
    """Every flag of every command, without dashes at its start and in underscores."""
    names = {"help", "version", "model", "use_multiscale"}
    for settings, _ in COMMANDS.values():
        for option in options_of(settings):
            names |= {option.name, option.name.partition(".")[0]}
            names |= set() if " " in option.invocation else {f"no_{option.name}"}
    return names


def flags(page: Path) -> list[str]:
    return [flag for span in code_spans(page) for flag in re.findall(r"(?<![\w-])--[\w-]+", span)]


def test_every_flag_that_is_named_exists():
    named = {(page.name, flag) for page in PAGES for flag in flags(page)}
    known = known_flags()
    assert {("README.md", "--lr"), ("protocol.md", "--head_lr_ratio")} <= named
    assert sorted((page, flag) for page, flag in named if flag[2:].replace("-", "_") not in known) == []
    assert not {"epoch", "no_epochs", "attention"} & known
