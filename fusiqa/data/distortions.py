"""KADID-10k's 25 distortions at five levels: a function each, a table of their parameters, and images under them.

A distortion is a function of (float32 pixels in 0-1, parameter, random generator) and a row of `DISTORTIONS`. Results
may leave 0-1; `distort` clips them. Parameters may lie between those of two levels; counts are rounded.

Source: Lin, Hosu and Saupe, KADID-10k: A large-scale artificially distorted IQA database, QoMEX 2019,
https://doi.org/10.1109/QoMEX.2019.8743252, the formulas of its MATLAB generator as public repositories hold them, and
ARNIQA's re-implementation. Where a function differs from the generator, its docstring says so. The generator stretches
every image to 0-1 before and after it is distorted; here only `mean_shift` depends on the range.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from scipy import ndimage
from scipy.interpolate import CubicSpline

from fusiqa.data.colour import FROM_YCBCR, TO_YCBCR, Unit, lab_to_rgb, rgb_to_lab
from fusiqa.data.ratings import ImageReader, Ratings
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import ORIGINAL_SIZE, Pixels, Resize

SEPARATOR = "::"  # between an image's name and the group of its version
PRISTINE = "Pristine"
LEVELS = (1, 2, 3, 4, 5)
PATCH = 16  # side of a patch that is moved, pixels; along each axis it moves by half of that at most
BLOCK = 32  # side of a block of colour, pixels
FORMULAS = 2  # version, incremented when distorted pixels change, so that no cache keeps the old ones


def to_bytes(image: Unit) -> Pixels:
    """0-1 as 0-255, rounded and clipped."""
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def to_pillow(image: Unit) -> Image.Image:
    return Image.fromarray(to_bytes(image))


def to_unit(image: Image.Image | Pixels) -> Unit:
    """0-255 as 0-1."""
    return np.asarray(image, np.float32) / np.float32(255)


def gaussian_blur(image: Unit, sd: float, _: np.random.Generator) -> Unit:
    """Blur with a Gaussian of `sd` pixels."""
    return ndimage.gaussian_filter(image, (sd, sd, 0), mode="reflect")


def lens_blur(image: Unit, radius: float, _: np.random.Generator) -> Unit:
    """Average over a disc of `radius` pixels; pixels on its rim count by the fraction that lies within it."""
    return convolve(image, np.clip(radius + 0.5 - np.hypot(*offsets(radius)), 0, 1))


def motion_blur(image: Unit, length: float, random: np.random.Generator) -> Unit:
    """Average along a straight line of `length` pixels in a random direction."""
    angle = random.uniform(0, np.pi)
    rows, columns = offsets(length / 2)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return convolve(image, np.clip(length / 2 + 0.5 - abs(along), 0, 1) * np.clip(1 - abs(across), 0, 1))


def offsets(radius: float) -> Int[np.ndarray, "2 side side"]:
    """Rows and columns of a square kernel, counted from its centre."""
    reach = int(np.ceil(radius))
    return np.mgrid[-reach : reach + 1, -reach : reach + 1]


def convolve(image: Unit, kernel: Float[np.ndarray, "rows columns"]) -> Unit:
    """Convolve each channel with the kernel, normalised to sum 1; the image is mirrored at its edges."""
    weights = (kernel / kernel.sum()).astype(np.float32)
    height, width, _ = image.shape
    up, left = (side // 2 for side in weights.shape)
    mirrored = np.pad(image, ((up, up), (left, left), (0, 0)), mode="symmetric")
    # SciPy 1.17's "reflect" reads past the end of the array where the kernel is more than twice the image's size
    whole = ndimage.convolve(mirrored, weights[..., None], mode="nearest")
    return whole[up : up + height, left : left + width]


def color_diffusion(image: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Blur a and b of CIELAB with a Gaussian of 1.5 x `strength` + 2 pixels, and multiply them by `strength`."""
    lab, sd = rgb_to_lab(image), 1.5 * strength + 2
    lab[..., 1:] = strength * ndimage.gaussian_filter(lab[..., 1:], (sd, sd, 0), mode="nearest")
    return lab_to_rgb(lab)


