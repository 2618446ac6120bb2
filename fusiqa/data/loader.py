"""Crops of rated images as batches of bytes, the same ones for the same seed and epoch. It knows no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fusiqa.data.order import Crops, Draw, Rows, TrainingOrder
from fusiqa.data.ratings import Ratings
from fusiqa.machine import cores
from fusiqa.scoring.image import Resize, Views, pad_to, random_corner, views_of

WORKERS_AT_MOST = 8
PHOTOGRAPHS_AT_ONCE = 8  # in evaluation; each gives several crops


class TrainingBatch(NamedTuple):
    """Crops, uint8 (batch, 3, crop, crop), and the ratings of their images, float32 (batch,)."""

    crops: Tensor
    mos: Tensor


class EvaluationBatch(NamedTuple):
    """The parts of some images that they are scored on, and the images' rows."""

    views: list[Views]
    rows: list[int]

    @property
    def crops(self) -> Tensor:
        """The crops of all images, uint8 (crops, 3, crop, crop)."""
        return channels_first(torch.from_numpy(np.stack([crop for views in self.views for crop in views])))

    @property
    def counts(self) -> list[int]:
        """Crops of each image."""
        return [len(views) for views in self.views]


class Wanted(NamedTuple):
    """The crops that one process takes of one image in an epoch, and the places in its order that they fill."""

    epoch: int
    row: int
    crops: list[int]
    places: list[int]


@dataclass(frozen=True)
class TrainingCrops(Dataset):
    """Random crops, mirrored left to right half of the time; a crop depends on (seed, draw) alone."""

    ratings: Ratings
    resize: Resize
    crop_size: int
    seed: int

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, list[int]]:
        """Crops of one image, uint8 (crops, crop, crop, 3), and their places; it is read once for all of them."""
        pixels = padded(self.ratings, wanted.row, self.resize, self.crop_size)
        crops = np.empty((len(wanted.crops), self.crop_size, self.crop_size, 3), np.uint8)
        draws = [Draw(wanted.epoch, wanted.row, number) for number in wanted.crops]
        mirrored = [self._fill(crop, pixels, draw) for crop, draw in zip(crops, draws, strict=True)]
        found = torch.from_numpy(crops)
        for crop in (found[place] for place, mirror in enumerate(mirrored) if mirror):
            crop.copy_(crop.flip(1))  # fifteen times as fast as a copy of numpy's reversed view
        return found, wanted.places

    def _fill(self, crop: np.ndarray, pixels: np.ndarray, draw: Draw) -> bool:
        """Copy the pixels of a crop, and say whether it is to be mirrored."""
        random = np.random.default_rng((self.seed, *draw))
        top, left = random_corner(random, pixels.shape[0], pixels.shape[1], self.crop_size)
        crop[:] = pixels[top : top + self.crop_size, left : left + self.crop_size]
        return random.random() < 0.5


@dataclass(frozen=True)
class EvaluationCrops(Dataset):
    """The parts of each image that its score is the average of: the same ones each time.

    `overlap` is the least fraction of a crop that its neighbour covers too, 0 to below 1; `view` as in `views_of`.
    """

    ratings: Ratings
    resize: Resize
    crop_size: int
    overlap: float = 0.0
    view: str = "crops"

    def __len__(self) -> int:
        return len(self.ratings)

    def __getitem__(self, row: int) -> tuple[Views, int]:
        """The views of one image, and its row."""
        pixels = self.resize.apply(self.ratings.images.read(str(self.ratings.table["image"].iat[row])))
        return views_of(pixels, self.crop_size, view=self.view, overlap=self.overlap), row


