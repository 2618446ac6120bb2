"""Train the packaged model on photographs and on distorted images at once, from public files alone.

    python examples/train_packaged.py --biq2021 BIQ2021 --sharp SHARP --work WORK --output MODEL

`train_packaged.sh` clones what it reads: BIQ2021 (its official test split is not opened) and sharp photographs
under free licences. WORK keeps maps, pools (26 GB) and the state of training; the same command goes on from there.

The backbone down to stride 8 stays as ImageNet left it, so its maps are computed once; the rest of it and the heads
learn from random windows of these maps; from there on larger ones, once for each seed; then the heads alone learn, on
the mean of these networks (Wortsman et al., ICML 2022, "Model soups"), from whole images. A step sees
- photographs with their ratings, which an affine calibration relates to the common scale: absolute error, and the
  fidelity loss of all pairs (Tsai et al., SIGIR 2007, doi:10.1145/1277741.1277808);
- distorted versions of a sharp image (a photograph under a free licence, or one of BIQ2021's best made smaller),
  labelled by what KADID-10k's viewers thought of that distortion at that level on average, and dark versions of it: the
  same two losses, and a sharper fidelity between an image and the levels of one distortion of it;
- a photograph beside two distorted versions of its own, of which the order alone is known.
With `--others` the saved model is the average of the trained network and those models, and what is measured is it.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from packaged_batches import Batch, Data, Stage
from packaged_images import DIM, LABELLED_AS, best_third, opinion, pixels_of, tables
from packaged_maps import RESIZE, Maps, Network
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_calibration_error

from fusiqa.config import ModelConfig, ScoreRange
from fusiqa.config.checks import refuse
from fusiqa.config.model import FLAWS, FusionName, check_average
from fusiqa.data.distortions import FLAW_OF_DISTORTION, FORMULAS
from fusiqa.data.opinions import SEEN_FALL, mean_opinions
from fusiqa.errors import FusiqaError
from fusiqa.explain.opinions import COMMON
from fusiqa.machine import denormals_as_zero
from fusiqa.models.head import FlawHead
from fusiqa.models.quality import QualityModel, build_model
from fusiqa.models.rounding import round_to_bytes
from fusiqa.scoring.models import describe, find, read_description
from fusiqa.scoring.scorer import Scorer
from fusiqa.training.flaws import fit_head
from fusiqa.training.frozen import score_packed
from fusiqa.training.loss import above, fidelity

WINDOW = 48  # cells of the window by which the heads see an image that they do not see whole
OPINIONS = mean_opinions()
UNDISTORTED_TIMES = 15  # that the flaw head sees an undistorted sharp image where it sees a distorted one once
GOOD_PHOTOGRAPHS = 1500  # drawn from the third that is rated best, as images without a flaw


@dataclass
class Options:
    """Train the packaged model."""

    biq2021: Path
    """Folder of BIQ2021."""
    sharp: Path
    """Folder of the clones of examples/train_packaged.sh."""
    work: Path
    """Folder of maps and state."""
    output: Path
    """Folder of the model."""
    backbone: str = "tf_efficientnet_lite0"
    backbone_weights: str = "imagenet"
    fusion: FusionName = "attention"
    scale: float = 1.0
    """Of the steps of each stage, to try the program out."""
    others: tuple[str, ...] = ()
    """Models whose outputs are averaged with those of the trained network: fusiqa-fast."""
    seeds: tuple[int, ...] = (0,)
    """Of what a network sees, and in which order: the first windows by the first seed, the larger ones by each."""
    decay: float = 0.998
    """Of the moving average of the weights, which is what is kept."""

    def stages(self) -> list[Stage]:
        stages = [
            Stage("windows", 2000, 2.5e-4, 1e-3, 3e-3, warmup=100, late=150, window=36),
            Stage("large windows", 800, 1.2e-4, 4e-4, 1e-3, warmup=60, window=WINDOW),
            Stage("whole", 600, 0.0, 3e-4, 3e-3, warmup=50, rated=64, pairs=8, contents=6, kinds=4, ladders=6),
        ]
        return [replace(stage, steps=max(2, round(self.scale * stage.steps))) for stage in stages]


# --- losses ----------------------------------------------------------------------------------------------------------


def pairwise(scores: Tensor, labels: Tensor) -> Tensor:
    i, j = torch.triu_indices(len(scores), len(scores), 1)
    return fidelity(above(labels[i] - labels[j]), scores[i] - scores[j]).mean()


class Calibration(nn.Module):
    """The common scale as the raters of a set used it: offset + slope x, slope > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.slope = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(math.log(math.e - 1)))

    def forward(self, scores: Tensor) -> Tensor:
        return self.offset + F.softplus(self.slope) * scores


