"""Predictions of a model on rated images, one row per image, by the engine that `Scorer` uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from itertools import chain

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from fusiqa.data.loader import IMAGES_AT_ONCE, EvaluationCrops, choose_workers, evaluation_loader
from fusiqa.data.ratings import SET, Ratings
from fusiqa.models.quality import QualityModel
from fusiqa.progress import progress_bar
from fusiqa.scoring.models import Network
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.scoring.scorer import in_parts, score_views
from fusiqa.scoring.torch import TorchNetwork, choose_device, passes
from fusiqa.scoring.views import OVERLAP, Views

NO_WEIGHTS = [float("nan")] * 4  # of a fusion that does not weigh its scales


def predict(
    model: QualityModel,
    ratings: Ratings,
    *,
    device: str | torch.device = "auto",
    on_range: bool = False,
    progress: bool,
) -> pd.DataFrame:
    """Score every image as `Scorer` does: whole, or on crops that cover it and overlap by two thirds.

    Args:
        model: is moved to the device, by default the first GPU where there is one.
        ratings: the images, which are resized by their `resize`, not by the model's; their `mos` is only copied.
        device: a torch device, or "auto".
        on_range: map scores linearly from the model's score range to that of the ratings; none is cut to it.
        progress: whether to show a bar.

    Returns one row an image, in their order: image, mos, score, scale_0 .. scale_3 (NaN for a fusion without).
    """
    crops = crops_of(model, ratings)
    model.eval().to(choose_device(device)).to(memory_format=torch.channels_last)
    table = score_all(TorchNetwork(model), crops, ratings, progress=progress)
    if on_range:
        table["score"] = ratings.score_range.from_unit(model.config.score_range.to_unit(table["score"]))
    return table


def crops_of(model: QualityModel, ratings: Ratings, *, overlap: float = OVERLAP) -> EvaluationCrops:
    """The views of each image that a model scores."""
    return EvaluationCrops(ratings, model.config.crop_size, overlap, model.config.view)


def score_all(
    network: Network, images: Sized, ratings: Ratings,
    *, num_workers: int | None = None, images_at_once: int = IMAGES_AT_ONCE, progress: bool,
) -> pd.DataFrame:  # fmt: skip
    """The table of `predict`, from a data set that gives the views of each image and the network that takes them."""
    scores, weights = np.full(len(ratings), np.nan), np.full((len(ratings), len(SCALE_COLUMNS)), np.nan)
    workers = choose_workers(num_workers, ratings)
    loader = evaluation_loader(images, num_workers=workers, images_at_once=images_at_once)
    with progress_bar(what=f"scoring {ratings.name}", total=len(ratings), shown=progress) as bar:
        for batch in loader:
            for row, scored in zip(batch.rows, score_views(network, batch.views), strict=True):
                scores[row], weights[row] = scored.score, scored.scale_weights or NO_WEIGHTS
            bar.update(len(batch.rows))
    columns = dict(zip(SCALE_COLUMNS, weights.T, strict=True))
    own = ratings.table[["image", "mos", *({SET} & set(ratings.table))]]
    return own.assign(score=scores, **columns)


def run_on_crops(
    model: QualityModel, crops: EvaluationCrops, function: Callable[[Tensor], Tensor],
    *, num_workers: int | None = None, what: str, progress: bool,
) -> Iterator[tuple[int, Views, Float[Tensor, "views ..."]]]:  # fmt: skip
    """The row of each image, its views, and the values of a function of views, on the CPU."""
    device = next(model.parameters()).device
    with progress_bar(what=what, total=len(crops), shown=progress) as bar:
        for batch in evaluation_loader(crops, num_workers=choose_workers(num_workers, crops.ratings)):
            stacks = passes(chain.from_iterable(batch.views), device)
            made = torch.cat([part.cpu() for stack in stacks for part in in_parts(function, stack)])
            yield from zip(batch.rows, batch.views, made.split(batch.counts), strict=True)
            bar.update(len(batch.rows))
