"""`fusiqa demo`: what it may replace, and its first step. The whole of it takes minutes and is run by `make demo`."""

import pytest
from PIL import Image

from fusiqa.config import DemoConfig
from fusiqa.errors import FusiqaError
from fusiqa.runs.demo import claim, demo, score_samples


def test_a_new_an_empty_and_an_earlier_demos_folder_are_claimed(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        claim(tmp_path / name, "*")
        (tmp_path / name / "attention").mkdir()
        claim(tmp_path / name, "*")


@pytest.mark.parametrize("content", ["attention/notes.txt", "concat/config.json", "photo.jpg"])
def test_a_folder_that_no_demo_made_is_refused_and_left_as_it_is(content, tmp_path):
    path = tmp_path / "mine" / content
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(FusiqaError, match=r"mine/\w+(\.jpg)? exists and was not made by fusiqa"):
        demo(DemoConfig(tmp_path / "mine"), say=pytest.fail)
    assert [file.read_text() for file in (tmp_path / "mine").rglob("*") if file.is_file()] == ["mine"]
    with pytest.raises(FusiqaError, match="was not made by fusiqa"):
        claim(path, "*")


def test_the_first_step_scores_samples_and_draws_them(tmp_path):
    said: list[str] = []
    score_samples(tmp_path / "samples.png", say=said.append)
    assert [line.split(maxsplit=1)[1] for line in said[:4]] == [
        *("undistorted", "gaussian blur, level 3", "gaussian blur, level 5", "jpeg, level 3"),
    ]
    scores = [float(line.split()[0]) for line in said[:8]]
    assert all(0 <= score <= 100 for score in scores)
    sharp, slight_blur, blur, slight_jpeg, jpeg, slight_noise, noise, pixelated = scores
    assert sharp > slight_blur > blur
    assert sharp > slight_jpeg > jpeg
    assert sharp > slight_noise > noise
    assert sharp > pixelated
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.width == 4 * 252 + 12
