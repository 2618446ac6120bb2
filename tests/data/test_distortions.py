"""Distortions: the laws of levels and seeds that all obey, and each against its definition."""

import colorsys
import io
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

from fusiqa.data.colour import TO_YCBCR, lab_to_rgb, rgb_to_lab
from fusiqa.data.distortions import DISTORTIONS, LEVELS, convolve, distort, to_bytes
from fusiqa.data.opinions import IDENTITY, mean_opinions, opinion
from fusiqa.data.synthetic import dead_leaves
from fusiqa.errors import FusiqaError

STATED = resources.files("fusiqa.data") / "kadid10k_mean_dmos.csv"
UNCHANGED = [("mean_shift", 3), ("color_saturation_lab", 1), ("gaussian_blur", 1), *IDENTITY.items()]
DRAWN = {
    "motion_blur", "color_shift", "white_noise", "white_noise_ycbcr", "impulse_noise", "multiplicative_noise",
    "denoise", "jitter", "non_eccentricity_patch", "color_block",
}  # fmt: skip
NOT_BY_LEVEL = {"mean_shift", "contrast_change", "color_shift", "denoise", "non_eccentricity_patch", "color_block"}
STRONGER = [name for name in DISTORTIONS if name not in NOT_BY_LEVEL]


@pytest.fixture(scope="module")
def leaves() -> np.ndarray:
    return dead_leaves(5, size=67)[:61]