# --- training --------------------------------------------------------------------------------------------------------


def loss_of(scores: Tensor, calibration: Calibration, data: Data, batch: Batch) -> Tensor:
    """The loss of scores, 0-1, of the rows of a batch, in their order."""
    rated, originals, versions, sharp = batch
    first, second = len(rated) + len(originals), len(rated) + len(originals) + len(versions)
    labels, shown = data.photographs.labels[rated + originals], calibration(scores[:first])
    loss = 1.5 * ((shown - labels).abs().mean() + pairwise(shown, labels))
    mine, labels = scores[second:], data.sharp.labels[sharp]
    loss = loss + (mine - labels).abs().mean() + pairwise(mine, labels)
    i, j = torch.triu_indices(len(sharp), len(sharp), 1)
    of_one = (data.kind[sharp][i] == data.kind[sharp][j]) | data.clean[sharp][i] | data.clean[sharp][j]
    same = (data.content[sharp][i] == data.content[sharp][j]) & of_one
    if same.any():
        expected = above((labels[i] - labels[j])[same], 0.01)
        loss = loss + 0.6 * fidelity(expected, (mine[i] - mine[j])[same], 0.04).mean()
    original, pair = scores[len(rated) : first, None], scores[first:second].view(-1, 2)
    known = data.own.labels[versions].view(-1, 2)
    worse = fidelity(above(opinion("", 0) - known, 0.06), original - pair, 0.06).mean()
    order = fidelity(above(known[:, 0] - known[:, 1], 0.03), pair[:, 0] - pair[:, 1], 0.06).mean()
    return loss + 0.5 * (worse + 0.5 * order)


