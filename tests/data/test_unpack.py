"""Unpacking trusts nothing in an archive: it is whole afterwards or not there, and nothing lies beside it."""

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fusiqa.data import unpack as module
from fusiqa.data.archive import DamagedArchiveError
from fusiqa.data.unpack import Limits, unpack
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


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def nothing_left(folder: Path, *expected: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


@pytest.mark.parametrize("kind", ["gz", "tar", "zip"])
def test_what_was_packed_is_unpacked(tmp_path, kind):
    members = (("set/images/a.jpg", CONTENT), ("set/labels.csv", b"image,mos\n"))
    archive = tmp_path / f"archive.{kind}"
    if kind == "zip":
        zip_of(archive, *members)
    else:
        tar_of(archive, *members, compression="gz" if kind == "gz" else "")
    unpack(archive, tmp_path / "deep" / "set")
    assert (tmp_path / "deep" / "set" / "set" / "images" / "a.jpg").read_bytes() == CONTENT
    assert (tmp_path / "deep" / "set" / "set" / "labels.csv").read_bytes() == b"image,mos\n"
    assert nothing_left(tmp_path / "deep", "set")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("../outside.jpg", CONTENT, "could lie outside"),
        ("set/../../outside.jpg", CONTENT, "could lie outside"),
        ("/outside.jpg", CONTENT, "absolute path"),
        ("C:/outside.jpg", CONTENT, "absolute path"),
        ("set\\..\\outside.jpg", CONTENT, "could lie outside"),
        ("link", "SYMTYPE", "is a symbolic link"),
        ("link", "LNKTYPE", "is a hard link"),
        ("null", "CHRTYPE", "is a device"),
        ("pipe", "FIFOTYPE", "is a FIFO"),
    ],
)
def test_a_member_that_is_no_plain_file_inside_is_refused_before_anything_is_written(tmp_path, name, content, said):
    archive = tar_of(tmp_path / "a.tgz", ("images/a.jpg", CONTENT), (name, content))
    with pytest.raises(FusiqaError, match=said) as caught:
        unpack(archive, tmp_path / "set")
    assert repr(name) in str(caught.value)
    assert nothing_left(tmp_path, "a.tgz")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(FusiqaError, match="'link' is a symbolic link"):
        unpack(tmp_path / "a.zip", tmp_path / "set")
    assert nothing_left(tmp_path, "a.zip")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(size=9_000), "more than 9,000 bytes when unpacked"),
        (Limits(members=1), "more than 1 members"),
    ],
)
def test_limits_are_kept(tmp_path, make, limits, said):
    archive = make(tmp_path / "archive", ("a.jpg", CONTENT), ("b.jpg", CONTENT))
    with pytest.raises(FusiqaError, match=said):
        unpack(archive, tmp_path / "set", limits=limits)
    assert nothing_left(tmp_path, "archive")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_bomb_is_refused_by_its_ratio(tmp_path, make):
    archive = make(tmp_path / "archive", ("zeros.jpg", bytes(20_000_000)))
    with pytest.raises(FusiqaError, match="more than 20 times its own size"):
        unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "archive")


@pytest.mark.parametrize(
    "members", [("a.jpg", "a.jpg"), ("a", "a/b.jpg"), ("a/b.jpg", "a")], ids=["twice", "file then folder", "other way"]
)
def test_two_members_of_one_name_are_refused(tmp_path, members):
    archive = tar_of(tmp_path / "a.tgz", *((name, CONTENT) for name in members))
    with pytest.raises(FusiqaError, match="two of its members are called"):
        unpack(archive, tmp_path / "set")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_damaged_archive_is_told_from_an_unsafe_one(tmp_path, make):
    archive = make(tmp_path / "archive", ("a.jpg", CONTENT), ("b.jpg", CONTENT))
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for content in (whole[:-3_000], bytes(flipped), b"<html>not found</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(DamagedArchiveError, match=r"damaged|is no \.tgz"):
            unpack(archive, tmp_path / "set")
        assert nothing_left(tmp_path, "archive")


def test_a_folder_that_holds_something_is_not_written_into(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(FusiqaError, match="is there already and would be overwritten"):
        unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"
    (tmp_path / "set" / "mine.txt").unlink()
    unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "a.jpg").exists()


def test_a_disk_without_room_is_said_beforehand(tmp_path, monkeypatch):
    archive = tar_of(tmp_path / "a.tgz", ("a.jpg", CONTENT))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 6_000, 4_000))
    with pytest.raises(FusiqaError, match=r"0\.00 GB free and 0\.00 GB are needed to unpack: make room"):
        unpack(archive, tmp_path / "set")
    assert nothing_left(tmp_path, "a.tgz")


KILLED = """
import os, signal, sys
from pathlib import Path
from fusiqa.data import unpack as module
extract = module.extract
def killed(*arguments, **more):
    for number, name in enumerate(extract(*arguments, **more)):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield name
module.extract = killed
module.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_unpacking_leaves_no_folder_and_the_next_one_begins_anew(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", *((f"{name}.jpg", CONTENT) for name in "abc"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(archive), str(tmp_path / "set")])
    assert done.returncode == -9
    assert not (tmp_path / "set").exists()
    unpack(archive, tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    assert nothing_left(tmp_path, "a.tgz", "set")
