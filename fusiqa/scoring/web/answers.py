"""What the API answers, as OpenAPI describes it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from fusiqa.config import ScoreRange
from fusiqa.scoring.result import Score
from fusiqa.scoring.runtime import Facts

LOOKS_AT = (
    (4, "small enough for edges, grain and fine texture"),
    (8, "small structures: the blocks and ringing of compression, thin lines"),
    (16, "parts of things: contours and local contrast"),
    (1_000, "large parts of the scene: light, colour, composition"),
)
"""Up to which size of its cells, in pixels, what a scale can hold; what it does hold is the network's affair."""


class Crop(BaseModel):
    """One of the crops that a score is the mean of."""

    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom as shares of the image")
    score: float


class ScoreAnswer(BaseModel):
    """What is said of one image; `error` where it has no score."""

    name: str
    score: float | None = Field(description="on score_range, higher is better")
    score_range: ScoreRange
    higher_is_better: bool = True
    spread: float | None = Field(description="standard deviation of the crops' scores")
    scale_weights: list[float] | None = Field(description="finest scale first, summing to one")
    width: int | None
    height: int | None
    model: str
    crops: list[Crop]
    error: str | None

    @classmethod
    def of(cls, score: Score) -> ScoreAnswer:
        crops = []
        if score.crops is not None:
            pairs = zip(score.crops.boxes.tolist(), score.crops.scores.tolist(), strict=True)
            crops = [Crop(box=tuple(box), score=value) for box, value in pairs]
        weights = None if score.scale_weights is None else list(score.scale_weights)
        row = score.row()
        told = {name: row[name] for name in ("score", "spread", "width", "height", "model", "error")}
        return cls(name=score.name, score_range=score.score_range, scale_weights=weights, crops=crops, **told)


class ScoresAnswer(BaseModel):
    """One result an image, in the order of the request."""

    results: list[ScoreAnswer]


class Scale(BaseModel):
    """One of the four feature scales."""

    cells: tuple[int, int] = Field(description="height and width of its map for one crop")
    cell_pixels: int = Field(description="side of a cell, pixels of the resized image")
    looks_at: str


class ModelAnswer(BaseModel):
    """What is to be known of the model, and the limits of this server."""

    name: str
    score_range: ScoreRange
    higher_is_better: bool = True
    crop_size: int
    resize: str
    scales: list[Scale]
    max_megabytes: float
    max_megapixels: float
    max_files: int


class HealthAnswer(BaseModel):
    """That the server runs, and how many images wait."""

    status: str
    waiting: int


class Problem(BaseModel):
    """Why a request as a whole has no answer."""

    detail: str


def scales_of(facts: Facts) -> list[Scale]:
    """The four scales of a model, finest first."""
    scales = []
    for height, width in facts.scale_sizes:
        pixels = max(1, round(facts.crop_size / height))
        told = next(words for largest, words in LOOKS_AT if pixels <= largest)
        scales.append(Scale(cells=(height, width), cell_pixels=pixels, looks_at=told))
    return scales
