"""Training of the heads alone: the backbone's maps are pooled, computed once and kept on disk.

The fusion and the local distortion vector read the finer three maps through average pools, which commute with 1x1
convolutions and sums, so the pools are enough. The mean of the coarsest map is not that of its 7x7 pool unless 7
divides its sides: of a crop the whole map is kept, of a whole image (`view` whole) that pool and the mean. So the heads
give the scores of the whole network, except for the rounding to 16 bits, and that the parts of an image above 1024
pixels weigh the same. `spatial` fusion gates the pools (`ModelConfig.gates_on_pools`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from fusiqa.config import DataSettings
from fusiqa.data.audit import Checked
from fusiqa.data.cache import Store, made_by, open_store
from fusiqa.data.loader import IMAGES_AT_ONCE, Draw, TrainingItem
from fusiqa.data.ratings import Split, set_indices
from fusiqa.errors import FusiqaError
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.fusion import GRID, averages, pool
from fusiqa.models.head import STAGES
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.scoring.image import Resize
from fusiqa.scoring.models import Outputs
from fusiqa.scoring.torch import TorchNetwork, in_float32, outputs
from fusiqa.scoring.views import OVERLAP
from fusiqa.training.fit import TrainingData
from fusiqa.training.predict import crops_of, run_on_crops, score_all
from fusiqa.training.recipe import Recipe

EXPANDED = 9  # the smallest side whose 7x7 pool leaves the mean free
LAYOUT = "packed maps 2"  # part of the cache key, to be changed with the layout of a row
CROPS_AT_ONCE = 256  # through the heads
PACKED_IMAGES_AT_ONCE = 64  # whose maps are in memory


def grids(channels: Sequence[int], numbers: int) -> list[tuple[int, int]]:
    """(channels, cells on a side) of each map in a row of so many numbers, in the order in which they are packed.

    The pools of the finer three come first, then those for the local distortion vector, and last the coarsest map,
    whose square is whatever is left: crops are square. Of whole images that is 7x7 cells and the mean.

    Example:
        >>> grids([2, 3, 5, 7], 2 * 49 + 3 * 49 + 5 * 49 + 2 * 64 + 3 * 16 + 5 * 4 + 7 * 9)
        [(2, 7), (3, 7), (5, 7), (2, 8), (3, 4), (5, 2), (7, 3)]
    """
    finer = channels[:-1]
    pooled = [*((into, GRID) for into in finer), *((into, grid) for into, (_, grid) in zip(finer, STAGES, strict=True))]
    left = numbers - sum(into * side**2 for into, side in pooled)
    return [*pooled, (channels[-1], math.isqrt(left // channels[-1]))]


@torch.no_grad()
def pack(model: QualityModel, crops: UInt8[Tensor, "batch 3 height width"]) -> Float16[Tensor, "batch numbers"]:
    """Run the backbone, in evaluation mode, and pool its maps: a row for each crop or whole image."""
    *finer, coarsest = model.pyramid(to_unit_range(crops))
    local = [F.adaptive_avg_pool2d(m, grid) for m, (_, grid) in zip(finer, STAGES, strict=True)]
    if model.config.view == "whole":
        coarsest = torch.cat([pool(coarsest).flatten(2), coarsest.mean(dim=(2, 3)).unsqueeze(2)], dim=2)
    return torch.cat([m.flatten(1) for m in [*map(pool, finer), *local, coarsest]], dim=1).half()


def score_packed(model: QualityModel, packed: Float[Tensor, "batch numbers"]) -> Prediction:
    """The scores of rows of `pack` from the same backbone, which is not run; float32."""
    *shapes, (last, side) = grids(model.pyramid.channels, packed.shape[1])
    *parts, rest = packed.float().tensor_split(np.cumsum([into * side**2 for into, side in shapes]).tolist(), dim=1)
    pools = [part.unflatten(1, (into, side, side)) for part, (into, side) in zip(parts, shapes, strict=True)]
    coarsest = rest.unflatten(1, (last, -1))
    if model.config.view == "whole":
        with in_float32(coarsest.device):  # in 16 bits its errors would be 30 times as large
            coarsest, side = coarsest @ expansion().to(coarsest.device), EXPANDED
    coarsest, finer = coarsest.unflatten(2, (side, side)), len(STAGES)
    return model.score_features([*pools[:finer], coarsest], [*pools[finer:], coarsest])


@cache
def expansion() -> Float[Tensor, "kept cells"]:
    """The matrix from a 7x7 pool and a mean, 50 numbers, to the 9x9 map of least norm that has both."""
    side = averages(EXPANDED, GRID).double()
    both = torch.cat([torch.kron(side, side), torch.full((1, EXPANDED**2), EXPANDED**-2.0, dtype=torch.float64)])
    return torch.linalg.pinv(both).T.float()


class Heads(TorchNetwork):
    """The heads of a model as a `Network` whose views are packed maps."""

    def __call__(self, views: Float16[np.ndarray, "views numbers"]) -> Outputs:
        with torch.inference_mode(), in_float32(self.device):
            prediction = score_packed(self.model, torch.from_numpy(views).to(self.device))
        return outputs(prediction)

    def at_once(self, shape: tuple[int, ...]) -> int:
        return CROPS_AT_ONCE


@dataclass(frozen=True)
class PackedImages(Dataset):
    """The packed maps of each image's crops, by its row."""

    keys: list[str]  # in the store, by row
    store: Store
    spare: dict[int, np.ndarray] = field(default_factory=dict)  # those that the store had no room for

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> tuple[Float16[np.ndarray, "crops numbers"], int]:
        found = self.spare[row] if row in self.spare else self.store.get(self.keys[row])
        if found is None:
            path = self.store.path(self.keys[row])
            raise FusiqaError(f"{path} was removed or damaged while it was in use; run the same command again")
        return found, row


