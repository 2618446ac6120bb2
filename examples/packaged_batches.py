"""What a training step of the packaged model sees: rated photographs, distorted versions of them, sharp images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from packaged_images import RARELY_SEEN
from packaged_maps import Maps


@dataclass(frozen=True)
class Stage:
    """Steps with one kind of input: random windows of the stem's maps, or what the heads read of finished ones."""

    name: str
    steps: int
    backbone_rate: float  # 0 where the backbone is finished
    rate: float  # of the heads
    calibration_rate: float
    warmup: int  # steps
    late: int = 0  # steps before the backbone learns too
    window: int = 0  # cells of a side at stride 8
    rated: int = 24  # photographs a step
    pairs: int = 3  # photographs that come with two distorted versions
    contents: int = 3
    kinds: int = 2  # distortions of a content
    ladders: int = 2  # contents that come under one distortion at all five levels, or at four light ones


class Batch(NamedTuple):
    """Rows of a step: rated photographs, originals, their distorted versions in pairs, versions of sharp contents."""

    rated: list[int]
    originals: list[int]
    versions: list[int]
    sharp: list[int]


@dataclass
class Data:
    """Maps of those of `packaged_images.tables` that are trained on."""

    photographs: Maps
    sharp: Maps
    own: Maps

    def __post_init__(self) -> None:
        table = self.sharp.table
        kinds, names = pd.factorize(table["distortion"])
        self.kind, self.often = torch.tensor(kinds), np.array([2.0 if name in RARELY_SEEN else 1.0 for name in names])
        self.content = torch.tensor(pd.factorize(table["path"])[0])
        self.clean = torch.tensor((table["distortion"] == "").to_numpy())
        places = pd.Series(range(len(table))).groupby([self.content.numpy(), table["ladder"].to_numpy()])
        rows = {key: part.to_numpy(copy=True) for key, part in places}
        self.contents, self.ladders = ([rows[c, kind] for c in range(len(rows) // 2)] for kind in (False, True))
        versions = (np.array([len(rows) for rows in each]) for each in (self.contents, self.ladders))
        self.shares = [each / each.sum() for each in versions]  # a content is drawn as often as it has versions
        place = {path: row for row, path in enumerate(self.photographs.table["path"])}
        self.original = np.array([place[path] for path in self.own.table["path"]])

    def batch(self, step: int, seed: int, stage: Stage) -> tuple[Batch, np.random.Generator]:
        random, size = np.random.default_rng((seed, step)), min(stage.rated, len(self.photographs.table))
        epoch, place = divmod(step, len(self.photographs.table) // size)
        order = np.random.default_rng((seed, 7, epoch)).permutation(len(self.photographs.table))
        pairs = 2 * random.choice(len(self.own.table) // 2, min(stage.pairs, len(self.own.table) // 2), replace=False)
        sharp: list[int] = []
        count, (of_contents, of_ladders) = len(self.contents), self.shares
        for content in random.choice(count, min(stage.contents, count), replace=False, p=of_contents):
            rows = self.contents[content]
            clean = rows[self.clean[rows]][0]
            kinds = np.unique(self.kind[rows[rows != clean]])
            chosen = random.choice(
                kinds, min(stage.kinds, len(kinds)), replace=False, p=self.often[kinds] / self.often[kinds].sum()
            )
            sharp += [*(row for kind in chosen for row in rows if self.kind[row] == kind), clean]
        for content in random.choice(count, min(stage.ladders, count), replace=False, p=of_ladders):
            rows, undistorted = self.ladders[content], self.contents[content]
            kind = random.choice(np.unique(self.kind[rows]))
            sharp += [*rows[self.kind[rows] == kind], *undistorted[self.clean[undistorted]]]
        versions = [row for pair in pairs for row in (pair, pair + 1)]
        return Batch(list(order[place * size :][:size]), list(self.original[pairs]), versions, sharp), random
