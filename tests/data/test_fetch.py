"""One file of the collection: gone on with where the connection broke, and whole and equal in the end."""

import gzip
import random

import pytest
from hub_server import serving, sha256

from fusiqa.data.download import REPOSITORY, fetch
from fusiqa.errors import FusiqaError

CONTENT = gzip.compress(random.Random(5).randbytes(70_001), mtime=0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz", CONTENT, tmp_path, monkeypatch) as server:
        yield server


def test_every_byte_is_asked_for_once_and_the_file_is_equal(hub, tmp_path):
    cut = len(CONTENT) // 3
    hub.cut_after = [cut, cut]
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == CONTENT
    assert [request for request in hub.asked if "/store" in request] == [
        "GET /store",
        f"GET /store bytes={cut}-",
        f"GET /store bytes={2 * cut}-",
    ]
    assert [path.name for path in tmp_path.glob("koniq*")] == ["koniq10k.tgz"]


def test_a_store_that_ends_too_early_without_an_error_is_gone_on_with(hub, tmp_path):
    hub.sent = CONTENT[: len(CONTENT) // 2]
    with pytest.raises(FusiqaError, match=r"broke off: .*are kept: run the command again"):
        fetch("koniq10k.tgz", tmp_path, progress=False)
    hub.sent, hub.asked = None, []
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == CONTENT
    assert hub.asked[-1] == f"GET /store bytes={len(CONTENT) // 2}-"


def test_a_store_that_sends_no_parts_begins_anew(hub, tmp_path):
    hub.cut_after, hub.ignores_ranges = [len(CONTENT) // 2], True
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_discarded(hub, tmp_path):
    part = tmp_path / f"koniq10k.tgz.{sha256(CONTENT)[:12]}.part"
    part.write_bytes(CONTENT + b"more")
    with pytest.raises(FusiqaError, match=f"{len(CONTENT) + 4:,} bytes arrived, but the hub states {len(CONTENT):,}"):
        fetch("koniq10k.tgz", tmp_path, progress=False)
    assert not part.exists()


def test_an_archive_that_is_there_is_taken_only_if_it_is_the_one(hub, tmp_path):
    (tmp_path / "koniq10k.tgz").write_bytes(CONTENT)
    fetch("koniq10k.tgz", tmp_path, progress=False)
    assert not [request for request in hub.asked if "/store" in request]
    (tmp_path / "koniq10k.tgz").write_bytes(b"another")
    assert fetch("koniq10k.tgz", tmp_path, progress=False).read_bytes() == CONTENT
