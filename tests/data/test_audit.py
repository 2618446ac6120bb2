"""Each fault planted in a miniature copy is reported with its offender, and broken rows stop training."""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusiqa.config import ScoreRange
from fusiqa.data import catalog
from fusiqa.data.audit import Broken, Finding, Report, audit, check
from fusiqa.data.ratings import Ratings, fingerprint
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages

TRAIN = "Train (Images and MOS).csv"
TEST = "Test (Images and MOS).csv"
COUNT = 11


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if BIQ2021 and SPAQ had been published with so many images as the miniatures have."""
    small = tuple(replace(known, images=COUNT) for known in catalog.CATALOG)
    monkeypatch.setattr(catalog, "CATALOG", small)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Soft blots of colours, each of another height."""
    blots = np.random.default_rng(3).integers(0, 256, (COUNT, 7, 7, 3), dtype=np.uint8)
    return [Image.fromarray(blot).resize((83, 67 + row), Image.Resampling.BICUBIC) for row, blot in enumerate(blots)]


@pytest.fixture
def copy(tmp_path: Path, pictures: list[Image.Image]) -> Path:
    """BIQ2021 with 7 training and 4 test images of different contents."""
    (tmp_path / "Images").mkdir()
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / "Images" / f"ss01 ({number}).jpg", quality=95)
    rows = [f"ss01 ({number}).jpg,{0.1 + 0.07 * number:.2f}" for number in range(COUNT)]
    (tmp_path / TRAIN).write_text("\n".join(["Image Name,MOS", *rows[:7]]))
    (tmp_path / TEST).write_text("\n".join(["Image Name,MOS", *rows[7:]]))
    return tmp_path


def look(copy: Path, name: str = "biq2021") -> Report:
    return audit(name, data_dir=copy, progress=False)


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, report.text()
    return report.findings[0]


def edit(sheet: Path, old: str, new: str) -> None:
    text = sheet.read_text()
    assert old in text
    sheet.write_text(text.replace(old, new))


def test_a_sound_copy_has_no_problem_and_its_facts(copy: Path):
    report = look(copy)
    assert report.ok
    assert list(report.findings) == []
    assert report.facts["images"] == report.facts["published"] == COUNT
    assert report.facts["split"] == {"train": 7, "test": 4}
    assert report.facts["groups"] == "none"
    assert report.facts["sizes"] == {"83 x 67:": 1, "83 x 68:": 1, "83 x 69:": 1, "others:": 8}
    mos = [0.1 + 0.07 * number for number in range(COUNT)]
    found = list(report.facts["ratings"].values())
    np.testing.assert_allclose(found, np.quantile(np.round(mos, 2), [0, 0.25, 0.5, 0.75, 1]))
    assert [count for *_, count in report.histogram] == [0, 2, 1, 2, 1, 2, 1, 1, 1, 0]
    assert report.text().endswith("biq2021: no problem found")


def spoil(copy: Path, fault: str, pictures: list[Image.Image]) -> None:
    images = copy / "Images"
    match fault:
        case "no file":
            (images / "ss01 (3).jpg").unlink()
        case "cut":
            (images / "ss01 (3).jpg").write_bytes((images / "ss01 (3).jpg").read_bytes()[:-300])
        case "stray":
            pictures[0].rotate(90, expand=True).save(images / "stray.png")
            shutil.copy(images / "stray.png", images / "stray.JFIF")
            (images / "Thumbs.db").write_text("no image")
        case "rated twice":
            edit(copy / TEST, "Image Name,MOS", "Image Name,MOS\nss01 (2).jpg,0.5")
        case "copied":
            shutil.copy(images / "ss01 (1).jpg", images / "ss01 (2).jpg")
            assert list(look(copy).findings) == []  # on one side it does no harm
            shutil.copy(images / "ss01 (1).jpg", images / "ss01 (8).jpg")
        case "saved again":
            pictures[1].save(images / "ss01 (8).jpg", quality=30)


