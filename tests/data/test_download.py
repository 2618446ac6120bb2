"""A data set from a hub on this machine: licence first, resumed, checked, unpacked, read; or one line that says why."""

import io
import sys
import tarfile

import pytest
from hub_server import Hub, point_to
from huggingface_hub import constants, file_download
from PIL import Image

from fusiqa.cli import main
from fusiqa.data import download as module
from fusiqa.data.catalog import read
from fusiqa.data.download import REPOSITORY, download
from fusiqa.errors import FusiqaError

FILE = f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz"
CHUNK = 1000
HEADER = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"


def koniq_archive() -> bytes:
    """KonIQ-10k in its true layout inside a folder of its own, with three photographs."""
    rows = [
        f"{n}.jpg,0,0,0,1,0,105,{20 * n}.5,0.5,{part}" for n, part in ((1, "training"), (2, "validation"), (3, "test"))
    ]
    files = {"koniq10k/koniq10k_distributions_sets.csv": "\n".join([HEADER, *rows]).encode()}
    for number in (1, 2, 3):
        picture = io.BytesIO()
        Image.effect_noise((512, 384), 60 + number).convert("RGB").save(picture, "JPEG")
        files[f"koniq10k/512x384/{number}.jpg"] = picture.getvalue()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def kept(arrived: int) -> int:
    return arrived // CHUNK * CHUNK


@pytest.fixture(scope="module")
def content():
    return koniq_archive()


@pytest.fixture
def hub(content, tmp_path, monkeypatch):
    server = Hub(FILE, content)
    server.start()
    point_to(server.address, tmp_path, monkeypatch)
    monkeypatch.setenv("FUSIQA_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)  # 10 MB: the client loses what it has of a chunk
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    yield server
    server.shutdown()
    server.server_close()


def test_a_data_set_is_fetched_unpacked_and_found_where_it_is_looked_for(hub, tmp_path, capsys):
    folder = download("KonIQ10k", accept=True, progress=False)
    assert folder == tmp_path / "data" / "koniq-10k"
    ratings = read("koniq-10k")
    assert ratings.table["mos"].tolist() == [20.5, 40.5, 60.5]
    assert ratings.photographs.read("1.jpg").shape == (384, 512, 3)
    said = capsys.readouterr().out
    assert said.index("Creative Commons") < said.index("3 rated photographs (10,073 are published)")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["koniq-10k"]


def test_what_is_there_is_not_fetched_again(hub, capsys):
    download("koniq-10k", accept=True, progress=False)
    asked = len(hub.asked)
    download("koniq-10k", accept=True, progress=False)
    assert len(hub.asked) == asked
    assert "nothing is downloaded" in capsys.readouterr().out


def test_a_connection_that_breaks_is_gone_on_with_where_it_broke(hub, content):
    hub.cut_after = [len(content) // 3, len(content) // 4]
    download("koniq-10k", accept=True, progress=False)
    ranges = [request.rpartition(" ")[2] for request in hub.asked if "/store" in request and "bytes=" in request]
    assert ranges[0] == f"bytes={kept(len(content) // 3)}-"
    assert len(read("koniq-10k")) == 3


def test_a_download_that_ended_early_is_gone_on_with_by_the_next_command(hub, content, tmp_path):
    hub.cut_after = [len(content) // 2] + [0] * 20
    with pytest.raises(FusiqaError, match=r"broke off: .*MB are kept: run the command again"):
        download("koniq-10k", accept=True, progress=False)
    part = next((tmp_path / "data").glob("*.part"))
    assert part.read_bytes() == content[: kept(len(content) // 2)]
    hub.cut_after, hub.asked = [], []
    download("koniq-10k", accept=True, progress=False)
    assert f"bytes={kept(len(content) // 2)}-" in " ".join(hub.asked)
    assert len(read("koniq-10k")) == 3


def test_a_file_with_another_checksum_is_discarded(hub, tmp_path):
    hub.stated_sha256 = "0" * 64
    with pytest.raises(FusiqaError, match=r"another SHA-256 than the hub states \(000000000000\.\.\.\)"):
        download("koniq-10k", accept=True, progress=False)
    assert not list((tmp_path / "data").glob("*.part"))
    assert not (tmp_path / "data" / "koniq-10k").exists()


def test_a_corrupted_archive_is_discarded_and_the_next_command_fetches_it_anew(hub, content, tmp_path):
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    hub.content = bytes(flipped)  # the hub itself has it so: its checksum fits
    with pytest.raises(FusiqaError, match=r"is damaged .* It is discarded: run the command again"):
        download("koniq-10k", accept=True, progress=False)
    assert not (tmp_path / "data" / "koniq-10k").exists()
    hub.content = content
    download("koniq-10k", accept=True, progress=False)
    assert len(read("koniq-10k")) == 3


def test_a_page_in_place_of_the_archive_is_told(hub, tmp_path):
    hub.content = b"<html>sign in</html>"
    with pytest.raises(FusiqaError, match=r"is no .tgz, .tar or .zip"):
        download("koniq-10k", accept=True, progress=False)
    assert not (tmp_path / "data" / "koniq-10k").exists()


def test_an_archive_without_the_ratings_is_said_and_kept(hub, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("koniq10k/readme.txt"))
    hub.content = packed.getvalue()
    with pytest.raises(FusiqaError, match=r"is not read as koniq-10k: .*expected koniq10k_distributions_sets.csv"):
        download("koniq-10k", accept=True, progress=False)


def test_a_refusal_of_the_hub_is_one_line(hub):
    hub.refusal = (404, "EntryNotFound")
    with pytest.raises(FusiqaError, match="could not be downloaded") as caught:
        download("koniq-10k", accept=True, progress=False)
    assert "\n" not in str(caught.value)


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


def test_without_a_terminal_the_flag_is_named(hub, monkeypatch, capsys):
    monkeypatch.setattr(module.sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "argv", ["fusiqa", "data", "download", "koniq-10k"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "add --accept_licence" in capsys.readouterr().err
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
    with pytest.raises(FusiqaError, match=r"is not read as koniq-10k.*move it away, or name another"):
        download("koniq-10k", folder=tmp_path / "mine", accept=True, progress=False)
    assert hub.asked == []


def test_unknown_names_and_the_built_in_set(hub):
    with pytest.raises(FusiqaError, match=r"'konik': did you mean koniq\?"):
        download("konik", accept=True)
    with pytest.raises(FusiqaError, match="synthetic needs no download"):
        download("synthetic", accept=True)


def test_without_a_network_one_line_comes_within_seconds(tmp_path, monkeypatch):
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)
    with pytest.raises(FusiqaError, match="could not be downloaded from chaofengc/IQA-PyTorch-Datasets") as caught:
        download("koniq-10k", folder=tmp_path / "k", accept=True, progress=False)
    assert "\n" not in str(caught.value)
