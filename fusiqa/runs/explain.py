"""Explain a model by its scale weights, over images or a data set: `fusiqa attention`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fusiqa.config import AttentionConfig
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import SYNTHETIC, read_images
from fusiqa.data.distorted import KIND_OF_DISTORTION, PRISTINE, SEPARATOR, distorted, every_distortion, treatment_of
from fusiqa.data.loader import EvaluationCrops, channels_first, choose_workers, evaluation_loader
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.hypothesis import assess, assess_runs, describe_model, describe_runs, runs_table
from fusiqa.explain.plots.scales import ImageGates, gate_maps, matrix_panels, scale_bars, scale_heatmap, shift_map
from fusiqa.explain.shifts import SIGNIFICANT_BELOW, UNDISTORTED, distortion_shifts, format_shifts, scale_shifts
from fusiqa.explain.weights import (
    collapse_warning,
    effective_scales,
    format_summary,
    mean_matrices,
    stitch_gates,
    summarise_weights,
    weights_array,
    with_groups,
    with_quality_thirds,
)
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.models.crops import attention_of
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.progress import progress_bar
from fusiqa.runs.data import usable
from fusiqa.runs.folder import Say, folder_of, is_own, own_part
from fusiqa.scoring.image import OVERLAP, Resize, views_of
from fusiqa.scoring.torch import choose_device
from fusiqa.training.predict import predict

DEFAULT_FOLDER = "attention"
BARS_FILE, HEATMAP_FILE = "attention_distribution.png", "attention_heatmap.png"
WEIGHTS_FILE, SUMMARY_FILE = "scale_weights.csv", "scale_weights_by_group.csv"
SHIFTS_FILE, SHIFTS_FIGURE = "scale_weight_shifts.csv", "scale_weight_shifts.png"
HYPOTHESIS_FILE, RUNS_FILE = "hypothesis.md", "hypothesis_runs.csv"
MAPS_FILE = "attention_maps.png"
MATRIX_FIGURE, MATRIX_FILE = "attention_matrix.png", "attention_matrix.csv"
MOST_MAPS = 6


def explain(config: AttentionConfig, *, say: Say = print) -> Path:
    """Score images, and write figures and tables of their scale weights.

    Returns:
        The folder that was written to. By groups: attention_distribution.png, attention_heatmap.png, scale_weights.csv
        and scale_weights_by_group.csv, with scale_weight_shifts.csv for made distortions. For every distortion:
        scale_weights.csv, scale_weight_shifts.csv, scale_weight_shifts.png and hypothesis.md, with hypothesis_runs.csv
        for several seeds. Besides, for `spatial` fusion attention_maps.png, for `cross-scale` fusion by groups
        attention_matrix.png and attention_matrix.csv.

    Raises:
        FusiqaError: a model that does not weigh its scales, no images, or none that can be read (single unreadable
            images are reported and skipped).
    """
    model = load_checkpoint(config.model).to(choose_device(config.device)).eval()
    fusion = model.config.fusion
    if fusion in ("single", "concat"):
        raise FusiqaError(
            f"{config.model} has {fusion} fusion, which does not weigh its scales; train with `attention_fusion`"
        )
    every = config.groups == "every-distortion"
    others = load_other_seeds(config, model)
    ratings, resize = choose_images(config, model, say)
    folder = config.output or folder_of(config.model) / DEFAULT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)  # fails before anything is computed
    if fusion == "spatial":
        images = [image_gates(model, ratings, row, Resize.parse(resize)) for row in range(len(ratings))[:MOST_MAPS]]
        gate_maps(images, scale_sizes=model.pyramid.scale_sizes(), path=folder / MAPS_FILE)
    if every:
        explain_every_distortion(folder, model, others, ratings, config, resize=resize, say=say)
    else:
        explain_groups(folder, model, ratings, config, resize=resize, say=say)
    say(f"written to {folder} ({SHIFTS_FILE if every else BARS_FILE} and others)")
    return folder


# --- images and models -----------------------------------------------------------------------------------------------


def choose_images(config: AttentionConfig, model: QualityModel, say: Say) -> tuple[Ratings, str]:
    """The images to explain, and their resize protocol."""
    if config.images and config.dataset:
        raise FusiqaError("give either images or `dataset`, not both")
    if config.images:
        ratings, resize = read_images(config.images, say=say), model.resize
    elif config.dataset and not is_own(config.model, config.dataset):
        ratings = catalog.read(config.dataset, data_dir=config.data_dir)
        ratings = splits.assign(ratings, validation_fraction=0.1, seed=0).part(config.split)
        resize = model.resize if catalog.is_custom(config.dataset) else ratings.resize
    else:
        ratings, resize = own_part(config.model, config.split, data_dir=config.data_dir), model.resize
    if config.groups == "distortion" and ratings.name != SYNTHETIC:
        raise FusiqaError(
            f"`groups` distortion needs known distortions, which {ratings.name} does not have; use quality or make"
        )
    ratings = subsample(ratings, config.limit)
    return usable(ratings, rated=not config.images, progress=config.progress, say=say), resize


def subsample(ratings: Ratings, limit: int | None) -> Ratings:
    """At most `limit` rows, evenly spaced."""
    if limit is None or limit >= len(ratings):
        return ratings
    keep = {round(place * (len(ratings) - 1) / max(1, limit - 1)) for place in range(limit)}
    return ratings.without([image for row, image in enumerate(ratings.table["image"]) if row not in keep])


def load_other_seeds(config: AttentionConfig, first: QualityModel) -> dict[str, QualityModel]:
    """The runs of `other_seeds` by name. Raises FusiqaError for a repeated one, or one of another design."""
    others: dict[str, QualityModel] = {}
    places = {config.model.resolve()}
    for run in config.other_seeds:
        if run.resolve() in places:
            raise FusiqaError(f"`other_seeds` names {run} a second time; every run counts once")
        places.add(run.resolve())
        other = others[str(run)] = load_checkpoint(run)
        if (other.config, other.resize) != (first.config, first.resize):
            raise FusiqaError(
                f"{run} has another design (network, crop size, score range or resize); "
                "`other_seeds` takes runs that differ only in their seed"
            )
    return others


# --- by group --------------------------------------------------------------------------------------------------------


def explain_groups(
    folder: Path, model: QualityModel, ratings: Ratings, config: AttentionConfig, *, resize: str, say: Say
) -> None:
    """Score the images, distorted in four groups if asked for, and write what each group weighs."""
    make = config.groups == "make" or (config.groups == "auto" and bool(config.images))
    if make:
        ratings = distorted(ratings, resize=Resize.parse(resize), level=config.level, seed=config.seed)
        resize = "none"
    table = predict(model, ratings, resize=resize, device=config.device, progress=config.progress)
    if make:
        versions = table["image"].str.rpartition(SEPARATOR)
        table = table.assign(group=versions[2])
    else:
        table = with_quality_thirds(table) if config.groups == "quality" else with_groups(table, ratings.name)
    weights = weights_array(table)
    summary = summarise_weights(table)
    write_csv(table.assign(effective_scales=effective_scales(weights)), folder / WEIGHTS_FILE)
    write_csv(summary, folder / SUMMARY_FILE)
    sizes = model.pyramid.scale_sizes()
    title = f"Scale weights of {len(table):,} images ({ratings.name})"
    scale_bars(summary, scale_sizes=sizes, title=title, path=folder / BARS_FILE)
    scale_heatmap(table, scale_sizes=sizes, path=folder / HEATMAP_FILE)
    say(to_markdown(format_summary(summary)))
    if (warning := collapse_warning(weights)) is not None:
        say(f"warning: {warning}")
    if make:
        shifts = scale_shifts(table.assign(original=versions[0]), reference=PRISTINE)
        write_csv(shifts, folder / SHIFTS_FILE)
        say(f"compared with the same images undistorted:\n{to_markdown(format_shifts(shifts))}")
    if model.config.fusion == "cross-scale":
        matrices = attention_matrices(model, ratings, resize=resize, progress=config.progress)
        found = mean_matrices(matrices, table["group"].tolist())
        write_csv(found, folder / MATRIX_FILE)
        title = f"Attention between scales: {len(table):,} images ({ratings.name})"
        matrix_panels(found, title=title, path=folder / MATRIX_FIGURE)


# --- every distortion ------------------------------------------------------------------------------------------------


def explain_every_distortion(
    folder: Path,
    model: QualityModel,
    others: dict[str, QualityModel],
    ratings: Ratings,
    config: AttentionConfig,
    *,
    resize: str,
    say: Say,
) -> None:
    """Score every image under all 25 distortions at 5 levels, and write the shifts and the test of the hypothesis.

    Images are distorted as they are scored, so that memory stays bounded.
    """
    made = every_distortion(ratings, resize=Resize.parse(resize), seed=config.seed)

    def scored(each: QualityModel) -> pd.DataFrame:
        return with_treatments(predict(each, made, resize="none", device=config.device, progress=config.progress))

    table = scored(model)
    write_csv(table, folder / WEIGHTS_FILE)
    shifts = distortion_shifts(table)
    write_csv(shifts, folder / SHIFTS_FILE)
    sizes = model.pyramid.scale_sizes()
    title = f"Shifts of the scale weights under distortions: {len(ratings):,} images ({ratings.name})"
    shift_map(shifts, scale_sizes=sizes, title=title, path=folder / SHIFTS_FIGURE)
    name = str(config.model)
    runs = {name: assess(table)} | {run: assess(scored(other)) for run, other in others.items()}
    page = describe_model(runs[name], model=name)
    if others:
        write_csv(runs_table(runs), folder / RUNS_FILE)
        page = f"{page}\n{describe_runs(assess_runs(list(runs.values())))}"
    write_text(folder / HYPOTHESIS_FILE, page)
    say(page)
    significant = int((shifts["q_value"] < SIGNIFICANT_BELOW).sum())
    say(f"{significant} of {len(shifts)} shifts are significant (false discovery rate of {SIGNIFICANT_BELOW:.0%})")


def with_treatments(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns original, kind, distortion and level; "none" and 0 for undistorted images."""
    named = [treatment_of(str(image)) for image in table["image"]]
    treatments = [treatment or (UNDISTORTED, 0) for _, treatment in named]
    return table.assign(
        original=[original for original, _ in named],
        kind=[KIND_OF_DISTORTION.get(name, UNDISTORTED) for name, _ in treatments],
        distortion=[name for name, _ in treatments],
        level=[level for _, level in treatments],
    )


