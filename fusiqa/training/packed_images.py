"""The pooled maps of images under a backbone that does not change: computed once, kept, and scored by heads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from fusiqa.data.loader import EvaluationCrops, choose_workers, evaluation_loader
from fusiqa.data.ratings import Ratings
from fusiqa.data.store import Store
from fusiqa.errors import FusiqaError
from fusiqa.models.crops import PIXELS_AT_ONCE
from fusiqa.models.quality import QualityModel
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import Resize
from fusiqa.scoring.scorer import score_views
from fusiqa.training.packed_maps import LAYOUT, judge_packed, pack
from fusiqa.training.predict import empty_table, fill

CROPS_AT_ONCE = 256  # through the heads
IMAGES_AT_ONCE = 64  # whose maps are in memory


@dataclass(frozen=True)
class PackedImages:
    """The packed maps of each image's crops, by its row: float16, (crops, numbers).

    Attributes:
        keys: what each row is stored under.
        store: where they lie.
        spare: those that the store had no room for, held in memory.
    """

    keys: list[str]
    store: Store
    spare: dict[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> np.ndarray:
        """The maps of a row. Raises FusiqaError where they are no longer in the store."""
        if row in self.spare:
            return self.spare[row]
        found = self.store.get(self.keys[row])
        if found is None:
            raise FusiqaError(
                f"{self.store.path(self.keys[row])} was taken away or damaged while it was in use: give the command "
                "again, which computes it anew"
            )
        return found


def pack_images(
    model: QualityModel,
    ratings: Ratings,
    contents: Mapping[str, str],
    resize: Resize,
    store: Store,
    *,
    overlap: float,
    device: torch.device,
    num_workers: int | None,
    progress: bool,
) -> PackedImages:
    """The packed maps of every image's covering crops; what the store holds whole is not computed again.

    Args:
        model: whose backbone is run.
        ratings: the images.
        contents: SHA-256 (hex) of each image's content.
        resize: the resize protocol.
        store: where the maps are kept.
        overlap: of neighbouring crops, 0 to below 1.
        device: that runs the backbone.
        num_workers: processes that read images; chosen by default.
        progress: show a bar on standard error.
    """
    size = model.config.crop_size
    made_by = f"{LAYOUT} resize {resize} crop {size} overlap {overlap:.3f} backbone {backbone_fingerprint(model)}"
    images = ratings.table["image"].tolist()
    packed = PackedImages([f"{contents[image]} {made_by}" for image in images], store)
    model.eval().to(device).to(memory_format=torch.channels_last)  # also where nothing is missing: heads round by it
    with store.alone(made_by):  # runs that start together would else all compute the same maps
        store.touch(packed.keys)
        missing = [row for row, key in enumerate(packed.keys) if store.get(key) is None]
        if missing:
            there = set(range(len(images))) - set(missing)
            crops = EvaluationCrops(ratings.without([images[row] for row in there]), resize, size, overlap)
            for place, maps in run_backbone(model, crops, num_workers=num_workers, progress=progress):
                row = missing[place]
                if not store.put(packed.keys[row], maps):
                    packed.spare[row] = maps.copy()
    return packed


def run_backbone(
    model: QualityModel, crops: EvaluationCrops, *, num_workers: int | None, progress: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """The row of each image, and the packed maps of its crops: float16, (crops, numbers)."""
    ratings = crops.ratings
    device = next(model.parameters()).device
    at_once = max(1, PIXELS_AT_ONCE[device.type] // model.config.crop_size**2)
    with progress_bar(what=f"maps of {ratings.name}", total=len(ratings), shown=progress) as bar:
        for batch in evaluation_loader(crops, num_workers=choose_workers(num_workers, ratings)):
            chunks = [pack(model, chunk.to(device)).cpu() for chunk in batch.crops.split(at_once)]
            for row, maps in zip(batch.rows, torch.cat(chunks).split(batch.counts), strict=True):
                yield row, maps.numpy()
            bar.update(len(batch.rows))


def backbone_fingerprint(model: QualityModel) -> str:
    """16 hex digits of the backbone's weights and of the numbers that it normalises by."""
    digest = hashlib.sha256(f"{model.config.backbone} {model.config.timm_args}".encode())
    for name, tensor in sorted(model.pyramid.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Heads:
    """The heads of a model as a `Network` whose views are packed maps."""

    model: QualityModel

    @torch.no_grad()
    def __call__(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        device = next(self.model.hypernetwork.parameters()).device
        score, weights = judge_packed(self.model, torch.from_numpy(packed).to(device))
        return score.double().cpu().numpy(), None if weights is None else weights.double().cpu().numpy()

    def at_once(self, shape: tuple[int, ...]) -> int:
        return CROPS_AT_ONCE


def predict_packed(model: QualityModel, packed: PackedImages, ratings: Ratings) -> pd.DataFrame:
    """As `predict` of whole images, from their packed maps: image, mos, score, scale_0 .. scale_3."""
    heads, table = Heads(model.eval()), empty_table(ratings)
    for first in range(0, len(packed), IMAGES_AT_ONCE):
        rows = range(first, min(first + IMAGES_AT_ONCE, len(packed)))
        fill(table, rows, score_views(heads, [packed[row] for row in rows]))
    return table
