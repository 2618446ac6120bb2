"""A data set from a hub on this machine: licence first, resumed, checked, unpacked, read; or one line that says why."""

import gzip
import io
import random
import shutil
import tarfile
import time
from pathlib import Path

import pytest
from hub_server import point_to, serving, sha256
from PIL import Image

from fusiqa.data import download as module
from fusiqa.data.catalog import read
from fusiqa.data.download import REPOSITORY, download, fetch
from fusiqa.errors import FusiqaError
from fusiqa.io import hold

FILE = f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz"
HEADER = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"


def koniq_archive() -> bytes:
    """KonIQ-10k in its true layout inside a folder of its own, with three images in both published sizes."""
    rows = [
        f"{n}.jpg,0,0,0,1,0,105,{20 * n}.5,0.5,{part}" for n, part in ((1, "training"), (2, "validation"), (3, "test"))
    ]
    files = {"koniq10k/koniq10k_distributions_sets.csv": "\n".join([HEADER, *rows]).encode()}
    for number in (1, 2, 3):
        for size in ((512, 384), (1024, 768)):
            file = io.BytesIO()
            Image.effect_noise((512, 384), 60 + number).resize(size).convert("RGB").save(file, "JPEG")
            files[f"koniq10k/{size[0]}x{size[1]}/{number}.jpg"] = file.getvalue()
    return packed(files)


