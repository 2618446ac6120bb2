"""What `spatial` and `cross-scale` attended to, drawn: a part of `fusiqa attention`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fusiqa.data.loader import EvaluationCrops, channels_first, choose_workers, evaluation_loader, padded
from fusiqa.data.ratings import Ratings
from fusiqa.explain.attended import mean_matrices, stitched
from fusiqa.explain.plots import Attended, gate_maps, matrix_panels
from fusiqa.io import write_csv
from fusiqa.models.checkpoint import TrainedModel
from fusiqa.models.crops import attention_of
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import OVERLAP, Resize, cover

MAPS_FILE = "attention_maps.png"
MATRIX_FIGURE = "attention_matrix.png"
MATRIX_FILE = "attention_matrix.csv"
MAPS_AT_MOST = 6


def draw_maps(folder: Path, trained: TrainedModel, ratings: Ratings, *, resize: str) -> None:
    """Write attention_maps.png: the first six images, each beside the gates of its four scales.

    Args:
        folder: where it goes.
        trained: a model of `spatial` fusion.
        ratings: the images, undistorted.
        resize: resize protocol, in the words of `--resize`.
    """
    protocol = Resize.parse(resize)
    attended = [attended_to(trained, ratings, row, protocol) for row in range(min(MAPS_AT_MOST, len(ratings)))]
    gate_maps(attended, scale_sizes=trained.model.pyramid.scale_sizes(), path=folder / MAPS_FILE)


def attended_to(trained: TrainedModel, ratings: Ratings, row: int, resize: Resize) -> Attended:
    """One image as the model saw it, and the gates of the crops that it is scored on, put together."""
    size = trained.model.config.crop_size
    pixels = padded(ratings, row, resize, size)
    height, width, _ = pixels.shape
    corners = cover(height, width, size, overlap=OVERLAP)
    crops = np.stack([pixels[top : top + size, left : left + size] for top, left in corners])
    model = trained.model.eval()
    device = next(model.parameters()).device
    gates = attention_of(model, channels_first(torch.from_numpy(crops)).to(device)).cpu().numpy()
    name = str(ratings.table["image"].iat[row])
    return Attended(name, pixels, stitched(gates, corners, height=height, width=width, crop=size))


def draw_matrices(
    folder: Path, trained: TrainedModel, ratings: Ratings, table: pd.DataFrame, *, resize: str, progress: bool
) -> None:
    """Write attention_matrix.png and attention_matrix.csv: how much each scale looked at each, by group.

    Args:
        folder: where they go.
        trained: a model of `cross-scale` fusion.
        ratings: the images.
        table: their `group`, in the same order.
        resize: resize protocol, in the words of `--resize`.
        progress: whether to show a bar.
    """
    found = mean_matrices(matrices_of(trained, ratings, resize=resize, progress=progress), table["group"].tolist())
    write_csv(found, folder / MATRIX_FILE)
    title = f"Where each scale looked: {len(table):,} images ({ratings.name})"
    matrix_panels(found, title=title, path=folder / MATRIX_FIGURE)


def matrices_of(trained: TrainedModel, ratings: Ratings, *, resize: str, progress: bool) -> np.ndarray:
    """The matrix of each image, (images, 4, 4): the mean over the crops that it is scored on."""
    model = trained.model.eval()
    device = next(model.parameters()).device
    crops = EvaluationCrops(ratings, Resize.parse(resize), model.config.crop_size, OVERLAP)
    found = np.empty((len(ratings), 4, 4))
    with progress_bar(what="looking again", total=len(ratings), shown=progress) as bar:
        for batch in evaluation_loader(crops, num_workers=choose_workers(None, ratings)):
            of_crops = attention_of(model, batch.crops.to(device)).split(batch.counts)
            found[batch.rows] = torch.stack([matrix.mean(dim=0) for matrix in of_crops]).double().cpu().numpy()
            bar.update(len(batch.rows))
    return found