def error(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean squared error, grey levels."""
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("shape", [(1, 1), (2, 17), (3, 2), (31, 29)])
def test_a_kernel_larger_than_the_image_sees_it_mirrored_again_and_again(shape):
    """Against a sum over the kernel, pixel by pixel, of an image mirrored by index."""
    image = np.random.default_rng(1).random((*shape, 3), dtype=np.float32)
    kernel = np.random.default_rng(2).random((17, 13))

    def mirrored(places, side):
        return np.minimum(places % (2 * side), 2 * side - 1 - places % (2 * side))

    rows, columns = np.indices(shape)
    expected = np.zeros_like(image, dtype=float)
    for down, right in np.ndindex(kernel.shape):
        where = mirrored(rows - (down - 8), shape[0]), mirrored(columns - (right - 6), shape[1])
        expected += kernel[down, right] / kernel.sum() * image[where]
    np.testing.assert_allclose(convolve(image, kernel), expected, rtol=1e-4)


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
def test_what_is_drawn_depends_on_the_seed_and_nothing_else_does(name, leaves):
    first, again, other = (distort(leaves, name, 4, seed=seed) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first == other).all() == (name not in DRAWN)


def test_the_noise_of_two_levels_is_not_the_same_noise_scaled():
    grey = np.full((61, 67, 3), 128, np.uint8)
    weak, strong = (distort(grey, "white_noise", level, seed=3).astype(float).ravel() for level in (4, 5))
    assert abs(np.corrcoef(weak, strong)[0, 1]) < 0.05


@pytest.mark.parametrize(("name", "level"), UNCHANGED)
def test_a_parameter_that_means_nothing_changes_nothing(name, level, leaves):
    for pixels in (leaves, np.random.default_rng(4).integers(0, 256, (31, 37, 3), dtype=np.uint8)):
        assert np.abs(distort(pixels, name, level, seed=0).astype(int) - pixels).max() <= 1


def test_between_two_levels_the_opinion_is_interpolated_through_the_unchanged_image():
    third, fourth, clean = (
        mean_opinions()[cell] for cell in (("contrast_change", 3), ("contrast_change", 4), ("mean_shift", 3))
    )
    expected = [third, (third + clean) / 2, clean, (clean + fourth) / 2, fourth]
    assert [opinion("contrast_change", level) for level in (3, 3.25, 3.5, 3.75, 4)] == pytest.approx(expected)
    assert opinion("brighten", 3.5) == pytest.approx((opinion("brighten", 3) + opinion("brighten", 4)) / 2)


@pytest.mark.parametrize("name", STRONGER)
def test_a_stronger_level_is_further_from_the_original(name, leaves):
    errors = [error(distort(leaves, name, level, seed=0), leaves) for level in LEVELS]
    assert errors == sorted(errors)
    assert errors[4] > errors[0] + 5
    between = error(distort(leaves, name, 4.5, seed=0), leaves)
    assert 0.99 * errors[3] <= between <= 1.01 * errors[4]


def test_a_larger_shift_is_further_from_the_original_in_both_directions(leaves):
    errors = {level: error(distort(leaves, "mean_shift", level, seed=0), leaves) for level in LEVELS}
    assert errors[3] < 1 < errors[2] < errors[1]
    assert errors[3] < errors[4] < errors[5]


@pytest.fixture(scope="module")
def several() -> list[np.ndarray]:
    return [dead_leaves(content, size=107) for content in range(3)]


@pytest.mark.parametrize("name", ["color_shift", "non_eccentricity_patch", "color_block", "denoise"])
def test_what_is_drawn_by_place_grows_over_the_levels(name, several):
    """Its direction or place is drawn, so the means over images and draws are compared."""
    drawn = [(image, seed) for image in several for seed in range(2)]
    means = [np.mean([error(distort(image, name, at, seed=seed), image) for image, seed in drawn]) for at in (1, 2, 5)]
    assert means == sorted(means)
    assert means[2] > 1.1 * means[0]


@pytest.mark.parametrize("name", DISTORTIONS)
def test_between_two_levels_the_parameter_is_interpolated(name, leaves, monkeypatch):
    """A level of 4.0 is 4; one between 3 and 4 has a parameter between theirs and draws of its own."""
    given, distortion = [], DISTORTIONS[name]
    assert (distort(leaves, name, 4.0, seed=7) == distort(leaves, name, 4, seed=7)).all()
    spy = replace(distortion, apply=lambda image, value, random: given.append((value, random.random())) or image)
    monkeypatch.setitem(DISTORTIONS, name, spy)
    for level in (3, 3.25, 3.25, 3.5, 4, 4.9):
        distort(leaves, name, level, seed=7)
    third, fourth, fifth = distortion.parameters[2:]
    values, draws = zip(*given, strict=True)
    expected = [third, *[0.75 * third + 0.25 * fourth] * 2, (third + fourth) / 2, fourth, 0.1 * fourth + 0.9 * fifth]
    assert values == pytest.approx(expected)
    assert draws[1] == draws[2]
    assert len(set(draws)) == 5


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


@pytest.mark.parametrize("level", [0, 6, -1, 0.9, 5.1, float("nan")])
def test_a_level_that_does_not_exist_is_named(level, leaves):
    with pytest.raises(FusiqaError, match=rf"`level` .* must be 1 to 5, got {level}"):
        distort(leaves, "jpeg", level, seed=0)


# --- each distortion against its definition --------------------------------------------------------------------------


def apply(name: str, image: np.ndarray, parameter: float, random: np.random.Generator | None = None) -> np.ndarray:
    """One distortion by its parameter; without a generator, one that draws nothing."""
    return DISTORTIONS[name].apply(image, parameter, random or np.random.default_rng(0))


def unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(("level", "variance"), [(1, 0.001), (2, 0.002), (3, 0.003), (4, 0.005), (5, 0.01)])
def test_noise_on_grey_has_the_variance_that_is_stated(level, variance):
    """49,152 values: the standard error of their variance is 0.6 %; rounding to bytes adds 1.3e-6."""
    noise = distort(np.full((128, 128, 3), 128, np.uint8), "white_noise", level, seed=5) / 255 - 128 / 255
    assert noise.var() == pytest.approx(variance, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=4 * (variance / noise.size) ** 0.5)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.04  # channels are independent
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.03  # and so are neighbours


@pytest.mark.parametrize("sd", [1.0, 2.0, 5.0])
def test_the_impulse_response_of_the_blur_has_the_sd_that_is_stated(sd):
    impulse = np.zeros((61, 67, 3), np.float32)
    impulse[30, 33] = 1
    response = apply("gaussian_blur", impulse, sd)[..., 1].astype(float)
    rows, columns = np.indices(response.shape)
    assert response.sum() == pytest.approx(1, abs=1e-4)
    for place, centre in ((rows, 30), (columns, 33)):
        assert np.sqrt((response * (place - centre) ** 2).sum()) == pytest.approx(sd, rel=0.01)


def test_the_blur_mixes_no_channels_and_leaves_a_flat_image_flat():
    red = np.zeros((31, 37, 3), np.uint8)
    red[..., 0] = 201
    for level in LEVELS:
        assert (distort(red, "gaussian_blur", level, seed=0) == red).all()


@pytest.mark.parametrize(("level", "quality"), [(1, 43), (2, 36), (3, 24), (4, 7), (5, 4)])
def test_jpeg_is_pillows_at_the_stated_quality(level, quality, leaves):
    file = io.BytesIO()
    Image.fromarray(leaves).save(file, "JPEG", quality=quality)
    assert (distort(leaves, "jpeg", level, seed=0) == np.asarray(Image.open(file))).all()


@pytest.mark.parametrize("factor", [0.4, 0.2, 0.1, 0.0])
def test_saturation_is_that_of_colorsys_pixel_by_pixel(factor):
    image = unit(np.random.default_rng(6).integers(0, 256, (13, 17, 3), dtype=np.uint8))
    came = apply("color_saturation_hsv", image, factor)
    for row, column in np.ndindex(13, 17):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[row, column].tolist())
        assert came[row, column] == pytest.approx(colorsys.hsv_to_rgb(hue, factor * saturation, value), abs=1e-6)


def test_a_negative_saturation_turns_the_hue_around():
    orange = np.array([[[0.6, 0.4, 0.2]]], np.float32)
    came = apply("color_saturation_hsv", orange, -0.4)[0, 0]
    assert came == pytest.approx([0.6, 0.68, 0.76])
    inverted = (colorsys.rgb_to_hsv(*came.tolist())[0] - colorsys.rgb_to_hsv(0.6, 0.4, 0.2)[0]) % 1
    assert inverted == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("factor", [2, 3])
def test_lab_saturation_keeps_lightness_and_multiplies_chroma_within_the_gamut(factor):
    lab = np.array([[[50, 8, -5], [60, -6, 9], [40, 3, 4]]], np.float32)
    came = rgb_to_lab(apply("color_saturation_lab", lab_to_rgb(lab), factor))
    assert came == pytest.approx(lab * np.array([1, factor, factor]), abs=0.02)


@pytest.mark.parametrize("strength", [0.3, 0.15, 0.0, -0.4, -0.6])
def test_contrast_moves_two_greys_and_keeps_black_middle_and_white(strength):
    """Between them a cubic spline: through five points it is one polynomial of degree 3 at most below 0.5."""
    levels = np.array([0, 0.3, 0.5, 0.7, 1], np.float32)
    came = apply("contrast_change", levels.repeat(3).reshape(1, 5, 3), strength)[0, :, 1]
    expected = [0, 0.25 - strength / 4, 0.5, 0.75 + strength / 4, 1]
    assert came == pytest.approx(expected, abs=1e-6)
    between = np.linspace(0.02, 0.48, 24, dtype=np.float32)
    curve = apply("contrast_change", between.repeat(3).reshape(1, 24, 3), strength)[0, :, 0]
    inside = (curve > 0) & (curve < 1)
    fitted = np.polynomial.Polynomial.fit(between[inside], curve[inside], 3)
    np.testing.assert_allclose(fitted(between[inside]), curve[inside], atol=1e-5)
    assert fitted(0.3) == pytest.approx(expected[1], abs=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_contrast_never_puts_a_lighter_grey_below_a_darker_one(level):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    after = distort(ramp, "contrast_change", level, seed=0)[0, :, 0].astype(int)
    assert (np.diff(after) >= 0).all()
    assert (after[0], after[-1]) == (0, 255)


@pytest.mark.parametrize("shift", [0.15, -0.15])
def test_mean_shift_clips_one_end_and_keeps_the_range(shift):
    """Of 0-1 with 0.15 added, 0.15 to 1 is left, and stretched again: x / 0.85, clipped; lost shadows likewise."""
    image = np.linspace(0, 1, 21, dtype=np.float32).repeat(3).reshape(1, 21, 3)
    values = image[0, :, 0]
    expected = np.minimum(values / 0.85, 1) if shift > 0 else np.maximum(values - 0.15, 0) / 0.85
    assert apply("mean_shift", image, shift)[0, :, 2] == pytest.approx(expected, abs=1e-6)
    pale = apply("mean_shift", 0.25 + image / 2, shift)[0, :, 0]
    assert pale == pytest.approx(0.25 + expected / 2, abs=1e-6)


@pytest.mark.parametrize(("level", "expected"), [(1, 128 + 38), (2, 128 + 20), (4, 128 - 20), (5, 128 - 38)])
def test_mean_shift_of_a_flat_image_adds_and_clips(level, expected):
    """0.15 and 0.08 of 255 are 38.25 and 20.4; there is no range to keep."""
    assert np.unique(distort(np.full((3, 5, 3), 128, np.uint8), "mean_shift", level, seed=0)) == expected
    assert np.unique(distort(np.full((3, 5, 3), 250, np.uint8), "mean_shift", 1, seed=0)) == 255
    assert np.unique(distort(np.full((3, 5, 3), 5, np.uint8), "mean_shift", 5, seed=0)) == 0


@pytest.mark.parametrize("distance", [3.0, 8.0, 12.0])
def test_color_shift_moves_green_alone_down_and_to_the_right_by_the_distance(distance):
    """On dense noise every place is an edge: what is added to green is the moved green less the original."""
    image = np.random.default_rng(8).uniform(0, 1, (97, 101, 3)).astype(np.float32)
    came = apply("color_shift", image, distance, np.random.default_rng(9))
    assert (came[..., [0, 2]] == image[..., [0, 2]]).all()
    added = came[..., 1] - image[..., 1]
    spectrum = np.fft.fft2(added - added.mean()) * np.conj(np.fft.fft2(image[..., 1] - image[..., 1].mean()))
    down, right = np.unravel_index(np.argmax(np.fft.ifft2(spectrum).real), added.shape)
    assert down <= distance >= right
    assert np.hypot(down, right) == pytest.approx(distance, abs=0.75)


def test_color_shift_moves_green_at_the_edge_and_hardly_far_from_it():
    """Of a faint texture on both sides of an edge, green moves at the edge and stays nearly as it was elsewhere."""
    image = np.random.default_rng(4).uniform(0, 0.1, (61, 120, 3)).astype(np.float32)
    image[:, 60:] += 0.9
    changed = np.abs(apply("color_shift", image, 6.0, np.random.default_rng(2)) - image)[..., 1]
    assert changed[:, 60:66].max() > 0.5
    moved = np.abs(np.roll(image[..., 1], 5, axis=1) - image[..., 1])
    for far in (slice(8, 40), slice(86, 120)):
        assert changed[:, far].mean() < 0.15 * moved[:, far].mean()


def test_color_shift_leaves_flat_images_alone():
    flat = np.full((31, 37, 3), 77, np.uint8)
    assert (distort(flat, "color_shift", 5, seed=0) == flat).all()


def test_bytes_are_rounded_and_clipped():
    values = np.array([-0.1, 0, 0.49 / 255, 0.51 / 255, 1, 1.1], np.float32).reshape(1, 2, 3)
    assert to_bytes(values).ravel().tolist() == [0, 0, 0, 1, 255, 255]


def impulse(size: int = 41) -> np.ndarray:
    image = np.zeros((size, size, 3), np.float32)
    image[size // 2, size // 2] = 1
    return image


@pytest.mark.parametrize("radius", [1, 2, 4, 6, 8])
def test_lens_blur_spreads_a_point_over_a_disc(radius):
    seen = apply("lens_blur", impulse(), radius)[..., 0]
    rows, columns = np.mgrid[-20:21, -20:21]
    distance = np.hypot(rows, columns)
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    assert (seen[distance > radius + 0.5] < 1e-6).all()
    assert np.ptp(seen[distance <= radius - 0.5]) < 1e-6


@pytest.mark.parametrize("length", [2, 4, 6, 10])
def test_motion_blur_spreads_a_point_along_a_line(length):
    seen = apply("motion_blur", impulse(), length, np.random.default_rng(3))[..., 0]
    rows, columns = np.nonzero(seen > 1e-6)
    spread = np.linalg.eigvalsh(np.cov(np.stack([rows, columns]), aweights=seen[rows, columns]))
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    assert spread[0] < 0.35  # about one pixel wide
    assert np.sqrt(12 * spread[1]) == pytest.approx(length + 1, abs=1)


@pytest.mark.parametrize("strength", [1, 3])
def test_color_diffusion_blurs_and_multiplies_the_colours_at_constant_lightness(strength):
    """A step of chroma becomes a Gaussian's error function of sd 1.5 x strength + 2, times the strength."""
    lab = np.full((5, 81, 3), 50, np.float32)
    lab[..., 1:] = np.where(np.arange(81) < 41, -4, 4)[:, None]
    after = rgb_to_lab(apply("color_diffusion", lab_to_rgb(lab), strength))[2]
    expected = 4 * strength * special.erf((np.arange(81) - 40.5) / (1.5 * strength + 2) / np.sqrt(2))
    np.testing.assert_allclose(after[:, 0], 50, atol=0.3)
    np.testing.assert_allclose(after[:, 1], expected, atol=0.1)


@pytest.mark.parametrize("colors", [64, 16, 8])
def test_color_quantization_leaves_as_many_colors_as_stated(colors, leaves):
    few = to_bytes(apply("color_quantization", unit(leaves), colors))
    assert 2 < len(np.unique(few.reshape(-1, 3), axis=0)) <= colors


@pytest.fixture(scope="module")
def larger() -> np.ndarray:
    return dead_leaves(3, size=128)


@pytest.mark.parametrize("ratio", [16, 45, 120])
def test_jpeg2000_keeps_one_part_in_ratio_of_the_bytes(ratio, larger):
    image = np.tile(larger, (2, 2, 1))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)
    assert file.tell() == pytest.approx(image.size / ratio, rel=0.15)
    decoded = np.asarray(Image.open(io.BytesIO(file.getvalue())))
    np.testing.assert_array_equal(to_bytes(apply("jpeg2000", unit(image), ratio)), decoded)


