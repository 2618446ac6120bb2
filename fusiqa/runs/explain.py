"""Explain a model over images or a data set: `fusiqa attention`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.config import AttentionConfig
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import SYNTHETIC
from fusiqa.data.distorted import PRISTINE, SEPARATOR, distorted
from fusiqa.data.folder import read_images
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.groups import BARS_FILE, explain_to, with_quality_bands
from fusiqa.explain.scale_weights import collapse, weights_of
from fusiqa.explain.shifts import readable, scale_shifts
from fusiqa.io import to_markdown, write_csv
from fusiqa.models.checkpoint import TrainedModel, load_checkpoint
from fusiqa.runs.attention_maps import draw_maps, draw_matrices
from fusiqa.runs.every_distortion import SHIFTS_FILE, explain_every_distortion
from fusiqa.runs.groups import with_groups
from fusiqa.runs.notices import Say, usable
from fusiqa.runs.own_data import is_own, is_table, own_part
from fusiqa.runs.run_folder import folder_of
from fusiqa.scoring.image import Resize
from fusiqa.training.predict import predict

DEFAULT_FOLDER = "attention"


def explain(config: AttentionConfig, *, say: Say = print) -> Path:
    """Score the images, group them, and write figures and tables of their scale weights.

    Returns:
        The folder with attention_distribution.png, attention_heatmap.png, scale_weights.csv and
        scale_weights_by_group.csv, or with what `explain_every_distortion` writes; for `spatial` fusion with
        attention_maps.png, for `cross-scale` with attention_matrix.png and attention_matrix.csv.

    Raises:
        FusiqaError: a model that does not weigh its scales, nothing to explain it on, or images that cannot be
            used (unreadable ones among others are left out with a notice).
    """
    trained = load_checkpoint(config.model)
    if trained.model.config.fusion in ("single", "concat"):
        raise FusiqaError(
            f"{config.model} fuses by {trained.model.config.fusion}, which does not weigh its scales; "
            "train with --attention_fusion to explain scores by scale"
        )
    ratings, resize = choose_ratings(config, trained, say)
    folder = config.output or folder_of(config.model) / DEFAULT_FOLDER
    if trained.model.config.fusion == "spatial":
        draw_maps(folder, trained, ratings, resize=resize)
    if config.groups == "every-distortion":
        explain_every_distortion(folder, trained, ratings, config, resize=resize, say=say)
        say(f"written to {folder} ({SHIFTS_FILE} and others)")
        return folder
    explain_groups(folder, trained, ratings, config, resize=resize, say=say)
    say(f"written to {folder} ({BARS_FILE} and others)")
    return folder


def explain_groups(
    folder: Path, trained: TrainedModel, ratings: Ratings, config: AttentionConfig, *, resize: str, say: Say
) -> None:
    """Score the images, made into the seed's four groups where that was asked, and write what each group uses."""
    folder.mkdir(parents=True, exist_ok=True)  # one that cannot be made is known before anything is computed
    make = config.groups == "make" or (config.groups == "auto" and bool(config.images))
    if make:
        ratings = distorted(ratings, resize=Resize.parse(resize), level=config.level, seed=config.seed)
        resize = "none"
    table = predict(trained, ratings, resize=resize, progress=config.progress)
    table = grouped(table, ratings.name, config, made=make)
    title = f"Scale weights of {len(table):,} images ({ratings.name})"
    summary = explain_to(folder, table, scale_sizes=trained.model.pyramid.scale_sizes(), title=title)
    say(to_markdown(by_scale(summary)))
    collapsed = collapse(weights_of(table))
    if collapsed:
        say(f"warning: {collapsed}")
    if make:
        say(compare_with_pristine(table, folder))
    if trained.model.config.fusion == "cross-scale":
        draw_matrices(folder, trained, ratings, table, resize=resize, progress=config.progress)


def compare_with_pristine(table: pd.DataFrame, folder: Path) -> str:
    """Write how each distortion moved the weights of the same images, and return it as a table to read."""
    shifts = scale_shifts(
        table.assign(original=[str(image).rpartition(SEPARATOR)[0] for image in table["image"]]), reference=PRISTINE
    )
    write_csv(shifts, folder / SHIFTS_FILE)
    return f"against the same image undistorted:\n{to_markdown(readable(shifts))}"


def choose_ratings(config: AttentionConfig, trained: TrainedModel, say: Say) -> tuple[Ratings, str]:
    """The images to explain, and the resize protocol for them."""
    if config.images and config.dataset:
        raise FusiqaError("give images or --dataset, not both")
    if config.images:
        ratings, resize = read_images(config.images), trained.resize
    elif config.dataset and not is_own(config.model, config.dataset):
        ratings = catalog.read(config.dataset, data_dir=config.data_dir)
        ratings = splits.assign(ratings, validation_fraction=0.1, seed=0).part(config.split)
        resize = trained.resize if is_table(config.dataset) else ratings.resize
    else:
        ratings, resize = own_part(config.model, config.split, data_dir=config.data_dir), trained.resize
    if config.groups == "distortion" and ratings.name != SYNTHETIC:
        raise FusiqaError(f"--groups distortion: the distortions of {ratings.name} are not known; use quality or make")
    ratings = thinned(ratings, config.limit)
    return usable(ratings, rated=not config.images, progress=config.progress, say=say), resize


def thinned(ratings: Ratings, limit: int | None) -> Ratings:
    """At most `limit` rows, evenly spaced through the list."""
    if limit is None or limit >= len(ratings):
        return ratings
    keep = {round(place * (len(ratings) - 1) / max(1, limit - 1)) for place in range(limit)}
    dropped = [image for row, image in enumerate(ratings.table["image"]) if row not in keep]
    return ratings.without(dropped)


def grouped(table: pd.DataFrame, dataset: str, config: AttentionConfig, *, made: bool) -> pd.DataFrame:
    """The table with its `group` column, as --groups asks."""
    if made:
        return table.assign(group=[str(image).rpartition(SEPARATOR)[2] for image in table["image"]])
    if config.groups == "quality":
        return with_quality_bands(table)
    return with_groups(table, dataset)


def by_scale(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a group for reading: images, mean weight of each scale, effective number of scales."""
    rows: Sequence[dict[str, Any]] = [
        {
            "group": group,
            "images": int(part["n"].iloc[0]),
            **{f"scale {row.scale}": f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in part.itertuples()},
            "effective scales": float(part["effective"].iloc[0]),
        }
        for group, part in summary.groupby("group", sort=False, observed=True)
    ]
    return pd.DataFrame(rows)
