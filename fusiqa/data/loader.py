"""Crops of rated photographs as batches of bytes, the same ones for the same seed and epoch. It knows no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fusiqa.data.photo import Resize, cover, pad_to, random_corner
from fusiqa.data.ratings import Ratings

WORKERS_AT_MOST = 8
PHOTOGRAPHS_AT_ONCE = 8  # in evaluation; each gives several crops


class TrainingBatch(NamedTuple):
    """Crops, uint8 (batch, 3, crop, crop), and the ratings of their photographs, float32 (batch,)."""

    crops: Tensor
    mos: Tensor


class EvaluationBatch(NamedTuple):
    """All crops of some photographs, uint8 (crops, 3, crop, crop), the crops of each, and the photographs' rows."""

    crops: Tensor
    counts: list[int]
    rows: list[int]


class Draw(NamedTuple):
    """One random crop to take: which pass over the data, which row, which of its crops."""

    epoch: int
    row: int
    crop: int


@dataclass(frozen=True)
class TrainingCrops(Dataset):
    """Random crops, mirrored left to right half of the time; a crop depends on (seed, draw) alone."""

    ratings: Ratings
    resize: Resize
    crop_size: int
    seed: int

    def __getitem__(self, draw: Draw) -> tuple[Tensor, float]:
        pixels = padded(self.ratings, draw.row, self.resize, self.crop_size)
        random = np.random.default_rng((self.seed, *draw))
        top, left = random_corner(random, pixels.shape[0], pixels.shape[1], self.crop_size)
        crop = pixels[top : top + self.crop_size, left : left + self.crop_size]
        mos = self.ratings.table["mos"].to_numpy(float)[draw.row]
        return to_tensor(crop[:, ::-1] if random.random() < 0.5 else crop), float(mos)


@dataclass(frozen=True)
class EvaluationCrops(Dataset):
    """The crops that cover a photograph to its edges: the same ones each time.

    `overlap` is the least share of a crop that its neighbour covers too, 0 to below 1.
    """

    ratings: Ratings
    resize: Resize
    crop_size: int
    overlap: float = 0.0

    def __len__(self) -> int:
        return len(self.ratings)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        size = self.crop_size
        pixels = padded(self.ratings, row, self.resize, size)
        corners = cover(pixels.shape[0], pixels.shape[1], size, overlap=self.overlap)
        return torch.stack([to_tensor(pixels[t : t + size, x : x + size]) for t, x in corners]), row


class TrainingOrder(Sampler[Draw]):
    """Every crop of every photograph once per epoch, in an order drawn from (seed, epoch), shared out among ranks.

    All ranks draw the same order and take every world-size-th of it, so that together they see the batches that one
    process would. The order wraps where it does not divide evenly.
    """

    def __init__(
        self, *, photographs: int, crops_per_image: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.photographs = photographs
        self.crops_per_image = crops_per_image
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.photographs * self.crops_per_image // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.photographs * self.crops_per_image)
        for place in np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]:
            row, crop = divmod(int(place), self.crops_per_image)
            yield Draw(self.epoch, row, crop)


def padded(ratings: Ratings, row: int, resize: Resize, crop_size: int) -> np.ndarray:
    """The pixels of one row's photograph after the resize protocol, at least one crop large."""
    pixels = ratings.photographs.read(str(ratings.table["image"].iat[row]))
    return pad_to(resize.apply(pixels), crop_size, crop_size)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(height, width, 3) as (3, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def training_loader(dataset: TrainingCrops, order: TrainingOrder, *, batch_size: int, num_workers: int) -> DataLoader:
    """Batches of random crops; the last batch of an epoch may be smaller, down to one crop."""
    return DataLoader(
        dataset, batch_size=batch_size, sampler=order, num_workers=num_workers, collate_fn=collate_training
    )


def evaluation_loader(dataset: EvaluationCrops, *, num_workers: int, rank: int = 0, world_size: int = 1) -> DataLoader:
    """Batches of whole photographs, every world-size-th one; none is repeated."""
    rows = range(rank, len(dataset), world_size)
    return DataLoader(
        dataset, batch_size=PHOTOGRAPHS_AT_ONCE, sampler=rows, num_workers=num_workers, collate_fn=collate_evaluation
    )


def collate_training(items: list[tuple[Tensor, float]]) -> TrainingBatch:
    crops, mos = zip(*items, strict=True)
    return TrainingBatch(torch.stack(crops), torch.tensor(mos, dtype=torch.float32))


def collate_evaluation(items: list[tuple[Tensor, int]]) -> EvaluationBatch:
    crops, rows = zip(*items, strict=True)
    return EvaluationBatch(torch.cat(crops), [len(part) for part in crops], list(rows))


def choose_workers(asked: int | None, ratings: Ratings, *, devices: int = 1) -> int:
    """Processes that read photographs: as asked, none for photographs held in memory, else the cores to spare."""
    if asked is not None:
        return asked
    if getattr(ratings.photographs, "in_memory", False):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(WORKERS_AT_MOST, cores // devices - 1))
