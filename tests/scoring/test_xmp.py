"""Sidecars: what is written, what stays, and what an independent program reads there."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from fusiqa.errors import FusiqaError
from fusiqa.scoring.xmp import Marks, Packet, sidecar_of, write_sidecar

EXIFTOOL = shutil.which("exiftool")
GOOD = Marks(4, "Green", ["best"], {"Score": "71.2", "Model": "fusiqa-fast@1"})
BLURRED = Marks(1, "Red", ["blur", "noise"], {"Score": "12.5", "Model": "fusiqa-fast@1"})
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- written by a program -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xap="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:other="urn:other"
   xap:Rating="RATING"
   other:Rating="2"
   darktable:xmp_version="5">
   <!-- a comment -->
   <dc:subject>
    <rdf:Bag>
     <rdf:li>family</rdf:li>
     <rdf:li>fusiqa:old</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">two&#13;
lines &lt;&amp;&gt; &quot;</rdf:li></rdf:Alt></dc:description>
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:params="a&#10;b&#9;c"/></rdf:Seq></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<!-- the end -->
"""


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "IMG_1.jpg"
    Image.new("RGB", (9, 9)).save(path)
    return path


def write(image: Path, marks: Marks = GOOD, *, naming: str = "full", overwrite: bool = False) -> str:
    return write_sidecar(image, marks, naming=naming, overwrite_ratings=overwrite)


def packet_of(image: Path, naming: str = "full") -> Packet:
    path = sidecar_of(image, naming)
    return Packet(path.read_bytes(), path.name)


def said(packet: Packet) -> tuple:
    return packet.value("xmp:Rating"), packet.value("xmp:Label"), packet.items("dc:subject")


def test_both_ways_of_naming(tmp_path):
    raw = tmp_path / "IMG_1.CR3"
    assert (sidecar_of(raw, "full").name, sidecar_of(raw, "stem").name) == ("IMG_1.CR3.xmp", "IMG_1.xmp")
    (tmp_path / "IMG_1.XMP").touch()
    assert sidecar_of(raw, "stem").name == "IMG_1.XMP"


def test_a_new_sidecar_says_what_there_is_to_say_and_the_image_stays(image):
    before = image.read_bytes(), image.stat().st_mtime_ns
    assert write(image) == ""
    assert said(packet_of(image)) == ("4", "Green", ["fusiqa:best"])
    assert packet_of(image).items("lr:hierarchicalSubject") == ["fusiqa:best"]
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
    assert sorted(path.name for path in image.parent.iterdir()) == ["IMG_1.jpg", "IMG_1.jpg.xmp"]


def test_a_later_run_replaces_what_an_earlier_one_wrote_and_nothing_is_written_twice(image):
    write(image)
    first = sidecar_of(image, "full").stat()
    write(image)
    assert sidecar_of(image, "full").stat().st_mtime_ns == first.st_mtime_ns
    assert write(image, BLURRED) == ""
    assert said(packet_of(image)) == ("1", "Red", ["fusiqa:blur", "fusiqa:noise"])
    write(image, Marks(3))
    assert said(packet_of(image)) == ("3", None, [])


@pytest.mark.parametrize(("found", "kept"), [("3", True), ("-1", True), ("0", False)])
def test_a_persons_rating_stays_and_everything_else_in_the_sidecar(image, found, kept):
    path = sidecar_of(image, "full")
    path.write_text(DARKTABLE.replace("RATING", found), newline="")
    path.chmod(0o640)
    assert write(image, BLURRED) == (f"kept xmp:Rating {found}" if kept else "")
    after = path.read_text(encoding="utf-8")
    assert said(packet_of(image)) == (found if kept else "1", "Red", ["family", "fusiqa:blur", "fusiqa:noise"])
    assert path.stat().st_mode & 0o777 == 0o640
    # All other lines are as they were, but for what XML may write in several ways: within tags, and the last entity.
    for line in DARKTABLE.replace("RATING", found if kept else "1").replace("&quot;", '"').splitlines():
        if "<" in line and "old" not in line and "rdf:Description" not in line and "/>" not in line:
            assert line.strip() in after
    for attribute in ('other:Rating="2"', 'darktable:xmp_version="5"', 'darktable:params="a&#10;b&#09;c"', "two&#13;"):
        assert attribute in after


