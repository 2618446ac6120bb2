"""The API's answers, as OpenAPI describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from fusiqa.config import ScoreRange
from fusiqa.scoring.result import Result


class Crop(BaseModel):
    """One of the crops whose scores are averaged, or one of the windows of an image that is scored whole."""

    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom as fractions of the image")
    score: float


class ScoreAnswer(BaseModel):
    """The score of one image, or the `error` that it could not be scored for."""

    name: str
    score: float | None = Field(description="on score_range, higher is better")
    score_range: ScoreRange
    higher_is_better: bool = True
    spread: float | None = Field(description="standard deviation of the crops' scores")
    scale_weights: list[float] | None = Field(description="finest scale first, summing to one")
    flaws: dict[str, float] | None = Field(description="probability of each flaw; null for a model that names none")
    flaws_in_words: str = Field(description="the likely flaws, the likeliest first, or `perhaps` the likeliest")
    word: str = Field(description="the score in a word, from bad to excellent; empty without a score")
    width: int | None
    height: int | None
    model: str
    note: str | None = Field(description="a caveat about the score; null for none")
    crops: list[Crop]
    error: str | None

    @classmethod
    def of(cls, result: Result) -> ScoreAnswer:
        known = {name: getattr(result, name) for name in cls.model_fields} | result.row()
        pairs = zip(result.crops.boxes.tolist(), result.crops.scores.tolist(), strict=True) if result.crops else ()
        return cls.model_validate({**known, "crops": [{"box": box, "score": score} for box, score in pairs]})


class ScoresAnswer(BaseModel):
    """One result per image, in the order of the request."""

    results: list[ScoreAnswer]


class Scale(BaseModel):
    """One of the four feature scales."""

    cells: tuple[int, int] = Field(description="height and width of its feature map for one crop")
    cell_pixels: int = Field(description="side of a cell, in pixels of the resized image")


class ModelAnswer(BaseModel):
    """The model, and the limits of this server."""

    name: str
    score_range: ScoreRange
    higher_is_better: bool = True
    crop_size: int
    resize: str
    scales: list[Scale] = Field(description="finest first")
    max_megabytes: float
    max_megapixels: float
    max_files: int


class Problem(BaseModel):
    """Why a request as a whole was refused."""

    detail: str
