"""All distortions against the laws of levels and seeds; each against its definition: test_distortion_definitions.py."""

from importlib import resources

import numpy as np
import pandas as pd
import pytest

from fusiqa.data.dead_leaves import dead_leaves
from fusiqa.data.distortions import DISTORTIONS, LEVELS, distort
from fusiqa.data.distortions.blur import convolved
from fusiqa.errors import FusiqaError

STATED = resources.files("fusiqa.data") / "kadid10k_mean_dmos.csv"
UNCHANGED = [("mean_shift", 3), ("contrast_change", 3), ("color_saturation_lab", 1), ("gaussian_blur", 1)]
DRAWN = {
    "motion_blur", "color_shift", "white_noise", "white_noise_ycbcr", "impulse_noise", "multiplicative_noise",
    "denoise", "jitter", "non_eccentricity_patch", "color_block",
}  # fmt: skip
NOT_BY_LEVEL = {"mean_shift", "contrast_change", "color_shift", "denoise", "non_eccentricity_patch", "color_block"}
STRONGER = [name for name in DISTORTIONS if name not in NOT_BY_LEVEL]
BOTH_WAYS = ["mean_shift", "contrast_change"]


@pytest.fixture(scope="module")
def leaves() -> np.ndarray:
    return dead_leaves(5, size=67)[:61]


def error(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean squared error, grey levels."""
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("shape", [(1, 1), (2, 17), (3, 2), (31, 29)])
def test_a_kernel_larger_than_the_picture_sees_it_mirrored_again_and_again(shape):
    """Against a sum over the kernel, pixel by pixel, of a picture mirrored by index."""
    picture = np.random.default_rng(1).random((*shape, 3), dtype=np.float32)
    kernel = np.random.default_rng(2).random((17, 13))

    def mirrored(place, side):
        place %= 2 * side
        return place if place < side else 2 * side - 1 - place

    expected = np.zeros_like(picture, dtype=float)
    for row, column in np.ndindex(shape):
        for down, right in np.ndindex(kernel.shape):
            where = mirrored(row - (down - 8), shape[0]), mirrored(column - (right - 6), shape[1])
            expected[row, column] += kernel[down, right] / kernel.sum() * picture[where]
    np.testing.assert_allclose(convolved(picture, kernel), expected, rtol=1e-4)


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 17, 3), (31, 29, 3)])
def test_shape_and_type_stay_and_the_original_is_left_alone(name, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = pixels.copy()
    for level in LEVELS:
        distorted = distort(pixels, name, level, seed=0)
        assert (distorted.shape, distorted.dtype) == (shape, np.uint8)
    assert (pixels == before).all()


@pytest.mark.parametrize("name", DISTORTIONS)
def test_the_same_seed_gives_the_same_pixels(name, leaves):
    for level in (1, 5):
        assert (distort(leaves, name, level, seed=7) == distort(leaves, name, level, seed=7)).all()


@pytest.mark.parametrize("name", DISTORTIONS)
def test_what_is_drawn_depends_on_the_seed_and_nothing_else_does(name, leaves):
    alike = (distort(leaves, name, 4, seed=7) == distort(leaves, name, 4, seed=8)).all()
    assert alike == (name not in DRAWN)


def test_the_noise_of_two_levels_is_not_the_same_noise_scaled():
    grey = np.full((61, 67, 3), 128, np.uint8)
    weak, strong = (distort(grey, "white_noise", level, seed=3).astype(float).ravel() for level in (4, 5))
    assert abs(np.corrcoef(weak, strong)[0, 1]) < 0.05


@pytest.mark.parametrize(("name", "level"), UNCHANGED)
def test_a_parameter_that_means_nothing_changes_nothing(name, level, leaves):
    for pixels in (leaves, np.random.default_rng(4).integers(0, 256, (31, 37, 3), dtype=np.uint8)):
        assert np.abs(distort(pixels, name, level, seed=0).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("name", STRONGER)
def test_a_stronger_level_is_further_from_the_original(name, leaves):
    errors = [error(distort(leaves, name, level, seed=0), leaves) for level in LEVELS]
    assert errors == sorted(errors)
    assert errors[4] > errors[0] + 5


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_larger_parameter_is_further_from_the_original_in_both_directions(name, leaves):
    errors = {level: error(distort(leaves, name, level, seed=0), leaves) for level in LEVELS}
    assert errors[3] < 1 < errors[2] < errors[1]
    assert errors[3] < errors[4] < errors[5]


@pytest.mark.parametrize("name", ["color_shift", "non_eccentricity_patch", "color_block", "denoise"])
def test_what_is_drawn_by_place_grows_over_the_levels(name):
    """Its direction or place is drawn, so the means over pictures and draws are compared."""
    drawn = [(dead_leaves(content, size=107), seed) for content in range(4) for seed in range(3)]
    errors = [
        np.mean([error(distort(picture, name, level, seed=seed), picture) for picture, seed in drawn])
        for level in (1, 2, 5)
    ]
    assert errors == sorted(errors)
    assert errors[2] > 1.1 * errors[0]


def test_levels_and_parameters_are_those_that_kadid10k_states():
    table = pd.read_csv(STATED)
    stated = {name: tuple(rows["parameter"]) for name, rows in table.groupby("distortion", sort=False)}
    ours = {name: tuple(map(float, distortion.parameters)) for name, distortion in DISTORTIONS.items()}
    assert list(ours) == [name for name in stated if name != "pristine"]
    open_ones = {name for name, parameters in stated.items() if np.isnan(parameters).any()}
    assert open_ones == {"color_quantization", "denoise"}
    assert {n: p for n, p in ours.items() if n not in open_ones} == {n: stated[n] for n in ours if n not in open_ones}


def test_an_unknown_distortion_is_named_with_the_known_ones(leaves):
    with pytest.raises(FusiqaError, match=r"'gausian_blur'; there are gaussian_blur, .*contrast_change"):
        distort(leaves, "gausian_blur", 1, seed=0)


@pytest.mark.parametrize("level", [0, 6, -1])
def test_a_level_that_does_not_exist_is_named(level, leaves):
    with pytest.raises(FusiqaError, match=rf"jpeg: level {level} does not exist; allowed are 1 to 5"):
        distort(leaves, "jpeg", level, seed=0)