def test_noise_in_ycbcr_has_the_variance_that_is_stated():
    grey = np.full((301, 307, 3), 0.5, np.float32)
    noise = (apply("white_noise_ycbcr", grey, 0.002, np.random.default_rng(1)) - grey) @ TO_YCBCR.T
    np.testing.assert_allclose(noise.reshape(-1, 3).var(axis=0), 0.002, rtol=0.03)


def test_impulses_are_black_or_white_and_as_many_as_stated():
    grey = np.full((301, 307, 3), 0.5, np.float32)
    noisy = apply("impulse_noise", grey, 0.02, np.random.default_rng(1))
    assert set(np.unique(noisy)) == {0, 0.5, 1}
    assert (noisy != 0.5).mean() == pytest.approx(0.02, rel=0.05)
    assert (noisy == 0).sum() == pytest.approx((noisy == 1).sum(), rel=0.1)


def test_multiplicative_noise_grows_with_the_value():
    ramp = np.repeat(np.array([0.0, 0.25, 0.5], np.float32), 90_000).reshape(3, 90_000, 1).repeat(3, axis=2)
    noisy = apply("multiplicative_noise", ramp, 0.02, np.random.default_rng(1))
    np.testing.assert_allclose(noisy.std(axis=(1, 2)), np.sqrt(0.02) * np.array([0, 0.25, 0.5]), atol=1e-3)


