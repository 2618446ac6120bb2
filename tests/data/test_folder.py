"""Images that nobody rated: which files are taken, in which order, and what is refused."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from fusiqa.data.folder import read_images
from fusiqa.errors import FusiqaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "holiday"
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "sub/deep/d.webp", "notes.txt", "sub/movie.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".txt", ".mp4")):
            (root / name).write_text("no image")
        else:
            Image.new("RGB", (5, 7), (len(name), 0, 0)).save(root / name)
    (root / "folder.jpg").mkdir()
    return root


def test_names_start_from_the_common_folder_and_can_be_read(folder, tmp_path):
    ratings = read_images([folder / "sub" / "deep", folder / "a.png"])
    assert ratings.table["image"].tolist() == ["sub/deep/d.webp", "a.png"]
    assert ratings.name == "2 images"
    assert ratings.table["mos"].isna().all()
    assert [ratings.images.read(image).shape for image in ratings.table["image"]] == [(7, 5, 3)] * 2
    assert read_images([folder / "sub" / "c.jpeg"]).table["image"].tolist() == ["c.jpeg"]


def test_images_of_one_name_in_two_folders_stay_apart(folder):
    (folder / "b.JPG").rename(folder / "sub" / "a.png")
    assert read_images([folder / "a.png", folder / "sub" / "a.png"]).table["image"].tolist() == [
        "a.png",
        "sub/a.png",
    ]


def test_the_folder_is_named_however_it_was_typed(folder, monkeypatch):
    assert read_images([folder]).name == "holiday"
    monkeypatch.chdir(folder)
    assert read_images([Path(".")]).name == "holiday"
    assert read_images([Path("sub/..")]).name == "holiday"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not Unicode")
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_computed(folder):
    os.rename(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    with pytest.raises(FusiqaError, match=r"not UTF-8: 'caf\\udce9\.png'; rename"):
        read_images([folder])
