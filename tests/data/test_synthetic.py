"""The built-in data set: its labels are KADID-10k's, its splits share no content, its images are the same each time."""

import csv
import hashlib
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fusiqa.data import synthetic
from fusiqa.data.dead_leaves import dead_leaves
from fusiqa.data.distortions import DISTORTIONS, distort
from fusiqa.data.ratings import Ratings
from fusiqa.data.splits import check_no_leak
from fusiqa.data.synthetic import (
    USED,
    SyntheticImages,
    distortion_of,
    mean_opinions,
    parts_of,
    read_synthetic,
    split_of,
)
from fusiqa.errors import FusiqaError

CARRIED = Path(synthetic.__file__).with_name("kadid10k_mean_dmos.csv")
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "kadid10k_mean_dmos.csv"
DISTORTED = (
    *("gaussian blur", "jpeg", "white noise", "contrast change"),
    *("color saturation hsv", "color saturation lab", "color shift"),
)
NOT_IN_THE_SET = (
    *("photo.jpg", "content01-jpeg", "content01-jpeg-6", "content01-jpeg-0", "content01-lens_blur-1"),
    *("content01-pristine-1", "content-jpeg-1", "contentx-jpeg-1", "content\u00b2-jpeg-1", "01-jpeg-1"),
)
SIDE = 37


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return read_synthetic(contents=11, size=SIDE)


def kadid_rows() -> list[dict[str, str]]:
    with CARRIED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_the_one_that_was_handed_over():
    if not SHARED.is_file():
        pytest.skip(f"the table's source is not on this machine: {SHARED}")
    assert CARRIED.read_bytes() == SHARED.read_bytes()


def test_the_table_has_25_distortions_at_five_levels():
    assert len(mean_opinions()) == len(kadid_rows()) == 125
    assert Counter(name for name, _ in mean_opinions()) == dict.fromkeys({row["distortion"] for row in kadid_rows()}, 5)
    assert all(1 <= opinion <= 5 for opinion in mean_opinions().values())


def test_every_label_is_what_kadid10ks_viewers_thought(ratings):
    opinion = {(row["distortion"], row["level"]): float(row["mean_dmos"]) for row in kadid_rows()}
    for row in ratings.table.itertuples():
        _, distortion, level = row.image.split("-") if row.image.count("-") == 2 else (*row.image.split("-"), "3")
        assert row.mos == opinion["mean_shift" if distortion == "pristine" else distortion, level]


def test_pristine_is_rated_as_the_images_that_kadid10k_left_unchanged(ratings):
    pristine = ratings.table[ratings.table["image"].str.endswith("-pristine")]
    assert len(pristine) == 11
    assert pristine["mos"].unique() == pytest.approx([4.603], abs=5e-4)
    assert pristine["mos"].unique() == [mean_opinions()["mean_shift", 3]]
    for name in ("mean_shift", "contrast_change"):  # both are highest where their parameter is 0
        assert max(mean_opinions()[name, level] for level in (1, 2, 3, 4, 5)) == mean_opinions()[name, 3]


def test_the_parameters_are_those_beside_the_labels():
    """The labels hold for these parameters alone."""
    stated = {(row["distortion"], int(row["level"])): row["parameter"] for row in kadid_rows()}
    for name in USED:
        distortion = DISTORTIONS[name]
        assert [float(stated[name, level]) for level in (1, 2, 3, 4, 5)] == list(distortion.parameters)


def test_each_content_comes_pristine_and_under_seven_distortions_at_five_levels(ratings):
    assert len(ratings) == 11 * 36
    assert ratings.table["group"].value_counts().unique().tolist() == [36]
    counts = Counter(distortion_of(image) for image in ratings.table["image"])
    assert counts.pop("pristine") == 11
    assert counts == dict.fromkeys(DISTORTED, 55)
    assert ratings.score_range == (1, 5)


def test_no_content_is_on_two_sides_and_every_side_has_some(ratings):
    for contents in (10, 11, 23, 150):
        sides = Counter(split_of(content, contents) for content in range(contents))
        assert sum(sides.values()) == contents
        assert min(sides[side] for side in ("train", "validation", "test")) >= 1
        assert sides["train"] == pytest.approx(0.7 * contents, abs=1)
    assert ratings.table.groupby("group")["split"].nunique().unique().tolist() == [1]
    assert [name[:10] for name in ratings.table["image"]] == ratings.table["group"].tolist()
    check_no_leak(ratings)


def test_images_are_what_the_generators_draw_and_the_same_each_time():
    images = SyntheticImages(size=SIDE, seed=3)
    pristine = dead_leaves(4, size=SIDE, seed=3)
    assert (images.read("content004-pristine") == pristine).all()
    assert (images.read("content004-white_noise-5") == distort(pristine, "white_noise", 5, seed=4)).all()
    again = pickle.loads(pickle.dumps(images))  # as a loader's worker gets it
    synthetic._image.cache_clear()
    synthetic._pristine.cache_clear()
    assert (again.read("content004-white_noise-5") == distort(pristine, "white_noise", 5, seed=4)).all()


def test_other_seeds_and_contents_give_other_images_but_the_same_labels(ratings):
    other = read_synthetic(contents=11, size=SIDE, seed=1)
    assert other.table.equals(ratings.table)
    for image in ("content000-pristine", "content010-jpeg-4"):
        assert (other.images.read(image) != ratings.images.read(image)).mean() > 0.5
    drawn = {ratings.images.verify(image) for image in ratings.table["image"][::9]}
    assert len(drawn) == len(ratings.table["image"][::9])


def test_two_contents_get_different_noise():
    noise = [
        SyntheticImages(SIDE, 0).read(f"content{content:03d}-white_noise-1").astype(float)
        - SyntheticImages(SIDE, 0).read(f"content{content:03d}-pristine")
        for content in (1, 2)
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_verify_is_the_hash_of_the_pixels_which_nobody_can_change(ratings):
    pixels = ratings.images.read("content002-jpeg-3")
    assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)
    assert ratings.images.verify("content002-jpeg-3") == hashlib.sha256(pixels.tobytes()).hexdigest()
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 0


@pytest.mark.parametrize("image", NOT_IN_THE_SET)
def test_a_name_that_the_set_does_not_have_is_refused(image):
    for reader in (parts_of, SyntheticImages(SIDE, 0).read, SyntheticImages(SIDE, 0).verify):
        with pytest.raises(FusiqaError, match=f"'{image}' is no image of the synthetic data set"):
            reader(image)


def test_contents_that_cannot_be_split_are_refused():
    with pytest.raises(FusiqaError, match=r"^9 contents cannot be split three ways; 10 and more can"):
        read_synthetic(contents=9)