def test_denoising_takes_most_of_the_noise_away_again():
    grey = np.full((101, 103, 3), 0.5, np.float32)
    left = apply("denoise", grey, 0.04, np.random.default_rng(1)).std()
    assert 0.02 < left < 0.4 * np.sqrt(0.04)


def test_darkening_is_a_parabola_through_black_white_and_the_lowered_middle():
    greys = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 101, 1).repeat(3, axis=2)
    seen = apply("darken", greys, 0.8)[0, :, 1]
    curve = np.polynomial.Polynomial.fit([0, 0.5, 1], [0, 0.5 - 0.8 / 2, 1], 2)
    np.testing.assert_allclose(seen, np.clip(curve(greys[0, :, 0]), 0, 1), atol=1e-5)
    assert (seen[:37] == 0).all()  # the parabola is negative below 0.375


def test_brightening_mixes_the_parabola_of_each_channel_with_that_of_lightness():
    colours = np.random.default_rng(2).uniform(0, 1, (9, 11, 3)).astype(np.float32)
    curve = np.polynomial.Polynomial.fit([0, 0.5, 1], [0, 0.5 + 0.4 / 2, 1], 2)
    lab = rgb_to_lab(colours)
    lab[..., 0] = 100 * curve(lab[..., 0] / 100)
    expected = (2 * curve(colours) + lab_to_rgb(lab)) / 3
    np.testing.assert_allclose(apply("brighten", colours, 0.4), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["brighten", "darken"])