def packed(files: dict[str, bytes]) -> bytes:
    """A .tgz."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return into.getvalue()


def flipped(content: bytes) -> bytes:
    """One bit of the middle is another."""
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


@pytest.fixture(scope="module")
def content():
    return koniq_archive()


@pytest.fixture
def hub(content, tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIQA_DATA", str(tmp_path / "data"))
    with serving(FILE, content, tmp_path, monkeypatch) as server:
        yield server


def test_a_data_set_is_fetched_unpacked_and_found_where_it_is_looked_for(hub, tmp_path, capsys):
    folder = download("KonIQ10k", accept=True, progress=False)
    assert folder == tmp_path / "data" / "koniq-10k"
    ratings = read("koniq-10k")
    assert ratings.table["mos"].tolist() == [20.5, 40.5, 60.5]
    assert ratings.images.read("1.jpg").shape == (384, 512, 3)
    said = capsys.readouterr().out
    assert said.index("Creative Commons") < said.index("3 rated images (10,073 are published)")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["koniq-10k"]


def test_what_is_there_is_not_fetched_again(hub, capsys):
    download("koniq-10k", accept=True, progress=False)
    asked = len(hub.asked)
    download("koniq-10k", accept=True, progress=False)
    assert len(hub.asked) == asked
    assert "nothing is downloaded" in capsys.readouterr().out


def test_a_disk_without_room_is_said_before_the_transfer(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 7, 7))
    with pytest.raises(FusiqaError, match=r"but koniq10k\.tgz with its contents needs .* GB: free some, or choose"):
        download("koniq-10k", accept=True, progress=False)
    assert not [request for request in hub.asked if "/store" in request]


def test_a_disk_that_fills_up_is_one_line_and_the_archive_is_kept(hub, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full)
        with pytest.raises(FusiqaError, match=r"koniq-10k could not be written to .*No space left on device"):
            download("koniq-10k", accept=True, progress=False)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["koniq10k.tgz"]
    hub.asked = []
    download("koniq-10k", accept=True, progress=False)
    assert not [request for request in hub.asked if "/store" in request]


def test_two_downloads_of_one_data_set_do_not_mix(hub, tmp_path):
    with (
        hold(tmp_path / "data" / "koniq-10k"),
        pytest.raises(FusiqaError, match=r"koniq-10k is being written by process \d+ on .*; wait"),
    ):
        download("koniq-10k", accept=True, progress=False)
    assert hub.asked == []


def test_the_folder_may_be_empty_and_the_one_that_one_stands_in(hub, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert download("koniq-10k", folder=Path("."), accept=True, progress=False) == tmp_path / "here"
    assert len(read("koniq-10k", data_dir=tmp_path / "here")) == 3


WRONG = r"SHA-256 of koniq10k\.tgz is not the one that the hub states .* was discarded\. Run the command again"
PAGE = r"is not a \.tgz or \.tar: it begins with b'<html>.* was discarded"


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("stated_sha256", lambda _: "0" * 64, r"is not the one .* \(000000000000\.\.\.\)"),
        ("sent", flipped, WRONG),
        ("sent", lambda _: b"<html>sign in</html>", PAGE),
        ("sent", lambda _: b"<html>" + bytes(200_000), PAGE),
        ("content", flipped, r"is damaged .*, and so is the hub's copy.*Get it from https:"),
        ("content", lambda _: b"<html>sign in</html>", PAGE),
        ("page", lambda _: b"<html>sign in</html>", r"states no SHA-256, .*is there a sign-in page\?"),
        ("refusal", lambda _: (404, "EntryNotFound"), "could not be downloaded"),
    ],
    ids=["checksum", "flipped", "page sent", "long page sent", "damaged", "page stated", "page for all", "refused"],
)
def test_what_is_not_the_archive_is_discarded_and_the_next_command_begins_anew(
    hub, content, tmp_path, attribute, value, said
):
    truth = getattr(hub, attribute)
    setattr(hub, attribute, value(content))
    with pytest.raises(FusiqaError, match=said) as caught:
        download("koniq-10k", accept=True, progress=False)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []
    assert any(request.startswith("GET") for request in hub.asked) == (attribute not in ("page", "refusal"))
    setattr(hub, attribute, truth)
    download("koniq-10k", accept=True, progress=False)
    assert len(read("koniq-10k")) == 3


def test_an_archive_without_the_ratings_is_said_and_kept(hub, tmp_path):
    hub.content = packed({"koniq10k/readme.txt": b""})
    with pytest.raises(FusiqaError, match=r"cannot be read as koniq-10k: .*expected koniq10k_distributions_sets.csv"):
        download("koniq-10k", accept=True, progress=False)


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("n", False), ("", False)])
def test_the_licence_is_asked_for_on_a_terminal(hub, monkeypatch, capsys, answer, goes_on):
    monkeypatch.setattr(module.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda _: answer)
    if goes_on:
        download("koniq-10k", progress=False)
        assert len(read("koniq-10k")) == 3
        return
    with pytest.raises(FusiqaError, match="was not accepted; nothing is downloaded"):
        download("koniq-10k", progress=False)
    assert hub.asked == []
    assert "Creative Commons" in capsys.readouterr().out


def test_without_a_terminal_the_flag_is_named(hub, monkeypatch, refused):
    monkeypatch.setattr(module.sys, "stdin", io.StringIO())
    assert "set --accept_licence" in refused("data", "download", "koniq-10k")
    assert hub.asked == []


@pytest.mark.parametrize("name", ["spaq", "biq2021", "bid"])
def test_what_may_not_be_passed_on_is_said_to_be_asked_for(hub, name, tmp_path, capsys):
    folder = download(name, accept=True, progress=False)
    said = capsys.readouterr().out
    assert f"put it in {tmp_path / 'data' / name}" in said
    assert "1. get it from http" in said
    assert not folder.exists()
    assert hub.asked == []


def test_a_folder_with_something_else_is_left_alone(hub, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(FusiqaError, match=r"(?s)cannot be read as koniq-10k.*move it away, or choose another"):
        download("koniq-10k", folder=tmp_path / "mine", accept=True, progress=False)
    assert hub.asked == []


def test_unknown_names_and_the_built_in_set(hub):
    with pytest.raises(FusiqaError, match=r"'konik', did you mean koniq\?"):
        download("konik", accept=True)
    for name in ("synthetic", "distorted"):
        with pytest.raises(FusiqaError, match=f"{name} needs no download"):
            download(name, accept=True)


def test_without_a_network_one_line_comes_within_seconds(tmp_path, monkeypatch):
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)
    started = time.monotonic()
    with pytest.raises(FusiqaError, match="could not be downloaded from chaofengc/IQA-PyTorch-Datasets") as caught:
        download("koniq-10k", folder=tmp_path / "k", accept=True, progress=False)
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)


ARCHIVE = gzip.compress(random.Random(5).randbytes(70_001), mtime=0)


@pytest.fixture
def archive_hub(tmp_path, monkeypatch):
    with serving(f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz", ARCHIVE, tmp_path, monkeypatch) as server:
        yield server


def test_every_byte_is_asked_for_once_and_the_file_is_equal(archive_hub, tmp_path):
    cut = len(ARCHIVE) // 3
    archive_hub.cut_after = [cut, cut]
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == ARCHIVE
    assert [request for request in archive_hub.asked if "/store" in request] == [
        "GET /store",
        f"GET /store bytes={cut}-",
        f"GET /store bytes={2 * cut}-",
    ]
    assert [path.name for path in tmp_path.glob("koniq*")] == ["koniq10k.tgz"]


HALF = len(ARCHIVE) // 2


@pytest.mark.parametrize(
    ("attribute", "value", "kept"),
    [("cut_after", [HALF] + [0] * 20, HALF), ("cut_after", [0] * 20, 0), ("sent", ARCHIVE[:HALF], HALF)],
    ids=["broken", "broken at once", "ended"],
)
def test_what_broke_off_is_kept_and_gone_on_with_by_the_next_command(archive_hub, tmp_path, attribute, value, kept):
    truth = getattr(archive_hub, attribute)
    setattr(archive_hub, attribute, value)
    with pytest.raises(FusiqaError, match=r"interrupted: .*\. 0\.0 of 0\.1 MB are kept: run the command again"):
        fetch("koniq10k.tgz", tmp_path, progress=False)
    assert next(tmp_path.glob("*.part")).read_bytes() == ARCHIVE[:kept]
    setattr(archive_hub, attribute, truth)
    archive_hub.asked = []
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == ARCHIVE
    assert archive_hub.asked[-1] == ("GET /store" if not kept else f"GET /store bytes={kept}-")


def test_a_store_that_sends_no_parts_begins_anew(archive_hub, tmp_path):
    archive_hub.cut_after, archive_hub.ignores_ranges = [len(ARCHIVE) // 2], True
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == ARCHIVE


def test_a_part_that_is_longer_than_the_file_is_discarded(archive_hub, tmp_path):
    part = tmp_path / f"koniq10k.tgz.{sha256(ARCHIVE)[:12]}.part"
    part.write_bytes(ARCHIVE + b"more")
    with pytest.raises(FusiqaError, match=r"SHA-256 of koniq10k\.tgz is not the one .* was discarded"):
        fetch("koniq10k.tgz", tmp_path, progress=False)
    assert not part.exists()


def test_an_archive_that_is_there_is_taken_only_if_it_is_the_one(archive_hub, tmp_path):
    (tmp_path / "koniq10k.tgz").write_bytes(ARCHIVE)
    fetch("koniq10k.tgz", tmp_path, progress=False)
    assert not [request for request in archive_hub.asked if "/store" in request]
    (tmp_path / "koniq10k.tgz").write_bytes(b"another")
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == ARCHIVE
