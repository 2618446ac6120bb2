"""The cache of resized images: the same pixels, read from the source once, and never those of another content."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fusiqa.data.cache import CACHE_VARIABLE, cached, default_folder
from fusiqa.scoring.image import Resize

RESIZE = Resize.parse("13")


@dataclass(frozen=True)
class Counted:
    """Images of random pixels, drawn from their names, that note each reading."""

    in_memory: bool = False
    reads: list[str] = field(default_factory=list)

    def read(self, image: str) -> np.ndarray:
        self.reads.append(image)
        return np.random.default_rng(len(image)).integers(0, 256, (29, 37, 3), dtype=np.uint8)

    def verify(self, image: str) -> str:
        return f"content of {image}"


def behind_a_cache(source, folder, *, contents=None, resize=RESIZE, gigabytes=1.0):
    contents = {"a": "1", "bb": "2"} if contents is None else contents
    return cached(source, contents, resize, folder=folder, gigabytes=gigabytes)


def test_a_image_is_decoded_once_and_keeps_its_pixels(tmp_path):
    source = Counted()
    expected = RESIZE.apply(Counted().read("a"))
    for _ in range(3):
        images = behind_a_cache(source, tmp_path)  # as in another run
        np.testing.assert_array_equal(images.read("a"), expected)
        np.testing.assert_array_equal(images.read("a"), expected)
    assert source.reads == ["a"]
    assert images.verify("a") == "content of a"


def test_the_resize_protocol_leaves_cached_images_as_they_are(tmp_path):
    images = behind_a_cache(Counted(), tmp_path)
    pixels = images.read("a")
    assert pixels.shape == (13, 17, 3)
    assert RESIZE.apply(pixels) is pixels


def test_another_content_and_another_resize_are_decoded_anew(tmp_path):
    source = Counted()
    behind_a_cache(source, tmp_path).read("a")
    behind_a_cache(source, tmp_path, contents={"a": "changed"}).read("a")
    assert behind_a_cache(source, tmp_path, resize=Resize.parse("11")).read("a").shape == (11, 14, 3)
    assert source.reads == ["a", "a", "a"]


def test_one_content_under_two_names_is_decoded_once(tmp_path):
    source = Counted()
    behind_a_cache(source, tmp_path, contents={"a": "1"}).read("a")
    behind_a_cache(source, tmp_path, contents={"copy": "1"}).read("copy")
    assert source.reads == ["a"]


def test_a_image_whose_content_is_not_known_is_not_stored(tmp_path):
    source = Counted()
    images = behind_a_cache(source, tmp_path)
    images.read("unknown")
    images.read("unknown")
    assert source.reads == ["unknown", "unknown"]


@pytest.mark.parametrize(("gigabytes", "in_memory"), [(0, False), (1, True)])
def test_no_room_and_images_in_memory_need_no_cache(tmp_path, gigabytes, in_memory):
    source = Counted(in_memory=in_memory)
    assert behind_a_cache(source, tmp_path, gigabytes=gigabytes) is source


def test_where_the_cache_lies(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "asked"))
    assert default_folder() == tmp_path / "asked"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "fusiqa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "fusiqa"
