"""The cores that a process may use, and what the command line sets for the CPU where the user has set nothing."""

import os
import sys

import pytest
import torch
from commands import exit_code
from tiny_models import TINY_RUN

from fusiqa import machine
from fusiqa.cli import USER_MISTAKE
from fusiqa.errors import FusiqaError


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


def takes_denormals_for_zero() -> bool:
    return torch.tensor(1e-40).mul(1).item() == 0


@pytest.fixture
def flushing():
    """Skips where the processor cannot, and leaves it off."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot take denormal numbers for zero")
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("before", [True, False])
def test_denormal_numbers_are_zero_within_the_context_and_then_as_before(before, flushing):
    def stopped():
        with machine.denormals_as_zero():
            assert takes_denormals_for_zero()
            raise FusiqaError("stopped")

    torch.set_flush_denormal(before)
    with pytest.raises(FusiqaError):
        stopped()
    assert takes_denormals_for_zero() == before


def test_a_training_takes_them_for_zero(flushing, monkeypatch, biq2021, tmp_path):
    found = []

    def fit(*_):
        found.append(takes_denormals_for_zero())
        raise FusiqaError("stopped")

    monkeypatch.setattr("fusiqa.runs.train.fit", fit)
    arguments = ["train", *TINY_RUN, "--data_dir", biq2021, "--run_dir", tmp_path / "run"]
    assert exit_code(*arguments) == USER_MISTAKE
    assert found == [True]
    assert not takes_denormals_for_zero()
