"""Predictions of a model on rated images, one row per image, by the engine that `Scorer` uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch

from fusiqa.data.loader import EvaluationCrops, choose_workers, evaluation_loader
from fusiqa.data.ratings import Ratings
from fusiqa.models.quality import QualityModel
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import OVERLAP, Resize
from fusiqa.scoring.scorer import Scored, score_views
from fusiqa.scoring.torch import TorchNetwork, choose_device

SCALE_COLUMNS = ("scale_0", "scale_1", "scale_2", "scale_3")


def predict(
    model: QualityModel,
    ratings: Ratings,
    *,
    resize: str | None = None,
    device: str | torch.device = "auto",
    num_workers: int | None = None,
    progress: bool,
) -> pd.DataFrame:
    """Score every image as `Scorer` does: whole, or on crops that cover it and overlap their neighbours by two thirds.

    Args:
        model: the model.
        ratings: the images; their `mos` is only copied.
        resize: resize protocol, in the words of `--resize`; the model's own by default.
        device: a torch device; "auto" is the first GPU where there is one.
        num_workers: processes that read images; chosen by default.
        progress: whether to show a bar.

    Returns:
        One row an image, in the order of `ratings`: image, mos, score (on the model's score range), and
        scale_0 .. scale_3 (NaN for a fusion that does not weigh).
    """
    model.eval().to(choose_device(device)).to(memory_format=torch.channels_last)
    config, protocol = model.config, Resize.parse(resize or model.resize)
    crops = EvaluationCrops(ratings, protocol, config.crop_size, OVERLAP, config.view)
    network, table = TorchNetwork(model), empty_table(ratings)
    with progress_bar(what=f"scoring {ratings.name}", total=len(ratings), shown=progress) as bar:
        for batch in evaluation_loader(crops, num_workers=choose_workers(num_workers, ratings)):
            fill(table, batch.rows, score_views(network, batch.views))
            bar.update(len(batch.rows))
    return table


def empty_table(ratings: Ratings) -> pd.DataFrame:
    """The table of `predict` before anything is scored."""
    return ratings.table[["image", "mos"]].assign(score=np.nan, **dict.fromkeys(SCALE_COLUMNS, np.nan))


def fill(table: pd.DataFrame, rows: Sequence[int], scored: Iterable[Scored]) -> None:
    """Write the scores and scale weights of images into their rows."""
    for row, (score, _, weights, _) in zip(rows, scored, strict=True):
        table.loc[row, "score"] = score
        if weights is not None:
            table.loc[row, list(SCALE_COLUMNS)] = weights


def predict_on_range(
    model: QualityModel, ratings: Ratings, *, resize: str, device: str | torch.device, progress: bool
) -> pd.DataFrame:
    """As `predict`, with the scores brought to the ratings' own score range: linearly, and not cut to it.

    Args:
        model: the model, of whatever data set.
        ratings: the images.
        resize: resize protocol, in the words of `--resize`.
        device: a torch device; "auto" is the first GPU where there is one.
        progress: whether to show a bar.
    """
    table = predict(model, ratings, resize=resize, device=device, progress=progress)
    unit = model.config.score_range.to_unit(table["score"])
    return table.assign(score=ratings.score_range.from_unit(unit))
