"""Images that nobody rated: which files are taken, in which order, and what is refused."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from fusiqa.data.folder import read_images
from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import image_files


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


def test_a_folder_gives_its_images_sorted_and_nothing_else(folder):
    found = image_files([folder])
    assert [str(path.relative_to(folder.resolve())) for path in found] == [
        "a.png",
        "b.JPG",
        "sub/c.jpeg",
        "sub/deep/d.webp",
    ]


def test_files_come_in_the_order_given_whatever_their_ending_and_once(folder):
    odd = folder / "photo.raw-export"
    (folder / "a.png").rename(odd)
    found = image_files([folder / "sub" / "c.jpeg", odd, folder / "sub", folder / "sub" / ".." / odd.name])
    assert [path.name for path in found] == ["c.jpeg", odd.name, "d.webp"]


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


def test_a_path_that_is_not_there_is_refused(folder):
    with pytest.raises(FusiqaError, match=r"no such file or folder: .*holiday/missing\.jpg"):
        image_files([folder, folder / "missing.jpg"])


def test_folders_without_images_are_refused_with_the_endings_looked_for(folder):
    with pytest.raises(FusiqaError, match=r"no images in .*folder\.jpg; in folders, .*: .*\.jpeg .*\.jpg"):
        image_files([folder / "folder.jpg"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not Unicode")
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_computed(folder):
    os.rename(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    with pytest.raises(FusiqaError, match=r"not UTF-8: 'caf\\udce9\.png'; rename"):
        read_images([folder])


def test_images_of_telephones_are_found(folder):
    for name in ("e.HEIC", "f.heif", "g.avif"):
        (folder / name).write_bytes(b"found by its ending")
    found = {path.name for path in image_files([folder])}
    assert {"e.HEIC", "f.heif", "g.avif"} < found