@pytest.mark.parametrize("level", LEVELS)
def test_brightness_keeps_black_white_and_the_order_of_greys(name, level):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    after = distort(ramp, name, level, seed=0)[0, :, 0].astype(int)
    assert (after[0], after[-1]) == (0, 255)
    assert (np.diff(after) >= 0).all()
    assert (after[128] > 128) == (name == "brighten")


def test_jitter_displaces_five_times_by_the_sd_that_is_stated():
    """The variances of five displacements add up to 5 x strength^2, of which interpolation between pixels that move
    differently takes a part away: 0.1755 was measured with five, and 5 % less or more with four or six."""
    rows, columns = np.mgrid[:201, :203].astype(np.float32)
    places = np.stack([rows, columns, rows], axis=2)
    moved = apply("jitter", places, 0.1, np.random.default_rng(1))[20:-20, 20:-20] - places[20:-20, 20:-20]
    assert moved.std(axis=(0, 1)) == pytest.approx(0.1755, rel=0.03)
    assert moved.mean() == pytest.approx(0, abs=0.003)


def test_patches_come_from_the_image_itself(leaves):
    moved = apply("non_eccentricity_patch", unit(leaves), 20, np.random.default_rng(1))
    before, after = ({tuple(pixel) for pixel in image.reshape(-1, 3)} for image in (unit(leaves), moved))
    assert after <= before
    assert (moved != unit(leaves)).any(axis=2).mean() > 0.2