def test_overwrite_ratings_replaces_a_persons(image):
    sidecar_of(image, "full").write_text(DARKTABLE.replace("RATING", "3"))
    assert write(image, BLURRED, overwrite=True) == ""
    assert said(packet_of(image))[:2] == ("1", "Red")
    assert packet_of(image).items("dc:subject")[0] == "family"


@pytest.mark.parametrize("changed", ['xmp:Rating="5"', 'xmp:Rating="0"', ""])
def test_what_a_person_made_of_our_rating_is_a_persons(image, changed):
    """Five stars, none, or the rating removed, as programs do when the stars are taken away."""
    write(image)
    path = sidecar_of(image, "full")
    path.write_text(re.sub('xmp:Rating="4"', changed, path.read_text()).replace("fusiqa:Rating=", "fusiqa:Rating="))
    assert write(image, BLURRED).startswith("kept xmp:Rating")
    assert packet_of(image).value("xmp:Rating") == (re.sub(r"\D", "", changed) or None)


def test_a_rating_in_the_image_counts_and_its_keywords_are_copied(image):
    packet = DARKTABLE.replace("RATING", "2").partition("?>")[2]
    Image.new("RGB", (9, 9)).save(image, xmp=packet.encode())
    for _ in range(2):
        assert write(image, BLURRED) == "kept xmp:Rating 2"
        assert said(packet_of(image)) == ("2", "Red", ["family", "fusiqa:blur", "fusiqa:noise"])
    assert write(image, BLURRED, overwrite=True) == ""
    assert said(packet_of(image))[0] == "1"


def test_a_rating_in_the_exif_of_an_image_counts(image):
    stars = Image.Exif()
    stars[ExifTags.Base.Rating] = 4
    Image.new("RGB", (9, 9)).save(image, exif=stars)
    assert write(image, BLURRED) == "kept xmp:Rating 4"
    assert said(packet_of(image))[0] == "4"


def test_a_name_too_long_for_a_sidecar_is_the_systems_error(tmp_path):
    long = tmp_path / f"{'a' * 248}.jpg"
    Image.new("RGB", (9, 9)).save(long)
    with pytest.raises(OSError, match="too long"):
        write(long)


def test_a_rating_in_the_sidecar_of_the_other_naming_counts(image):
    sidecar_of(image, "stem").write_text(DARKTABLE.replace("RATING", "5"))
    assert write(image, BLURRED) == "kept xmp:Rating 5"
    assert said(packet_of(image))[0] == "5"
    assert "family" in packet_of(image).items("dc:subject")
    assert write(image, BLURRED, naming="stem") == "kept xmp:Rating 5"
    assert packet_of(image, "stem").value("xmp:Label") == "Red"


def test_every_list_of_keywords_that_there_is_has_all(image):
    """Programs read the first that they find; a list of fusiqa's alone would hide the others."""
    path = sidecar_of(image, "full")
    trees = "<d:TagsList xmlns:d='http://www.digikam.org/ns/1.0/'><rdf:Seq><rdf:li>a/b</rdf:li></rdf:Seq></d:TagsList>"
    path.write_text(DARKTABLE.replace("RATING", "0").replace("<dc:description>", f"{trees}<dc:description>"))
    write(image, BLURRED)
    packet = packet_of(image)
    assert packet.items("digiKam:TagsList") == ["a/b", "fusiqa:blur", "fusiqa:noise"]
    assert packet.items("dc:subject") == ["family", "fusiqa:blur", "fusiqa:noise"]
    assert packet.items("lr:hierarchicalSubject") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", None),
        (b"<x:xmpmeta", "is not XML in UTF-8"),
        (b"\xff\xfe<\0x\0>\0", "is not XML in UTF-8"),
        (b"<html><body/></html>", "holds no rdf:Description"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "is in ISO-8859-1"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>', "declares a document type"),
        (b"<a>" * 5000 + b"</a>" * 5000, "more than 100 deep"),
        (DARKTABLE.replace("<rdf:Bag>", "").replace("</rdf:Bag>", "").encode(), None),
        (DARKTABLE.replace("</rdf:RDF>", "").encode(), "is not XML in UTF-8"),
    ],
)
def test_a_sidecar_that_is_broken_stays_as_it_is(image, content, reason):
    path = sidecar_of(image, "full")
    path.write_bytes(content)
    if reason is None:
        write(image)
    else:
        with pytest.raises(FusiqaError, match=reason):
            write(image)
        assert path.read_bytes() == content
    assert not list(image.parent.glob(".*"))


