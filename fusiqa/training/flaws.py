"""The head that names flaws: it learns from the maps of a finished network, so no score changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_calibration_error

from fusiqa.config.model import FLAWS
from fusiqa.data.catalog import DISTORTED, SYNTHETIC
from fusiqa.data.distortions import DISTORTIONS, FLAW_OF_DISTORTION, treatment_of
from fusiqa.data.opinions import SEEN_FALL, fall
from fusiqa.data.ratings import SET, SPLITS, Ratings
from fusiqa.data.synthetic import PRISTINE_WORD, parts_of
from fusiqa.errors import FusiqaError
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.head import FlawHead, statistics
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.torch import choose_device
from fusiqa.training.predict import crops_of, run_on_crops

CLEAR_FALL = 0.2  # of viewers' mean opinion, 0-1, from which a flaw counts in the figures of the test split
TOWARDS_IDENTITY = 1e-4  # weight of a penalty without which the fit diverges where a flaw is always recognised
EPOCHS, BATCH, RATE, DECAY = 40, 64, 1e-3, 0.05
FlawLabels = Float[Tensor, "views flaws"]


def learn_flaws(
    model: QualityModel,
    ratings: Ratings,
    *,
    device: str | torch.device,
    seed: int,
    num_workers: int | None,
    progress: bool,
) -> tuple[FlawHead, dict[str, float]]:
    """Learn the head on the training split, calibrate it on validation, and measure it on the test split.

    Flaws are known of images that were distorted: those of `distorted`, `synthetic` and `kadid-10k`. Of other data sets
    the third that is rated best is taken to have none.

    Returns:
        The head, and of the test split: the fraction of images with a clear flaw whose likeliest flaw is it, and the
        expected calibration error of all probabilities.
    """
    model.eval().to(choose_device(device)).to(memory_format=torch.channels_last)
    read = {
        split: known_views(model, ratings.part(split), num_workers, progress)
        for split in ("train", "validation", "test")
    }
    parts = read["train"], read["validation"]
    both, labels = (torch.cat([part[place] for part in parts]) for place in (0, 1))
    held_out = torch.arange(len(both)) >= len(read["train"][0])
    head = fit_head(model.pyramid.channels, both, labels, held_out, seed=seed)
    tested, labels, falls, images = read["test"]
    with torch.no_grad():
        probabilities = head.layers((tested - head.mean) / head.scale).sigmoid()
    probabilities, labels, falls = (by_image(each, images) for each in (probabilities, labels, falls))
    clear = (falls > CLEAR_FALL) & (labels[:, :-1].sum(dim=1) > 0)
    named = probabilities[clear, :-1].argmax(dim=1) == labels[clear, :-1].argmax(dim=1)
    error = binary_calibration_error(probabilities.flatten(), labels.flatten().long(), n_bins=10)
    return head, {"named": float(named.float().mean()), "calibration_error": float(error)}


def check_flaws_known(ratings: Ratings) -> None:
    """Refuse data sets whose images have no known flaws, before the training."""
    known = {split: list(flaws_of(ratings.part(split)).values()) for split in SPLITS}
    if len({flaw for flaw, _ in known["train"]}) < 2:
        raise FusiqaError(f"{ratings.name}: no flaw is known; `flaws` needs {DISTORTED}, {SYNTHETIC} or kadid-10k")
    if not known["validation"] or not any(flaw != "none" and lost > CLEAR_FALL for flaw, lost in known["test"]):
        raise FusiqaError(f"{ratings.name}: `flaws` needs known flaws in validation, and clear ones in test, too")


def by_image(values: Float[Tensor, "views ..."], images: Int[Tensor, " views"]) -> Float[Tensor, "images ..."]:
    """The mean over the views of each image."""
    _, place, views = images.unique(return_inverse=True, return_counts=True)
    sums = values.new_zeros(len(views), *values.shape[1:]).index_add(0, place, values)
    return sums / views.view(-1, *[1] * (values.ndim - 1))


def known_views(
    model: QualityModel, ratings: Ratings, num_workers: int | None, progress: bool
) -> tuple[Float[Tensor, "views statistics"], FlawLabels, Float[Tensor, " views"], Int[Tensor, " views"]]:
    """Of the views of images whose flaw is known: statistics, 0 or 1 for each of `FLAWS`, decrease of the mean opinion,
    and row of the image."""
    known = flaws_of(ratings)
    ratings = ratings.without([image for image in ratings.table["image"] if image not in known])

    def read(crops: Tensor) -> Tensor:
        return statistics(model.pyramid(to_unit_range(crops)))

    rows, labels, falls, images = [], [], [], []
    crops = crops_of(model, ratings, overlap=0.0)
    with torch.inference_mode():
        for row, _, found in run_on_crops(model, crops, read, num_workers=num_workers, what="flaws", progress=progress):
            flaw, lost = known[str(ratings.table["image"].iat[row])]
            rows.append(found.clone())
            labels += [[float(name == flaw) for name in FLAWS]] * len(found)
            falls += [lost] * len(found)
            images += [row] * len(found)
    return torch.cat(rows), torch.tensor(labels), torch.tensor(falls), torch.tensor(images)


def flaws_of(ratings: Ratings) -> dict[str, tuple[str, float]]:
    """The flaw of each image where it is known, and the decrease of viewers' mean opinion by it, 0-1."""
    table, found = ratings.table, dict[str, tuple[str, float]]()
    for name, part in table.groupby(table[SET] if SET in table else np.full(len(table), ratings.name), sort=False):
        treated = {image: treatment_in(str(name), image.removeprefix(f"{name}/")) for image in part["image"]}
        if not any(treated.values()):
            best = part["mos"] >= part["mos"].quantile(2 / 3)
            found |= dict.fromkeys(part["image"][best], ("none", 0.0))
        for image, (distortion, level) in ((image, made) for image, made in treated.items() if made):
            flaw, lost = FLAW_OF_DISTORTION.get(distortion, "none"), fall(distortion, level)
            if flaw and (lost > SEEN_FALL or not distortion):
                found[image] = flaw, lost
    return found


