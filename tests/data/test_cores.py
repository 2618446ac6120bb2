"""The cores that a process may use, which is not how many the machine has."""

import os

import pytest

from fusiqa.machine import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_a_bound_process_counts_its_own_cores_alone():
    before = os.sched_getaffinity(0)
    assert cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("stated", "expected"), [(7, 7), (None, 1)])
def test_where_nothing_can_be_bound_the_machines_cores_count(stated, expected, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: stated)
    assert cores() == expected
