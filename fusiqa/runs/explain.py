"""Explain a model by its scale weights, over images or a data set: `fusiqa attention`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from fusiqa.config import AttentionConfig
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import SYNTHETIC, read_images
from fusiqa.data.distortions import EVERY, KIND_OF_DISTORTION, PRISTINE, SEPARATOR, distorted, groups_at, treatment_of
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain import weights
from fusiqa.explain.hypothesis import Assessment, assess, assess_runs, describe_model, describe_runs, runs_table
from fusiqa.explain.plots.scales import ImageGates, gate_maps, matrix_panels, scale_bars, scale_heatmap, shift_map
from fusiqa.explain.shifts import SIGNIFICANT_BELOW, UNDISTORTED, distortion_shifts, format_shifts, scale_shifts
from fusiqa.io import claim, to_markdown, write_csv, write_text
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.progress import Say
from fusiqa.runs.data import own_part, usable
from fusiqa.runs.folder import TrainedModel
from fusiqa.scoring.image import Resize
from fusiqa.scoring.torch import choose_device, passes
from fusiqa.scoring.views import views_of
from fusiqa.training.predict import crops_of, predict, run_on_crops

BARS_FILE, HEATMAP_FILE = "attention_distribution.png", "attention_heatmap.png"
WEIGHTS_FILE, SUMMARY_FILE = "scale_weights.csv", "scale_weights_by_group.csv"
SHIFTS_FILE, SHIFTS_FIGURE = "scale_weight_shifts.csv", "scale_weight_shifts.png"
OUTPUTS = ("attention_*.png", "attention_matrix.csv", "scale_weight*.csv", SHIFTS_FIGURE, "hypothesis*.*")
MOST_MAPS = 6


def explain(config: AttentionConfig, *, say: Say = print) -> Path:
    """Score images, and write figures and tables of their scale weights; unreadable images are reported and skipped.

    Returns the folder of scale_weights.csv and, by what is asked for and the fusion, the others of `OUTPUTS`.
    """
    models, trained = load_models(config), TrainedModel.at(config.model)
    model = models[str(config.model)]
    ratings = choose_images(config, trained, resize=model.resize, say=say)
    folder = config.output or trained.folder / "attention"
    claim(folder, *OUTPUTS)
    if model.config.fusion == "spatial":
        images = [image_gates(model, ratings, row) for row in range(len(ratings))[:MOST_MAPS]]
        gate_maps(images, scale_sizes=model.pyramid.scale_sizes(), path=folder / "attention_maps.png")
    every = config.groups == "every-distortion"
    if every:
        explain_every_distortion(folder, models, ratings, config, say)
    else:
        explain_groups(folder, model, ratings, config, say)
    say(f"written to {folder} ({SHIFTS_FILE if every else BARS_FILE} and others)")
    return folder


def load_models(config: AttentionConfig) -> dict[str, QualityModel]:
    """The model and the `other_seeds`, by name. Raises FusiqaError for a repeated one, or one of another design."""
    models: dict[str, QualityModel] = {}
    designs, places = [], set[Path]()
    for path in (config.model, *config.other_seeds):
        if path.resolve() in places:
            raise FusiqaError(f"`other_seeds` names {path} a second time; every run counts once")
        model = load_checkpoint(path)
        if model.config.fusion in ("single", "concat"):
            why = f"{path} has {model.config.fusion} fusion, which does not weigh its scales"
            raise FusiqaError(f"{why}; train with `attention_fusion`")
        designs.append((model.config, model.resize))
        if designs[-1] != designs[0]:
            why = f"{path} has another design (network, crop size, score range or resize)"
            raise FusiqaError(f"{why}; `other_seeds` takes runs that differ only in their seed")
        places.add(path.resolve())
        models[str(path)] = model.to(choose_device(config.device))
    return models


def choose_images(config: AttentionConfig, trained: TrainedModel, *, resize: str, say: Say) -> Ratings:
    """The images to explain, with their resize protocol: of a published set its own, else the model's `resize`."""
    if config.images and config.dataset:
        raise FusiqaError("give either images or `dataset`, not both")
    if config.images:
        ratings = read_images(config.images, say=say)
    elif config.dataset and not trained.was_trained_on(config.dataset):
        ratings = catalog.read(config.dataset, data_dir=config.data_dir)
        ratings = splits.assign(ratings, validation_fraction=0.1, seed=0).part(config.split)
        resize = resize if catalog.is_custom(config.dataset) else ratings.resize
    else:
        ratings = own_part(trained, config.split, data_dir=config.data_dir)
    if config.groups == "distortion" and ratings.name != SYNTHETIC:
        why = f"`groups` distortion needs known distortions, which {ratings.name} does not have"
        raise FusiqaError(f"{why}; use quality or make")
    table, last = ratings.table, len(ratings) - 1
    if config.limit is not None and config.limit <= last:  # evenly spaced
        keep = {round(place * last / max(1, config.limit - 1)) for place in range(config.limit)}
        table = table.iloc[sorted(keep)].reset_index(drop=True)
    ratings = replace(ratings, table=table, resize=resize)
    return usable(ratings, rated=not config.images, progress=config.progress, say=say)