def validate(folder: Path, rows: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """SRCC of photographs and of the cells' means, shares of neighbouring levels of `COMMON` in order, of images that
    score above themselves after light JPEG compression and under a quarter of the light, and of flaws of level 3 and
    up that are the likeliest; the calibration error of all flaws."""
    scorer = Scorer(folder, device="cpu")
    results = {
        name: [scorer(pixels_of(row, seed=seed)) for seed, row in enumerate(rows[name].to_dict("records"))]
        for name in ("validation", "sharp_validation", "light")
    }
    photographs, scored, light = (
        rows[name].assign(score=[result.score for result in found]) for name, found in results.items()
    )
    labels, known = flaw_labels(scored)
    probabilities = torch.tensor([list((result.flaws or {}).values()) for result in results["sharp_validation"]])
    clear = (labels[:, :-1].sum(dim=1) > 0) & torch.tensor(scored["level"].to_numpy() >= 3) & known
    right = probabilities[clear, :-1].argmax(dim=1) == labels[clear, :-1].argmax(dim=1)
    error = binary_calibration_error(probabilities[known].flatten(), labels[known].flatten().long(), n_bins=10)
    scored = scored[scored["distortion"] != ""]
    cells = scored.groupby(["distortion", "level"])["score"].mean()
    common = scored[scored["distortion"].isin(COMMON)]
    levels = common.pivot_table(index=["path", "distortion"], columns="level", values="score").to_numpy()
    versions = light.pivot_table(index="path", columns=["distortion", "level"], values="score")
    first = versions[[("", 0.0)]].to_numpy()
    above = {name: float((first > versions[name].to_numpy()).mean()) for name in ("jpeg", DIM)}
    return {
        "val_srcc": float(spearmanr(photographs["score"], photographs["mos"])[0]),
        "val_cells_srcc": float(spearmanr(cells, [OPINIONS[name, int(level)] for name, level in cells.index])[0]),
        "val_levels_in_order": float((levels[:, :-1] > levels[:, 1:]).mean()),
        "val_above_light_jpeg": above["jpeg"],
        "val_above_dim": above[DIM],
        "val_flaw_named": float(right.float().mean()),
        "val_flaw_ece": float(error),
    }


def check_settings(options: Options, images: Mapping[str, int]) -> None:
    """Raise FusiqaError where the work folder holds what other settings, or other numbers of images, made."""
    file = options.work / "settings.json"
    stages = list(map(repr, options.stages()))
    settings = [options.backbone, options.fusion, options.seeds, options.decay, FORMULAS, stages, images]
    stated = json.dumps(settings, indent=1)
    if file.exists() and file.read_text() != stated:
        raise FusiqaError(f"{options.work} holds the state of other settings or another version: use another folder")
    file.write_text(stated)


def train(options: Options) -> None:
    config = ModelConfig(
        backbone=options.backbone, fusion=options.fusion, view="whole", dropout=0.1, drop_path=0.0,
        score_range=ScoreRange(0, 1),
    )  # fmt: skip
    others = [read_description(find(each)[0]) for each in options.others]
    check_average([published(config), *(network for each in others for network in (each.config, *each.others))])
    refuse(*((each.resize != RESIZE, f"`others` must have the resize {RESIZE}, got {each.resize}") for each in others))
    torch.manual_seed(0)
    network = Network(build_model(config, options.backbone_weights, resize=RESIZE)).train()
    rows = tables(options.biq2021, options.sharp, options.work)
    check_settings(options, {name: len(table) for name, table in rows.items()})
    data = Data(**{each.name: Maps(each.name, rows[each.name], network, options.work) for each in fields(Data)})
    windows, large_windows, whole = options.stages()
    calibration = Calibration()
    parts = nn.ModuleList([network, calibration])
    fit(network, calibration, data, windows, options, options.seeds[0])
    start, ends = copy.deepcopy(parts.state_dict()), []
    for seed in options.seeds:
        parts.load_state_dict(start)
        fit(network, calibration, data, large_windows, options, seed)
        ends.append(copy.deepcopy(parts))
    parts.load_state_dict(mean_state(ends))
    round_to_bytes(network.tail)  # moves scores by a point of 100, to which the heads then adapt
    fit(network, calibration, data, whole, options, options.seeds[0])
    round_to_bytes(network.heads)
    flaws = learn_flaws(network, data, options.seeds[0])
    save(network.model, flaws, {}, options)
    figures = validate(options.output, rows)
    print(json.dumps(figures))
    save(network.model, flaws, figures, options)


def mean_state(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    states = [module.state_dict() for module in modules]
    return {name: torch.stack([state[name] for state in states]).float().mean(dim=0) for name in states[0]}


def fit(network: Network, calibration: Calibration, data: Data, stage: Stage, options: Options, seed: int) -> None:
    """One stage, from its own state where there is one; the average of the weights is what is kept."""
    tail, heads = list(network.tail.parameters()), list(network.heads.parameters())
    learned = [*(tail if stage.backbone_rate else []), *heads]
    groups = [
        {"params": [p for p in part if (p.ndim > 1) == decayed], "lr": rate, "weight_decay": 0.01 * decayed}
        for part, rate in ((tail, stage.backbone_rate), (heads, stage.rate))
        for decayed in (True, False)
        if rate
    ]
    groups.append({"params": list(calibration.parameters()), "lr": stage.calibration_rate, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, fused=True)

    def rate_at(step: int, late: int = 0) -> float:
        cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * min(1, step / stage.steps))) / 2
        return min(1, max(0, step + 1 - late) / stage.warmup) * cosine

    of_tail = [partial(rate_at, late=stage.late)] * 2 if stage.backbone_rate else []
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, [*of_tail, *[rate_at] * 3])
    average = [p.detach().clone() for p in learned]
    state_file, start = options.work / f"{stage.name}-{options.fusion}-{seed}.pt", 0
    parts: dict[str, Any] = {
        "network": network, "calibration": calibration, "optimiser": optimiser, "schedule": schedule,
    }  # fmt: skip
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        average, start = state["average"], state["step"]
    scores_of = scores_of_windows if stage.window else Pools(network, data, options.work).scores
    for step in range(start, stage.steps):
        batch, random = data.batch(step, seed, stage)
        torch.manual_seed(seed * 100_003 + step)
        loss = loss_of(scores_of(network, data, batch, random, stage), calibration, data, batch)
        optimiser.zero_grad()
        loss.backward()
        for part in (heads, tail):
            nn.utils.clip_grad_norm_(part, 5.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for kept, p in zip(average, learned, strict=True):
                kept.lerp_(p, 1 - min(options.decay, (1 + step) / (10 + step)))
        if (step + 1) % 50 == 0 or step + 1 == stage.steps:
            clock = time.strftime("%H:%M:%S")
            print(
                f"{stage.name}, seed {seed}: step {step + 1} of {stage.steps}, loss {loss.item():.3f}",
                clock,
                flush=True,
            )
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**state, "average": average, "step": step + 1}, state_file.with_suffix(".part"))
            os.replace(state_file.with_suffix(".part"), state_file)
    with torch.no_grad():
        for kept, p in zip(average, learned, strict=True):
            p.copy_(kept)


