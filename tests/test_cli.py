"""The command line itself: help, version, names of commands, errors that name flags, and how interruptions end."""

import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import exit_code
from PIL import Image

import fusiqa
from fusiqa.cli import CLOSED_PIPE, COMMANDS, TERMINATED, USER_MISTAKE, command_of, guard, lazily, parse
from fusiqa.config import TrainConfig
from fusiqa.config.help import options_of
from fusiqa.errors import FusiqaError

TWO_SCREENS, COLUMNS = 100, 100  # lines and columns
CHILD_TO_END = """
import multiprocessing, signal, time
from fusiqa.cli import guard

def run():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    try:
        print(child.pid, flush=True)
        time.sleep(600)
    finally:
        time.sleep(1)  # a clean-up that takes its time
        child.terminate()
        child.join(60)
        print("child", child.exitcode, flush=True)

guard(run)
"""


def said(capsys, *words: str) -> tuple[int, str, str]:
    """The exit code of a command line and what it prints."""
    code, printed = exit_code(*words), capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_two_screens_in_which_every_flag_is_described(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    code, out, _ = said(capsys, *name.split(), "--help")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) <= TWO_SCREENS
    assert max(map(len, lines)) <= COLUMNS
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == sorted(titles, key=lambda title: title not in ("arguments:", "options:", "common:"))
    for option in options_of(COMMANDS[name][0]):
        assert option.invocation in out
        assert len(option.text) > 10


REQUESTED = """
--dataset koniq-10k --epochs 30 --batch_size 4
--dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion
--dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion --patience 7 --lr_scheduler cosine --no_spaq
--dataset koniq-10k --epochs 30 --batch_size 4 --no_spaq
--dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion --no_spaq
--dataset koniq-10k --epochs 30 --no_spaq
--dataset koniq-10k --epochs 30 --no_spaq --attention_fusion
--dataset koniq-10k --epochs 30 --no_multiscale --no_spaq
--dataset koniq-10k --epochs 30 --attention_fusion --no_spaq
"""


@pytest.mark.parametrize("line", REQUESTED.strip().splitlines())
def test_the_requested_command_lines_are_understood(line):
    config, words = parse("train", line.split()), line.split()
    fusion = "single" if "--no_multiscale" in words else "attention" if "--attention_fusion" in words else "concat"
    assert (config["dataset"], config["epochs"], config.network.chosen_fusion) == ("koniq-10k", 30, fusion)
    assert config["batch_size"] == (4 if "--batch_size" in words else TrainConfig()["batch_size"])
    assert config["spaq"] == ("--no_spaq" not in words)
    assert (config["patience"], config["lr_scheduler"]) == (7 if "--patience" in words else None, "cosine")


def test_one_thing_has_one_flag_in_every_command():
    """Words for devices, places, models and results are those of all commands; `--output` is where results go."""
    flags = {name: {option.name for option in options_of(settings)} for name, (settings, _) in COMMANDS.items()}
    assert {name for name in flags if "device" in flags[name]} == {
        "score", "sort", "report", "serve", "train", "evaluate", "attention", "ablate"
    }  # fmt: skip
    assert not set().union(*flags.values()) & {"accelerator", "gpu", "devices", "folder", "dir", "out", "data_folder"}
    for name in ("train", "ablate"):
        assert parse(name, ["--output", "runs/a"]) == parse(name, ["--run_dir", "runs/a"])


def test_flags_in_the_help_are_those_that_are_parsed(capsys):
    """Flags without a value are accepted by tyro as they are printed."""
    options = options_of(COMMANDS["train"][0])
    on = [option.name for option in options if option.invocation == f"--{option.name}"]
    off = [option.name for option in options if option.invocation == f"--[no_]{option.name}"]
    config = parse("train", [*(f"--{name}" for name in on), *(f"--no_{name}" for name in off)])
    assert {"attention_fusion", "weighing.normalised", "resume"} <= set(on)
    assert {"multiscale", "spaq", "progress"} <= set(off)
    given = {name: config["weighing"].normalised if "." in name else config[name] for name in [*on, *off]}
    assert given == {name: name in on for name in given}


