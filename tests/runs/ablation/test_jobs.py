"""Runs at once, in real processes around a stand-in for the training: interrupted, and killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

HARNESS = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from fusiqa.runs.ablation import ablate as module

def stand_in(config, prepared):
    own = Path(config.folder, f"{config.name}.tmp")
    own.write_text(str(os.getpid()))
    own.rename(own.with_suffix(".begun"))
    if config.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600 if config.slow else 0)
    Path(config.folder, f"{config.name}.done").touch()
    return ["warning: of something"]

def own(run):
    return run

if __name__ == "__main__":
    folder, slow, *names = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
    module.train_quietly, module.resuming = stand_in, own
    runs = [SimpleNamespace(name=name, folder=folder, slow=slow == "slow") for name in names]
    for run, reason in module.train_in_parallel(runs, None, print, jobs=2, gpus=0):
        print("ended", run.name, reason, flush=True)
"""


def at_once(tmp_path, *arguments):
    """The real processes around a stand-in for the training."""
    script = tmp_path / "harness.py"
    script.write_text(HARNESS)
    return subprocess.Popen([sys.executable, script, tmp_path, *arguments], stdout=-1, stderr=-1, text=True)


def test_an_interruption_ends_what_runs_and_begins_no_other(tmp_path):
    process = at_once(tmp_path, "slow", *"abcd")
    while len(list(tmp_path.glob("*.begun"))) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # to the command alone, as a scheduler does
    _, said = process.communicate(timeout=200)
    assert "KeyboardInterrupt" in said
    assert sorted(path.name for path in tmp_path.glob("*.[bd]*")) == ["a.begun", "b.begun"]


def test_processes_end_with_the_one_that_started_them(tmp_path):
    process = at_once(tmp_path, "slow", *"ab")
    while len(list(tmp_path.glob("*.begun"))) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    workers = [int(path.read_text()) for path in tmp_path.glob("*.begun")]
    process.kill()
    process.communicate()
    until = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def alive(process):
    """Whether a process still runs; one that nobody has waited for does not."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


def test_a_killed_process_is_told_and_not_a_riddle(tmp_path):
    process = at_once(tmp_path, "fast", "a", "b", "killed", "c")
    out, said = process.communicate(timeout=200)
    assert "FusiqaError: a process was killed, most often because memory ran out" in said
    assert "fewer `jobs` to use less memory" in said
    assert "finished: a" in out
    assert "a: warning: of something" in out
    assert "ended a None" in out
