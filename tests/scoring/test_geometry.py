import numpy as np
import pytest

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import LARGEST_SIDE, Resize, cover, pad_to, random_corner


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", (1013, 769)),
        ("384", (506, 384)),  # 1013 * 384 / 769 = 505.8
        ("512x384", (384, 512)),
        ("384x512", (512, 384)),
        ("769", (1013, 769)),
    ],
)
def test_resize_gives_height_and_width_in_their_order(text: str, expected: tuple[int, int]):
    resize = Resize.parse(text)
    assert resize.size(height=1013, width=769) == expected
    assert resize.apply(np.zeros((1013, 769, 3), np.uint8)).shape == (*expected, 3)


def test_resize_keeps_rows_rows_and_columns_columns():
    rows = np.repeat(np.linspace(0, 255, 101).astype(np.uint8)[:, None, None], 67, axis=1).repeat(3, axis=2)
    resized = Resize.parse("43x31").apply(rows)
    assert resized.shape == (31, 43, 3)
    assert np.ptp(resized, axis=1).max() == 0
    assert np.ptp(resized, axis=0).min() > 240


def test_resize_is_anti_aliased():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = Resize.parse("16").apply(board[..., None].repeat(3, axis=2).astype(np.uint8))
    np.testing.assert_allclose(small[4:12, 4:12], np.full((8, 8, 3), 127.5), atol=1)  # picking pixels gives 0 or 255


@pytest.mark.parametrize("text", ["none", "37", "53x37"])
def test_a_image_of_the_right_size_is_not_resampled(text: str):
    pixels = noise(37, 53)
    assert Resize.parse(text).apply(pixels) is pixels


def test_resizing_a_sliver_stays_within_memory():
    assert Resize.parse("384").apply(noise(1, 911)).shape == (384, LARGEST_SIDE, 3)


@pytest.mark.parametrize("text", ["none", "384", "512x384"])
def test_resize_prints_the_words_that_it_was_read_from(text: str):
    assert str(Resize.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "auto", "0", "-5", "384x", "x384", "512x0", "512x384x3", "3e2", "16385", "٣٨٤", "384 "]
)
def test_other_words_are_refused(text: str):
    with pytest.raises(FusiqaError) as caught:
        Resize.parse(text)
    assert str(caught.value).startswith("`resize` must be none, the short side in pixels (384) or WIDTHxHEIGHT")
    assert str(caught.value).endswith(f"got {text}")


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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 23), (23, 1), (5, 7)])
def test_padding_keeps_the_image_in_the_middle(height: int, width: int):
    pixels = noise(height, width)
    padded = pad_to(pixels, height=31, width=29)
    assert padded.shape == (31, 29, 3)
    top, left = (31 - height) // 2, (29 - width) // 2
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], pixels)


def test_padding_leaves_the_longer_side_and_a_large_image_alone():
    assert pad_to(noise(41, 5), height=31, width=29).shape == (41, 29, 3)
    large = noise(41, 43)
    assert pad_to(large, height=31, width=29) is large