@dataclass(frozen=True)
class PackedCrops(Dataset):
    """The maps of one of an image's crops, drawn from (seed, draw) alone, and the image's rating."""

    images: PackedImages
    mos: list[float]
    sets: list[int]  # indices of the images' data sets
    seed: int

    def __getitem__(self, draw: Draw) -> TrainingItem:
        maps, _ = self.images[draw.row]
        crop = np.random.default_rng((self.seed, *draw)).integers(len(maps))
        return TrainingItem(torch.from_numpy(np.array(maps[crop])), self.mos[draw.row], self.sets[draw.row])


def pack_images(
    model: QualityModel, checked: Checked, split: Split, overlap: float,
    store: Store, data: DataSettings, recipe: Recipe,
) -> PackedImages:  # fmt: skip
    """The packed maps of the crops that cover each image of a split, from the store or computed."""
    ratings, config = checked.ratings.part(split), model.config
    images = ratings.table["image"].tolist()
    parts = "whole images" if config.view == "whole" else f"crop {config.crop_size} overlap {overlap:.3f}"
    packed_by = f"{LAYOUT} {parts} backbone {backbone_fingerprint(model)}"
    resized = [made_by(Resize.parse(resize, view=config.view)) for resize in ratings.resizes]
    sized = zip(images, resized, strict=True)
    keys = [f"{checked.contents[image]} resize {resize} {packed_by}" for image, resize in sized]
    packed = PackedImages(keys, store)
    # Also where nothing is missing, because the layout affects how the heads round:
    model.eval().to(recipe.device).to(memory_format=torch.channels_last)
    with store.alone(packed_by):  # otherwise runs that start together would all compute the same maps
        store.touch(packed.keys)
        # With all that shared a batch with them, as the last bits of a map depend on what else was computed with it:
        batches = {row // IMAGES_AT_ONCE for row, key in enumerate(packed.keys) if store.get(key) is None}
        missing = [row for row in range(len(images)) if row // IMAGES_AT_ONCE in batches]
        if missing:
            there = set(images) - {images[row] for row in missing}
            crops = crops_of(model, ratings.without(sorted(there)), overlap=overlap)
            shown: dict[str, Any] = {"what": f"maps of {ratings.name}", "progress": recipe.run.progress}
            for place, _, maps in run_on_crops(
                model, crops, partial(pack, model), num_workers=data.num_workers, **shown
            ):
                row = missing[place]
                if not store.put(packed.keys[row], maps.numpy()):
                    packed.spare[row] = maps.numpy().copy()
    return packed


def backbone_fingerprint(model: QualityModel) -> str:
    """16 hex digits of the SHA-256 of the backbone's weights and normalisation."""
    digest = hashlib.sha256(f"{model.config.backbone} {model.config.timm_args}".encode())
    for name, tensor in sorted(model.pyramid.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def frozen_backbone(model: QualityModel, checked: Checked, data: DataSettings, recipe: Recipe) -> TrainingData:
    """Maps of the fewest crops that cover an image, or of all of it, for training the heads; tests overlap crops."""
    ratings, store = checked.ratings, open_store(data.cache_dir, data.cache_gb)
    validation, train = (pack_images(model, checked, s, 0.0, store, data, recipe) for s in ("validation", "train"))
    learned = ratings.part("train")
    model.train().pyramid.requires_grad_(False)
    reading: dict[str, Any] = {"num_workers": 0, "images_at_once": PACKED_IMAGES_AT_ONCE}

    def predict_test(trained: QualityModel) -> pd.DataFrame:
        packed = pack_images(model, checked, "test", OVERLAP, store, data, recipe)
        return score_all(Heads(trained.eval()), packed, ratings.part("test"), progress=False, **reading)

    return TrainingData(
        ratings=ratings,
        training=PackedCrops(train, learned.table["mos"].tolist(), set_indices(learned), recipe.run.seed),
        validation=validation,
        predict=partial(score_packed, model),
        network=Heads(model),
        predict_test=predict_test,
        **reading,
    )
