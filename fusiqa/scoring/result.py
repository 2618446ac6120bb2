"""The result for one image: its score, the scores of its parts, its scale weights, and how a notebook shows them."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from fusiqa.config.model import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import ImageInput

COLUMNS = ("path", "score", "spread", "scale_0", "scale_1", "scale_2", "scale_3", "width", "height", "model", "error")
"""Columns of every table of scores, the keys of `Result.row`."""

THUMBNAIL = 320  # pixels, the longer side
LOW, MIDDLE, HIGH = (178, 24, 43), (247, 247, 247), (33, 102, 172)  # ColorBrewer's RdBu: blue is better
OPACITY = 0.55  # of the heat map over the image
SCALES = ("finest", "fine", "coarse", "coarsest")


@dataclass(frozen=True)
class CropScores:
    """The scores of the crops that an image's score is the average of.

    Attributes:
        boxes: (crops, 4), left, top, right, bottom as fractions of the image's width and height, 0-1; an image
            smaller than a crop is mirrored at its edges, and its box is the image.
        scores: (crops,), on the score range.
    """

    boxes: Float[np.ndarray, "crops 4"]
    scores: Float[np.ndarray, " crops"]

    def heat_map(self, height: int, width: int) -> Float[np.ndarray, "height width"]:
        """At every place the mean score of the crops that cover it, on the score range."""
        total, count = np.zeros((height, width)), np.zeros((height, width))
        for (left, top, right, bottom), score in zip(self.boxes, self.scores, strict=True):
            rows = slice(math.floor(top * height), max(math.ceil(bottom * height), 1))
            columns = slice(math.floor(left * width), max(math.ceil(right * width), 1))
            total[rows, columns] += score
            count[rows, columns] += 1
        return total / count


@dataclass(frozen=True)
class Result:
    """The result for one image.

    Attributes:
        name: the image's path as it was given, or its place in the list.
        score: higher is better; on `score_range` but for a few images that lie outside it; NaN where the image could
            not be read.
        score_range: the interval of the ratings that the model learned.
        scale_weights: mean over the crops, finest scale first, summing to one; None for a fusion that does not weigh.
        spread: standard deviation of the crops' scores, on the score range: how uneven the image is.
        width: of the upright image, pixels; 0 where it could not be read.
        height: likewise.
        model: name and fingerprint of the model.
        crops: the crops' own scores; None where it could not be read.
        error: why it could not be read; None where it could.
        image: where its pixels come from; after pickling, only of an image in a file.
    """

    name: str
    score: float
    score_range: ScoreRange
    model: str
    scale_weights: tuple[float, ...] | None = None
    spread: float = math.nan
    width: int = 0
    height: int = 0
    crops: CropScores | None = field(default=None, repr=False)
    error: str | None = None
    image: ImageInput | None = field(default=None, repr=False, compare=False)

    higher_is_better = True

    @property
    def ok(self) -> bool:
        """Whether there is a score."""
        return self.error is None

    def __float__(self) -> float:
        return self.score

    def __getstate__(self) -> dict[str, Any]:
        """Without the image unless it is a file: a process pool must not send pixels, and cannot send open files."""
        kept = self.image if self.image is not None and self.image.path is not None else None
        return {**self.__dict__, "image": kept}

    def row(self) -> dict[str, Any]:
        """The row of a table: `COLUMNS`, None where there is no value."""
        weights = self.scale_weights or (None,) * 4
        return {
            "path": self.name,
            "score": self.score if self.ok else None,
            "spread": self.spread if self.ok else None,
            **{f"scale_{place}": weight for place, weight in enumerate(weights)},
            "width": self.width or None,
            "height": self.height or None,
            "model": self.model,
            "error": self.error,
        }

    def _repr_html_(self) -> str:
        """For notebooks: the image with its heat map, the score on its range, the scale weights. No script."""
        name = escape(self.name)
        if not self.ok:
            return f"<div><b>{name}</b>: {escape(self.error or '')}</div>"
        low, high = self.score_range
        weights = "".join(
            f"<div>scale {place} ({scale}) {_bar(weight, '#555')} {weight:.2f}</div>"
            for place, (scale, weight) in enumerate(zip(SCALES, self.scale_weights or (), strict=False))
        )
        return (
            '<div style="display:flex;gap:16px;font-family:sans-serif;align-items:flex-start">'
            f"{_pictures(self)}<div><b>{name}</b>"
            f'<div style="font-size:1.6em">{self.score:.4g}</div>'
            f"<div>on {low:g} to {high:g}, higher is better {_bar(self.score_range.to_unit(self.score), '#2166ac')}"
            f"</div><div>standard deviation over crops: {self.spread:.3g}</div>{weights}</div></div>"
        )


def overlay(picture: Image.Image, result: Result) -> Image.Image:
    """A picture under the heat map of its crops' scores: red is the low end of the score range, blue the high end."""
    if result.crops is None:
        return picture
    unit = result.score_range.to_unit(result.crops.heat_map(picture.height, picture.width))
    return Image.blend(picture, Image.fromarray(diverging(np.clip(2 * unit - 1, -1, 1))), OPACITY)


def diverging(values: Float[np.ndarray, ...]) -> UInt8[np.ndarray, "... 3"]:
    """Values in -1 to 1 as colours: -1 red, 0 white, 1 blue."""
    strength = np.abs(values)[..., None]
    ends = np.where(values[..., None] < 0, np.array(LOW), np.array(HIGH))
    return np.round((1 - strength) * np.array(MIDDLE) + strength * ends).astype(np.uint8)


def _pictures(result: Result) -> str:
    """The image, and the image under its heat map with its limits; nothing where it can no longer be read."""
    try:
        pixels = result.image.read() if result.image is not None else None
    except FusiqaError:
        pixels = None
    if pixels is None or result.crops is None:
        return ""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    scores, (low, high) = result.crops.scores, result.score_range
    limits = f"crops from {scores.min():.3g} to {scores.max():.3g}; red is {low:g}, blue is {high:g}"
    return f'{_img(picture)}<div>{_img(overlay(picture, result))}<div style="font-size:.8em">{limits}</div></div>'


def _img(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}" alt="">'


def _bar(fraction: float, colour: str) -> str:
    width = 100 * min(1.0, max(0.0, fraction))
    return (
        '<span style="display:inline-block;width:120px;height:9px;background:#ddd">'
        f'<span style="display:block;width:{width:.1f}%;height:100%;background:{colour}"></span></span>'
    )