@pytest.mark.parametrize(
    ("fault", "what", "offenders", "notice"),
    [
        ("no file", "rated images without a file", ["ss01 (3).jpg"], False),
        ("cut", "images that cannot be read", ["ss01 (3).jpg: cannot be read (image file is truncated"], False),
        ("stray", "images without a rating", ["stray.JFIF", "stray.png"], True),
        ("rated twice", "images that are rated more than once", ["ss01 (2).jpg"], False),
        (
            "copied",
            "files with the same content across the split",
            ["ss01 (1).jpg (train) = ss01 (2).jpg (train) = ss01 (8).jpg (test)"],
            False,
        ),
        (
            "saved again",
            "pairs that look the same across the split",
            ["ss01 (1).jpg (train) ~ ss01 (8).jpg (test), "],
            True,
        ),
    ],
)
def test_a_fault_is_reported_with_its_offenders(copy: Path, pictures, fault, what, offenders, notice):
    spoil(copy, fault, pictures)
    report = look(copy)
    found = only(report)
    assert (found.what, found.notice, report.ok) == (what, notice, notice)
    assert len(found.offenders) == len(offenders)
    assert all(came.startswith(expected) for came, expected in zip(found.offenders, offenders, strict=True))


def test_ratings_missing_and_out_of_range_are_named(copy: Path):
    edit(copy / TRAIN, "(2).jpg,0.24", "(2).jpg,")
    edit(copy / TEST, "(9).jpg,0.73", "(9).jpg,7.3")
    missing, outside = look(copy).findings
    assert missing.offenders == ["ss01 (2).jpg"]
    assert (outside.what, outside.offenders) == ("ratings outside 0 to 1", ["ss01 (9).jpg (7.3)"])


def test_rows_that_were_lost_are_counted(copy: Path):
    edit(copy / TEST, "\nss01 (10).jpg,0.80", "")
    count, stray = look(copy).findings
    assert count.what == "10 images are rated, 11 were published"
    assert stray.offenders == ["ss01 (10).jpg"]


@pytest.fixture
def own(tmp_path: Path, pictures: list[Image.Image]) -> Path:
    """A custom CSV: two contents, each as it is and saved badly."""
    for number in range(2):
        pictures[number].save(tmp_path / f"{number}a.png")
        pictures[number].save(tmp_path / f"{number}b.jpg", quality=30)
    pd.DataFrame(
        {
            "image": ["0a.png", "0b.jpg", "1a.png", "1b.jpg"],
            "mos": [4.0, 2.0, 4.5, 1.5],
            "split": ["train", "train", "test", "test"],
            "group": ["0", "0", "1", "1"],
        }
    ).to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def test_one_content_may_look_the_same(own: Path):
    report = audit(str(own), data_dir=None, progress=False)
    assert list(report.findings) == []
    assert report.facts["groups"] == 2
    edit(own, ",split,group", ",split,other")  # each a group of its own, but on one side
    assert list(audit(str(own), data_dir=None, progress=False).findings) == []


def test_absolute_names_are_checked_as_others_are(own: Path, tmp_path: Path):
    table = pd.read_csv(own)
    table.assign(image=[str(own.parent / image) for image in table["image"]])[:3].to_csv(own, index=False)
    (tmp_path / "apart").mkdir()
    report = audit(str(own.rename(tmp_path / "apart" / "own.csv")), data_dir=None, progress=False)
    assert only(report).what == "images without a rating"
    assert only(report).offenders == [str(own.parent / "1b.jpg")]


def test_one_file_under_two_names_is_rated_more_than_once(own: Path):
    with open(own, "a") as file:
        file.write(f"{own.parent / '0a.png'},3.0,train,0\n")
    found = {each.what: each.offenders for each in audit(str(own), data_dir=None, progress=False).findings}
    assert found["images that are rated more than once"] == ["0a.png"]


def test_alike_images_that_a_draw_may_part_are_a_problem(own: Path):
    edit(own, ",split,group", ",a,b")
    report = audit(str(own), data_dir=None, progress=False)
    assert not report.ok
    pairs = {tuple(offender.partition(",")[0].split(" ~ ")) for offender in only(report).offenders}
    assert pairs == {("0a.png", "0b.jpg"), ("1a.png", "1b.jpg")}


def test_a_group_on_both_sides_is_named(own: Path):
    edit(own, "1b.jpg,1.5,test,1", "1b.jpg,1.5,train,1")
    assert (
        "groups or copies on more than one side: 1 (test, train)"
        in only(audit(str(own), data_dir=None, progress=False)).what
    )


