"""The cache: the same pixels, read once, whole or absent and within its limit, whatever happens to it meanwhile."""

import logging
import multiprocessing
import os
import pickle
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from fusiqa.data import cache
from fusiqa.data.cache import STORED_BETWEEN_SCANS, Store, cached
from fusiqa.scoring.image import ORIGINAL_SIZE, Resize

RESIZE = Resize.parse("13")
ARRAY = np.arange(7 * 11 * 3, dtype=np.uint8).reshape(7, 11, 3)
ON_DISK = ARRAY.nbytes + 128 + 4  # with the header of an .npy and the checksum


@dataclass(frozen=True)
class Counted:
    """Images of random pixels, drawn from their names, that note each reading."""

    in_memory: bool = False
    reads: list[str] = field(default_factory=list)

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> np.ndarray:
        self.reads.append(image)
        return resize.apply(np.random.default_rng(len(image)).integers(0, 256, (29, 37, 3), dtype=np.uint8))

    def verify(self, image: str) -> str:
        return f"content of {image}"


def behind_a_cache(source, folder, *, contents=None, resize=RESIZE, gigabytes=1.0):
    contents = {"a": "1", "bb": "2"} if contents is None else contents
    return cached(source, contents, resize, folder=folder, gigabytes=gigabytes)


def test_a_image_is_decoded_once_and_keeps_its_pixels(tmp_path):
    source = Counted()
    expected = Counted().read("a", RESIZE)
    for _ in range(3):
        images = behind_a_cache(source, tmp_path)  # as in another run
        np.testing.assert_array_equal(images.read("a", RESIZE), expected)
        np.testing.assert_array_equal(images.read("a", RESIZE), expected)
    assert source.reads == ["a"]
    assert images.verify("a") == "content of a"
    pixels = images.read("a", RESIZE)
    assert pixels.shape == (13, 17, 3)


def test_another_content_and_another_resize_are_decoded_anew(tmp_path):
    source = Counted()
    behind_a_cache(source, tmp_path).read("a", RESIZE)
    behind_a_cache(source, tmp_path, contents={"a": "changed"}).read("a", RESIZE)
    assert behind_a_cache(source, tmp_path, resize=Resize.parse("11")).read("a", Resize.parse("11")).shape == (
        11,
        14,
        3,
    )
    assert source.reads == ["a", "a", "a"]


def test_one_content_under_two_names_is_decoded_once(tmp_path):
    source = Counted()
    behind_a_cache(source, tmp_path, contents={"a": "1"}).read("a", RESIZE)
    behind_a_cache(source, tmp_path, contents={"copy": "1"}).read("copy", RESIZE)
    assert source.reads == ["a"]


def test_an_image_whose_bits_have_flipped_on_disk_is_decoded_anew(tmp_path):
    source = Counted()
    expected = behind_a_cache(source, tmp_path).read("a", RESIZE).copy()
    (path,) = tmp_path.rglob("*.npy")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        np.testing.assert_array_equal(behind_a_cache(source, tmp_path).read("a", RESIZE), expected)
    assert source.reads == ["a", "a"]


@pytest.mark.parametrize(("gigabytes", "in_memory"), [(0, False), (1, True)])
def test_no_room_and_images_in_memory_need_no_cache(tmp_path, gigabytes, in_memory):
    source = Counted(in_memory=in_memory)
    assert behind_a_cache(source, tmp_path, gigabytes=gigabytes) is source


# --- the store -------------------------------------------------------------------------------------------------------


def test_what_was_stored_comes_back_and_what_was_not_does_not(tmp_path):
    kept = Store(tmp_path / "new", 10**6)
    assert kept.get("a") is None
    assert kept.put("a", ARRAY)
    np.testing.assert_array_equal(kept.get("a"), ARRAY)
    assert isinstance(kept.get("a"), np.memmap)
    assert kept.get("b") is None


@pytest.mark.parametrize("place", [0, 20, 70, 127, 128, 200, ON_DISK - 5, ON_DISK - 1])
def test_a_flipped_bit_anywhere_counts_as_none(tmp_path, place):
    Store(tmp_path, 10**6).put("a", ARRAY)
    path = Store(tmp_path, 10**6).path("a")
    content = bytearray(path.read_bytes())
    assert len(content) == ON_DISK
    content[place] ^= 0b100
    path.write_bytes(content)
    assert Store(tmp_path, 10**6).get("a") is None


def test_half_an_array_counts_as_none_and_is_stored_anew(tmp_path):
    path = Store(tmp_path, 10**6).path("a")
    Store(tmp_path, 10**6).put("a", ARRAY)
    for content in (path.read_bytes()[:-5], path.read_bytes()[:-4], b"", b"\x93NUMPY", bytes(200)):
        path.write_bytes(content)
        kept = Store(tmp_path, 10**6)  # as in another run
        assert kept.get("a") is None
        kept.put("a", ARRAY)
        np.testing.assert_array_equal(kept.get("a"), ARRAY)


