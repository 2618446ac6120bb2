"""The result for one image, and how a notebook shows it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from fusiqa.config.model import FLAWS, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import ImageInput

SCALE_COLUMNS = ("scale_0", "scale_1", "scale_2", "scale_3")
FLAW_COLUMNS = tuple(f"flaw_{name}" for name in FLAWS)
COLUMNS = ("path", "score", "spread", *SCALE_COLUMNS, *FLAW_COLUMNS, "width", "height", "model", "note", "error")
"""Columns of every table of scores, the keys of `Result.row`."""

WORDS = ("bad", "poor", "fair", "good", "excellent")  # of the fifths of the score range
FLAW_WORDS = ("blurred", "noisy", "compressed", "blocky", "unnatural colours", "badly exposed", "over-sharpened")
LIKELY = 0.5  # probability from which a flaw is named

NOTEBOOK_SIDE = 320  # pixels, the longer side
LOW, MIDDLE, HIGH = (178, 24, 43), (247, 247, 247), (33, 102, 172)  # ColorBrewer's RdBu: blue is better
OPACITY = 0.55  # of the heat map over the image
SCALES = ("finest", "fine", "coarse", "coarsest")
METER = '<meter value="{:.3f}"></meter>'


@dataclass(frozen=True, eq=False)
class CropScores:
    """The scores of the crops that an image's score is the average of, or of the windows of an image seen whole."""

    boxes: Float[np.ndarray, "crops 4"]
    """Left, top, right, bottom as fractions of the image's width and height, 0-1."""
    scores: Float[np.ndarray, " crops"]
    """On the score range."""

    def heat_map(self, height: int, width: int) -> Float[np.ndarray, "{height} {width}"]:
        """At every place the mean score of the crops that cover it, on the score range."""
        total, count = np.zeros((2, height, width))
        firsts = np.floor(self.boxes[:, :2] * [width, height]).astype(int)
        ends = np.maximum(np.ceil(self.boxes[:, 2:] * [width, height]), 1).astype(int)
        for (left, top), (right, bottom), score in zip(firsts, ends, self.scores, strict=True):
            total[top:bottom, left:right] += score
            count[top:bottom, left:right] += 1
        return total / count


