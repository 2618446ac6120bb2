"""The packaged model while it learns: its stem, which stays as ImageNet left it, in files; and the part that learns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from packaged_images import opinion, pixels_of
from torch import Tensor, nn
from torch.nn import functional as F

from fusiqa.models.fusion import pool
from fusiqa.models.head import statistics, target_network
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.image import Resize
from fusiqa.scoring.views import views_of
from fusiqa.training.depthwise import fast_depthwise
from fusiqa.training.recipe import choose_precision

SIDE = 64  # cells of a stored map at stride 8
RESIZE = "max512"


class Network(nn.Module):
    """A `QualityModel` in two parts: a stem that is kept as it is, and the tail and head that learn."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__()
        self.model, self.body = model, model.pyramid.body
        self.tail = nn.ModuleList(self.body.blocks[3:]).to(memory_format=torch.channels_last)
        self.heads = nn.ModuleList([model.fusion, model.distortion, model.hypernetwork])
        model.requires_grad_(False)
        self.tail.requires_grad_(True)
        self.heads.requires_grad_(True)

    @torch.no_grad()
    def stem(self, pixels: np.ndarray) -> tuple[Tensor, Tensor]:
        """The maps at stride 4 and 8 of an image whose sides are multiples of 32."""
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        x = self.body.bn1(self.body.conv_stem((image - self.model.pyramid.mean) / self.model.pyramid.std))
        fine = self.body.blocks[1](self.body.blocks[0](x))
        return fine[0], self.body.blocks[2](fine)[0]

    def forward(self, fine: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Scores on 0-1 from the pools of the first map on 7x7 and 8x8 cells, and the second map."""
        maps = self.deeper(coarse)
        seven, eight = fine
        weights = self.model.hypernetwork(self.model.fusion([seven, *maps]).map)
        vector = self.model.distortion([eight, *maps])
        return target_network(vector, weights, dropout=self.model.config.dropout, training=self.training)

    def deeper(self, coarse: Tensor) -> list[Tensor]:
        """The maps at stride 8, which is given, 16 and 32."""
        precision = choose_precision("auto", "cpu", frozen=False) if self.training else "32"
        with fast_depthwise("cpu", precision), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            x = self.tail[1](self.tail[0](coarse.contiguous(memory_format=torch.channels_last)))
            return [coarse, x.float(), self.tail[3](self.tail[2](x)).float()]

    def pooled(self, seven: Tensor, eight: Tensor, coarse: Tensor) -> Tensor:
        """What the heads read of the maps of one image, in the order of `fusiqa.training.frozen.pack`; 16 bits."""
        *middle, last = self.deeper(coarse[None])
        local = [F.adaptive_avg_pool2d(m, grid) for m, grid in zip(middle, (4, 2), strict=True)]
        ends = torch.cat([pool(last).flatten(2), last.mean(dim=(2, 3)).unsqueeze(2)], dim=2)
        return torch.cat([m.flatten() for m in (seven, *map(pool, middle), eight, *local, ends)]).half()

    def train(self, mode: bool = True) -> Network:
        """The statistics of batch normalisation stay those of ImageNet."""
        super().train(mode)
        self.body.eval()
        return self


class Maps:
    """The stem's maps of rows of images, in a folder; what is missing is computed.

    Of each row: the map at stride 8, the map at stride 4 averaged to stride 16, and of the latter the exact pools, and
    mean and standard deviation of every channel.
    """

    def __init__(self, name: str, table: pd.DataFrame, network: Network, work: Path, *, seed: int = 0) -> None:
        self.table = table.reset_index(drop=True)
        self.labels = torch.tensor(
            table["mos"].to_numpy() if "mos" in table and not table["distortion"].any()
            else [opinion(*pair) for pair in zip(table["distortion"], table["level"], strict=True)],
            dtype=torch.float32,
        )  # fmt: skip
        self.channels = network.model.pyramid.channels[:2]
        fine, coarse = self.channels
        sizes = {
            "coarse": coarse * SIDE**2,
            "fine": fine * SIDE**2 // 4,
            "pools": fine * (49 + 64),
            "spread": 2 * fine,
            "cells": 2,
        }
        (work / "maps").mkdir(parents=True, exist_ok=True)
        files = {part: work / "maps" / f"{name}.{part}.npy" for part in sizes}
        made = {part: file.exists() for part, file in files.items()}
        self.parts = {
            part: np.lib.format.open_memmap(
                files[part], "r+" if made[part] else "w+", np.int16 if part == "cells" else np.float16,
                None if made[part] else (len(table), size),
            )
            for part, size in sizes.items()
        }  # fmt: skip
        for row in np.flatnonzero(self.parts["cells"][:, 0] == 0):
            self._compute(int(row), network, np.random.default_rng((seed, int(row))))
            if row % 200 == 0:
                print(f"maps of {name}: {row} of {len(table)}", time.strftime("%H:%M:%S"), flush=True)

    def _compute(self, row: int, network: Network, random: np.random.Generator) -> None:
        entry = self.table.loc[row].to_dict()
        pixels = pixels_of(entry, seed=int(random.integers(2**31)) if entry["distortion"] else 0)
        (pixels,) = views_of(Resize.parse(RESIZE, view="whole").apply(pixels), 32, view="whole")
        fine, coarse = network.stem(pixels)
        height, width = coarse.shape[1:]
        if height * width > SIDE**2:  # a window of it, without a border of its own
            size = min(height, SIDE) // 4 * 4, min(width, SIDE) // 4 * 4
            top, left = (
                int(random.integers((s - part) // 4 + 1)) * 4 for s, part in zip((height, width), size, strict=True)
            )
            coarse = coarse[:, top : top + size[0], left : left + size[1]]
            fine = fine[:, 2 * top : 2 * (top + size[0]), 2 * left : 2 * (left + size[1])]
            height, width = size
        pools = [F.adaptive_avg_pool2d(fine, grid).flatten() for grid in (7, 8)]
        thin = F.avg_pool2d(fine, 4)
        self.parts["coarse"][row, : coarse.numel()] = coarse.flatten().numpy()
        self.parts["fine"][row, : thin.numel()] = thin.flatten().numpy()
        self.parts["pools"][row] = torch.cat(pools).numpy()
        self.parts["spread"][row] = statistics([fine[None]])[0].numpy()
        self.parts["cells"][row] = height, width

    def whole(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pools of the first map on 7x7 and 8x8 cells, and the second map."""
        height, width = (int(side) for side in self.parts["cells"][row])
        fine, coarse = self.channels
        stored = torch.from_numpy(self.parts["coarse"][row][: coarse * height * width].astype(np.float32))
        pools = torch.from_numpy(self.parts["pools"][row].astype(np.float32))
        seven, eight = pools[: fine * 49].view(fine, 7, 7), pools[fine * 49 :].view(fine, 8, 8)
        return seven, eight, stored.view(coarse, height, width)

    def statistics(self, row: int, network: Network) -> Tensor:
        """What the flaw head reads, of the trained network."""
        maps = network.deeper(self.whole(row)[2][None])
        first = torch.from_numpy(self.parts["spread"][row].astype(np.float32)).chunk(2)
        others = statistics(maps)[0].chunk(2)
        return torch.cat([first[0], others[0], first[1], others[1]])

    @property
    def rows(self) -> range:
        return range(len(self.table))

    def window(self, row: int, random: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        """A random square of the first map, averaged to stride 16, and of the second; mirrored half of the time."""
        height, width = (int(side) for side in self.parts["cells"][row])
        fine, coarse = self.channels
        rows, columns = (min(size, side // 4 * 4) for side in (height, width))
        top, left = (int(random.integers((s - part) // 2 + 1)) * 2 for s, part in ((height, rows), (width, columns)))
        second = self.parts["coarse"][row][: coarse * height * width].reshape(coarse, height, width)
        first = self.parts["fine"][row][: fine * height * width // 4].reshape(fine, height // 2, width // 2)
        second = second[:, top : top + rows, left : left + columns]
        first = first[:, top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2]
        missing = [(0, 0), (0, size - rows), (0, size - columns)]
        second = np.pad(second, missing, mode="symmetric")
        first = np.pad(first, [(0, after // 2) for _, after in missing], mode="symmetric")
        fine_map, coarse_map = (torch.from_numpy(each.astype(np.float32)) for each in (first, second))
        return (fine_map.flip(2), coarse_map.flip(2)) if random.random() < 0.5 else (fine_map, coarse_map)
