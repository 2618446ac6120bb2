"""Unpacking trusts nothing in an archive: it is whole afterwards or not there, and nothing lies beside it."""

import gzip
import io
import multiprocessing
import os
import random
import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from fusiqa.data import download as module
from fusiqa.data.download import DamagedArchiveError, unpack
from fusiqa.errors import FusiqaError

CONTENT = os.urandom(5_000)  # does not shrink


def tar_of(path: Path, *members: tuple[str, bytes | str], compression: str = "gz") -> Path:
    """A .tgz; a member's content is bytes, or the type of tarfile for what is no file."""
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = getattr(tarfile, content), "images/a.jpg"
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def nothing_left(folder: Path, *expected: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


@pytest.mark.parametrize("kind", ["gz", "tar"])
def test_what_was_packed_is_unpacked(tmp_path, kind):
    members = (("set/images/a.jpg", CONTENT), ("set/labels.csv", b"image,mos\n"))
    archive = tmp_path / f"archive.{kind}"
    tar_of(archive, *members, compression="gz" if kind == "gz" else "")
    unpack(archive, tmp_path / "deep" / "set")
    assert (tmp_path / "deep" / "set" / "set" / "images" / "a.jpg").read_bytes() == CONTENT
    assert (tmp_path / "deep" / "set" / "set" / "labels.csv").read_bytes() == b"image,mos\n"
    assert nothing_left(tmp_path / "deep", "set")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("../outside.jpg", CONTENT, "could be written outside"),
        ("set/../../outside.jpg", CONTENT, "could be written outside"),
        ("/outside.jpg", CONTENT, "absolute path"),
        ("C:/outside.jpg", CONTENT, "absolute path"),
        ("set\\..\\outside.jpg", CONTENT, "could be written outside"),
        ("link", "SYMTYPE", "is a link or a device"),
        ("link", "LNKTYPE", "is a link or a device"),
        ("null", "CHRTYPE", "is a link or a device"),
        ("pipe", "FIFOTYPE", "is a link or a device"),
    ],
)
def test_a_member_that_is_no_plain_file_inside_is_refused_before_anything_is_written(tmp_path, name, content, said):
    archive = tar_of(tmp_path / "a.tgz", ("images/a.jpg", CONTENT), (name, content))
    with pytest.raises(FusiqaError, match=said) as caught:
        unpack(archive, tmp_path / "set")
    assert repr(name) in str(caught.value)
    assert nothing_left(tmp_path, "a.tgz")


@pytest.mark.parametrize(
    ("limit", "value", "content", "said"),
    [
        ("BYTES_AT_MOST", 9_000, CONTENT, "more than 9,000 bytes"),
        ("MEMBERS_AT_MOST", 1, CONTENT, "'b.jpg' is one of more than 1"),
        ("RATIO_AT_MOST", 20.0, bytes(2_000_000), "more than 20 times the size"),
    ],
)
def test_limits_are_kept(tmp_path, monkeypatch, limit, value, content, said):
    archive = tar_of(tmp_path / "archive", ("a.jpg", content), ("b.jpg", content))
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(FusiqaError, match=said):
        unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "archive")


@pytest.mark.parametrize(
    "members", [("a.jpg", "a.jpg"), ("a", "a/b.jpg"), ("a/b.jpg", "a")], ids=["twice", "file then folder", "other way"]
)
def test_two_members_of_one_name_are_refused(tmp_path, members):
    archive = tar_of(tmp_path / "a.tgz", *((name, CONTENT) for name in members))
    with pytest.raises(FusiqaError, match="has the name of another member"):
        unpack(archive, tmp_path / "set")


