"""Shapes and dtypes of images, hashes and crops are checked while the tests run."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from fusiqa.data.cache import CachedImages, Store
from fusiqa.data.colour import lab_to_rgb, rgb_to_lab
from fusiqa.data.distortions import convolve, distort
from fusiqa.scoring.duplicates import near_duplicates, perceptual_hash

UNIT = np.ones((5, 7, 3), np.float32)


class Grey:
    """A reader of images that gives one channel."""

    def read(self, image, resize=None):
        return np.ones((5, 7), np.uint8)

    def verify(self, image):
        return image


@pytest.mark.parametrize(
    ("function", "given", "wrong"),
    [
        (perceptual_hash, np.ones((5, 7), np.uint8), "pixels"),
        (lambda pixels: distort(pixels, "jpeg", 1, seed=0), UNIT, "pixels"),
        (rgb_to_lab, UNIT.transpose(2, 0, 1), "image"),
        (lab_to_rgb, UNIT.astype(np.uint8), "lab"),
        (lambda kernel: convolve(UNIT, kernel), np.ones((3, 3, 1)), "kernel"),
        (lambda hashes: near_duplicates(hashes, 1), np.ones(3, np.int64), "hashes"),
    ],
)
def test_a_wrong_shape_or_dtype_is_refused(function, given, wrong):
    with pytest.raises(TypeCheckError, match=f"typechecking parameter '{wrong}'"):
        function(given)


def test_a_reader_that_gives_no_colour_image_is_refused(tmp_path):
    images = CachedImages(Grey(), {"a.png": "content"}, Store(tmp_path, 0))
    with pytest.raises(TypeCheckError, match="height width 3"):
        images.read("a.png")