def explain_groups(folder: Path, model: QualityModel, ratings: Ratings, config: AttentionConfig, say: Say) -> None:
    """Score the images, distorted in four groups if asked for, and write what each group weighs."""
    make = config.groups == "make" or (config.groups == "auto" and bool(config.images))
    if make:
        resize = Resize.parse(ratings.resize)
        ratings = distorted(ratings, groups_at(config.level), resize=resize, seed=config.seed, by_group=True)
    table = predict(model, ratings, resize=ratings.resize, device=config.device, progress=config.progress)
    if make:
        versions = table["image"].str.rpartition(SEPARATOR)
        table = table.assign(group=versions[2])
        shifts = scale_shifts(table.assign(original=versions[0]), reference=PRISTINE)
    else:
        thirds = config.groups == "quality"
        table = weights.with_quality_thirds(table) if thirds else weights.with_groups(table, ratings.name)
    values, summary, sizes = weights.weights_array(table), weights.summarise_weights(table), model.pyramid.scale_sizes()
    write_csv(table.assign(effective_scales=weights.effective_scales(values)), folder / WEIGHTS_FILE)
    write_csv(summary, folder / SUMMARY_FILE)
    of_images = f"{len(table):,} images ({ratings.name})"
    scale_bars(summary, scale_sizes=sizes, title=f"Scale weights of {of_images}", path=folder / BARS_FILE)
    scale_heatmap(table, scale_sizes=sizes, path=folder / HEATMAP_FILE)
    say(to_markdown(weights.format_weights(summary)))
    if warning := weights.collapse_warning(values):
        say(f"warning: {warning}")
    if make:
        write_csv(shifts, folder / SHIFTS_FILE)
        say(f"compared with the same images undistorted:\n{to_markdown(format_shifts(shifts))}")
    if model.config.fusion == "cross-scale":
        matrices = attention_matrices(model, ratings, progress=config.progress)
        found = weights.mean_matrices(matrices, table["group"].tolist())
        write_csv(found, folder / "attention_matrix.csv")
        matrix_panels(found, title=f"Attention between scales: {of_images}", path=folder / "attention_matrix.png")


def explain_every_distortion(
    folder: Path, models: dict[str, QualityModel], ratings: Ratings, config: AttentionConfig, say: Say
) -> None:
    """Score every image under all distortions; write the shifts of the first model and the test of the hypothesis."""
    made = distorted(ratings, EVERY, resize=Resize.parse(ratings.resize), seed=config.seed)
    runs: dict[str, list[Assessment]] = {}
    for name, model in models.items():
        table = with_treatments(predict(model, made, resize="none", device=config.device, progress=config.progress))
        if not runs:
            write_csv(table, folder / WEIGHTS_FILE)
            shifts = distortion_shifts(table)
            write_csv(shifts, folder / SHIFTS_FILE)
            title = f"Shifts of the scale weights under distortions: {len(ratings):,} images ({ratings.name})"
            shift_map(shifts, scale_sizes=model.pyramid.scale_sizes(), title=title, path=folder / SHIFTS_FIGURE)
        runs[name] = assess(table)
    first, *others = runs
    page = describe_model(runs[first], model=first)
    if others:
        write_csv(runs_table(runs), folder / "hypothesis_runs.csv")
        page = f"{page}\n{describe_runs(assess_runs(list(runs.values())))}"
    write_text(folder / "hypothesis.md", page)
    say(page)
    significant = int((shifts["q_value"] < SIGNIFICANT_BELOW).sum())
    say(f"{significant} of {len(shifts)} shifts are significant (false discovery rate of {SIGNIFICANT_BELOW:.0%})")


def with_treatments(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns original, kind, distortion and level; "none" and 0 for undistorted images."""
    originals, treatments = zip(*map(treatment_of, table["image"]), strict=True)
    names, levels = zip(*[treatment or (UNDISTORTED, 0) for treatment in treatments], strict=True)
    kinds = [KIND_OF_DISTORTION.get(name, UNDISTORTED) for name in names]
    return table.assign(original=originals, kind=kinds, distortion=names, level=levels)


def image_gates(model: QualityModel, ratings: Ratings, row: int) -> ImageGates:
    """One image after its resize, and the gates of `spatial` fusion on its crops, combined, whatever the view."""
    size, name = model.config.crop_size, str(ratings.table["image"].iat[row])
    views = views_of(Resize.parse(ratings.resize).read(ratings.images, name), size)
    gates = torch.cat([model.attention(each) for each in passes(views, next(model.parameters()).device)]).cpu().numpy()
    corners = [(top, left) for top, left, _, _ in views.places]
    height, width, _ = views.pixels.shape
    stitched = weights.stitch_gates(gates, corners, height=height, width=width, crop_size=size)
    return ImageGates(name, views.pixels, stitched)


def attention_matrices(model: QualityModel, ratings: Ratings, *, progress: bool) -> Float[np.ndarray, "images 4 4"]:
    """The attention matrix of `cross-scale` fusion for each image: the mean over its views."""
    found, crops = np.empty((len(ratings), 4, 4)), crops_of(model, ratings, resize=ratings.resize)
    for row, views, made in run_on_crops(model, crops, model.attention, what="attention matrices", progress=progress):
        found[row] = np.average(made.double().numpy(), axis=0, weights=views.weights)
    return found
