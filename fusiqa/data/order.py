"""Which crop of which image comes when in an epoch: drawn from the seed alone. It opens no image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

Rows = Int32[np.ndarray, "draws"]
Crops = Int32[np.ndarray, "draws"]
WAITING_BYTES = 256 * 2**20
"""Memory that crops may take while they wait for their batch, bytes, per training process."""


class Draw(NamedTuple):
    """One random crop to take: which pass over the data, which row, which of its crops."""

    epoch: int
    row: int
    crop: int


def mixing_window(*, crops_per_image: int, crop_size: int) -> int:
    """Images over which the crops of one are spread, so that all crops of a window fit into `WAITING_BYTES`.

    One crop an image needs no mixing: the window is 1.

    Example:
        >>> mixing_window(crops_per_image=20, crop_size=224)
        89
    """
    if crops_per_image == 1:
        return 1
    return max(2, WAITING_BYTES // (3 * crop_size**2 * crops_per_image))


class TrainingOrder:
    """Every crop of every image once per epoch, in an order drawn from (seed, epoch), shared out among ranks.

    The images are shuffled, and each one's crops are spread evenly over the window of images that follow it:
    an image is then decoded once an epoch, and a batch still holds crops of many. All ranks draw the same order and
    take every world-size-th crop of it, so that together they see the batches that one process would. The order wraps
    where it does not divide evenly.

    Args:
        images: number of rows.
        crops_per_image: random crops of each image per epoch.
        seed: of the order.
        window: images over which the crops of one are spread (`mixing_window`).
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, *, images: int, crops_per_image: int, seed: int, window: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.images = images
        self.crops_per_image = crops_per_image
        self.seed = seed
        self.window = window
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.images * self.crops_per_image // self.world_size)

    def arrays(self) -> tuple[Rows, Crops]:
        """The rows and the crops of this rank's draws, in order: integers, (draws,) each."""
        random = np.random.default_rng((self.seed, self.epoch))
        places = np.repeat(np.arange(self.images, dtype=np.int32), self.crops_per_image)
        rows = random.permutation(self.images).astype(np.int32)[places]
        crops = np.tile(np.arange(self.crops_per_image, dtype=np.int32), self.images)
        order = np.argsort(places + self.window * random.random(len(places))) if self.window > 1 else places.argsort()
        mine = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        return rows[mine], crops[mine]

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(self.epoch, int(row), int(crop)) for row, crop in zip(*self.arrays(), strict=True))