@pytest.mark.parametrize(
    ("fault", "what"),
    [("folder", "biq2021 was not found in"), ("column", "no column 'MOS'"), ("sheet", "no such file")],
)
def test_a_copy_that_cannot_be_read_is_a_problem_and_not_an_error(copy: Path, fault: str, what: str):
    if fault == "folder":
        copy = copy / "Images" / "nowhere"
    elif fault == "column":
        edit(copy / TRAIN, "MOS", "Mean")
    else:
        (copy / TEST).unlink()
    report = look(copy)
    assert not report.ok
    assert what in only(report).what


def test_without_any_image_all_are_listed(copy: Path):
    for path in (copy / "Images").iterdir():
        path.unlink()
    assert len(only(look(copy)).offenders) == COUNT
    for number in range(COUNT):
        (copy / "Images" / f"ss01 ({number}).jpg").write_text("text")
    assert "none of the 11 rows can be used" in only(look(copy)).what


def test_many_problems_are_all_reported_as_text_and_as_json(copy: Path):
    for number in range(6):
        (copy / "Images" / f"ss01 ({number}).jpg").unlink()
    edit(copy / TEST, "(9).jpg,0.73", "(9).jpg,7.3")
    edit(copy / TEST, "(8).jpg,0.66", "(8).jpg,bad")
    (copy / "Images" / "ss01 (7).jpg").write_text("text")
    shutil.copy(copy / "Images" / "ss01 (6).jpg", copy / "Images" / "ss01 (8).jpg")
    report = look(copy)
    text = report.text()
    for offender in ("ss01 (8).jpg", "ss01 (9).jpg (7.3)", "ss01 (4).jpg", "ss01 (7).jpg: not an image"):
        assert f"\n  {offender}" in text
    assert "without a file: 6\n" in text
    assert "ss01 (5).jpg" not in text  # five are shown, then how many there are
    assert "  ... (6 in all)" in text
    assert "ss01 (6).jpg (train) = ss01 (8).jpg (test)" in text
    assert text.endswith("biq2021: 5 problems")
    read = json.loads(report.to_json())
    assert read["ok"] is False
    assert [len(problem["offenders"]) for problem in read["findings"]] == [1, 1, 6, 1, 1]
    assert "ss01 (5).jpg" in read["findings"][2]["offenders"]
    shutil.copy(copy / "Images" / "ss01 (6).jpg", copy / "Images" / os.fsdecode(b"odd\xff.jpg"))
    assert "odd" in look(copy).to_json().encode().decode()


def test_the_bars_of_a_report_are_in_proportion():
    text = Report("mine", {"images": 1234}, [(0, 1, 800), (1, 2, 0), (2, 3, 20)]).text()
    assert text.splitlines() == [
        "mine",
        "  images  1,234",
        f"  0 to 1  {'#' * 40} 800",
        "  1 to 2   0",
        "  2 to 3  # 20",
        "mine: no problem found",
    ]


@pytest.mark.parametrize("name", ["synthetic", "distorted"])
def test_the_built_in_sets_have_no_copy_to_look_at(name):
    report = audit(name, data_dir=None, progress=False)
    assert report.ok
    assert "nothing to check" in report.text()


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    """Thirteen rows: 0 to 3 are sound, 4 has no rating, 5 is cut, 6 is text, 7 to 12 are missing."""
    rng = np.random.default_rng(0)
    for row in range(6):
        Image.fromarray(rng.integers(0, 256, (31, 37, 3), dtype=np.uint8)).save(tmp_path / f"{row}.jpg")
    (tmp_path / "5.jpg").write_bytes((tmp_path / "5.jpg").read_bytes()[:-200])
    (tmp_path / "6.jpg").write_text("text")
    table = pd.DataFrame(
        {
            "image": [f"{row}.jpg" for row in range(13)],
            "mos": [0.25, 0.5, 0.75, 1.0, np.nan] + [0.5] * 8,
            "split": pd.Series([None] * 13, dtype=object),
            "group": [f"{row}.jpg" for row in range(13)],
        }
    )
    return Ratings("mine", table, ScoreRange(0, 1), FolderImages(tmp_path), "none")


def sound(ratings: Ratings) -> Ratings:
    return ratings.without([f"{row}.jpg" for row in range(4, 13)])


