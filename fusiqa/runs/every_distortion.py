"""A model's scale weights under all 25 distortions at 5 levels: `fusiqa attention --groups every-distortion`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fusiqa.config import AttentionConfig
from fusiqa.data.distorted import KIND_OF_DISTORTION, every_distortion, treatment_of
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError
from fusiqa.explain.distortion_shifts import FOUND_BELOW, UNDISTORTED, distortion_shifts
from fusiqa.explain.groups import WEIGHTS_FILE
from fusiqa.explain.hypothesis import judge, over_runs, runs_table, runs_to_markdown, to_markdown
from fusiqa.explain.plots import shift_map
from fusiqa.io import write_csv, write_text
from fusiqa.models.checkpoint import TrainedModel, load_checkpoint
from fusiqa.runs.notices import Say
from fusiqa.scoring.image import Resize
from fusiqa.training.predict import predict

SHIFTS_FILE = "scale_weight_shifts.csv"
SHIFTS_FIGURE = "scale_weight_shifts.png"
HYPOTHESIS_FILE = "hypothesis.md"
RUNS_FILE = "hypothesis_runs.csv"


def explain_every_distortion(
    folder: Path, trained: TrainedModel, ratings: Ratings, config: AttentionConfig, *, resize: str, say: Say
) -> None:
    """Score every image under every distortion and level, and write what that does to the scale weights.

    Images are distorted as they are scored; a few are in memory at once, whatever their number.

    Args:
        folder: where scale_weights.csv, scale_weight_shifts.csv, scale_weight_shifts.png and hypothesis.md go; and,
            where there are other seeds, hypothesis_runs.csv.
        trained: a model that weighs its scales.
        ratings: the images, undistorted.
        config: the settings of the command.
        resize: resize protocol, in the words of `--resize`.
        say: told the verdicts.

    Raises:
        FusiqaError: another seed's run that is of another design.
    """
    others = load_others(config, trained)  # refused before anything is scored
    folder.mkdir(parents=True, exist_ok=True)  # one that cannot be made is known before anything is computed
    made = every_distortion(ratings, resize=Resize.parse(resize), seed=config.seed)

    def scored(model: TrainedModel) -> pd.DataFrame:
        return with_treatments(predict(model, made, resize="none", progress=config.progress))

    table = scored(trained)
    write_csv(table, folder / WEIGHTS_FILE)
    shifts = distortion_shifts(table)
    write_csv(shifts, folder / SHIFTS_FILE)
    sizes = trained.model.pyramid.scale_sizes()
    title = f"What distortions do to the scale weights of {len(ratings):,} images ({ratings.name})"
    shift_map(shifts, scale_sizes=sizes, title=title, path=folder / SHIFTS_FIGURE)
    verdicts = {str(config.model): judge(table)} | {run: judge(scored(model)) for run, model in others.items()}
    page = to_markdown(verdicts[str(config.model)], model=str(config.model))
    if others:
        write_csv(runs_table(verdicts), folder / RUNS_FILE)
        page = f"{page}\n{runs_to_markdown(over_runs(list(verdicts.values())))}"
    write_text(folder / HYPOTHESIS_FILE, page)
    say(page)
    found = int((shifts["q_value"] < FOUND_BELOW).sum())
    say(f"{found} of {len(shifts)} shifts can be told from none (false discovery rate of {FOUND_BELOW:.0%})")


def load_others(config: AttentionConfig, first: TrainedModel) -> dict[str, TrainedModel]:
    """The other runs by name. Raises FusiqaError for one that is named twice, or of another design than the first."""
    others: dict[str, TrainedModel] = {}
    places = {config.model.resolve()}
    for run in config.other_seeds:
        if run.resolve() in places:
            raise FusiqaError(f"--other_seeds names {run} a second time; every run counts once")
        places.add(run.resolve())
        others[str(run)] = load_checkpoint(run)
        if (others[str(run)].model.config, others[str(run)].resize) != (first.model.config, first.resize):
            raise FusiqaError(
                f"{run} is of another design (network, crop size, score range or resize); --other_seeds takes runs "
                "that differ in their seed alone"
            )
    return others


def with_treatments(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the columns original, kind, distortion and level; "none" and 0 for undistorted ones."""
    told = [treatment_of(str(image)) for image in table["image"]]
    done = [treatment or (UNDISTORTED, 0) for _, treatment in told]
    return table.assign(
        original=[original for original, _ in told],
        kind=[KIND_OF_DISTORTION.get(name, UNDISTORTED) for name, _ in done],
        distortion=[name for name, _ in done],
        level=[level for _, level in done],
    )