def scores_of_windows(network: Network, data: Data, batch: Batch, random: np.random.Generator, stage: Stage) -> Tensor:
    """Scores of random windows of the stem's maps."""
    drawn = [data.photographs.window(row, random, stage.window) for row in batch.rated + batch.originals]
    drawn += [data.own.window(row, random, stage.window) for row in batch.versions]
    drawn += [data.sharp.window(row, random, stage.window) for row in batch.sharp]
    fine, coarse = (torch.stack(each) for each in zip(*drawn, strict=True))
    return network([F.adaptive_avg_pool2d(fine, grid) for grid in (7, 8)], coarse)


class Pools:
    """What the heads read of the finished backbone's maps: of each whole image, and of a random window of it."""

    def __init__(self, network: Network, data: Data, work: Path) -> None:
        self.of = {name: pooled(name, network, getattr(data, name), work) for name in ("photographs", "sharp", "own")}

    def scores(self, network: Network, data: Data, batch: Batch, random: np.random.Generator, stage: Stage) -> Tensor:
        """Half of the images are seen whole, the others by their window."""
        rows = {"photographs": batch.rated + batch.originals, "own": batch.versions, "sharp": batch.sharp}
        read = []
        for name, chosen in rows.items():
            read.append(self.of[name][chosen, random.integers(2, size=len(chosen))])
        return score_packed(network.model, torch.from_numpy(np.concatenate(read))).score


@torch.inference_mode()
def pooled(name: str, network: Network, maps: Maps, work: Path) -> np.ndarray:
    """(rows, 2, numbers): `fusiqa.training.frozen.pack` of the whole image and of a window, kept in a file."""
    file = work / "maps" / f"{name}.pooled.npy"
    if file.exists():
        return np.load(file, mmap_mode="r")
    network.eval()
    shape = len(maps.table), 2, len(network.pooled(*maps.whole(0)))
    stored = np.lib.format.open_memmap(file.with_suffix(".part"), "w+", np.float16, shape)
    for row in maps.rows:
        stored[row, 0] = network.pooled(*maps.whole(row)).numpy()
        fine, coarse = maps.window(row, np.random.default_rng((0, row)), WINDOW)
        seven, eight = (F.adaptive_avg_pool2d(fine[None], grid)[0] for grid in (7, 8))
        stored[row, 1] = network.pooled(seven, eight, coarse).numpy()
        if row % 500 == 0:
            print(f"pools of {name}: {row} of {len(maps.table)}", time.strftime("%H:%M:%S"), flush=True)
    stored.flush()
    os.replace(file.with_suffix(".part"), file)
    network.train()
    return stored


