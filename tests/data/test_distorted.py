"""The seed's four groups, made of any photographs."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusiqa.config import ScoreRange
from fusiqa.data.dead_leaves import dead_leaves
from fusiqa.data.distorted import distorted
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.photo import Resize
from fusiqa.data.ratings import Ratings
from fusiqa.data.reading import FolderPhotographs
from fusiqa.errors import FusiqaError

NAMES = ["a::b.png", "sub/照片.png", "c.png"]
GROUPS = ["Gaussian blur", "JPEG compression", "Color distortion", "Pristine"]


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(dead_leaves(number, size=67)[:61]).save(tmp_path / name)
    table = pd.DataFrame({"image": NAMES, "mos": [0.2, 0.4, 0.6], "split": "test", "group": NAMES})
    return Ratings("mine", table, ScoreRange(0, 1), FolderPhotographs(tmp_path), "none")


def test_every_photograph_comes_once_in_each_group_and_its_rating_is_gone(ratings):
    made = distorted(ratings, resize=Resize(), level=4)
    assert made.table["image"].tolist() == [f"{name}::{group}" for group in GROUPS for name in NAMES]
    assert made.table["mos"].isna().all()
    assert made.table["group"].tolist() == NAMES * 4  # what one photograph becomes stays one content
    assert (made.table["split"] == "test").all()
    assert (made.name, made.resize) == ("mine", "none")


def test_pristine_is_the_photograph_and_the_others_are_distorted_versions_of_it(ratings):
    photographs = distorted(ratings, resize=Resize(), level=4).photographs
    for name in NAMES:
        original = ratings.photographs.read(name)
        assert (photographs.read(f"{name}::Pristine") == original).all()
        for group in GROUPS[:3]:
            assert np.abs(photographs.read(f"{name}::{group}").astype(int) - original).mean() > 5
            assert (photographs.read(f"{name}::{group}") == photographs.read(f"{name}::{group}")).all()


def test_the_groups_do_what_they_are_called(ratings):
    photographs = distorted(ratings, resize=Resize(), level=4).photographs
    original = photographs.read("c.png::Pristine").astype(float)
    by = {group: photographs.read(f"c.png::{group}").astype(float) for group in GROUPS}
    detail = {group: np.abs(np.diff(pixels.mean(axis=2), axis=1)).mean() for group, pixels in by.items()}
    chroma = {group: np.ptp(pixels, axis=2).mean() for group, pixels in by.items()}
    assert detail["Gaussian blur"] < 0.5 * detail["Pristine"]
    assert chroma["Color distortion"] > 1.5 * chroma["Pristine"]
    blocks = np.abs(np.diff(by["JPEG compression"].mean(axis=2), axis=1)).mean(axis=0)
    edges = np.abs(np.diff(original.mean(axis=2), axis=1)).mean(axis=0)
    boundary = np.arange(7, 66, 8)  # between columns 7 and 8, 15 and 16, ...: JPEG's blocks
    inside = np.setdiff1d(np.arange(66), boundary)
    assert blocks[boundary].mean() / blocks[inside].mean() > 1.3 * edges[boundary].mean() / edges[inside].mean()


def test_photographs_are_made_small_before_they_are_distorted(ratings):
    """Else the blur of a large photograph would vanish when it is made small."""
    resize = Resize.parse("31")
    photographs = distorted(ratings, resize=resize, level=5).photographs
    small = resize.apply(ratings.photographs.read("c.png"))
    assert (photographs.read("c.png::Pristine") == small).all()
    draw_nothing = np.random.default_rng(0)
    blurred = DISTORTIONS["gaussian_blur"].apply(small.astype(np.float32) / 255, 5.0, draw_nothing)
    assert photographs.read("c.png::Gaussian blur") == pytest.approx(255 * blurred, abs=0.51)


def test_the_level_and_the_group_are_in_the_fingerprint(ratings):
    weak, strong = (distorted(ratings, resize=Resize(), level=level).photographs for level in (1, 5))
    seen = {source.verify(f"c.png::{group}") for source in (weak, strong) for group in GROUPS}
    assert len(seen) == 8
    assert pickle.loads(pickle.dumps(weak)).verify("c.png::Pristine") == weak.verify("c.png::Pristine")


def test_a_photograph_that_cannot_be_read_is_refused_by_its_own_name(ratings, tmp_path):
    (tmp_path / "c.png").write_bytes(b"none")
    photographs = distorted(ratings, resize=Resize(), level=4).photographs
    for use in (photographs.read, photographs.verify):
        with pytest.raises(FusiqaError, match=r"^c\.png: not a photograph"):
            use("c.png::Gaussian blur")


def test_a_level_that_does_not_exist_is_refused(ratings):
    with pytest.raises(FusiqaError, match="level 6 does not exist; allowed are 1 to 5"):
        distorted(ratings, resize=Resize(), level=6).photographs.read("c.png::JPEG compression")
