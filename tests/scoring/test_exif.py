"""When and by which camera a photograph was taken."""

import pytest
from PIL import ExifTags, Image
from raw_files import ASCII, LONG, jpeg, tiff
from tiny_models import noise

from fusiqa.scoring import exif
from fusiqa.scoring.exif import capture_of
from fusiqa.scoring.raw import is_raw


def photograph(**tags: str) -> bytes:
    said = Image.Exif()
    for name, value in tags.items():
        said[ExifTags.Base[name]] = value
    return jpeg(noise(30, 40), exif=said)


def test_the_time_of_taking_is_the_cameras_clock_not_the_last_change():
    content = photograph(DateTime="2030:01:01 00:00:00", DateTimeOriginal="2000:01:01 00:00:05", SubsecTimeOriginal="7")
    assert capture_of(content).time == "2000-01-01T00:00:05.7"
    assert capture_of(photograph(DateTime="2030:01:01 00:00:00")).time is None
    assert capture_of(photograph(DateTimeDigitized="2024:02:29 23:59:59")).time == "2024-02-29T23:59:59"


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "2023:02:29 10:00:00", "", "yesterday", "    :  :     :  :  "])
def test_what_is_no_time_is_unknown(text):
    assert capture_of(photograph(DateTimeOriginal=text)).time is None


def test_the_camera_is_its_make_model_and_number():
    found = capture_of(photograph(Make="Maker\0", Model=" One  Two ", BodySerialNumber="77"))
    assert found.camera == "Maker One Two 77"
    assert capture_of(photograph(Make="\t=HYPERLINK(1)", Model="x")).camera == "HYPERLINK(1) x"  # no formula in a CSV
    assert capture_of(photograph()).camera == ""
    assert capture_of(b"no image") == (None, "")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "tiff"])
def test_the_capture_of_a_file_of_any_length_is_found(kind, tmp_path, monkeypatch):
    said = Image.Exif()
    said[ExifTags.Base.Make] = "Maker"
    path = tmp_path / f"a.{kind}"
    Image.fromarray(noise(120, 120)).save(path, exif=said)
    monkeypatch.setattr(exif, "START", 1000)
    assert path.stat().st_size > 2000
    assert exif.capture_in(str(path)) == (None, "Maker")
    assert exif.capture_in(str(tmp_path)) == exif.capture_in("gone.jpg") == (None, "")


def test_of_a_long_jpeg_only_the_beginning_is_read(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(photograph(Make="Maker") + bytes(999))
    monkeypatch.setattr(exif, "START", 100)
    monkeypatch.setattr(exif, "capture_of", lambda content: exif.Capture(camera=str(len(content))))
    assert exif.capture_in(str(tmp_path / "a.jpg")).camera == "100"


@pytest.mark.parametrize(("stated", "rating"), [(4, 4), (0, None), (99, None), ("5", None)])
def test_a_rating_is_one_to_five(stated, rating, tmp_path):
    said = Image.Exif()
    said[ExifTags.Base.Rating] = stated
    (tmp_path / "a.jpg").write_bytes(jpeg(noise(30, 40), exif=said))
    assert exif.rating_in(str(tmp_path / "a.jpg")) == rating


def test_odd_tags_of_a_raw_file_warn_nobody():
    """Pillow warns of several values where one is expected; warnings fail tests."""
    odd = tiff([(254, LONG, 1), (271, ASCII, "Canon"), (33723, LONG, [1, 2])], start=16)
    assert is_raw(odd)
    assert capture_of(odd) == (None, "Canon")
