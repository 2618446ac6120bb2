"""What is said of one image: its score, its spread over the crops, its scale weights. It knows no network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from fusiqa.config import ScoreRange
from fusiqa.scoring.inputs import ImageInput

COLUMNS = ("path", "score", "spread", "scale_0", "scale_1", "scale_2", "scale_3", "width", "height", "model", "error")
"""Of a row of `Score.row`: what every table of scores has."""


@dataclass(frozen=True)
class CropScores:
    """The crops that a score is the mean of.

    Attributes:
        boxes: (crops, 4), left, top, right, bottom as shares of the image's width and height, 0-1; an image
            smaller than a crop is mirrored outwards, and its box is the image.
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
class Score:
    """What a model says of one image.

    Attributes:
        name: the image's path as it was given, or its place in the list.
        score: on `score_range`, higher is better; NaN where the image could not be read.
        score_range: the interval of the ratings that the model learned.
        scale_weights: mean over the crops, finest scale first, summing to one; None for a fusion that does not weigh.
        spread: standard deviation of the crops' scores, on the score range: how uneven the image is.
        width: of the image as it is shown, pixels; 0 where it could not be read.
        height: likewise.
        model: name and fingerprint of the model.
        crops: the crops' own scores; None where it could not be read.
        error: why it could not be read; None where it could.
        image: where its pixels come from.
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

    def row(self) -> dict[str, Any]:
        """The row of a table: `COLUMNS`, None where there is nothing to say."""
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
        """What a notebook shows: the image with its heat map, the score on its range, the scale weights."""
        from fusiqa.scoring.card import card_html

        return card_html(self)
