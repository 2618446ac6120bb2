"""What the command line sets for the CPU, and that it leaves what the user has set."""

import os
import sys

import pytest

from fusiqa import machine


@pytest.fixture
def environment(monkeypatch):
    """What is set when a program starts, and whether memory is then kept."""
    for name in [name for name in os.environ if name.startswith(("OMP_", "MALLOC_"))]:
        monkeypatch.delenv(name)
    kept = []
    monkeypatch.setattr(machine, "keep_memory", lambda: kept.append("kept"))
    yield kept
    os.environ.pop("OMP_WAIT_POLICY", None)


def test_threads_wait_asleep_and_memory_is_kept(environment):
    machine.prepare_cpu()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment == ["kept"]


def test_what_the_user_has_set_stays(environment, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    machine.prepare_cpu()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert environment == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_glibc_takes_both_thresholds():
    assert machine.keep_memory()