@dataclass(frozen=True)
class Drawn:
    """Images that are no files."""

    def read(self, image: str) -> np.ndarray:
        raise AssertionError("checking must not read")

    def verify(self, image: str) -> str:
        return f"content of {image}"


def test_broken_rows_are_listed_up_to_five_with_their_reasons_and_the_way_on(ratings: Ratings):
    with pytest.raises(FusiqaError) as caught:
        check(ratings, skip_broken=False, progress=False)
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine: 9 of 13 rows cannot be used:"
    assert lines[1] == "  4.jpg: its rating is missing or not a number"
    assert lines[2].startswith("  5.jpg: cannot be read (image file is truncated")
    assert lines[3] == "  6.jpg: not an image in a format that can be read"
    assert [line.split(":")[0].strip() for line in lines[4:6]] == ["7.jpg", "8.jpg"]
    assert "no such file" in lines[4]
    assert lines[6] == "  ... (9 in all)"
    assert lines[7].endswith("`skip_broken`")
    assert len(lines) == 8
    with pytest.raises(FusiqaError, match="5 of 9 rows") as five:
        check(ratings.without([f"{row}.jpg" for row in range(9, 13)]), skip_broken=False, progress=False)
    assert "in all" not in str(five.value)


def test_skipping_goes_on_with_the_others_and_says_which(ratings: Ratings):
    checked = check(ratings, skip_broken=True, progress=False)
    assert checked.ratings.table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [row.image for row in checked.broken] == [f"{row}.jpg" for row in range(4, 13)]
    assert checked.broken[0] == Broken("4.jpg", "its rating is missing or not a number")
    whole = check(sound(ratings), skip_broken=False, progress=False)
    assert (whole.fingerprint, whole.broken) == (checked.fingerprint, [])
    assert whole.ratings.table.equals(checked.ratings.table)


@pytest.mark.parametrize("skip_broken", [True, False])
def test_no_usable_row_is_refused_either_way(ratings: Ratings, skip_broken: bool):
    broken = ratings.without([f"{row}.jpg" for row in range(4)])
    with pytest.raises(FusiqaError, match="none of the 9 rows can be used") as caught:
        check(broken, skip_broken=skip_broken, progress=False)
    assert "`skip_broken`" not in str(caught.value)


def test_the_fingerprint_is_that_of_names_contents_and_ratings(ratings: Ratings):
    drawn = replace(sound(ratings), images=Drawn())
    by_hand = fingerprint([f"{i}.jpg\tcontent of {i}.jpg\t{mos}" for i, mos in enumerate((0.25, 0.5, 0.75, 1.0))])
    assert check(drawn, skip_broken=False, progress=False).fingerprint == by_hand


def test_the_fingerprint_does_not_depend_on_order_or_threads(ratings: Ratings, monkeypatch: pytest.MonkeyPatch):
    fingerprints = set()
    for threads, rows in ((1, sound(ratings).table), (3, sound(ratings).table[::-1])):
        monkeypatch.setattr("fusiqa.data.audit.cores", lambda threads=threads: threads)
        checked = check(replace(ratings, table=rows.reset_index(drop=True)), skip_broken=False, progress=False)
        fingerprints.add(checked.fingerprint)
    assert len(fingerprints) == 1


def test_progress_is_shown_when_asked_for(
    ratings: Ratings, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    check(sound(ratings), skip_broken=False, progress=False)
    assert capsys.readouterr().err == ""
    check(sound(ratings), skip_broken=False, progress=True)
    assert "checking mine: 100%" in capsys.readouterr().err


def test_images_that_nobody_rated_are_usable_where_no_rating_is_needed(ratings: Ratings):
    """Row 4 is a sound image without a rating."""
    checked = check(ratings, skip_broken=True, rated=False, progress=False)
    assert checked.ratings.table["image"].tolist() == [f"{row}.jpg" for row in range(5)]
    assert [row.image for row in checked.broken] == [f"{row}.jpg" for row in range(5, 13)]
    unrated = replace(sound(ratings), table=sound(ratings).table.assign(mos=np.nan))
    assert len(check(unrated, skip_broken=False, rated=False, progress=False).ratings) == 4
    with pytest.raises(FusiqaError, match=r"none of the 4 rows can be used:\n  0\.jpg: its rating is missing"):
        check(unrated, skip_broken=True, progress=False)
