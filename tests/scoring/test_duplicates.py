"""The hash is imagehash's, and pairs are those of a plain double loop."""

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fusiqa.data.synthetic import dead_leaves
from fusiqa.scoring import duplicates
from fusiqa.scoring.duplicates import SAME_SCENE, close_pairs, near_duplicates, perceptual_hash

RECORDED = (0xDBD934B6A4A28366, 0x943C0DC8EF28E3BC, 0xC9373301F9DBE540, 0x86DCF3D21C2B2173, 0xE2CB56FAA917AA01)
"""What imagehash.phash (4.3.2) gave for dead_leaves(seed, size=83)[: 67 + seed]."""


def hashes_of(*pictures: np.ndarray | Image.Image) -> np.ndarray:
    return np.array([perceptual_hash(np.asarray(picture)) for picture in pictures], np.uint64)


def by_hand(hashes: np.ndarray, distance: int) -> list[tuple[int, int, int]]:
    values = [int(value) for value in hashes]
    return [
        (i, j, (values[i] ^ values[j]).bit_count())
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= distance
    ]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [Image.fromarray(dead_leaves(seed, size=83)[: 67 + seed]) for seed in range(6)]


def test_the_hash_is_that_of_imagehash(pictures):
    assert tuple(hashes_of(*pictures[:5]).tolist()) == RECORDED


def test_the_hash_is_the_sign_of_the_low_frequencies():
    """phash by its definition: which of the 8 x 8 lowest DCT-II coefficients of a 32 x 32 picture exceed the median."""
    grey = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)  # 32: nothing is resampled
    k, n = np.arange(8)[:, None], np.arange(32)[None]
    basis = 2 * np.cos(np.pi * k * (2 * n + 1) / 64)
    low = basis @ grey.astype(float) @ basis.T
    expected = int("".join("1" if above else "0" for above in (low > np.median(low)).ravel()), 2)
    assert hashes_of(np.repeat(grey[:, :, None], 3, axis=2)).tolist() == [expected]


def test_one_image_saved_again_darkened_or_made_smaller_is_found_and_others_are_not(pictures):
    buffer = BytesIO()
    pictures[1].save(buffer, "JPEG", quality=20)
    copies = [Image.open(buffer), ImageEnhance.Brightness(pictures[3]).enhance(0.6), pictures[5].resize((37, 41))]
    found = near_duplicates(hashes_of(*pictures, *copies), SAME_SCENE)
    assert {(first, second) for first, second, _ in found} == {(1, 6), (3, 7), (5, 8)}


@pytest.mark.parametrize("distance", [0, 5, 30, 64])
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_pairs_are_those_of_a_plain_double_loop_in_any_blocks(monkeypatch, distance: int, at_once: int):
    hashes = np.random.default_rng(0).integers(0, 2**64, 61, dtype=np.uint64)
    hashes[17] = hashes[41]
    hashes[43] = hashes[2] ^ np.uint64(0b10110)
    monkeypatch.setattr(duplicates, "AT_ONCE", at_once)
    found = near_duplicates(hashes, distance)
    assert found == by_hand(hashes, distance)
    assert (17, 41, 0) in found


@pytest.mark.parametrize("distance", [0, 3, 4, 7, 8, 11])
def test_the_index_finds_every_pair_once(monkeypatch, distance: int):
    """Few centres with many hashes around them: each distance from 0 up, and differences within one band or several."""
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 2**64, 31, dtype=np.uint64)
    flips = [rng.choice(64, rng.integers(0, 8), replace=False) for _ in range(977)]
    masks = np.array([sum(1 << int(bit) for bit in each) for each in flips], np.uint64)
    hashes = centres[rng.integers(0, 31, 977)] ^ masks
    monkeypatch.setattr(duplicates, "LOOK_UP", 0)  # so that the index is used
    assert near_duplicates(hashes, distance) == by_hand(hashes, distance)


def test_none_and_one_have_no_pairs():
    assert near_duplicates(np.array([], np.uint64), 64) == []
    assert near_duplicates(np.array([5], np.uint64), 64) == []


def test_memory_is_bounded_however_many_there_are():
    hashes = np.random.default_rng(0).integers(0, 2**64, 10_007, dtype=np.uint64)  # all pairs at once: 400 MB
    hashes[:3000] = hashes[0]  # and 4.5 million pairs of one hash
    tracemalloc.start()
    try:
        assert sum(len(first) for first, _, _ in close_pairs(hashes, 3)) == 3000 * 2999 // 2
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_flat_images_have_one_hash():
    """Their frequencies are 0 but for rounding errors, which must not count."""
    flat = [np.full((41, 59, 3), level, np.uint8) for level in (1, 7, 100, 255)]
    assert len(set(hashes_of(*flat).tolist())) == 1
