from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusiqa.config import ScoreRange
from fusiqa.data.audit import Broken, check
from fusiqa.data.ratings import Ratings, fingerprint
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages


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


def test_sound_ratings_pass_whole(ratings: Ratings):
    for skip_broken in (False, True):
        checked = check(sound(ratings), skip_broken=skip_broken, progress=False)
        assert checked.ratings.table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        assert checked.broken == []


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


def test_five_broken_rows_are_listed_without_a_count(ratings: Ratings):
    with pytest.raises(FusiqaError, match="5 of 9 rows") as caught:
        check(ratings.without([f"{row}.jpg" for row in range(9, 13)]), skip_broken=False, progress=False)
    assert "in all" not in str(caught.value)


def test_skipping_goes_on_with_the_others_and_says_which(ratings: Ratings):
    checked = check(ratings, skip_broken=True, progress=False)
    assert checked.ratings.table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [row.image for row in checked.broken] == [f"{row}.jpg" for row in range(4, 13)]
    assert checked.broken[0] == Broken("4.jpg", "its rating is missing or not a number")
    assert checked.fingerprint == check(sound(ratings), skip_broken=False, progress=False).fingerprint


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


def test_the_fingerprint_does_not_depend_on_order_or_threads(ratings: Ratings):
    before = check(sound(ratings), skip_broken=False, progress=False, workers=1)
    turned = replace(ratings, table=sound(ratings).table.iloc[::-1].reset_index(drop=True))
    assert check(turned, skip_broken=False, progress=False, workers=3).fingerprint == before.fingerprint


@pytest.mark.parametrize("change", ["rating", "content", "row"])
def test_the_fingerprint_changes_with_what_the_rows_hold(ratings: Ratings, change: str):
    before = check(sound(ratings), skip_broken=False, progress=False).fingerprint
    changed = sound(ratings)
    if change == "rating":
        changed.table.loc[2, "mos"] = 0.7500001
    elif change == "content":
        Image.new("RGB", (31, 37)).save(ratings.images.root / "2.jpg")
    else:
        changed = changed.without(["2.jpg"])
    assert check(changed, skip_broken=False, progress=False).fingerprint != before


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
