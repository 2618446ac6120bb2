"""A run with a frozen backbone: its maps are computed once and kept, and the heads train on them in a minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fusiqa.config import TrainConfig
from fusiqa.data.cache import open_store
from fusiqa.data.ratings import Split
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.runs.notices import Say
from fusiqa.runs.prepare import Prepared
from fusiqa.scoring.image import OVERLAP
from fusiqa.scoring.torch import choose_device
from fusiqa.training.heads import fit_heads
from fusiqa.training.packed_images import PackedImages, pack_images, predict_packed

SaveBest = Callable[[QualityModel, dict[str, float]], None]
PredictTest = Callable[[QualityModel], pd.DataFrame]


def fit_frozen(
    model: QualityModel,
    prepared: Prepared,
    config: TrainConfig,
    run_dir: Path,
    save_best: SaveBest,
    say: Say,
) -> PredictTest:
    """Train the heads alone; what predicts the test split then.

    Training and validation take the fewest crops that cover an image, the test the overlapping ones, as ever.

    Raises:
        FusiqaError: several processes.
    """
    if (config.run.num_devices or 1) * config.run.num_nodes > 1:
        raise FusiqaError("`freeze_backbone` trains in one process: leave out `num_devices` and `num_nodes`")
    store = open_store(config.data.cache_dir, config.data.cache_gb)
    device = choose_device(config.run.device)

    def packed(split: Split, overlap: float) -> PackedImages:
        return pack_images(
            model,
            prepared.ratings.part(split),
            prepared.checked.contents,
            prepared.resize,
            store,
            overlap=overlap,
            device=device,
            num_workers=config.data.num_workers,
            progress=config.run.progress,
        )

    training, validation = prepared.ratings.part("train"), prepared.ratings.part("validation")
    validation_maps = packed("validation", 0.0)
    fit_heads(
        model,
        packed("train", 0.0),
        training.table["mos"].to_numpy(float),
        config,
        validate=lambda: predict_packed(model, validation_maps, validation),
        run_dir=run_dir,
        save_best=save_best,
        say=say,
    )
    test_ratings = prepared.ratings.part("test")
    return lambda trained: predict_packed(trained, packed("test", OVERLAP), test_ratings)
