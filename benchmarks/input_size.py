"""What the size of the input does to the scores of photographs and of distorted images: python benchmarks/input_size.py

A frozen backbone, attention fusion, whole images with a short side of at most a size; the heads learn photographs of
BIQ2021 and sharp images under KADID-10k's distortions at once, over seeds. Images are distorted at their own size and
then resized, as a user's are. What is scored: BIQ2021's validation photographs, and the 125 cells of sharp images that
no head has seen. BIQ2021's test split is not opened.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from torch import Tensor

from fusiqa.config import ModelConfig, ScoreRange
from fusiqa.data import catalog, splits
from fusiqa.data.distorted import label_distorted
from fusiqa.data.distortions import DISTORTIONS, EVERY, LEVELS, distorted
from fusiqa.data.ratings import Ratings
from fusiqa.explain.opinions import measures
from fusiqa.models.quality import QualityModel, build_model
from fusiqa.scoring.image import Resize
from fusiqa.scoring.views import views_of
from fusiqa.stats.comparisons import paired_over_seeds
from fusiqa.stats.intervals import mean_interval
from fusiqa.stats.metrics import srcc
from fusiqa.training.frozen import pack, score_packed
from fusiqa.training.loss import TrainingLoss


@dataclass
class Options:
    """Compare input sizes."""

    biq2021: Path
    """Folder of BIQ2021."""
    sharp: Path
    """Folder of sharp images to train on."""
    unseen: Path
    """Folder of sharp images to score."""
    work: Path
    """Folder for the maps, 0.4 GB a size."""
    backbone: str = "tf_efficientnet_lite0"
    backbone_weights: str = "imagenet"
    sizes: tuple[int, ...] = (512, 384, 320, 256)
    """Short sides at most, pixels; the first is the reference, and the first and last are also read together."""
    photographs: int = 3000
    """To train on."""
    distorted: int = 1500
    """Versions of the sharp images to train on, of those that `--dataset distorted` draws."""
    seeds: int = 3
    epochs: int = 10
    batch_size: int = 128


def some(ratings: Ratings, count: int) -> Ratings:
    kept = ratings.table["image"].sample(count, random_state=0)
    return ratings.without(sorted(set(ratings.table["image"]) - set(kept)))


def maps_of(name: str, ratings: Ratings, model: QualityModel, size: int, options: Options) -> np.ndarray:
    """(images, numbers): what the heads read, kept in a file."""
    file, resize = options.work / f"{name}-{size}.npy", Resize.parse(f"max{size}", view="whole")
    if not file.exists():
        rows = []
        for place, image in enumerate(ratings.table["image"]):
            (view,) = views_of(resize.apply(ratings.images.read(image)), 32, view="whole")
            rows.append(pack(model, torch.from_numpy(view.transpose(2, 0, 1).copy())[None])[0].numpy())
            if place % 500 == 0:
                print(f"maps of {name} at {size}: {place} of {len(ratings)}", time.strftime("%H:%M:%S"), flush=True)
        options.work.mkdir(parents=True, exist_ok=True)
        np.save(file.with_suffix(".part.npy"), np.stack(rows))
        file.with_suffix(".part.npy").replace(file)
    return np.load(file)


def fit(
    model: QualityModel, shown: list[np.ndarray], labels: Tensor, sets: Tensor, seed: int, together: bool,
    options: Options,
) -> None:  # fmt: skip
    """Train the heads on each image at a random one of the sizes, or on the mean of its scores at all of them."""
    random = np.random.default_rng(seed)
    loss_of = TrainingLoss(ScoreRange(0, 1), "both", weights=(1.0, 1.0))
    learned = [*(p for name, p in model.named_parameters() if not name.startswith("pyramid.")), *loss_of.parameters()]
    steps = options.epochs * (len(labels) // options.batch_size)
    optimizer = torch.optim.AdamW(learned, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    model.train()
    order = np.concatenate([random.permutation(len(labels)) for _ in range(options.epochs + 1)])
    for step in range(steps):
        rows = order[step * options.batch_size :][: options.batch_size]
        if together:
            parts = [score_packed(model, torch.from_numpy(maps[rows])) for maps in shown]
            prediction = parts[0]._replace(score=torch.stack([part.score for part in parts]).mean(dim=0))
        else:
            sizes = random.integers(len(shown), size=len(rows))
            read = np.stack([shown[size][row] for size, row in zip(sizes, rows, strict=True)])
            prediction = score_packed(model, torch.from_numpy(read))
        loss, _ = loss_of(prediction, labels[rows], sets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()


@torch.inference_mode()
def scores(model: QualityModel, shown: list[np.ndarray]) -> np.ndarray:
    """The mean of the scores at the sizes."""
    return np.mean(
        [[float(score_packed(model, torch.from_numpy(row)[None]).score) for row in maps] for maps in shown], 0
    )


def main(options: Options) -> None:
    config = ModelConfig(
        backbone=options.backbone,
        fusion="attention",
        view="whole",
        dropout=0.1,
        drop_path=0.0,
        score_range=ScoreRange(0, 1),
    )
    model = build_model(config, options.backbone_weights, resize="max512").eval().to(memory_format=torch.channels_last)
    model.pyramid.requires_grad_(False)
    photos = splits.assign(catalog.read("biq2021", data_dir=options.biq2021), validation_fraction=0.1, seed=0)
    training, held_out = photos.part("train"), photos.part("validation")
    sharp, unseen = (catalog.read_images([folder], say=print) for folder in (options.sharp, options.unseen))
    sets = {
        "photographs": some(training, options.photographs),
        "sharp": some(label_distorted(sharp, resize="max512"), options.distorted),
        "validation": held_out,
        "cells": distorted(unseen, EVERY),
    }
    maps = {
        size: {name: maps_of(name, ratings, model, size, options) for name, ratings in sets.items()}
        for size in options.sizes
    }
    shown = [sets["photographs"], sets["sharp"]]
    labels = torch.cat([torch.tensor(each.score_range.to_unit(each.table["mos"].to_numpy())).float() for each in shown])
    of_set = torch.arange(len(shown)).repeat_interleave(torch.tensor([len(each) for each in shown]))
    learned = {size: np.concatenate([each["photographs"], each["sharp"]]) for size, each in maps.items()}
    first, ends = options.sizes[0], (options.sizes[0], options.sizes[-1])
    variants = {f"{size}": ([size], [size]) for size in options.sizes}
    variants |= {f"random, scored at {size}": (list(options.sizes), [size]) for size in (first, options.sizes[1])}
    variants["both {} and {}".format(*ends)] = list(ends), list(ends)
    assert len(sets["cells"]) == len(unseen) * (1 + len(DISTORTIONS) * len(LEVELS))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for seed in range(options.seeds):
        for name, (seen, scored) in variants.items():
            torch.manual_seed(seed)
            fresh = build_model(config, "none", resize="max512")
            fresh.pyramid.load_state_dict(model.pyramid.state_dict())
            fit(fresh, [learned[size] for size in seen], labels, of_set, seed, name.startswith("both"), options)
            own = scores(fresh, [maps[size]["validation"] for size in scored])
            figures = {"photographs": srcc(own, held_out.table["mos"])}
            table = pd.DataFrame({"score": scores(fresh, [maps[size]["cells"] for size in scored])})
            found[name].append(figures | {what: each.value for what, each in measures(table).items()})
            print(seed, name, {what: round(value, 4) for what, value in found[name][-1].items()}, flush=True)
    for what in found[f"{first}"][0]:
        values = {name: [row[what] for row in rows] for name, rows in found.items()}
        print(f"\n{what}")
        for name, each in values.items():
            against = paired_over_seeds(each, values[f"{first}"])
            print(f"  {name:24} {mean_interval(each).estimate:.3f}   minus {first}: {against.estimate:+.3f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
