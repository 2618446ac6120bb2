"""The cores that a process may use, and what the command line sets for the CPU where the user has set nothing."""

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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_a_bound_process_counts_its_own_cores_alone():
    before = os.sched_getaffinity(0)
    assert machine.cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("stated", "expected"), [(7, 7), (None, 1)])
def test_where_nothing_can_be_bound_the_machines_cores_count(stated, expected, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: stated)
    assert machine.cores() == expected
