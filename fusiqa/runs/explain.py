"""Explain a model by its scale weights, over images or a data set: `fusiqa attention`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from fusiqa.config import AttentionConfig
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import SYNTHETIC, read_images
from fusiqa.data.distortions import EVERY, PRISTINE, SEPARATOR, distorted, groups_at
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain import weights
from fusiqa.explain.discriminant import Separation, describe_separation, tell_flaws
from fusiqa.explain.hypothesis import Assessment, assess, assess_runs, describe_model, describe_runs, runs_table
from fusiqa.explain.plots.scales import ImageGates, gate_maps, matrix_panels, scale_bars, scale_heatmap, shift_map
from fusiqa.explain.shifts import SIGNIFICANT_BELOW, distortion_shifts, format_shifts, scale_shifts, with_treatments
from fusiqa.io import replacing, to_markdown, write_csv, write_text
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.progress import Say
from fusiqa.runs.data import own_part, usable, warn_of_seen
from fusiqa.runs.folder import TrainedModel
from fusiqa.scoring.models import find
from fusiqa.scoring.torch import choose_device, passes
from fusiqa.scoring.views import views_of
from fusiqa.training.predict import crops_of, predict, run_on_crops

BARS_FILE, HEATMAP_FILE = "attention_distribution.png", "attention_heatmap.png"
SCALE_WEIGHTS_FILE, SUMMARY_FILE = "scale_weights.csv", "scale_weights_by_group.csv"
SHIFTS_FILE, SHIFTS_FIGURE = "scale_weight_shifts.csv", "scale_weight_shifts.png"
EXPLANATION_FILES = ("attention_*.png", "attention_matrix.csv", "scale_weight*.csv", SHIFTS_FIGURE, "hypothesis*.*")
MOST_MAPS = 6


def explain(config: AttentionConfig, *, say: Say = print) -> Path:
    """Score images, and write figures and tables of their scale weights; unreadable images are reported and skipped.

    Returns the folder of scale_weights.csv and, by what is asked for and the fusion, the others of `EXPLANATION_FILES`.
    """
    trained, path, folder = TrainedModel.named(config.model, "attention")
    models = load_models(config, path)
    model = models[str(config.model)]
    ratings = images_to_explain(config, trained, resize=model.resize, say=say)
    folder = config.output or folder
    with replacing(folder, *EXPLANATION_FILES):
        if model.config.fusion == "spatial":
            images = [image_gates(model, ratings, row) for row in range(len(ratings))[:MOST_MAPS]]
            gate_maps(images, scale_sizes=model.pyramid.scale_sizes(), path=folder / "attention_maps.png")
        make, every = config.groups == "make", config.groups == "every-distortion"
        make = make or (config.groups == "auto" and bool(config.images))
        if make or every:
            ratings = distorted(ratings, EVERY if every else groups_at(config.level), seed=config.seed, by_group=make)
        if every:
            explain_every_distortion(folder, models, ratings, config, say)
        else:
            explain_groups(folder, model, ratings, config, say, made=make)
    say(f"written to {folder} ({SHIFTS_FILE if every else BARS_FILE} and others)")
    return folder


def load_models(config: AttentionConfig, first_path: Path) -> dict[str, QualityModel]:
    """The model, which is at `first_path`, and the `other_seeds`, by name.

    Raises FusiqaError for a repeated one, or one of another design.
    """
    paths = [config.model, *config.other_seeds]
    found = [first_path, *(find(each)[0] for each in config.other_seeds)]
    places = [path.resolve() for path in found]
    if twice := [path for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
        raise FusiqaError(f"`other_seeds` names {twice[-1]} a second time; every run counts once")
    models = {str(path): load_checkpoint(each) for path, each in zip(paths, found, strict=True)}
    first = models[str(config.model)]
    if first.config.fusion in ("single", "concat"):
        why = f"{config.model} has {first.config.fusion} fusion, which does not weigh its scales"
        raise FusiqaError(f"{why}; train with `attention_fusion`")
    designs = [each.config for each in first.networks]
    for path, model in models.items():
        if ([each.config for each in model.networks], model.resize) != (designs, first.resize):
            why = f"{path} has another design (network, crop size, score range or resize)"
            raise FusiqaError(f"{why}; `other_seeds` takes runs that differ only in their seed")
        model.to(choose_device(config.device))
    return models


def images_to_explain(config: AttentionConfig, trained: TrainedModel, *, resize: str, say: Say) -> Ratings:
    """The images to explain, with their resize protocol: of a published set its own, else the model's `resize`."""
    if config.images and config.dataset:
        raise FusiqaError("give either images or `dataset`, not both")
    if config.dataset and not trained.own_name(config.dataset):
        ratings = catalog.read(config.dataset, data_dir=config.data_dir)
        ratings = splits.assign(ratings, validation_fraction=0.1, seed=0).part(config.split)
        resize = resize if catalog.is_custom(config.dataset) else ratings.resize
    elif config.images:
        ratings = read_images(config.images, say=say)
    else:
        ratings = own_part(trained, config.split, dataset=config.dataset, data_dir=config.data_dir)
    if config.groups == "distortion" and ratings.name != SYNTHETIC:
        why = f"`groups` distortion needs known distortions, which {ratings.name} does not have"
        raise FusiqaError(f"{why}; use quality or make")
    table, last = ratings.table, len(ratings) - 1
    if config.limit is not None and config.limit <= last:  # evenly spaced
        keep = {round(place * last / max(1, config.limit - 1)) for place in range(config.limit)}
        table = table.iloc[sorted(keep)].reset_index(drop=True)
    ratings = replace(ratings, table=table, resize=resize)
    checked = usable(ratings, rated=not config.images, progress=config.progress, say=say)
    if config.dataset and not trained.own_name(config.dataset):
        warn_of_seen(trained, checked.contents.values(), ratings.name, say)
    return checked.ratings


