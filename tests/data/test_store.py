"""A bounded folder of arrays: whole or absent, within its limit, whatever happens to it meanwhile."""

import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from fusiqa.data import cache
from fusiqa.data.cache import Store, new_store

ARRAY = np.arange(7 * 11 * 3, dtype=np.uint8).reshape(7, 11, 3)
ON_DISK = ARRAY.nbytes + 128  # with the header of an .npy


def test_what_was_stored_comes_back_and_what_was_not_does_not(tmp_path):
    kept = new_store(tmp_path / "new", 10**6)
    assert kept.get("a") is None
    assert kept.put("a", ARRAY)
    np.testing.assert_array_equal(kept.get("a"), ARRAY)
    assert isinstance(kept.get("a"), np.memmap)
    assert kept.get("b") is None
    assert kept.touch(["a", "b"]) == 1


def test_half_an_array_counts_as_none_and_is_stored_anew(tmp_path):
    kept = new_store(tmp_path, 10**6)
    kept.put("a", ARRAY)
    path = kept.path("a")
    for content in (path.read_bytes()[:-5], b"", b"\x93NUMPY", bytes(200)):
        path.write_bytes(content)
        assert kept.get("a") is None
        kept.put("a", ARRAY)
        np.testing.assert_array_equal(kept.get("a"), ARRAY)


def test_a_pickle_is_not_read(tmp_path):
    kept = new_store(tmp_path, 10**6)
    kept.path("a").parent.mkdir(parents=True)
    np.save(kept.path("a"), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert kept.get("a") is None


def test_arrays_of_this_run_fill_the_limit_and_no_more(tmp_path):
    kept = new_store(tmp_path, 5 * ON_DISK)
    assert [kept.put(str(number), ARRAY) for number in range(9)] == [True] * 5 + [False] * 4
    assert [number for number in range(9) if kept.get(str(number)) is not None] == [0, 1, 2, 3, 4]
    assert sum(entry.size for entry in kept.entries()) <= 5 * ON_DISK


def test_what_was_used_longest_ago_makes_room(tmp_path):
    before = new_store(tmp_path, 4 * ON_DISK)
    for number in range(4):
        before.put(str(number), ARRAY)
        os.utime(before.path(str(number)), (time.time() - 1000 + number,) * 2)
    after = new_store(tmp_path, 4 * ON_DISK)
    after.touch(["0"])
    after.put("new", ARRAY)
    assert after.get("new") is not None
    assert after.get("0") is not None
    assert after.get("1") is None


def test_a_disk_that_is_nearly_full_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(1000, 960, 40))
    kept = new_store(tmp_path, 10**6)
    kept.put("a", ARRAY)
    assert kept.get("a") is None


def test_a_folder_that_cannot_be_written_to_is_said_once_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    kept = new_store(tmp_path / "file", 10**6)
    with caplog.at_level(logging.WARNING):
        assert not kept.put("a", ARRAY)
        assert not kept.put("b", ARRAY)
    assert len(caplog.records) == 1
    assert str(tmp_path / "file") in caplog.text
    assert kept.get("a") is None


WRITER = """
import sys, numpy as np
from pathlib import Path
from fusiqa.data.cache import new_store
kept = new_store(Path(sys.argv[1]), 10**9)
for number in range(300):
    kept.put(str(number), np.full((50, 50, 3), number % 256, np.uint8))
    found = kept.get(str(number))
    assert found is not None and (found == number % 256).all()
"""


def test_two_processes_that_store_the_same_arrays_at_once_do_no_harm(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(2)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert len(Store(tmp_path, 0, 0.0).entries()) == 300
    assert list(tmp_path.rglob(".*")) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_without_a_limit_above_nothing_nothing_is_stored(tmp_path, limit):
    new_store(tmp_path / "cache", limit).put("a", ARRAY)
    assert not (tmp_path / "cache").exists()


def test_a_task_is_done_by_one_process_at_a_time_and_others_are_not_held_off(tmp_path):
    """Two processes each say when they are in and out; a third has another task."""
    code = (
        "import sys, time; from pathlib import Path; from fusiqa.data.cache import new_store\n"
        "with new_store(Path(sys.argv[1]), 10**6).alone(sys.argv[2]):\n"
        "    print('in', time.time(), flush=True); time.sleep(0.5); print('out', time.time(), flush=True)\n"
    )
    held = new_store(tmp_path, 10**6)
    with held.alone("maps"):
        same = [subprocess.Popen([sys.executable, "-c", code, tmp_path, "maps"], stdout=-1, text=True) for _ in "ab"]
        other = subprocess.run([sys.executable, "-c", code, tmp_path, "other"], capture_output=True, text=True)
        assert other.stdout.startswith("in")
        assert all(process.poll() is None for process in same)
        released = time.time()
    spans = sorted([float(line.split()[1]) for line in process.communicate()[0].splitlines()] for process in same)
    assert released <= spans[0][0] < spans[0][1] <= spans[1][0] < spans[1][1]


@pytest.mark.parametrize("limit", [0, 10**6])
def test_where_nothing_can_be_locked_the_work_is_done_all_the_same(tmp_path, limit, caplog):
    (tmp_path / "file").write_text("no folder")
    with new_store(tmp_path / "file", limit).alone("maps"):
        done = True
    assert done
    assert ("cannot be locked" in caplog.text) == bool(limit)


def test_a_failure_within_a_task_lets_the_next_one_in(tmp_path):
    kept = new_store(tmp_path, 10**6)
    with pytest.raises(KeyError), kept.alone("maps"):
        raise KeyError
    with kept.alone("maps"):
        pass
