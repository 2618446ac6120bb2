"""Colours that a file states, by a profile, gAMA, cICP or nclx, and the sRGB that they become."""

import struct

import numpy as np
import pytest
from image_files import cmyk_profile, encoded, linear_rgb_profile, part, picture, stating
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import decode, prove_readable
from fusiqa.scoring.srgb import to_xyz

GREY = Image.new("RGB", (5, 3), (128, 128, 128))
SHORT = linear_rgb_profile()[:200]
LINEAR = 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055)  # IEC 61966-2-1: 187.8
GAMMA, STATED_SRGB = part(b"gAMA", struct.pack(">I", 100_000)), part(b"sRGB", b"\0")


@pytest.mark.parametrize(
    ("image", "form", "profile", "expected"),
    [
        *((GREY, form, linear_rgb_profile(), LINEAR) for form in ("PNG", "JPEG", "TIFF", "WEBP")),
        (Image.new("RGBA", (5, 3), (128, 128, 128, 255)), "PNG", linear_rgb_profile(), LINEAR),
        (GREY.quantize(2), "PNG", linear_rgb_profile(), LINEAR),
        (GREY, "PNG", b"no profile", 128),
        (GREY, "PNG", SHORT, 128),
        (Image.new("L", (5, 3), 128), "PNG", linear_rgb_profile(), 128),
    ],
)
def test_a_colour_profile_is_turned_into_srgb_and_a_broken_or_misfit_one_is_ignored(image, form, profile, expected):
    settings = {"lossless": True} if form == "WEBP" else {}
    pixels = decode(encoded(image, form, icc_profile=profile, **settings))
    np.testing.assert_allclose(pixels, np.full((3, 5, 3), expected), atol=0 if expected == 128 else 1)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_the_profile_of_a_cmyk_image_is_used(form: str):
    """L* = 50 is 119 of 255 in sRGB (CIE 15 and IEC 61966-2-1); without the profile cyan would be (0, 255, 255)."""
    settings = {"quality": 100} if form == "JPEG" else {}
    content = encoded(Image.new("CMYK", (5, 3), (255, 0, 0, 0)), form, icc_profile=cmyk_profile(), **settings)
    np.testing.assert_allclose(decode(content), 119, atol=3)


def test_the_gamma_that_a_png_states_counts():
    def first(*more: bytes) -> int:
        return int(decode(stating(Image.new("L", (8, 8), 55), *more))[0, 0, 0])

    usual = part(b"gAMA", struct.pack(">I", 45_455))
    assert (first(), first(usual)) == (55, 55)
    assert first(GAMMA) == 128  # 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
    assert first(GAMMA, STATED_SRGB) == 55  # which goes before it


@pytest.mark.parametrize(
    ("codes", "colour", "expected"),
    [
        ((1, 13, 0, 1), (217, 72, 51), (217, 72, 51)),  # sRGB
        ((1, 1, 0, 1), (217, 72, 51), (217, 72, 51)),  # BT.709
        ((2, 2, 0, 1), (217, 72, 51), (217, 72, 51)),  # unstated
        ((12, 13, 0, 1), (234, 51, 35), (255, 0, 0)),  # sRGB's red in Display P3, by the matrices of CSS Color 4
        ((9, 14, 0, 1), (208, 74, 34), (255, 0, 0)),  # and in BT.2020: 0.6274, 0.0691, 0.0164 of light (ITU-R BT.2087)
        ((12, 8, 0, 1), (55, 55, 55), (128, 128, 128)),  # linear: 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
        ((9, 13, 0, 1), (101, 101, 101), (101, 101, 101)),  # all have one white
    ],
)
def test_the_colours_that_a_cicp_chunk_states_count(codes, colour, expected):
    first = decode(stating(Image.new("RGB", (3, 5), colour), GAMMA, STATED_SRGB, part(b"cICP", bytes(codes))))[0, 0]
    np.testing.assert_allclose(first.astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ((9, 16, 0, 1), r"high dynamic range \(PQ\)"),
        ((9, 18, 0, 1), r"high dynamic range \(HLG\)"),
        ((1, 13, 0, 0), "primaries 1, transfer 13, narrow range"),
        ((11, 17, 0, 1), "primaries 11, transfer 17"),
    ],
)
def test_colours_that_no_rule_turns_into_srgb_are_refused(codes, reason):
    content = stating(picture(), part(b"cICP", bytes(codes)))
    for read in (decode, prove_readable):
        with pytest.raises(FusiqaError, match=reason):
            read(content)


def test_an_avif_of_high_dynamic_range_is_refused_but_not_one_with_a_gain_map():
    content, plain, pq = encoded(picture(), "AVIF"), b"colrnclx\0\1\0\x0d", b"colrnclx\0\x09\0\x10"
    assert plain in content
    with pytest.raises(FusiqaError, match="high dynamic range"):
        decode(content.replace(plain, pq))
    both = content + b"\0\0\0\x1bfree" + pq + bytes(7)
    np.testing.assert_array_equal(decode(both), decode(content))
    with_profile = encoded(picture(), "AVIF", icc_profile=linear_rgb_profile())
    np.testing.assert_array_equal(decode(with_profile + b"\0\0\0\x1bfree" + pq + bytes(7)), decode(with_profile))


def test_primaries_have_their_published_matrices():
    from_2020 = np.linalg.inv(to_xyz(1)) @ to_xyz(9)  # ITU-R BT.2087, M2
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(from_2020, expected, atol=1e-4)
    np.testing.assert_allclose(to_xyz(1)[1], [0.2126, 0.7152, 0.0722], atol=1e-4)  # BT.709