def explain_groups(
    folder: Path, model: QualityModel, ratings: Ratings, config: AttentionConfig, say: Say, *, made: bool
) -> None:
    """Score the images and write the scale weights by group; groups that were `made` show the same images."""
    table = predict(model, ratings, device=config.device, progress=config.progress)
    if made:
        versions = table["image"].str.rpartition(SEPARATOR)
        table = table.assign(group=versions[2])
        shifts = scale_shifts(table.assign(original=versions[0]), reference=PRISTINE)
    else:
        thirds = config.groups == "quality"
        table = weights.with_quality_thirds(table) if thirds else weights.with_groups(table, ratings.name)
    values, summary, sizes = weights.weights_array(table), weights.summarise_weights(table), model.pyramid.scale_sizes()
    write_csv(table.assign(effective_scales=weights.effective_scales(values)), folder / SCALE_WEIGHTS_FILE)
    write_csv(summary, folder / SUMMARY_FILE)
    of_images = f"{len(table):,} images ({ratings.name})"
    scale_bars(summary, scale_sizes=sizes, title=f"Scale weights of {of_images}", path=folder / BARS_FILE)
    scale_heatmap(table, scale_sizes=sizes, path=folder / HEATMAP_FILE)
    say(to_markdown(weights.format_weights(summary)))
    if warning := weights.collapse_warning(values):
        say(f"warning: {warning}")
    if made:
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
    """Score images under all distortions; write the shifts of the first model and the test of the hypothesis."""
    runs: dict[str, list[Assessment]] = {}
    told: dict[str, Separation | None] = {}
    for name, model in models.items():
        scored = predict(model, ratings, device=config.device, progress=config.progress)
        table = with_treatments(scored)
        if not runs:
            shifts = distortion_shifts(table)
            of_images = f"{table['original'].nunique():,} images ({ratings.name})"
            title = f"Shifts of the scale weights under distortions: {of_images}"
            shift_map(shifts, scale_sizes=model.pyramid.scale_sizes(), title=title, path=folder / SHIFTS_FIGURE)
            write_csv(table, folder / SCALE_WEIGHTS_FILE)
            write_csv(shifts, folder / SHIFTS_FILE)
        runs[name], told[name] = assess(table), tell_flaws(table)
    first, *others = runs
    page = f"{describe_model(runs[first], model=first)}{describe_separation(told)}"
    if others:
        write_csv(runs_table(runs), folder / "hypothesis_runs.csv")
        page = f"{page}\n{describe_runs(assess_runs(list(runs.values())))}"
    write_text(folder / "hypothesis.md", page)
    say(page)
    significant = int((shifts["q_value"] < SIGNIFICANT_BELOW).sum())
    say(f"{significant} of {len(shifts)} shifts are significant (false discovery rate of {SIGNIFICANT_BELOW:.0%})")


def image_gates(model: QualityModel, ratings: Ratings, row: int) -> ImageGates:
    """One image after its resize, and the gates of `spatial` fusion on its crops, combined, whatever the view."""
    size, name = model.config.crop_size, ratings.names[row]
    views = views_of(ratings.read(row), size)
    gates = torch.cat([model.attention(each) for each in passes(views, next(model.parameters()).device)]).cpu().numpy()
    corners = [(top, left) for top, left, _, _ in views.places]
    height, width, _ = views.pixels.shape
    stitched = weights.stitch_gates(gates, corners, height=height, width=width, crop_size=size)
    return ImageGates(name, views.pixels, stitched)


def attention_matrices(model: QualityModel, ratings: Ratings, *, progress: bool) -> Float[np.ndarray, "images 4 4"]:
    """The attention matrix of `cross-scale` fusion for each image: the mean over its views."""
    found, crops = np.empty((len(ratings), 4, 4)), crops_of(model, ratings)
    for row, views, made in run_on_crops(model, crops, model.attention, what="attention matrices", progress=progress):
        found[row] = np.average(made.double().numpy(), axis=0, weights=views.weights)
    return found