def test_a_sidecar_that_is_a_link_is_written_where_it_leads(image, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "a.xmp"
    real.write_text(DARKTABLE)
    sidecar_of(image, "full").symlink_to(real)
    write(image, BLURRED)
    assert sidecar_of(image, "full").is_symlink()
    assert "fusiqa:blur" in real.read_text()


def test_a_folder_that_cannot_be_written_leaves_no_trace(image, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write(image)
    assert [path.name for path in image.parent.iterdir()] == ["IMG_1.jpg"]


def test_a_read_only_folder_is_left_as_it_is(image):
    image.parent.chmod(0o555)
    try:
        if os.access(image.parent, os.W_OK):
            pytest.skip("the superuser may write everywhere")
        with pytest.raises(PermissionError):
            write(image)
        assert [path.name for path in image.parent.iterdir()] == ["IMG_1.jpg"]
    finally:
        image.parent.chmod(0o755)


def test_a_prefix_that_means_something_else_is_not_taken(image):
    path = sidecar_of(image, "full")
    foreign = DARKTABLE.replace("xmlns:other=", "xmlns:fusiqa=").replace("other:Rating", "fusiqa:Rating")
    path.write_text(foreign.replace("RATING", "0"))
    write(image)
    assert 'fusiqa:Rating="2"' in path.read_text()
    assert packet_of(image).value("fusiqa:Rating") == "4"


@pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed (Debian: libimage-exiftool-perl)")
@pytest.mark.parametrize("existing", [True, False])
def test_exiftool_reads_what_was_written_and_what_was_there(image, existing):
    path = sidecar_of(image, "full")
    if existing:
        path.write_text(DARKTABLE.replace("RATING", "0"), newline="")
    write(image, BLURRED)
    done = subprocess.run([EXIFTOOL, "-json", "-G1", "-a", "-struct", path], capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    assert (found["XMP-xmp:Rating"], found["XMP-xmp:Label"]) == (1, "Red")
    keywords = ["family", "fusiqa:blur", "fusiqa:noise"]
    assert found["XMP-dc:Subject"] == found["XMP-lr:HierarchicalSubject"] == (keywords if existing else keywords[1:])
    assert str(found["XMP-fusiqa:Score"]) == "12.5"
    if existing:
        assert found["XMP-dc:Description"] == 'two\r\nlines <&> "'
        assert found["XMP-darktable:Xmp_version"] == 5


@pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed (Debian: libimage-exiftool-perl)")
def test_a_sidecar_that_exiftool_wrote_again_is_understood(image):
    write(image)
    path = sidecar_of(image, "full")
    command = [EXIFTOOL, "-q", "-overwrite_original", "-XMP-dc:Subject+=family", "-XMP-xmp:Rating=5", path]
    subprocess.run(command, capture_output=True, check=True)
    assert write(image, BLURRED) == "kept xmp:Rating 5"
    packet = packet_of(image)
    assert packet.items("dc:subject") == ["family", "fusiqa:blur", "fusiqa:noise"]
    assert packet.items("lr:hierarchicalSubject") == ["family", "fusiqa:blur", "fusiqa:noise"]
