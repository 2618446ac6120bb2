"""Raw files: recognised by their content, scored by their preview, never by their thumbnail."""

import hashlib
import io
from datetime import datetime

import numpy as np
import pytest
from PIL import Image
from raw_files import jpeg, raw_file
from tiny_models import noise

from fusiqa.errors import FusiqaError
from fusiqa.scoring import image
from fusiqa.scoring.exif import capture_of
from fusiqa.scoring.image import PREVIEW, FolderImages, Resize, decode_resized, prove_readable, size_of
from fusiqa.scoring.raw import Preview, is_raw

KINDS = {"dng": "Example", "nef": "NIKON CORPORATION", "arw": "SONY", "cr2": "Canon"}
TAKEN = datetime(2024, 5, 6, 7, 8, 9, 120_000)
UNCHANGED = Resize()


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that JPEG hardly changes, bright on the right and dark on the left."""
    columns = np.linspace(20, 230, width)
    return np.repeat(np.repeat(columns[None, :, None], height, axis=0), 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_raw_files_are_recognised_by_their_content(kind, make):
    assert is_raw(raw_file(None, kind=kind, make=make))


def test_a_cr3_is_recognised_and_says_when_it_was_taken():
    """An ISO media file with a TIFF in each of two boxes."""
    first, exposure = (Image.Exif() for _ in range(2))
    first[271], first[272] = "Canon", "EOS R"
    exposure[36867] = "2024:05:06 07:08:09"
    boxes = b""
    for name, exif in ((b"CMT1", first), (b"CMT2", exposure)):
        content = exif.tobytes().removeprefix(b"Exif\0\0")
        boxes += (8 + len(content)).to_bytes(4, "big") + name + content
    content = (24).to_bytes(4, "big") + b"ftypcrx " + bytes(12) + boxes
    assert is_raw(content)
    assert capture_of(content) == ("2024-05-06T07:08:09", "Canon EOS R")


def test_other_images_are_not_raw():
    page = Image.fromarray(noise(30, 40))
    for kind in ("TIFF", "JPEG", "PNG"):
        page.save(file := io.BytesIO(), kind)
        assert not is_raw(file.getvalue())
    page.save(file := io.BytesIO(), "TIFF", save_all=True, append_images=[page.reduce(4)])
    assert not is_raw(file.getvalue())
    assert not is_raw(b"II*\0")


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_the_preview_is_decoded_upright_and_said(kind, make):
    pytest.importorskip("rawpy", reason="rawpy, the extra raw, is not installed")
    picture = smooth(420, 600)
    for orientation, turned in ((1, picture), (6, np.rot90(picture, -1)), (3, np.rot90(picture, 2))):
        content = raw_file(picture, kind=kind, make=make, orientation=orientation, taken=TAKEN)
        pixels, size, note = decode_resized(content, UNCHANGED)
        assert note == PREVIEW
        assert size == turned.shape[:2]
        assert np.abs(pixels.astype(int) - turned).max() <= 3
        assert capture_of(content) == ("2024-05-06T07:08:09.12", f"{make} Model 1")
        prove_readable(content)
    assert size_of(content) == (420, 600)
    small, size, _ = decode_resized(content, Resize(short_side=210))
    assert (small.shape[:2], size) == ((210, 300), (420, 600))


def test_a_thumbnail_is_no_preview_and_a_raw_file_without_any_is_refused():
    pytest.importorskip("rawpy", reason="rawpy, the extra raw, is not installed")
    with pytest.raises(FusiqaError, match="whose preview has 160x120 pixels"):
        decode_resized(raw_file(smooth(120, 160)), UNCHANGED)
    whole = raw_file(smooth(420, 600))
    for broken in (whole[:2000], whole[:3]):
        with pytest.raises((FusiqaError, Image.UnidentifiedImageError)):
            decode_resized(broken, UNCHANGED)


def test_training_reads_the_preview_too(tmp_path, monkeypatch):
    """The reader of a training run, with a library that finds this preview."""
    content, preview = raw_file(None, kind="nef", make=KINDS["nef"]), smooth(420, 600)
    monkeypatch.setattr(image, "preview_of", lambda _: Preview(jpeg(preview), 6))
    (tmp_path / "a.nef").write_bytes(content)
    images = FolderImages(tmp_path)
    np.testing.assert_allclose(images.read("a.nef"), np.rot90(preview, -1), atol=9)
    assert images.read("a.nef", Resize.parse("70x100")).shape == (100, 70, 3)
    assert images.verify("a.nef") == hashlib.sha256(content).hexdigest()


def test_without_its_extra_a_raw_file_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    with pytest.raises(FusiqaError, match=r"pip install 'fusiqa\[raw\]'"):
        decode_resized(raw_file(smooth(420, 600)), UNCHANGED)
