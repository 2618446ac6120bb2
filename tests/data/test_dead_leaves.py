"""Procedural images: the same ones for a seed, and alike in what images share."""

import numpy as np
import pytest

from fusiqa.data.dead_leaves import contact_sheet, dead_leaves, draw_leaf, fractal_noise, leaf_radii

CONTENTS = range(12)
SIZE = 128
LUMA = (0.299, 0.587, 0.114)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [dead_leaves(content, size=SIZE) for content in CONTENTS]


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


def saturation(picture: np.ndarray) -> float:
    """Mean saturation of HSV, 0-1."""
    brightest, darkest = picture.max(axis=2).astype(float), picture.min(axis=2).astype(float)
    return float(np.mean((brightest - darkest) / np.maximum(brightest, 1)))


def test_an_image_is_the_same_for_its_content_and_seed_and_no_other_is(pictures):
    assert (dead_leaves(3, size=SIZE) == pictures[3]).all()
    assert len({picture.tobytes() for picture in pictures}) == len(CONTENTS)
    small = dead_leaves(3, size=37)
    assert small.shape == (37, 37, 3)
    assert small.dtype == np.uint8
    other = dead_leaves(3, size=37, seed=1)
    assert np.abs(small.astype(int) - other).mean() > 20
    assert np.abs(other.astype(int) - dead_leaves(1, size=37, seed=3)).mean() > 20  # the two do not change places


def test_the_measure_of_the_slope_knows_white_noise_and_a_spectrum_of_one_over_f_squared():
    random = np.random.default_rng(2)
    white = [spectral_slope(random.normal(size=(SIZE, SIZE))) for _ in range(12)]
    fractal = [spectral_slope(fractal_noise(random, SIZE)) for _ in range(12)]
    assert np.mean(white) == pytest.approx(0, abs=0.1)
    assert np.mean(fractal) == pytest.approx(-2, abs=0.1)


def test_the_power_spectrum_falls_as_that_of_images(pictures):
    """Measured over 24 contents: -2.11 on average, 0.19 between contents; 40 of BSDS500's images: -2.4, 0.4."""
    slopes = [spectral_slope(picture @ np.array(LUMA)) for picture in pictures]
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
    side = 128
    for seed in CONTENTS:
        random = np.random.default_rng(seed)
        canvas = np.full((side, side, 3), np.nan)
        for radius in leaf_radii(random, side):
            draw_leaf(canvas, radius, np.zeros((1, side, side)), np.array([0.3]), random)
        assert np.isnan(canvas).mean() < 0.02


def test_saturation_and_tones_are_alike_in_all_contents(pictures):
    """Else a change of colour or contrast could not be seen without the original."""
    assert [saturation(picture) for picture in pictures] == pytest.approx([0.42] * len(CONTENTS), abs=0.01)
    for picture in pictures:
        luminance = picture @ np.array(LUMA)
        dark, light = np.percentile(luminance, (1, 99))
        assert 1 < dark < 15
        assert 225 < light < 254
        assert 60 < luminance.mean() < 165


def test_fractal_noise_is_standardised():
    noise = fractal_noise(np.random.default_rng(0), 61)
    assert noise.shape == (61, 61)
    assert noise.mean() == pytest.approx(0, abs=1e-12)
    assert noise.std() == pytest.approx(1)


def test_a_contact_sheet_lays_pictures_out_in_rows():
    tiles = [np.full((3, 5, 3), grey, np.uint8) for grey in (10, 20, 30, 40, 50, 60)]
    sheet = np.asarray(contact_sheet(tiles, columns=3))
    assert sheet.shape == (6, 15, 3)
    assert sheet[::3, ::5, 0].tolist() == [[10, 20, 30], [40, 50, 60]]
