"""The built-in data set: labels of KADID-10k, splits by content, reproducible images with natural statistics."""

import csv
import hashlib
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fusiqa.data import synthetic
from fusiqa.data.catalog import kinds
from fusiqa.data.distortions import DISTORTIONS, distort
from fusiqa.data.ratings import Ratings
from fusiqa.data.splits import check_no_leak
from fusiqa.data.synthetic import (
    USED,
    SyntheticImages,
    dead_leaves,
    draw_leaf,
    fractal_noise,
    leaf_radii,
    mean_opinions,
    parts_of,
    read_synthetic,
    split_of,
)
from fusiqa.errors import FusiqaError

CARRIED = Path(synthetic.__file__).with_name("kadid10k_mean_dmos.csv")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "kadid10k_mean_dmos.csv"
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
    counts = Counter(kinds("synthetic", ratings.table["image"].tolist()))
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
    noisy = images.read("content004-white_noise-5")
    synthetic._image.cache_clear()
    assert (pickle.loads(pickle.dumps(images)).read("content004-white_noise-5") == noisy).all()  # as in a worker


def test_other_seeds_and_contents_give_other_images_but_the_same_labels(ratings):
    other = read_synthetic(contents=11, size=SIDE, seed=1)
    assert other.table.equals(ratings.table)
    for image in ("content000-pristine", "content010-jpeg-4"):
        assert (other.images.read(image) != ratings.images.read(image)).mean() > 0.5
    two = ratings.table["image"][ratings.table["group"].isin(["content000", "content010"])]
    assert len({ratings.images.verify(image) for image in two}) == 2 * 34  # of 36: two levels change nothing


def test_two_contents_get_different_noise(ratings):
    noise = [
        ratings.images.read(f"{content}-white_noise-1").astype(float) - ratings.images.read(f"{content}-pristine")
        for content in ("content000", "content010")
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_verify_is_the_hash_of_the_pixels_which_nobody_can_change(ratings):
    pixels = ratings.images.read("content010-jpeg-3")
    assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)
    assert ratings.images.verify("content010-jpeg-3") == hashlib.sha256(pixels.tobytes()).hexdigest()
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 0


@pytest.mark.parametrize("image", NOT_IN_THE_SET)
def test_a_name_that_the_set_does_not_have_is_refused(image):
    for reader in (parts_of, SyntheticImages(SIDE, 0).read, SyntheticImages(SIDE, 0).verify):
        with pytest.raises(FusiqaError, match=f"'{image}' is no image of the synthetic data set"):
            reader(image)


def test_contents_that_cannot_be_split_are_refused():
    with pytest.raises(FusiqaError, match=r"`contents` must be at least 10 .*, got 9"):
        read_synthetic(contents=9)


# --- dead leaves -----------------------------------------------------------------------------------------------------

DRAWN = range(8)
DRAWN_SIZE = 128
LUMA = (0.299, 0.587, 0.114)


@pytest.fixture(scope="module")
def images_drawn() -> list[np.ndarray]:
    return [dead_leaves(content, size=DRAWN_SIZE) for content in DRAWN]


def spectral_slope(grey: np.ndarray) -> float:
    """Exponent of the radial power spectrum from 2 to 32 cycles per image: 0 for white noise, -2 for images."""
    side = len(grey)
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    cycles = np.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(cycles[:, None], cycles[None, :])).astype(int).ravel()
    radial = np.bincount(ring, power.ravel()) / np.bincount(ring)
    used = np.arange(2, 33)
    return float(np.polyfit(np.log(used), np.log(radial[used]), 1)[0])


def saturation(image: np.ndarray) -> float:
    """Mean saturation of HSV, 0-1."""
    brightest, darkest = image.max(axis=2).astype(float), image.min(axis=2).astype(float)
    return float(np.mean((brightest - darkest) / np.maximum(brightest, 1)))


def test_an_image_is_the_same_for_its_content_and_seed_and_no_other_is(images_drawn):
    assert (dead_leaves(3, size=DRAWN_SIZE) == images_drawn[3]).all()
    assert len({image.tobytes() for image in images_drawn}) == len(DRAWN)
    assert {(image.shape, image.dtype) for image in images_drawn} == {((DRAWN_SIZE, DRAWN_SIZE, 3), np.dtype("uint8"))}
    other = dead_leaves(3, size=DRAWN_SIZE, seed=1).astype(int)
    for image in (images_drawn[3], dead_leaves(1, size=DRAWN_SIZE, seed=3)):  # content and seed do not change places
        assert np.abs(other - image).mean() > 20


def test_the_measure_of_the_slope_knows_white_noise_and_a_spectrum_of_one_over_f_squared():
    random = np.random.default_rng(2)
    white = [spectral_slope(random.normal(size=(DRAWN_SIZE, DRAWN_SIZE))) for _ in range(12)]
    fractal = [spectral_slope(fractal_noise(random, DRAWN_SIZE)) for _ in range(12)]
    assert np.mean(white) == pytest.approx(0, abs=0.1)
    assert np.mean(fractal) == pytest.approx(-2, abs=0.1)


def test_the_power_spectrum_falls_as_that_of_images(images_drawn):
    """Measured over 24 contents: -2.11 on average, 0.19 between contents; 40 of BSDS500's images: -2.4, 0.4."""
    slopes = [spectral_slope(image @ np.array(LUMA)) for image in images_drawn]
    assert np.mean(slopes) == pytest.approx(-2.1, abs=0.2)
    assert all(-2.75 < slope < -1.5 for slope in slopes)


def test_radii_follow_an_inverse_cube():
    """Between a and b the density r^-3 puts a share (a^-2 - r^-2) / (a^-2 - b^-2) of the leaves below r."""
    side = 256
    drawn = np.concatenate([leaf_radii(np.random.default_rng(seed), side)[24:] for seed in range(8)])
    lowest, highest = 2.0, 0.45 * side
    for radius in (2.5, 4, 8):
        expected = (lowest**-2 - radius**-2) / (lowest**-2 - highest**-2)
        assert np.mean(drawn < radius) == pytest.approx(expected, abs=0.02)
    assert lowest <= drawn.min() < drawn.max() <= highest


def test_hardly_anything_of_the_canvas_shows_through():
    side = 64
    for seed in range(3):
        random = np.random.default_rng(seed)
        canvas = np.full((side, side, 3), np.nan)
        for radius in leaf_radii(random, side):
            draw_leaf(canvas, radius, np.zeros((1, side, side)), np.array([0.3]), random)
        assert np.isnan(canvas).mean() < 0.02


def test_saturation_and_tones_are_alike_in_all_contents(images_drawn):
    """Else a change of colour or contrast could not be seen without the original."""
    assert [saturation(image) for image in images_drawn] == pytest.approx([0.42] * len(DRAWN), abs=0.01)
    for image in images_drawn:
        luminance = image @ np.array(LUMA)
        dark, light = np.percentile(luminance, (1, 99))
        assert 1 < dark < 15
        assert 225 < light < 254
        assert 60 < luminance.mean() < 165


def test_fractal_noise_is_standardised():
    noise = fractal_noise(np.random.default_rng(0), 61)
    assert noise.shape == (61, 61)
    assert noise.mean() == pytest.approx(0, abs=1e-12)
    assert noise.std() == pytest.approx(1)