# --- gates and attention matrices ------------------------------------------------------------------------------------


def image_gates(model: QualityModel, ratings: Ratings, row: int, resize: Resize) -> ImageGates:
    """One image after its resize, and the gates of `spatial` fusion on its crops, combined."""
    size, name = model.config.crop_size, str(ratings.table["image"].iat[row])
    views = views_of(resize.read(ratings.images, name), size)
    crops = channels_first(torch.from_numpy(np.stack(list(views))))
    gates = attention_of(model, crops.to(next(model.parameters()).device)).cpu().numpy()
    corners = [(top, left) for top, left, _, _ in views.places]
    height, width, _ = views.pixels.shape
    stitched = stitch_gates(gates, corners, height=height, width=width, crop_size=size)
    return ImageGates(name, views.pixels, stitched)


def attention_matrices(model: QualityModel, ratings: Ratings, *, resize: str, progress: bool) -> np.ndarray:
    """The attention matrix of `cross-scale` fusion for each image, (images, 4, 4): the mean over its crops."""
    device = next(model.parameters()).device
    crops = EvaluationCrops(ratings, Resize.parse(resize), model.config.crop_size, OVERLAP)
    found = np.empty((len(ratings), 4, 4))
    with progress_bar(what="attention matrices", total=len(ratings), shown=progress) as bar:
        for batch in evaluation_loader(crops, num_workers=choose_workers(None, ratings)):
            of_crops = attention_of(model, batch.crops.to(device)).split(batch.counts)
            found[batch.rows] = torch.stack([matrix.mean(dim=0) for matrix in of_crops]).double().cpu().numpy()
            bar.update(len(batch.rows))
    return found
