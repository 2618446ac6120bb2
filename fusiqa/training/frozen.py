"""Training of the heads alone: the backbone's maps are pooled, computed once and kept on disk.

With a frozen backbone the maps of a crop are always the same. What the fusion and the local distortion vector make of
the finer three goes through average pools, which commute with 1x1 convolutions and sums; so their pools are enough. The
coarsest map is kept as it is, because its mean is not that of its 7x7 pool unless 7 divides its sides, or it has that
size. So the heads give the scores that the whole network gives, but for the rounding of 16-bit floats. `spatial` fusion
gates before it pools, and is trained on a frozen backbone as a network that gates the pooled maps
(`ModelConfig.gates_on_pools`), which is then what is saved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from fusiqa.config import RunSettings
from fusiqa.data.cache import Store
from fusiqa.data.loader import (
    Draw,
    EvaluationCrops,
    TrainingOrder,
    choose_workers,
    evaluation_loader,
    training_loader,
)
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.models.crops import PIXELS_AT_ONCE, to_unit_range
from fusiqa.models.fusion import GRID, pool
from fusiqa.models.head import STAGES
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import Resize
from fusiqa.scoring.scorer import score_views
from fusiqa.scoring.torch import TorchNetwork, in_float32
from fusiqa.training.fit import LAST_FILE, SaveBest, Say, create_trainer, run_trainer
from fusiqa.training.module import QualityModule
from fusiqa.training.predict import empty_table, fill
from fusiqa.training.recipe import Recipe

LAYOUT = "packed maps 2"  # what rows are kept under: another layout of the same length would be taken for this one
CROPS_AT_ONCE = 256  # through the heads
IMAGES_AT_ONCE = 64  # whose maps are in memory

Packed = Float[Tensor, "batch numbers"]
"""The pooled maps of a batch of crops, one row each."""

# --- pooled maps of crops --------------------------------------------------------------------------------------------


def grids(channels: Sequence[int], numbers: int) -> list[tuple[int, int]]:
    """(channels, cells on a side) of each map in a row of so many numbers, in the order in which they are packed.

    The pools of the finer three come first, then those for the local distortion vector, and last the coarsest map,
    whose square is whatever is left: crops are square.

    Example:
        >>> grids([2, 3, 5, 7], 2 * 49 + 3 * 49 + 5 * 49 + 2 * 64 + 3 * 16 + 5 * 4 + 7 * 9)
        [(2, 7), (3, 7), (5, 7), (2, 8), (3, 4), (5, 2), (7, 3)]
    """
    finer = channels[:-1]
    pooled = [*((into, GRID) for into in finer), *((into, grid) for into, (_, grid) in zip(finer, STAGES, strict=True))]
    left = numbers - sum(into * side**2 for into, side in pooled)
    return [*pooled, (channels[-1], math.isqrt(left // channels[-1]))]


@torch.no_grad()
def pack(model: QualityModel, crops: UInt8[Tensor, "batch 3 height width"]) -> Packed:
    """Run the backbone, in evaluation mode, and pool its maps: float16, (crops, numbers); crops are square."""
    *finer, coarsest = model.pyramid(to_unit_range(crops))
    local = [F.adaptive_avg_pool2d(m, grid) for m, (_, grid) in zip(finer, STAGES, strict=True)]
    return torch.cat([m.flatten(1) for m in [*map(pool, finer), *local, coarsest]], dim=1).half()


def score_packed(model: QualityModel, packed: Packed) -> Prediction:
    """The scores of packed crops; float32, the backbone is not run.

    Args:
        model: in training or evaluation mode.
        packed: rows of `pack`, from the same backbone.
    """
    shapes = grids(model.pyramid.channels, packed.shape[1])
    parts = packed.float().split([into * side**2 for into, side in shapes], dim=1)
    *pools, coarsest = [part.unflatten(1, (into, side, side)) for part, (into, side) in zip(parts, shapes, strict=True)]
    finer = len(STAGES)
    return model.score_features([*pools[:finer], coarsest], [*pools[finer:], coarsest])


class Heads(TorchNetwork):
    """The heads of a model as a `Network` whose views are packed maps."""

    def __call__(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        with torch.inference_mode(), in_float32(self.device):
            score, weights = score_packed(self.model, torch.from_numpy(views).to(self.device))
        return score.double().cpu().numpy(), None if weights is None else weights.double().cpu().numpy()

    def at_once(self, shape: tuple[int, ...]) -> int:
        return CROPS_AT_ONCE


# --- maps of images, kept on disk ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackedImages(Dataset):
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

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        """The maps of a row, and the row. Raises FusiqaError where they are no longer in the store."""
        found = self.spare[row] if row in self.spare else self.store.get(self.keys[row])
        if found is None:
            path = self.store.path(self.keys[row])
            raise FusiqaError(f"{path} was removed or damaged while it was in use; run the same command again")
        return found, row


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


def predict_packed(model: QualityModel, packed: PackedImages, ratings: Ratings) -> pd.DataFrame:
    """As `predict` of whole images, from their packed maps: image, mos, score, scale_0 .. scale_3."""
    heads, table = Heads(model.eval()), empty_table(ratings)
    for batch in evaluation_loader(packed, num_workers=0, images_at_once=IMAGES_AT_ONCE):
        fill(table, batch.rows, score_views(heads, batch.views))
    return table


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackedCrops(Dataset):
    """The maps of one of an image's crops, drawn from (seed, draw) alone, and the image's rating."""

    images: PackedImages
    mos: np.ndarray
    seed: int

    def __getitem__(self, draw: Draw) -> tuple[Tensor, float]:
        maps, _ = self.images[draw.row]
        crop = np.random.default_rng((self.seed, *draw)).integers(len(maps))
        return torch.from_numpy(np.array(maps[crop])), float(self.mos[draw.row])


def fit_heads(
    model: QualityModel,
    training: PackedImages,
    validation: PackedImages,
    ratings: Ratings,
    recipe: Recipe,
    run: RunSettings,
    *,
    run_dir: Path,
    save_best: SaveBest,
    say: Say = lambda _: None,
) -> None:
    """Train everything but the backbone, as `fit` trains the whole network; each epoch takes random crops' maps.

    Args:
        model: trained in place.
        training: maps of the training images.
        validation: maps of the validation images.
        ratings: with a train and a validation split.
        recipe: learning rates, device and precision.
        run: seed, whether to resume.
        run_dir: where history.csv and last.ckpt go.
        save_best: called after each epoch that is better than all before.
        say: receives each epoch's figures.

    Raises:
        FusiqaError: several processes, or a training state that cannot be read.
    """
    if (run.num_devices or 1) * run.num_nodes > 1:
        raise FusiqaError("`freeze_backbone` trains in one process: leave out `num_devices` and `num_nodes`")
    model.train().pyramid.requires_grad_(False)
    mos, optimiser = ratings.part("train").table["mos"].to_numpy(float), recipe.optimiser
    order = TrainingOrder(images=len(training), crops_per_image=optimiser.crops_per_image, seed=run.seed)
    module = QualityModule(
        model,
        recipe,
        seed=run.seed,
        validation_mos=ratings.part("validation").table["mos"].to_numpy(float),
        crops_per_epoch=len(order),
        predict=lambda packed: score_packed(model, packed),
        network=Heads(model),
    )
    crops = PackedCrops(training, mos, run.seed)
    run_trainer(
        create_trainer(model, recipe, run, run_dir, save_best, say),
        module,
        training_loader(crops, order, batch_size=optimiser.batch_size, num_workers=0),
        evaluation_loader(validation, num_workers=0, images_at_once=IMAGES_AT_ONCE),
        resume_from=run_dir / LAST_FILE if run.resume else None,
    )