class TrainingBatches:
    """Batches of random crops in the order drawn; the last batch of an epoch may be smaller, down to one crop.

    An image is read once an epoch, when the first of its crops is due; the others wait in memory for their batch
    (order.py bounds how many). The number of workers changes no batch.

    Args:
        dataset: the crops.
        order: when each is due; Lightning tells it the epoch, as it is the `sampler`.
        batch_size: crops of a batch.
        num_workers: processes that read images; 0 reads them in this one.
    """

    def __init__(self, dataset: TrainingCrops, order: TrainingOrder, *, batch_size: int, num_workers: int) -> None:
        self.dataset = dataset
        self.sampler = order
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.mos = torch.tensor(dataset.ratings.table["mos"].to_numpy(float), dtype=torch.float32)

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[TrainingBatch]:
        rows, crops = self.sampler.arrays()
        arriving = iter(
            DataLoader(
                self.dataset,
                batch_sampler=parcels(rows, crops, epoch=self.sampler.epoch, crops_at_least=self.batch_size),
                num_workers=self.num_workers,
                collate_fn=list,
            )
        )
        waiting: dict[int, Tensor] = {}
        for start in range(0, len(rows), self.batch_size):
            due = range(start, min(start + self.batch_size, len(rows)))
            while not all(place in waiting for place in due):
                for found, places in next(arriving):
                    waiting.update(zip(places, found, strict=True))
            batch = torch.stack([waiting.pop(place) for place in due])
            yield TrainingBatch(channels_first(batch), self.mos[rows[start : due.stop].tolist()])


def parcels(rows: Rows, crops: Crops, *, epoch: int, crops_at_least: int) -> Iterator[list[Wanted]]:
    """The images in the order in which they are first due, packed so that a worker sends a batch's worth at once.

    They are made one by one: for a million images, all of them at once would be gigabytes.

    Example:
        >>> order = np.array([5, 3, 5], np.int32), np.array([0, 0, 1], np.int32)
        >>> [[wanted.row for wanted in parcel] for parcel in parcels(*order, epoch=0, crops_at_least=2)]
        [[5], [3]]
    """
    by_row = rows.argsort(kind="stable")
    starts = np.flatnonzero(np.diff(rows[by_row], prepend=-1))
    ends = np.append(starts[1:], len(rows))
    parcel: list[Wanted] = []
    taken = 0
    for image in by_row[starts].argsort():
        places = by_row[starts[image] : ends[image]]
        parcel.append(Wanted(epoch, int(rows[places[0]]), crops[places].tolist(), places.tolist()))
        taken += len(places)
        if taken >= crops_at_least:
            yield parcel
            parcel, taken = [], 0
    if parcel:
        yield parcel


def evaluation_loader(dataset: EvaluationCrops, *, num_workers: int, rank: int = 0, world_size: int = 1) -> DataLoader:
    """Batches of whole images, every world-size-th one; none is repeated."""
    rows = range(rank, len(dataset), world_size)
    return DataLoader(
        dataset, batch_size=PHOTOGRAPHS_AT_ONCE, sampler=rows, num_workers=num_workers, collate_fn=collate_evaluation
    )


def collate_evaluation(items: list[tuple[Views, int]]) -> EvaluationBatch:
    views, rows = zip(*items, strict=True)
    return EvaluationBatch(list(views), list(rows))


def padded(ratings: Ratings, row: int, resize: Resize, crop_size: int) -> np.ndarray:
    """The pixels of one row's image after the resize protocol, at least one crop large."""
    pixels = ratings.images.read(str(ratings.table["image"].iat[row]))
    return pad_to(resize.apply(pixels), crop_size, crop_size)


def channels_first(crops: Tensor) -> Tensor:
    """(crops, height, width, 3) seen as (crops, 3, height, width), not moved: convolutions like it channels_last."""
    return crops.permute(0, 3, 1, 2)


def choose_workers(asked: int | None, ratings: Ratings, *, devices: int = 1) -> int:
    """Processes that read images: as asked, none for images held in memory, else the cores to spare."""
    if asked is not None:
        return asked
    if getattr(ratings.images, "in_memory", False):
        return 0
    return max(0, min(WORKERS_AT_MOST, cores() // devices - 1))