def test_a_pickle_is_not_read(tmp_path):
    kept = Store(tmp_path, 10**6)
    kept.path("a").parent.mkdir(parents=True)
    np.save(kept.path("a"), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    content = kept.path("a").read_bytes()
    kept.path("a").write_bytes(content + cache.zlib.crc32(content).to_bytes(4))
    assert kept.get("a") is None


def test_arrays_of_this_run_fill_the_limit_and_no_more(tmp_path):
    kept = Store(tmp_path, 5 * ON_DISK)
    assert [kept.put(str(number), ARRAY) for number in range(9)] == [True] * 5 + [False] * 4
    assert [number for number in range(9) if kept.get(str(number)) is not None] == [0, 1, 2, 3, 4]
    assert sum(size for _, size, _ in kept.entries()) <= 5 * ON_DISK


def test_a_full_folder_in_use_is_not_scanned_for_every_array(tmp_path, monkeypatch):
    scans, entries = [], Store.entries
    monkeypatch.setattr(Store, "entries", lambda self: scans.append(1) or entries(self))
    kept = Store(tmp_path, 5 * ON_DISK)
    assert sum(kept.put(str(number), ARRAY) for number in range(300)) == 5
    assert len(scans) == 2 + (300 - 5) // STORED_BETWEEN_SCANS


def test_what_was_used_longest_ago_makes_room(tmp_path):
    before = Store(tmp_path, 4 * ON_DISK)
    for number in range(4):
        before.put(str(number), ARRAY)
        os.utime(before.path(str(number)), (time.time() - 1000 + number,) * 2)
    after = Store(tmp_path, 4 * ON_DISK)
    after.touch(["0", "never stored"])
    after.put("new", ARRAY)
    assert [after.get(key) is not None for key in ("new", "0", "1")] == [True, True, False]


@pytest.mark.parametrize(
    ("total", "free", "stored"), [(10**10, 4 * 10**8, False), (10**10, 6 * 10**8, True), (10**12, 3 * 10**9, True)]
)
def test_a_disk_that_is_nearly_full_is_not_filled(tmp_path, monkeypatch, caplog, total, free, stored):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(total, total - free, free))
    kept = Store(tmp_path, 10**6)
    assert [kept.put("a", ARRAY), kept.put("b", ARRAY)] == [stored, stored]
    assert (kept.get("a") is not None) == stored
    assert [record.message.endswith("the disk is nearly full, 0.4 GB are free") for record in caplog.records] == (
        [] if stored else [True]
    )


@pytest.mark.parametrize("reason", ["full", "a file"])
def test_where_nothing_can_be_cached_the_main_process_says_so_and_no_worker(tmp_path, monkeypatch, caplog, reason):
    folder = tmp_path / "cache"
    if reason == "full":
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 10**10, 0))
    else:
        folder.write_text("in the way")
    store = cache.open_store(folder, 1)
    assert len(caplog.records) == 1
    for worker in (pickle.loads(pickle.dumps(store)) for _ in range(3)):
        assert not worker.put("a", ARRAY)
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_to_is_said_once_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    kept = Store(tmp_path / "file", 10**6)
    with caplog.at_level(logging.WARNING):
        assert not kept.put("a", ARRAY)
        assert not kept.put("b", ARRAY)
    assert len(caplog.records) == 1
    assert str(tmp_path / "file") in caplog.text
    assert kept.get("a") is None


@pytest.mark.parametrize("limit", [0, -1])
def test_without_a_limit_above_nothing_nothing_is_stored(tmp_path, limit):
    Store(tmp_path / "cache", limit).put("a", ARRAY)
    assert not (tmp_path / "cache").exists()


# --- several processes -----------------------------------------------------------------------------------------------


@contextmanager
def processes(*calls):
    """Forked, so that none has to import anything; all of them have to end well."""
    started = [multiprocessing.get_context("fork").Process(target=call, args=given) for call, *given in calls]
    for process in started:
        process.start()
    yield started
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * len(started)


def store_many(folder):
    kept = Store(folder, 10**9)
    for number in range(100):
        kept.put(str(number), np.full((50, 50, 3), number, np.uint8))
        found = kept.get(str(number))
        assert found is not None
        assert (found == number).all()


def note_span(folder, task, noted):
    with Store(folder, 10**6).alone(task):
        begun = time.time()
        time.sleep(0.2)
        noted.put((task, begun, time.time()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_two_processes_that_store_the_same_arrays_at_once_do_no_harm(tmp_path):
    with processes((store_many, tmp_path), (store_many, tmp_path)):
        pass
    assert len(Store(tmp_path, 0).entries()) == 100
    assert list(tmp_path.rglob(".*")) == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_task_is_done_by_one_process_at_a_time_and_others_are_not_held_off(tmp_path):
    """The test holds one task: of three processes two wait for it, and then come one after the other."""
    noted, held = multiprocessing.get_context("fork").Queue(), Store(tmp_path, 10**6).alone("maps")
    held.__enter__()
    with processes(*((note_span, tmp_path, task, noted) for task in ("maps", "maps", "other"))) as started:
        assert noted.get(timeout=60)[0] == "other"
        assert all(process.is_alive() for process in started[:2])
        released = time.time()
        held.__exit__(None, None, None)
        (_, *first), (_, *second) = sorted(noted.get(timeout=60) for _ in "ab")
    assert released <= first[0] < first[1] <= second[0] < second[1]


@pytest.mark.parametrize("limit", [0, 10**6])
def test_where_nothing_can_be_locked_the_work_is_done_all_the_same(tmp_path, limit, caplog):
    (tmp_path / "file").write_text("no folder")
    with Store(tmp_path / "file", limit).alone("maps"):
        done = True
    assert done
    assert ("cannot be locked" in caplog.text) == bool(limit)


def test_a_failure_within_a_task_lets_the_next_one_in(tmp_path):
    kept = Store(tmp_path, 10**6)
    with pytest.raises(KeyError), kept.alone("maps"):
        raise KeyError
    with kept.alone("maps"):
        pass
