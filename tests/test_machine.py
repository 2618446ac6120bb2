"""What the command line sets for the CPU, and that it leaves what the user has set."""

import os
import sys

import pytest

from fusiqa import machine


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(machine, "keep_memory", lambda: os.environ.update(kept="yes"))
    return os.environ


def test_threads_wait_asleep_and_memory_is_kept(environment):
    machine.prepare_cpu()
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE", "kept": "yes"}


def test_what_the_user_has_set_stays(environment):
    environment.update(OMP_WAIT_POLICY="ACTIVE", MALLOC_ARENA_MAX="1")
    machine.prepare_cpu()
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE", "MALLOC_ARENA_MAX": "1"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_glibc_takes_both_thresholds():
    assert machine.keep_memory()
