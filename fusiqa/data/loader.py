"""Crops of rated images as batches of bytes, the same for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fusiqa.data.distortions import DISTORTIONS, KIND_OF_DISTORTION, LEVELS, distort
from fusiqa.data.opinions import fall
from fusiqa.data.ratings import Ratings, set_indices
from fusiqa.machine import cores
from fusiqa.scoring.views import Views, pad_to, random_corner, views_of

WORKERS_AT_MOST = 8
IMAGES_AT_ONCE = 8  # in evaluation; each gives several crops
UNDONE = ({"noise", "blur"}, {"brightness", "sharpness and contrast"}, {"blur", "sharpness and contrast"})
"""Kinds of distortions of which one may undo another."""


class TrainingItem(NamedTuple):
    """A crop, or feature maps of one, the rating of its image, and the index of its data set."""

    crop: UInt8[Tensor, "crop crop 3"] | Float[Tensor, " numbers"]
    mos: float
    set: int = 0
    versions: Sequence[UInt8[Tensor, "crop crop 3"]] = ()  # the crop under distortions
    orders: Sequence[tuple[int, int, float]] = ()  # which is better than which, 0 the crop, and `DistortedCrops.fall`


class DistortedCrops(NamedTuple):
    """Distorted versions of some crops of a batch, and ordered pairs of the batch and these, concatenated."""

    crops: UInt8[Tensor, "versions 3 crop crop"]
    better: Int64[Tensor, " pairs"]
    worse: Int64[Tensor, " pairs"]
    fall: Float[Tensor, " pairs"]  # of viewers' mean opinion by the distortion that the worse one has besides, 0-1
    sets: Int64[Tensor, " pairs"]  # the indices of their data sets


class TrainingBatch(NamedTuple):
    """Crops, or feature maps of them in one row each, the ratings of their images, the indices of their data sets."""

    crops: UInt8[Tensor, "batch 3 crop crop"] | Float[Tensor, "batch numbers"]
    mos: Float[Tensor, " batch"]
    sets: Int64[Tensor, " batch"]
    distorted: DistortedCrops | None = None


class EvaluationBatch(NamedTuple):
    """The views of some images, or the feature maps of these, and the images' rows."""

    views: list[Views | np.ndarray]
    rows: list[int]

    @property
    def counts(self) -> list[int]:
        """Number of views of each image."""
        return [len(views) for views in self.views]


class Draw(NamedTuple):
    """One random crop to take: which pass over the data, which row, which of its crops."""

    epoch: int
    row: int
    crop: int


@dataclass(eq=False, kw_only=True)
class TrainingOrder(Sampler[Draw]):
    """Every crop of every image once per epoch, in an order drawn from (seed, epoch).

    A rank takes every world-size-th crop of it, so that together they see the batches that one process would. The
    order wraps where it does not divide evenly.
    """

    rows: Sequence[int]  # of the images that are drawn
    crops_per_image: int  # random crops of each image per epoch
    seed: int
    rank: int = 0
    world_size: int = 1
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.rows) * self.crops_per_image // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.rows) * self.crops_per_image)
        for place in np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]:
            image, crop = divmod(int(place), self.crops_per_image)
            yield Draw(self.epoch, self.rows[image], crop)


@dataclass(frozen=True)
class TrainingCrops(Dataset):
    """Random crops, mirrored left to right half of the time; a crop depends on (seed, draw) alone.

    The fraction `distorted` of them comes with its versions under each of two distortions and under both.
    """

    ratings: Ratings
    crop_size: int
    seed: int
    distorted: float = 0.0
    view: str = "crops"  # of the model

    def __getitem__(self, draw: Draw) -> TrainingItem:
        size, (mos, sets) = self.crop_size, self.columns
        pixels = pad_to(self.ratings.read(draw.row, view=self.view), size, size)
        random = np.random.default_rng((self.seed, *draw))
        top, left = random_corner(random, pixels.shape[0], pixels.shape[1], size)
        pixels = np.array(pixels[top : top + size, left : left + size])
        crop = torch.from_numpy(pixels)
        mirrored = crop.flip(1) if random.random() < 0.5 else crop  # 15 times as fast as numpy's reversed view
        item = TrainingItem(mirrored, mos[draw.row], sets[draw.row])
        return item._replace(**versions_of(mirrored, random)) if random.random() < self.distorted else item

    @cached_property
    def columns(self) -> tuple[list[float], list[int]]:
        """The rating of each image, and the index of its data set."""
        return self.ratings.table["mos"].astype(float).tolist(), set_indices(self.ratings)