def test_a_patch_moves_by_half_its_side_at_most():
    rows, columns = np.mgrid[:61, :67].astype(np.float32)
    places = np.stack([rows, columns, rows], axis=2)
    moves = set()
    for seed in range(200):
        moved = apply("non_eccentricity_patch", places, 1, np.random.default_rng(seed)) - places
        changed = moved[(moved != 0).any(axis=2)]
        assert len(np.unique(changed, axis=0)) <= 1
        moves |= set(changed[:, :2].astype(int).ravel().tolist())
    assert (min(moves), max(moves)) == (-8, 8)


def test_pixelating_leaves_blocks_of_the_stated_size():
    ramp = np.arange(200, dtype=np.float32).reshape(1, 200, 1).repeat(60, axis=0).repeat(3, axis=2) / 255
    columns = len(np.unique(apply("pixelate", ramp, 0.5)[0, :, 0]))
    assert columns == round((0.95 - 0.5**0.6) * 200)


@pytest.mark.parametrize("levels", [20, 7])
def test_quantization_leaves_as_many_levels_as_stated_from_black_to_white(levels, leaves):
    few = np.unique(apply("quantization", unit(leaves), levels))
    assert 2 < len(few) <= levels + 1
    assert (few[0], few[-1]) == (0, 1)


def test_quantization_leaves_a_flat_image_alone():
    flat = np.full((5, 7, 3), 200, np.uint8)
    assert (distort(flat, "quantization", 5, seed=0) == flat).all()


def test_quantization_thresholds_lie_between_the_clusters():
    """Values around 0.1, 0.4 and 0.8 with 2 thresholds, halfway between their means: 0.25 and 0.6."""
    random = np.random.default_rng(3)
    centres = random.choice([0.1, 0.4, 0.8], (40, 50, 3))
    image = np.clip(centres + random.normal(0, 0.01, centres.shape), 0, 1).astype(np.float32)
    came = apply("quantization", image, 2)
    assert (came[centres == 0.1] == 0).all()
    assert came[centres == 0.4] == pytest.approx(0.6, abs=0.005)
    assert (came[centres == 0.8] == 1).all()


def test_color_blocks_are_as_many_and_as_large_as_stated():
    grey = np.full((400, 410, 3), 0.5, np.float32)
    covered = (apply("color_block", grey, 4, np.random.default_rng(2)) != 0.5).any(axis=2).sum()
    assert 2 * 32**2 < covered <= 4 * 32**2


def test_sharpening_adds_the_difference_to_a_blur_of_the_lightness():
    lab = np.full((41, 41, 3), 50, np.float32)
    lab[20, 20, 0] = 56
    came = rgb_to_lab(apply("high_sharpen", lab_to_rgb(lab * np.array([1, 0.1, 0.1], np.float32)), 3.0))
    rows, columns = np.mgrid[-20:21, -20:21]
    gaussian = np.exp(-(rows**2 + columns**2) / 18)
    expected = lab[..., 0] + 3 * (lab[..., 0] - 50 - 6 * gaussian / gaussian.sum())
    np.testing.assert_allclose(came[..., 0], expected, atol=0.05)
    np.testing.assert_allclose(came[..., 1:], 5, atol=0.05)
