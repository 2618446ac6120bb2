import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages, reason_of


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> FolderImages:
    Image.fromarray(noise(37, 53)).save(tmp_path / "whole.png")
    Image.fromarray(noise(37, 53)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    Image.fromarray(np.full((3, 5), 0.5, np.float32)).save(tmp_path / "float.tiff")
    return FolderImages(tmp_path)


def test_reading_gives_the_pixels(folder: FolderImages):
    np.testing.assert_array_equal(folder.read("whole.png"), noise(37, 53))


def test_names_may_be_absolute_or_in_a_folder_below(folder: FolderImages):
    below = FolderImages(folder.root.parent)
    np.testing.assert_array_equal(below.read(f"{folder.root.name}/whole.png"), noise(37, 53))
    np.testing.assert_array_equal(FolderImages(Path("elsewhere")).read(str(folder.root / "whole.png")), noise(37, 53))


@pytest.mark.parametrize("image", ["whole.png", "whole.jpg"])
def test_verifying_gives_the_hash_of_the_file(folder: FolderImages, image: str):
    assert folder.verify(image) == hashlib.sha256((folder.root / image).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("cut.jpg", "truncated"),
        ("text.jpg", "not an image"),
        ("empty.jpg", "empty"),
        ("folder.jpg", "is a folder"),
        ("pipe.jpg", "is a pipe"),
        ("dangling.jpg", "no such file in .*"),
        ("missing.jpg", "no such file in .*"),
        ("float.tiff", "floating-point"),
    ],
)
def test_what_cannot_be_used_is_refused_with_name_and_reason(folder: FolderImages, image: str, reason: str):
    for use in (folder.read, folder.verify):
        with pytest.raises(FusiqaError, match=f"^{image}: .*{reason}"):
            use(image)


def test_a_decompression_bomb_is_refused_with_its_name(folder: FolderImages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 37 * 53 // 3)
    for use in (folder.read, folder.verify):
        with pytest.raises(FusiqaError, match=r"^whole\.png: too large .*1961"):
            use("whole.png")


def test_images_are_picklable(folder: FolderImages):
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    np.testing.assert_array_equal(copy.read("whole.png"), folder.read("whole.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_says_so(folder: FolderImages):
    (folder.root / "whole.png").chmod(0)
    with pytest.raises(FusiqaError, match=r"^whole\.png: may not be read"):
        folder.read("whole.png")


def test_the_reason_for_a_refused_file_is_in_the_users_words():
    assert reason_of(PermissionError(13, "Permission denied")) == "may not be read (permission denied)"
    assert reason_of(FileNotFoundError()) == "no such file"
    assert reason_of(ValueError("odd chunk")) == "cannot be read (odd chunk)"
    assert reason_of(ValueError()) == "cannot be read (ValueError)"
