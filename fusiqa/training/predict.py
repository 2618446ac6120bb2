"""Predictions of a model on rated images, one row per image, by the engine that `Scorer` uses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from fusiqa.data.loader import EvaluationCrops, choose_workers, evaluation_loader
from fusiqa.data.ratings import Ratings
from fusiqa.models.quality import QualityModel
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import Resize
from fusiqa.scoring.models import Network
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.scorer import score_views
from fusiqa.scoring.torch import TorchNetwork, choose_device
from fusiqa.scoring.views import OVERLAP

NO_WEIGHTS = [float("nan")] * 4  # of a fusion that does not weigh its scales


def predict(
    model: QualityModel,
    ratings: Ratings,
    *,
    resize: str | None = None,
    device: str | torch.device = "auto",
    on_range: bool = False,
    progress: bool,
) -> pd.DataFrame:
    """Score every image as `Scorer` does: whole, or on crops that cover it and overlap their neighbours by two thirds.

    Args:
        model: the model.
        ratings: the images; their `mos` is only copied.
        resize: resize protocol, as `Resize.parse` takes it; the model's own by default.
        device: a torch device; "auto" is the first GPU where there is one.
        on_range: map the scores linearly from the model's score range to that of the ratings; none is cut to it.
        progress: whether to show a bar.

    Returns one row an image, in their order: image, mos, score, scale_0 .. scale_3 (NaN for a fusion without).
    """
    model.eval().to(choose_device(device)).to(memory_format=torch.channels_last)
    config, protocol = model.config, Resize.parse(resize or model.resize, view=model.config.view)
    crops = EvaluationCrops(ratings, protocol, config.crop_size, OVERLAP, config.view)
    loader = evaluation_loader(crops, num_workers=choose_workers(None, ratings))
    table = score_batches(TorchNetwork(model), loader, ratings, progress=progress)
    if on_range:
        table["score"] = ratings.score_range.from_unit(config.score_range.to_unit(table["score"]))
    return table


def score_batches(network: Network, loader: DataLoader, ratings: Ratings, *, progress: bool) -> pd.DataFrame:
    """The table of `predict`, from the batches of an evaluation loader and the network that takes their views."""
    scores, weights = np.full(len(ratings), np.nan), np.full((len(ratings), len(SCALE_COLUMNS)), np.nan)
    with progress_bar(what=f"scoring {ratings.name}", total=len(ratings), shown=progress) as bar:
        for batch in loader:
            for row, scored in zip(batch.rows, score_views(network, batch.views), strict=True):
                scores[row], weights[row] = scored.score, scored.scale_weights or NO_WEIGHTS
            bar.update(len(batch.rows))
    columns = dict(zip(SCALE_COLUMNS, weights.T, strict=True))
    return ratings.table[["image", "mos"]].assign(score=scores, **columns)
