"""Crops and whole images as the network sees them."""

import numpy as np
import pytest
from tiny_models import random_pixels

from fusiqa.errors import FusiqaError
from fusiqa.scoring.views import (
    LARGEST_PIECE,
    STRIDE,
    cover,
    pad_to,
    random_corner,
    views_of,
)


@pytest.mark.parametrize(
    ("height", "width", "crop"), [(7, 7, 7), (11, 7, 7), (31, 43, 7), (211, 13, 13), (2, 3, 1), (97, 89, 83)]
)
def test_crops_cover_every_pixel_with_as_few_as_can_be(height: int, width: int, crop: int):
    corners = cover(height, width, crop)
    seen = np.zeros((height, width), int)
    for top, left in corners:
        assert seen[top : top + crop, left : left + crop].shape == (crop, crop)
        seen[top : top + crop, left : left + crop] += 1
    assert seen.min() >= 1
    assert len(set(corners)) == len(corners) == -(-height // crop) * -(-width // crop)


def test_crops_are_spread_evenly_from_edge_to_edge():
    assert cover(224, 500, 224) == [(0, 0), (0, 138), (0, 276)]
    assert cover(384, 512, 224) == [(0, 0), (0, 144), (0, 288), (160, 0), (160, 144), (160, 288)]


def test_random_corners_reach_every_position():
    rng = np.random.default_rng(0)
    found = {random_corner(rng, height=13, width=11, crop=7) for _ in range(1000)}
    assert found == {(top, left) for top in range(7) for left in range(5)}


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(FusiqaError, match=r"crop of 17 pixels .* 13x19"):
        cover(13, 19, 17)
    with pytest.raises(FusiqaError, match=r"crop of 17 pixels .* 19x13"):
        random_corner(np.random.default_rng(0), 19, 13, 17)


def test_padding_mirrors_outwards():
    row = np.array([1, 2, 3], np.uint8)[None, :, None].repeat(3, axis=2)
    assert pad_to(row, height=1, width=8)[0, :, 0].tolist() == [2, 1, 1, 2, 3, 3, 2, 1]
    assert pad_to(random_pixels(41, 5), height=31, width=29).shape == (41, 29, 3)
    large = random_pixels(41, 43)
    assert pad_to(large, height=31, width=29) is large


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 23), (23, 1), (5, 7)])
def test_padding_keeps_the_image_in_the_middle(height: int, width: int):
    pixels = random_pixels(height, width)
    padded = pad_to(pixels, height=31, width=29)
    assert padded.shape == (31, 29, 3)
    top, left = (31 - height) // 2, (29 - width) // 2
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], pixels)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (40, 60), (37, 211)])
def test_crop_views_cover_the_image_and_weigh_the_same(height, width):
    views = views_of(random_pixels(height, width), 31)
    assert all(view.shape == (31, 31, 3) for view in views)
    assert views.weights.sum() == pytest.approx(1)
    assert np.ptp(views.weights) == 0
    assert views.boxes.min() == 0
    assert views.boxes[:, 2].max() == views.boxes[:, 3].max() == 1


@pytest.mark.parametrize(("height", "width"), [(5, 7), (64, 96), (331, 487), (320, 3 * LARGEST_PIECE + 1)])
def test_a_whole_view_is_mirrored_to_the_stride_and_cut_only_where_it_is_long(height, width):
    pixels = random_pixels(height, width)
    views = views_of(pixels, 224, view="whole")
    assert len(views) == -(-height // LARGEST_PIECE) * -(-width // LARGEST_PIECE)
    assert all(side % STRIDE == 0 and side <= LARGEST_PIECE + STRIDE for view in views for side in view.shape[:2])
    np.testing.assert_array_equal(views.pixels[:height, :width], pixels)
    np.testing.assert_array_equal(
        views.pixels[height : height + 1, :width], pixels[-1:][: views.pixels.shape[0] - height]
    )
    areas = np.prod(views.boxes[:, 2:] - views.boxes[:, :2], axis=1)
    assert areas.sum() == pytest.approx(1)
    np.testing.assert_allclose(views.weights, areas)
