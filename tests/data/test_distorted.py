"""Any images in the four groups of the published figure, and under every distortion."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusiqa.config import ScoreRange
from fusiqa.data import distortions
from fusiqa.data.distortions import (
    DISTORTIONS,
    EVERY,
    KIND_OF_DISTORTION,
    LEVELS,
    DistortedImages,
    distort,
    distorted,
    groups_at,
    treatment_of,
)
from fusiqa.data.ratings import Ratings
from fusiqa.data.synthetic import dead_leaves
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages, Resize

NAMES = ["a::b.png", "sub/照片.png", "c.png"]
GROUPS = ["Gaussian blur", "JPEG compression", "Color distortion", "Pristine"]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [Image.fromarray(dead_leaves(number, size=67)[:61]) for number in range(len(NAMES))]


@pytest.fixture
def ratings(tmp_path: Path, pictures: list[Image.Image]) -> Ratings:
    (tmp_path / "sub").mkdir()
    for picture, name in zip(pictures, NAMES, strict=True):
        picture.save(tmp_path / name)
    table = pd.DataFrame({"image": NAMES, "mos": [0.2, 0.4, 0.6], "split": "test", "group": NAMES})
    return Ratings("mine", table, ScoreRange(0, 1), FolderImages(tmp_path), "none")


def test_every_image_comes_once_in_each_group_and_its_rating_is_gone(ratings):
    made = distorted(ratings, groups_at(4), by_group=True)
    assert made.table["image"].tolist() == [f"{name}::{group}" for group in GROUPS for name in NAMES]
    assert made.table["mos"].isna().all()
    assert made.table["group"].tolist() == NAMES * 4  # what one image becomes stays one content
    assert (made.table["split"] == "test").all()
    assert (made.name, made.resize) == ("mine", "none")


def test_pristine_is_the_image_and_the_others_are_distorted_versions_of_it(ratings):
    images = distorted(ratings, groups_at(4)).images
    for name in NAMES:
        original = ratings.images.read(name)
        assert (images.read(f"{name}::Pristine") == original).all()
        for group in GROUPS[:3]:
            assert np.abs(images.read(f"{name}::{group}").astype(int) - original).mean() > 5


def test_the_groups_do_what_they_are_called(ratings):
    images = distorted(ratings, groups_at(4)).images
    original = images.read("c.png::Pristine").astype(float)
    by = {group: images.read(f"c.png::{group}").astype(float) for group in GROUPS}
    detail = {group: np.abs(np.diff(pixels.mean(axis=2), axis=1)).mean() for group, pixels in by.items()}
    chroma = {group: np.ptp(pixels, axis=2).mean() for group, pixels in by.items()}
    assert detail["Gaussian blur"] < 0.5 * detail["Pristine"]
    assert chroma["Color distortion"] > 1.5 * chroma["Pristine"]
    blocks = np.abs(np.diff(by["JPEG compression"].mean(axis=2), axis=1)).mean(axis=0)
    edges = np.abs(np.diff(original.mean(axis=2), axis=1)).mean(axis=0)
    boundary = np.arange(7, 66, 8)  # between columns 7 and 8, 15 and 16, ...: JPEG's blocks
    inside = np.setdiff1d(np.arange(66), boundary)
    assert blocks[boundary].mean() / blocks[inside].mean() > 1.3 * edges[boundary].mean() / edges[inside].mean()


def test_images_are_made_small_before_they_are_distorted(ratings):
    """Else the blur of a large image would vanish when it is downscaled."""
    resize = Resize.parse("31")
    images = distorted(ratings, groups_at(5)).images
    small = resize.apply(ratings.images.read("c.png"))
    assert (images.read("c.png::Pristine", resize) == small).all()
    draw_nothing = np.random.default_rng(0)
    blurred = DISTORTIONS["gaussian_blur"].apply(small.astype(np.float32) / 255, 5.0, draw_nothing)
    assert images.read("c.png::Gaussian blur", resize) == pytest.approx(255 * blurred, abs=0.51)


def test_the_level_and_the_group_are_in_the_fingerprint(ratings):
    weak, strong = (distorted(ratings, groups_at(level)).images for level in (1, 5))
    seen = {source.verify(f"c.png::{group}") for source in (weak, strong) for group in GROUPS}
    assert len(seen) == 7  # what is not distorted has no level
    assert pickle.loads(pickle.dumps(weak)).verify("c.png::Pristine") == weak.verify("c.png::Pristine")


def test_what_draws_the_distortion_is_in_the_fingerprint_too(ratings, monkeypatch, tmp_path):
    """Two files of one content have other noise, and a change of the formulas changes what they are."""
    copy = (tmp_path / "copy.png").write_bytes((tmp_path / "c.png").read_bytes()) and "copy.png"
    images = DistortedImages(ratings.images, EVERY)
    assert images.verify(f"{copy}::Pristine") == images.verify("c.png::Pristine")
    before = images.verify("c.png::white_noise 3")
    assert images.verify(f"{copy}::white_noise 3") != before
    monkeypatch.setattr(distortions, "FORMULAS", 0)
    assert images.verify("c.png::white_noise 3") != before
    assert images.verify(f"{copy}::Pristine") == images.verify("c.png::Pristine")


def test_an_image_that_cannot_be_read_is_refused_by_its_own_name(ratings, tmp_path):
    (tmp_path / "c.png").write_bytes(b"none")
    images = distorted(ratings, groups_at(4)).images
    for use in (images.read, images.verify):
        with pytest.raises(FusiqaError, match=r"^c\.png: not an image"):
            use("c.png::Gaussian blur")


def test_every_distortion_comes_at_every_level_image_by_image(ratings):
    made = distorted(ratings, EVERY, seed=7)
    named = [treatment_of(image) for image in made.table["image"]]
    assert [name for name, _, _ in named] == [name for name in NAMES for _ in range(126)]
    treatments = [treatment for _, *treatment in named]
    assert treatments[:126] == [["", 0], *([name, level] for name in DISTORTIONS for level in LEVELS)]
    assert made.table["group"].tolist() == [name for name in NAMES for _ in range(126)]


def test_what_is_drawn_depends_on_the_seed_and_the_image_alone(ratings):
    first, other = (distorted(ratings, EVERY, seed=seed).images for seed in (7, 8))
    image = "c.png::white_noise 5"
    pixels = first.read(image)
    first.read("a::b.png::jpeg 1")
    assert (first.read(image) == pixels).all()
    assert (pickle.loads(pickle.dumps(first)).read(image) == pixels).all()
    assert (other.read(image) != pixels).any()
    assert first.verify(image) != other.verify(image)
    assert (first.read("c.png::jpeg 4") == distort(ratings.images.read("c.png"), "jpeg", 4, seed=0)).all()


def test_an_image_is_decoded_once_for_its_distortions_and_one_is_kept(ratings, monkeypatch):
    images, opened = distorted(ratings, EVERY).images, []
    read = type(ratings.images).read
    monkeypatch.setattr(type(ratings.images), "read", lambda source, name: opened.append(name) or read(source, name))
    for image in ("c.png::jpeg 1", "c.png::jpeg 5", "c.png::Pristine", "a::b.png::jpeg 1"):
        images.read(image)
    assert opened == ["c.png", "a::b.png"]
    assert [name for name, _ in images.last] == ["a::b.png"]


def test_the_kinds_are_kadid10ks():
    of = {
        kind: [name for name, its in KIND_OF_DISTORTION.items() if its == kind] for kind in KIND_OF_DISTORTION.values()
    }
    assert [len(names) for names in of.values()] == [3, 5, 2, 5, 3, 5, 2]
    assert of["blur"] == ["gaussian_blur", "lens_blur", "motion_blur"]
    assert all(name.startswith("color_") for name in of["colour"])
    assert of["compression"] == ["jpeg2000", "jpeg"]
    assert (of["noise"][-1], of["spatial"][-1]) == ("denoise", "color_block")
    assert of["brightness"] == ["brighten", "darken", "mean_shift"]
    assert of["sharpness and contrast"] == ["high_sharpen", "contrast_change"]