def test_overview_and_version(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    assert said(capsys)[0] == said(capsys, "data")[0] == USER_MISTAKE
    assert said(capsys, "--version")[:2] == (0, f"fusiqa {fusiqa.__version__}\n")


def test_an_unknown_command_is_one_line_with_the_nearest(capsys):
    code, out, err = said(capsys, "scroe", "a.png")
    assert (code, out) == (USER_MISTAKE, "")
    assert err == "error: no command 'scroe'; did you mean score? See fusiqa --help\n"
    with pytest.raises(FusiqaError, match="no command 'data cheque'; did you mean data check"):
        command_of(["data", "cheque"])


@pytest.mark.parametrize("words", [["runs/a", "--dataset", "x"], ["--dataset", "x", "--model", "runs/a"],
                                   ["--model=runs/a", "--dataset", "x"]])  # fmt: skip
def test_the_model_is_an_argument_or_a_flag(words):
    assert parse("evaluate", words).model == Path("runs/a")


def test_every_command_leads_to_a_function():
    for _, command in COMMANDS.values():
        for cell in command.__closure__ or ():
            module, _, _ = cell.cell_contents.rpartition(".")
            assert module == "" or find_spec(module)
    assert lazily("os.path.basename")("a/b") == "b"


def test_an_error_names_the_flag_of_the_command_that_runs(capsys):
    def fail():
        raise FusiqaError("`crop_size` must be at least 32, got 16; `sides` stays")

    with pytest.raises(SystemExit):
        guard(fail, settings=TrainConfig)
    assert capsys.readouterr().err == "error: --crop_size must be at least 32, got 16; `sides` stays\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["train", "--epochs", "0"], "error: --epochs must be at least 1, got 0"),
        (["score", "a.png", "--top", "1", "--bottom", "1"], "error: --top and --bottom exclude each other"),
        (["score", "a.png", "--botom", "1"], "--botom"),
        (["score", "a.png", "--top", "many"], "many"),
    ],
)
def test_a_setting_that_cannot_be_names_its_flag(words, reason, capsys):
    code, out, err = said(capsys, *words)
    assert (code, out) == (USER_MISTAKE, "")
    assert reason in err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.csv"), "a.csv: No such file or directory; choose a path"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_path_that_cannot_be_used_and_a_full_disk_are_one_line(error, line, capsys):
    def fail():
        raise error

    with pytest.raises(SystemExit) as ended:
        guard(fail)
    assert ended.value.code == USER_MISTAKE
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("closing", "words", "code", "said"),
    [
        ("<&-", "score -", 2, "error: no images in -"),
        (">&-", "score {image} --output {table}", 0, ""),
        (">&-", "score {image}", 0, ""),
        ("2>&-", "score {image} --output {table}", 0, ""),
    ],
)
def test_a_stream_that_the_caller_has_closed_is_empty(tmp_path, closing, words, code, said):
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(tmp_path / "a.png")
    words = words.format(image=tmp_path / "a.png", table=tmp_path / "a.csv")
    done = subprocess.run(f"{sys.executable} -m fusiqa {words} {closing}", shell=True, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert (tmp_path / "a.csv").exists() == ("a.csv" in words)


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -c 'from fusiqa.cli import guard; guard(lambda: [print(n) for n in range(99999)])'"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", CLOSED_PIPE)


def test_sigterm_ends_a_command_in_order_however_often_it_comes():
    """`timeout` sends it twice: to the command and to its group."""
    running = subprocess.Popen([sys.executable, "-c", CHILD_TO_END], stdout=-1, stderr=-1, text=True)
    child = int(running.stdout.readline())
    for _ in range(3):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    out, err = running.communicate(timeout=60)
    assert running.returncode == TERMINATED == 143
    assert out == f"child {-signal.SIGTERM}\n"
    assert err == "terminated\n"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_another_handler_of_sigterm_is_left_in_place():
    def theirs(*_):
        pass

    found: list = []
    before = signal.signal(signal.SIGTERM, theirs)
    try:
        guard(lambda: found.append(signal.getsignal(signal.SIGTERM)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [theirs]


def test_a_command_leaves_the_handler_as_it_was_and_runs_in_any_thread():
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    found: list = []
    guard(lambda: found.append(signal.getsignal(signal.SIGTERM)))
    assert found != [before]
    thread = threading.Thread(target=guard, args=(lambda: found.append(signal.getsignal(signal.SIGTERM)),))
    thread.start()
    thread.join()
    assert found[1:] == [before]
    assert signal.getsignal(signal.SIGTERM) is before