@dataclass(frozen=True)
class Result:
    """The result for one image.

    Attributes:
        name: the image's path as it was given, or its place in the list.
        score: higher is better; on `score_range`, which a few images exceed; NaN where the image could not be read.
        score_range: the interval of the ratings that the model learned.
        model: name and fingerprint of the model.
        scale_weights: mean over the crops, finest scale first, summing to one; None for a fusion that does not weigh.
        spread: standard deviation of the scores in `crops`, on the score range: how uneven the image is; NaN of one.
        width, height: of the upright image, pixels; 0 where it could not be read.
        flaws: probability of each of `fusiqa.config.model.FLAWS`, several at once; None without a flaw head.
        crops: the scores of its crops, or of the windows of an image seen whole; None where it could not be read.
        note: a caveat about the score, such as that a raw file was scored by its preview.
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
    flaws: Mapping[str, float] | None = None
    crops: CropScores | None = field(default=None, repr=False, compare=False)
    note: str = ""
    error: str | None = None
    image: ImageInput | None = field(default=None, repr=False, compare=False)

    higher_is_better = True

    @property
    def ok(self) -> bool:
        """Whether there is a score."""
        return self.error is None

    @property
    def word(self) -> str:
        """The score in a word: bad, poor, fair, good or excellent, each a fifth of the score range; "" without one."""
        return word_of(self.score, self.score_range) if self.ok else ""

    @property
    def flaws_in_words(self) -> str:
        """The likely flaws, such as "blurred (0.93), noisy (0.61)", the likeliest first; see `described`."""
        return described(self.row())

    def __float__(self) -> float:
        return self.score

    def __getstate__(self) -> dict[str, Any]:
        """Without the image unless it is a file: a process pool must not send pixels, and cannot send open files."""
        return {**self.__dict__, "image": self.image if self.image and self.image.path is not None else None}

    def row(self) -> dict[str, Any]:
        """The row of a table: `COLUMNS`, None where there is no value."""
        measured = [None if math.isnan(value) else value for value in (self.score, self.spread)]
        weights, flaws = self.scale_weights or (None,) * 4, (self.flaws or dict.fromkeys(FLAWS)).values()
        size = self.width or None, self.height or None
        ending = self.model, self.note or None, self.error
        return dict(zip(COLUMNS, (self.name, *measured, *weights, *flaws, *size, *ending), strict=True))

    def _repr_html_(self) -> str:
        """For notebooks: the image with its heat map, the score on its range, flaws, scale weights. No script."""
        name = escape(self.name)
        if not self.ok:
            return f"<div><b>{name}</b>: {escape(self.error or '')}</div>"
        low, high = self.score_range
        named = zip(range(4), SCALES, self.scale_weights or (), strict=False)
        scales = [f"scale {place} ({word}) {METER.format(weight)} {weight:.2f}" for place, word, weight in named]
        meter = METER.format(self.score_range.to_unit(self.score))
        lines = [f"{self.word}, on {low:g} to {high:g}, higher is better {meter}", self.flaws_in_words, *scales]
        return (
            '<div style="display:flex;gap:16px;font-family:sans-serif;align-items:flex-start">'
            f'{_pictures(self)}<div><b>{name}</b><div style="font-size:1.6em">{self.score:.4g}</div>'
            f"{''.join(f'<div>{line}</div>' for line in lines)}</div></div>"
        )


def word_of(score: float, score_range: ScoreRange) -> str:
    """bad, poor, fair, good or excellent: the fifth of the score range that a score lies in."""
    return WORDS[int(np.clip(score_range.to_unit(score) * len(WORDS), 0, len(WORDS) - 1))]


def described(row: Mapping[str, Any]) -> str:
    """The likely flaws of a row in words, such as "blurred (0.93), noisy (0.61)", the likeliest first.

    Where no flaw is likely, and that there is none is not likely either, the likeliest: "perhaps badly exposed (0.31)".
    """
    found = [(value, FLAW_WORDS[FLAWS.index(flaw)]) for flaw, value in _stated_flaws(row).items()]
    likely = sorted((each for each in found if each[0] >= LIKELY), reverse=True)
    unsure = not likely and row["flaw_none"] is not None and row["flaw_none"] < LIKELY
    words = ", ".join(f"{word} ({value:.2f})" for value, word in ([max(found)] if unsure else likely))
    return f"perhaps {words}" if unsure else words


def likely_flaws(row: Mapping[str, Any]) -> dict[str, float]:
    """The flaws of a row that are likely, with their probabilities, in the order of `fusiqa.config.model.FLAWS`."""
    return {flaw: value for flaw, value in _stated_flaws(row).items() if value >= LIKELY}


def _stated_flaws(row: Mapping[str, Any]) -> dict[str, float]:
    return {flaw: row[column] or 0.0 for flaw, column in zip(FLAWS, FLAW_COLUMNS, strict=True) if flaw != "none"}


def weights_in(row: Mapping[str, Any]) -> str:
    """The scale weights of a row, such as "0.10 0.20 0.30 0.40"; "" without."""
    return " ".join(f"{row[column]:.2f}" for column in SCALE_COLUMNS if row[column] is not None)


def _pictures(result: Result) -> str:
    """The image, and the image under its heat map with its limits; nothing where it can no longer be read."""
    if result.image is None or result.crops is None:
        return ""
    try:
        picture = Image.fromarray(result.image.read())
    except FusiqaError:
        return ""
    picture.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE), Image.Resampling.LANCZOS)
    images = [f'<img src="{as_data(shown, quality=85)}" alt="">' for shown in (picture, overlay(picture, result))]
    scores, (low, high) = result.crops.scores, result.score_range
    limits = f"parts from {scores.min():.3g} to {scores.max():.3g}; red is {low:g}, blue is {high:g}"
    return f'{images[0]}<div>{images[1]}<div style="font-size:.8em">{limits}</div></div>'


def as_data(picture: Image.Image, *, quality: int) -> str:
    """A picture as a data URL of WebP, for an `img` element."""
    picture.save(file := BytesIO(), "WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def overlay(picture: Image.Image, result: Result) -> Image.Image:
    """A picture under the heat map of its crops' scores: red is the low end of the score range, blue the high end."""
    if result.crops is None:
        return picture
    unit = result.score_range.to_unit(result.crops.heat_map(picture.height, picture.width))
    return Image.blend(picture, Image.fromarray(diverging(2 * unit - 1)), OPACITY)


def diverging(values: Float[np.ndarray, "*places"]) -> UInt8[np.ndarray, "*places 3"]:
    """Values as colours: -1 and less red, 0 white, 1 and more blue."""
    channels = [np.interp(values, (-1, 0, 1), ends) for ends in zip(LOW, MIDDLE, HIGH, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