def versions_of(crop: UInt8[Tensor, "crop crop 3"], random: np.random.Generator) -> dict[str, Any]:
    """A crop under one distortion, under another, and under both, which is worse than each alone.

    Two that may undo each other, such as noise and blur or brightening and darkening, are not combined.
    """
    pixels, seed = crop.numpy(), int(random.integers(2**31))
    first, second = (list(DISTORTIONS)[each] for each in random.choice(len(DISTORTIONS), 2, replace=False))
    one, other = ((name, int(random.integers(1, 1 + len(LEVELS)))) for name in (first, second))
    versions = [distort(pixels, *each, seed=seed) for each in (one, other)]
    orders = [(0, 1, fall(*one)), (0, 2, fall(*other))]
    kinds = {KIND_OF_DISTORTION[name] for name in (first, second)}
    if len(kinds) == 2 and not any(kinds <= undone for undone in UNDONE):
        versions.append(distort(versions[0], *other, seed=seed))
        orders += [(1, 3, fall(*other)), (2, 3, fall(*one))]
    return {"versions": [torch.from_numpy(each) for each in versions], "orders": orders}


@dataclass(frozen=True)
class EvaluationCrops(Dataset):
    """The views of each image over which its score is averaged; the same ones each time."""

    ratings: Ratings
    crop_size: int
    overlap: float = 0.0  # least fraction of a crop that its neighbour covers too, 0 to below 1
    view: str = "crops"  # as in `views_of`

    def __len__(self) -> int:
        return len(self.ratings)

    def __getitem__(self, row: int) -> tuple[Views, int]:
        pixels = self.ratings.read(row, view=self.view)
        return views_of(pixels, self.crop_size, view=self.view, overlap=self.overlap), row


def training_loader(dataset: Dataset, order: TrainingOrder, *, batch_size: int, num_workers: int) -> DataLoader:
    """Batches of random crops in the order drawn, for any number of workers; the last one may be smaller."""
    return DataLoader(dataset, batch_size, sampler=order, num_workers=num_workers, collate_fn=_training_batch)


def _training_batch(items: list[TrainingItem]) -> TrainingBatch:
    crops, mos, sets, *_ = zip(*items, strict=True)
    numbers = torch.tensor(mos, dtype=torch.float32), torch.tensor(sets)
    orders, made = list[tuple[int, int, float, int]](), list[Tensor]()
    for row, item in enumerate(items):
        places = [row, *range(len(items) + len(made), len(items) + len(made) + len(item.versions))]
        orders += [(places[better], places[worse], fall, item.set) for better, worse, fall in item.orders]
        made += item.versions
    if not made:
        return TrainingBatch(_stacked(crops), *numbers)
    pairs = DistortedCrops(_stacked(made), *map(torch.tensor, zip(*orders, strict=True)))
    return TrainingBatch(_stacked(crops), *numbers, pairs)


def _stacked(crops: Sequence[Tensor]) -> Tensor:
    """Crops as (batch, 3, height, width) in channels-last memory format; feature maps unchanged."""
    batch = torch.stack(list(crops))
    return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch


def evaluation_loader(
    dataset: Sized, *, num_workers: int, rank: int = 0, world_size: int = 1, images_at_once: int = IMAGES_AT_ONCE
) -> DataLoader:
    """Batches of whole images, every world-size-th one; none is repeated."""
    rows = range(rank, len(dataset), world_size)
    reader = cast(Dataset, dataset)  # which torch does not declare to have a length
    return DataLoader(reader, images_at_once, sampler=rows, num_workers=num_workers, collate_fn=_evaluation_batch)


def _evaluation_batch(items: list[tuple[Views | np.ndarray, int]]) -> EvaluationBatch:
    return EvaluationBatch([views for views, _ in items], [row for _, row in items])


def choose_workers(asked: int | None, ratings: Ratings, *, devices: int = 1) -> int:
    """Processes that read images: as set, none for images held in memory, else the spare cores."""
    if asked is not None:
        return asked
    in_memory = getattr(ratings.images, "in_memory", False)
    return 0 if in_memory else max(0, min(WORKERS_AT_MOST, cores() // devices - 1))