def test_a_damaged_archive_is_told_from_an_unsafe_one(tmp_path):
    archive = tar_of(tmp_path / "archive", ("a.jpg", CONTENT), ("b.jpg", CONTENT))
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for content in (whole[:-3_000], bytes(flipped), b"<html>not found</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(DamagedArchiveError, match=r"damaged|is not a \.tgz"):
            unpack(archive, tmp_path / "set")
        assert nothing_left(tmp_path, "archive")


def test_zeros_without_end_are_not_read_to_their_end(tmp_path, monkeypatch):
    """The members are small, and what follows them is not: the ratio does not see it."""
    tar_of(tmp_path / "a.tar", ("a.jpg", CONTENT), compression="")
    (tmp_path / "a.tgz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes() + bytes(5_000_000)))
    monkeypatch.setattr(module, "MEMBERS_AT_MOST", 7)
    monkeypatch.setattr(module, "BYTES_AT_MOST", 11_000)
    with pytest.raises(FusiqaError, match=f"more than {11_000 + 17 * 2_048:,} bytes when decompressed"):
        unpack(tmp_path / "a.tgz", tmp_path / "set")
    assert nothing_left(tmp_path, "a.tar", "a.tgz")


def test_a_header_that_states_a_gigabyte_is_not_read_into_memory(tmp_path):
    entry = tarfile.TarInfo("name")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**30
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(3 * tarfile.BLOCKSIZE))
    with pytest.raises(DamagedArchiveError, match=r"a header of 1073741824 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "set")


def test_however_it_is_damaged_it_is_unpacked_or_refused(tmp_path):
    """What the standard library makes of a damaged archive is never an error of another kind, and nothing is left."""
    chance = random.Random(7)
    whole = tar_of(tmp_path / "archive", ("set/a.jpg", b"short"), ("set/\N{SNOWMAN}.jpg", b"shorter")).read_bytes()
    outcomes = set()
    for number in range(150):
        damaged = bytearray(whole)
        for position in chance.sample(range(len(whole)), k=chance.randint(1, 3)):
            damaged[position] = chance.randrange(256)
        (tmp_path / "archive").write_bytes(damaged)
        try:
            unpack(tmp_path / "archive", tmp_path / "set")
            shutil.rmtree(tmp_path / "set")
            outcomes.add("unpacked")
        except FusiqaError:
            outcomes.add("refused")
        assert nothing_left(tmp_path, "archive"), number
    assert outcomes == {"unpacked", "refused"}


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT), ("b.jpg", CONTENT))
    monkeypatch.setattr(tarfile, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "a.tgz")


def test_what_a_killed_run_left_does_not_take_the_room(tmp_path, monkeypatch):
    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT))
    left = tmp_path / ".set.unpacking" / "unpacked" / "a.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT)

    def usage(_: object) -> tuple[int, int, int]:
        free = 4_000 if left.exists() else 4_000 + 2 * len(CONTENT)
        return shutil._ntuple_diskusage(20_000, 20_000 - free, free)

    monkeypatch.setattr(module.shutil, "disk_usage", usage)
    unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "a.tgz", "set")


def test_a_folder_that_holds_something_is_not_written_into(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(FusiqaError, match="is not empty: move it away"):
        unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"
    (tmp_path / "set" / "mine.txt").unlink()
    unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "a.jpg").exists()


def test_a_disk_without_room_is_said_beforehand(tmp_path, monkeypatch):
    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 6_000, 4_000))
    with pytest.raises(FusiqaError, match=r"0\.00 GB free, but unpacking needs 0\.00 GB: free some"):
        unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "a.tgz")


def unpack_and_be_killed(archive: Path, folder: Path) -> None:
    extract, done = tarfile.TarFile.extract, []

    def killed(*arguments, **more):
        extract(*arguments, **more)
        done.append(1)
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    tarfile.TarFile.extract = killed
    unpack(archive, folder)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_killed_unpacking_leaves_no_folder_and_the_next_one_begins_anew(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", *((f"{name}.jpg", CONTENT) for name in "abc"))
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=unpack_and_be_killed, args=(archive, tmp_path / "set"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "set").exists()
    unpack(archive, tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    assert nothing_left(tmp_path, "a.tgz", "set")
