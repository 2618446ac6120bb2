"""CIELAB against published values, and back."""

import numpy as np
import pytest

from fusiqa.data.colour import lab_to_rgb, rgb_to_lab

# sRGB under D65, 2 degrees: B. Lindbloom's CIE colour calculator, two decimals.
PUBLISHED = {
    "white": ((1, 1, 1), (100, 0, 0)),
    "black": ((0, 0, 0), (0, 0, 0)),
    "red": ((1, 0, 0), (53.24, 80.09, 67.20)),
    "green": ((0, 1, 0), (87.73, -86.18, 83.18)),
    "blue": ((0, 0, 1), (32.30, 79.19, -107.86)),
    "yellow": ((1, 1, 0), (97.14, -21.55, 94.48)),
    "cyan": ((0, 1, 1), (91.11, -48.09, -14.13)),
    "magenta": ((1, 0, 1), (60.32, 98.23, -60.82)),
    "grey 119": ((119 / 255,) * 3, (50.03, 0, 0)),
}


def pixel(*values: float) -> np.ndarray:
    return np.array([[values]], np.float32)


@pytest.mark.parametrize("name", PUBLISHED)
def test_primaries_have_their_published_values(name):
    rgb, lab = PUBLISHED[name]
    assert rgb_to_lab(pixel(*rgb))[0, 0] == pytest.approx(lab, abs=0.02)
    assert lab_to_rgb(pixel(*lab))[0, 0] == pytest.approx(rgb, abs=0.002)


def test_every_grey_and_random_colours_come_back_to_the_very_byte():
    random = np.random.default_rng(0)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    for image in (greys, random.integers(0, 256, (67, 71, 3), dtype=np.uint8)):
        unit = image.astype(np.float32) / np.float32(255)
        back = lab_to_rgb(rgb_to_lab(unit))
        assert np.abs(back - unit).max() < 0.001
        assert (np.round(255 * back) == image).all()


def test_greys_have_no_colour_and_lightness_grows():
    lightness, a, b = np.moveaxis(rgb_to_lab(np.repeat(np.linspace(0, 1, 53)[None, :, None], 3, axis=2)), 2, 0)
    assert np.abs([a, b]).max() < 1e-3
    assert (np.diff(lightness[0]) > 0).all()


@pytest.mark.parametrize("lab", [(50, 200, 0), (50, -200, 0), (50, 0, 200), (150, 0, 0), (-20, 5, 5)])
def test_colours_beyond_the_gamut_are_clipped_without_a_warning(lab):
    back = lab_to_rgb(pixel(*lab))
    assert ((back >= 0) & (back <= 1)).all()
    assert ((back < 1e-6) | (back > 1 - 1e-6)).any()