def color_shift(image: Unit, distance: float, random: np.random.Generator) -> Unit:
    """Move green by `distance` pixels down and to the right, at a random angle, blended in by the strength of edges.

    The generator lets edges weaker than a tenth of the strongest one count as none; here they count as what they are.
    """
    direction = random.random(2)
    down, right = np.round(distance * direction / np.hypot(*direction)).astype(int)
    height, width, _ = image.shape
    moved = np.pad(image[..., 1], ((down, 0), (right, 0)), mode="symmetric")[:height, :width]
    grey = image @ TO_YCBCR[0]
    edges = ndimage.gaussian_filter(np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)), 4)
    blend = stretch(np.clip(edges, *np.percentile(edges, (1, 99)).astype(np.float32)))
    green = blend * moved + (1 - blend) * image[..., 1]
    return np.stack([image[..., 0], green, image[..., 2]], axis=2)


def stretch(values: np.ndarray, low: float = 0, high: float = 1) -> np.ndarray:
    """Values on `low` to `high`, linearly; as they are where they are all the same."""
    least, most = values.min(), values.max()
    return low + (high - low) * (values - least) / (most - least) if most > least else values


def color_quantization(image: Unit, colors: float, _: np.random.Generator) -> Unit:
    """Reduce to `colors` by median cut, with Floyd-Steinberg dithering; the generator has MATLAB's `rgb2ind`."""
    few = to_pillow(image).quantize(round(colors), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return to_unit(to_pillow(image).quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


def color_saturation_hsv(image: Unit, factor: float, _: np.random.Generator) -> Unit:
    """Multiply the saturation of HSV by `factor`; hue and value stay (a negative factor inverts the hue)."""
    value = image.max(axis=2, keepdims=True)
    return value - factor * (value - image)


def jpeg2000(image: Unit, ratio: float, _: np.random.Generator) -> Unit:
    """Compress as JPEG 2000 by a factor of `ratio`, and decode; the strongest is as published, 400 in one copy."""
    file = io.BytesIO()
    to_pillow(image).save(file, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)
    return to_unit(Image.open(file))


def jpeg(image: Unit, quality: float, _: np.random.Generator) -> Unit:
    """Compress as JPEG at a `quality` of 1-100, and decode."""
    file = io.BytesIO()
    to_pillow(image).save(file, "JPEG", quality=round(quality))
    return to_unit(Image.open(file))


def white_noise(image: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add independent Gaussian noise of `variance` to each channel."""
    return image + gaussian(image, variance, random)


def white_noise_ycbcr(image: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add independent Gaussian noise of `variance` to Y, Cb and Cr (ITU-R BT.601, full range)."""
    return (image @ TO_YCBCR.T + gaussian(image, variance, random)) @ FROM_YCBCR.T


def impulse_noise(image: Unit, fraction: float, random: np.random.Generator) -> Unit:
    """Set a random `fraction` of each channel's values to 0 or 1."""
    drawn = random.random(image.shape, np.float32)
    return np.where(drawn < fraction, np.where(drawn < fraction / 2, 0, 1), image).astype(np.float32)


def denoise(image: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Add noise, then a 5 x 5 median filter, both chosen here: the generator takes stronger noise away with DnCNN."""
    return ndimage.median_filter(np.clip(white_noise(image, variance, random), 0, 1), (5, 5, 1), mode="reflect")


def gaussian(image: Unit, variance: float, random: np.random.Generator) -> Unit:
    """Independent Gaussian values of the image's shape."""
    return np.sqrt(np.float32(variance)) * random.standard_normal(image.shape, np.float32)


def high_sharpen(image: Unit, amount: float, _: np.random.Generator) -> Unit:
    """Unsharp masking of CIELAB's lightness with a Gaussian of 3 pixels."""
    lab = rgb_to_lab(image)
    lab[..., 0] += amount * (lab[..., 0] - ndimage.gaussian_filter(lab[..., 0], 3, mode="nearest"))
    return lab_to_rgb(lab)


def contrast_change(image: Unit, strength: float, _: np.random.Generator) -> Unit:
    """A spline of each channel: 0.3 becomes 0.25 - strength / 4, 0.7 0.75 + strength / 4; 0, 0.5 and 1 stay.

    So a strength of -0.2, between the third and the fourth level, changes nothing.
    """
    curve = CubicSpline((0, 0.3, 0.5, 0.7, 1), (0, 0.25 - strength / 4, 0.5, 0.75 + strength / 4, 1))
    return np.clip(curve(image), 0, 1).astype(np.float32)


def brighten(image: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Two parts of `parabola` of each channel and one of CIELAB's lightness, middle raised by strength / 2."""
    lab = rgb_to_lab(image)
    lab[..., 0] = 100 * parabola(lab[..., 0] / 100, strength / 2)
    return (2 * parabola(image, strength / 2) + lab_to_rgb(lab)) / 3


def darken(image: Unit, strength: float, _: np.random.Generator) -> Unit:
    """`parabola` of each channel, middle lowered by strength / 2."""
    return parabola(image, -strength / 2)


def parabola(values: np.ndarray, middle: float) -> np.ndarray:
    """The parabola that keeps 0 and 1 and adds `middle` to 0.5, clipped to 0-1."""
    return np.clip(values + 4 * middle * values * (1 - values), 0, 1)


def mean_shift(image: Unit, shift: float, _: np.random.Generator) -> Unit:
    """Add `shift` to an image stretched to 0-1, clip, and stretch to the range that the image had.

    The generator stretches the result to 0-1. What is lost is highlights or shadows. An image of two values stays as it
    is; a flat one, which has no range, is shifted.
    """
    shifted = np.clip(stretch(image) + np.float32(shift), 0, 1)
    return stretch(shifted, float(image.min()), float(image.max()))


def jitter(image: Unit, strength: float, random: np.random.Generator) -> Unit:
    """Five times displace each pixel by a Gaussian of `strength` pixels along each axis, linearly interpolated."""
    places = np.indices(image.shape[:2], dtype=np.float32)
    for _ in range(5):
        moved = places + strength * random.standard_normal(places.shape, np.float32)
        channels = [ndimage.map_coordinates(image[..., k], moved, order=1, mode="nearest") for k in range(3)]
        image = np.stack(channels, axis=2)
    return image


def non_eccentricity_patch(image: Unit, patches: float, random: np.random.Generator) -> Unit:
    """Copy patches of 16 x 16 pixels to places up to 8 pixels away along each axis."""
    result = image.copy()
    size = np.minimum(PATCH, image.shape[:2])
    room = np.array(image.shape[:2]) - size
    for _ in range(round(patches)):
        top, left = start = random.integers(room + 1)
        to_top, to_left = np.clip(start + random.integers(-PATCH // 2, PATCH // 2 + 1, 2), 0, room)
        patch = image[top : top + size[0], left : left + size[1]]
        result[to_top : to_top + size[0], to_left : to_left + size[1]] = patch
    return result


def pixelate(image: Unit, strength: float, _: np.random.Generator) -> Unit:
    """Downscale by 0.95 - strength ** 0.6 and upscale again, both by nearest neighbour."""
    height, width = image.shape[:2]
    scale = 0.95 - strength**0.6
    small = (max(1, round(scale * width)), max(1, round(scale * height)))
    shrunk = to_pillow(image).resize(small, Image.Resampling.NEAREST)
    return to_unit(shrunk.resize((width, height), Image.Resampling.NEAREST))


def quantization(image: Unit, levels: float, _: np.random.Generator) -> Unit:
    """Set values to the next of `levels` thresholds above; to 0 below the first, to 1 above the last.

    The thresholds, the same for all channels, are Otsu's: those of the least variance between two of them, found from
    evenly spaced ones by Lloyd's algorithm, where the generator searches with MATLAB's `multithresh`.
    """
    values, counts = np.unique(to_bytes(image), return_counts=True)
    if len(values) == 1:
        return image
    thresholds = np.linspace(values[0], values[-1], round(levels) + 2)[1:-1]
    for _iteration in range(50):
        part = np.searchsorted(thresholds, values)
        size = np.bincount(part, counts, len(thresholds) + 1)
        edges = np.concatenate([values[:1], thresholds, values[-1:]])
        means = (edges[1:] + edges[:-1]) / 2  # of a part without a value
        np.divide(np.bincount(part, counts * values, len(size)), size, out=means, where=size > 0)
        thresholds = (means[1:] + means[:-1]) / 2
    steps = np.concatenate([[0], thresholds[1:] / 255, [1]]).astype(np.float32)
    return steps[np.searchsorted(thresholds, 255 * image)]


def color_block(image: Unit, blocks: float, random: np.random.Generator) -> Unit:
    """Paste blocks of 32 x 32 pixels, each of one random colour, at random places."""
    result = image.copy()
    for _ in range(round(blocks)):
        top, left = (int(random.integers(max(1, side - BLOCK + 1))) for side in image.shape[:2])
        result[top : top + BLOCK, left : left + BLOCK] = random.random(3, np.float32)
    return result


@dataclass(frozen=True)
class Distortion:
    """A function, its parameter at each of KADID-10k's levels, and the two groups that it belongs to."""

    kind: str  # of the seven of KADID-10k (ibid., table 1)
    flaw: str | None  # that it makes, of those that a model names (`fusiqa.config.model.FLAWS`)
    parameters: tuple[float, float, float, float, float]
    apply: Callable[[Unit, float, np.random.Generator], Unit]


DISTORTIONS = {  # in the order of KADID-10k's numbers
    "gaussian_blur": Distortion("blur", "blur", (0.1, 0.5, 1.0, 2.0, 5.0), gaussian_blur),
    "lens_blur": Distortion("blur", "blur", (1, 2, 4, 6, 8), lens_blur),
    "motion_blur": Distortion("blur", "blur", (1, 2, 4, 6, 10), motion_blur),
    "color_diffusion": Distortion("colour", "colour", (1, 3, 6, 8, 12), color_diffusion),
    "color_shift": Distortion("colour", "colour", (1, 3, 6, 8, 12), color_shift),
    "color_quantization": Distortion("colour", "colour", (64, 48, 32, 16, 8), color_quantization),
    "color_saturation_hsv": Distortion("colour", "colour", (0.4, 0.2, 0.1, 0.0, -0.4), color_saturation_hsv),
    "color_saturation_lab": Distortion("colour", "colour", (1, 2, 3, 6, 9),  # a and b of CIELAB times a factor
        lambda image, factor, _: lab_to_rgb(rgb_to_lab(image) * np.array((1, factor, factor), np.float32))),
    "jpeg2000": Distortion("compression", "compression", (16, 32, 45, 120, 170), jpeg2000),
    "jpeg": Distortion("compression", "compression", (43, 36, 24, 7, 4), jpeg),
    "white_noise": Distortion("noise", "noise", (0.001, 0.002, 0.003, 0.005, 0.01), white_noise),
    "white_noise_ycbcr": Distortion("noise", "noise", (0.0001, 0.0005, 0.001, 0.002, 0.003), white_noise_ycbcr),
    "impulse_noise": Distortion("noise", "noise", (0.001, 0.005, 0.01, 0.02, 0.03), impulse_noise),
    "multiplicative_noise": Distortion("noise", "noise", (0.001, 0.005, 0.01, 0.02, 0.05),  # of a variance, around 1
        lambda image, variance, random: image * (1 + gaussian(image, variance, random))),
    "denoise": Distortion("noise", "blur", (0.002, 0.005, 0.015, 0.04, 0.08), denoise),
    "brighten": Distortion("brightness", "exposure", (0.1, 0.2, 0.4, 0.7, 1.1), brighten),
    "darken": Distortion("brightness", "exposure", (0.05, 0.1, 0.2, 0.4, 0.8), darken),
    "mean_shift": Distortion("brightness", "exposure", (0.15, 0.08, 0.0, -0.08, -0.15), mean_shift),
    "jitter": Distortion("spatial", None, (0.05, 0.1, 0.2, 0.5, 1.0), jitter),
    "non_eccentricity_patch": Distortion("spatial", "blocks", (20, 40, 60, 80, 100), non_eccentricity_patch),
    "pixelate": Distortion("spatial", "blocks", (0.01, 0.05, 0.1, 0.2, 0.5), pixelate),
    "quantization": Distortion("spatial", "colour", (20, 16, 13, 10, 7), quantization),
    "color_block": Distortion("spatial", "blocks", (2, 4, 6, 8, 10), color_block),
    "high_sharpen": Distortion("sharpness and contrast", "sharpening", (1, 2, 3, 6, 12), high_sharpen),
    "contrast_change": Distortion("sharpness and contrast", "exposure", (0.3, 0.15, 0.0, -0.4, -0.6), contrast_change),
}  # fmt: skip
KIND_OF_DISTORTION = {name: distortion.kind for name, distortion in DISTORTIONS.items()}
FLAW_OF_DISTORTION = {name: distortion.flaw for name, distortion in DISTORTIONS.items()}


def distort(pixels: Pixels, name: str, level: float, *, seed: int) -> Pixels:
    """Apply one distortion to an image.

    Args:
        pixels: sRGB.
        name: a key of `DISTORTIONS`; FusiqaError for another.
        level: KADID-10k's, 1 (hardly visible) to 5; between two levels, their parameters are interpolated linearly.
        seed: of the noise, direction or place, where the distortion has one.

    Example:
        >>> grey = np.full((8, 8, 3), 128, np.uint8)
        >>> [int(distort(grey, "mean_shift", level, seed=0)[0, 0, 0]) for level in (1, 1.5, 2)]
        [166, 157, 148]
    """
    if name not in DISTORTIONS:
        raise FusiqaError(f"unknown distortion {name!r}; there are {', '.join(DISTORTIONS)}")
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise FusiqaError(f"`level` of a distortion must be {LEVELS[0]} to {LEVELS[-1]}, got {level}")
    distortion = DISTORTIONS[name]
    parameter = float(np.interp(level, LEVELS, distortion.parameters))
    drawn_by = (int(level),) if level in LEVELS else float(level).as_integer_ratio()
    random = np.random.default_rng((seed, *drawn_by))
    return to_bytes(distortion.apply(to_unit(pixels), parameter, random))


Treatments = Mapping[str, tuple[str, float] | None]
"""By a name: a distortion and a level, or none."""
EVERY: Treatments = {PRISTINE: None} | {f"{name} {at}": (name, at) for name in DISTORTIONS for at in LEVELS}
"""Undistorted, and under each of the 25 distortions at each of the 5 levels, named such as "gaussian_blur 3"."""


def groups_at(level: float) -> Treatments:
    """The four groups of the published figure of scale weights, in its words."""
    groups = {"Gaussian blur": "gaussian_blur", "JPEG compression": "jpeg", "Color distortion": "color_saturation_lab"}
    return {group: (name, level) for group, name in groups.items()} | {PRISTINE: None}


@dataclass(frozen=True)
class DistortedImages:
    """Images named "photo.jpg::Gaussian blur", resized and then distorted: else downscaling would undo a blur.

    The image read last is kept, so that its groups, read in turn, decode it once.
    """

    source: ImageReader
    treatments: Treatments  # of each group
    seed: int = 0
    last: dict[tuple[str, Resize], Pixels] = field(default_factory=dict, compare=False, repr=False)
    verified: dict[str, str] = field(default_factory=dict, compare=False, repr=False)  # content by image

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        """Pixels of one image under one group's distortions; the same ones each time."""
        name, _, group = image.rpartition(SEPARATOR)
        if (name, resize) not in self.last:
            self.last.clear()
            self.last[name, resize] = resize.apply(self.source.read(name))  # at full scale, whatever the view
        pixels = self.last[name, resize]
        if (treatment := self.treatments[group]) is None:
            return pixels
        return distort(pixels, *treatment, seed=image_seed(name, self.seed))

    def verify(self, image: str) -> str:
        """SHA-256 of the image's content and, if it is distorted, its treatment, its seed and `FORMULAS`."""
        name, _, group = image.rpartition(SEPARATOR)
        if name not in self.verified:
            self.verified[name] = self.source.verify(name)
        treatment = self.treatments[group]
        made_by = (treatment, image_seed(name, self.seed), FORMULAS) if treatment else None
        return content_of_version(self.verified[name], made_by)


def content_of_version(content: str, made_by: tuple[object, ...] | None = None) -> str:
    """SHA-256 (hex) that stands for a version of an image in `DistortedImages`, by default the undistorted one.

    It differs from the hash of the image itself, because a version is decoded at full scale and then resized.
    """
    return hashlib.sha256(f"{content} {made_by}".encode()).hexdigest()


def image_seed(name: str, seed: int) -> int:
    """The seed of an image's noise, directions and places: another one for each image."""
    return zlib.crc32(f"{seed} {name}".encode())


def distorted(ratings: Ratings, treatments: Treatments, *, seed: int = 0, by_group: bool = False) -> Ratings:
    """Every image under every treatment, image by image or group by group; ratings, which no longer hold, are NaN."""
    names, every = np.array(list(treatments)), np.arange(len(ratings) * len(treatments))
    rows, groups = np.divmod(every, len(names))
    if by_group:
        groups, rows = np.divmod(every, len(ratings))
    table = ratings.table.iloc[rows].reset_index(drop=True)
    table = table.assign(image=table["image"] + SEPARATOR + names[groups], mos=float("nan"))
    images = DistortedImages(ratings.images, treatments, seed)
    return replace(ratings, table=table, images=images)


def treatment_of(image: str) -> tuple[str, str, float]:
    """The original, the distortion and the level that the name of an image states; "" and 0 if undistorted.

    Example:
        >>> treatment_of("a.png::gaussian_blur 2.5"), treatment_of("a.png::Pristine")
        (('a.png', 'gaussian_blur', 2.5), ('a.png', '', 0.0))
    """
    original, _, made = image.rpartition(SEPARATOR)
    name, _, level = made.partition(" ")
    return (original, "", 0.0) if made == PRISTINE else (original, name, float(level))
