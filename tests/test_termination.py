"""SIGTERM ends a command in order, in real processes: what has to be done is done, and children go too."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fusiqa.cli import TERMINATED, guard

COMMAND = """
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


def test_sigterm_ends_a_command_in_order_however_often_it_comes():
    """`timeout` sends it twice: to the command and to its group."""
    running = subprocess.Popen([sys.executable, "-c", COMMAND], stdout=-1, stderr=-1, text=True)
    child = int(running.stdout.readline())
    for _ in range(3):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    out, said = running.communicate(timeout=60)
    assert running.returncode == TERMINATED == 143
    assert out == f"child {-signal.SIGTERM}\n"
    assert said.startswith("terminated; what is finished is kept")
    assert said.count("\n") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_sigterm_that_somebody_else_sees_to_is_left_to_them():
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