# --- flaws -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def flawed(network: Network, maps: Maps, rows: Sequence[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Statistics (rows, 2 C) of the trained network, and the `flaw_labels` of the rows."""
    network.eval()
    chosen = range(len(maps.table)) if rows is None else rows
    read = torch.stack([maps.statistics(row, network) for row in chosen])
    return read, *flaw_labels(maps.table.iloc[list(chosen)])


def flaw_labels(table: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """Flaws (rows, 8) in 0 and 1, and whether the flaw is known: made, and not too weak to be seen."""
    made = [FLAW_OF_DISTORTION[LABELLED_AS.get(name, name)] if name else "none" for name in table["distortion"]]
    labels = torch.tensor([[name == flaw for flaw in FLAWS] for name in made], dtype=torch.float32)
    distortions = zip(table["distortion"], table["level"], strict=True)
    seen = [not name or opinion(name, level) < opinion("", 0) - SEEN_FALL for name, level in distortions]
    return labels, torch.tensor([name is not None for name in made]) & torch.tensor(seen)


def good_photographs(data: Data) -> list[int]:
    """Rows of photographs that their raters thought well of: without a flaw, as far as is known."""
    best = best_third(data.photographs.table).index
    return np.random.default_rng(21).permutation(best)[:GOOD_PHOTOGRAPHS].tolist()


def learn_flaws(network: Network, data: Data, seed: int) -> FlawHead:
    """The head that names flaws, on the finished network's maps: it changes no score.

    Its probabilities are calibrated, one slope and offset a flaw (Platt, 1999), on a sixth of the contents, from which
    it does not learn.
    """
    sets = [
        flawed(network, data.sharp),
        flawed(network, data.own),
        flawed(network, data.photographs, good_photographs(data)),
    ]
    sources = torch.tensor(pd.factorize(data.sharp.table["source"])[0])
    contents = torch.cat([sources, torch.arange(len(data.own.table)) // 2, torch.arange(len(sets[2][0]))])
    read, labels, known = (torch.cat(parts) for parts in zip(*sets, strict=True))
    times = known.long()
    times[: len(data.clean)][data.clean] = UNDISTORTED_TIMES
    rows = torch.arange(len(times)).repeat_interleave(times)
    held_out = contents[rows].remainder(6) == 0
    head = fit_head(network.model.pyramid.channels, read[rows], labels[rows], held_out, seed=seed)
    round_to_bytes(head)
    return head


def published(config: ModelConfig) -> ModelConfig:
    """The configuration of the model that is saved: it names flaws, and scores on 0 to 100."""
    return replace(config, score_range=ScoreRange(0.0, 100.0), flaws=True)


def save(model: QualityModel, flaws: FlawHead, figures: dict[str, float], options: Options) -> None:
    """The model, which is rounded, averaged with `others`; weights of tail and heads are bytes, the others 16 bits."""
    final = QualityModel(published(model.config), resize=model.resize)
    weights = {f"flaws.{name}": tensor for name, tensor in flaws.state_dict().items()}
    final.load_state_dict({**model.state_dict(), **weights})
    provenance: dict[str, Any] = {"dataset": "biq2021 + distorted", "seeds": list(options.seeds)}
    if options.others:
        provenance["averaged_with"] = [describe(*find(each)).name for each in options.others]
    provenance |= {**figures, "licence": "Apache-2.0"}
    average = QualityModel.average([final, *map(QualityModel.from_pretrained, options.others)], provenance=provenance)
    average.save_pretrained(options.output, half=True)


if __name__ == "__main__":
    with denormals_as_zero():  # the heads learn three times as fast
        train(tyro.cli(Options))