def treatment_in(dataset: str, image: str) -> tuple[str, float] | None:
    """The distortion and level of an image, ("", 0) of an undistorted one; None where its name does not state it.

    Example:
        >>> treatment_in("kadid-10k", "I01_10_05.png"), treatment_in("spaq", "1.jpg")
        (('jpeg', 5.0), None)
    """
    if dataset == DISTORTED:
        return treatment_of(image)[1:]
    if dataset == SYNTHETIC:
        _, name, level = parts_of(image)
        return "" if name == PRISTINE_WORD else name, float(level)
    if dataset == "kadid-10k" and (numbers := re.search(r"[A-Za-z]\d+_(\d+)_(\d+)", image)):
        return list(DISTORTIONS)[int(numbers[1]) - 1], float(numbers[2])
    return None


def fit_head(
    channels: Sequence[int],
    features: Float[Tensor, "views statistics"],
    labels: FlawLabels,
    held_out: Bool[Tensor, " views"],
    *,
    seed: int,
) -> FlawHead:
    """A head trained on all views but those `held_out`, on which its probabilities are calibrated.

    Calibration: a slope and an offset for each flaw (Platt, Probabilistic outputs for support vector machines, 1999).
    """
    torch.manual_seed(seed)
    head = FlawHead(channels)
    head.mean.copy_(features[~held_out].mean(dim=0))
    head.scale.copy_(features[~held_out].std(dim=0) + 1e-4)
    standardised = (features - head.mean) / head.scale
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    training = (~held_out).nonzero()[:, 0]
    for _ in range(EPOCHS):
        for rows in training[torch.randperm(len(training))].split(BATCH):
            loss = F.binary_cross_entropy_with_logits(head.layers(standardised[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    head.eval()
    with torch.no_grad():
        logits, targets = head.layers(standardised[held_out]), labels[held_out]
    slope, offset = nn.Parameter(torch.ones(len(FLAWS))), nn.Parameter(torch.zeros(len(FLAWS)))
    fit = torch.optim.LBFGS([slope, offset], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        fit.zero_grad()
        loss = F.binary_cross_entropy_with_logits(logits * slope + offset, targets)
        loss = loss + TOWARDS_IDENTITY * ((slope - 1).square().sum() + offset.square().sum())
        loss.backward()
        return loss

    fit.step(closure)
    with torch.no_grad():
        weight, bias = head.layers[-1].parameters()
        weight.mul_(slope[:, None])
        bias.mul_(slope).add_(offset)
    return head.requires_grad_(False)
