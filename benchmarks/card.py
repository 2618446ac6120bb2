"""Figures of a packaged model's card that other commands do not print: python benchmarks/card.py --models MODEL

Of models that name flaws and score on 0 to 100. The other figures are those of `fusiqa evaluate` and of
benchmarks/other_distortions.py. Each part is printed when it is ready:
- distorted: from the table that `fusiqa evaluate MODEL --dataset distorted --data_dir SHARP --output EVALUATED/MODEL`
  wrote, with every score and probability, so that nothing is scored twice; SHARP may be drawings or screenshots too;
- sharp: sharp images with less light, grey and turned; two flat images, and matplotlib's photograph of Grace Hopper;
- validation: BIQ2021's validation photographs, the dark and the grey ones among them;
- cuts: those of sharp photographs that validate, under light JPEG compression and with a quarter of the light;
- training: the likeliest flaws of some photographs that the model learned from.
BIQ2021's test photographs are not read.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import tyro
from matplotlib.cbook import get_sample_data
from PIL import Image

from fusiqa.config.model import FLAWS
from fusiqa.data.catalog import read_images
from fusiqa.data.distortions import DISTORTIONS, LEVELS, Pixels, to_bytes, to_unit
from fusiqa.data.opinions import OPINION_RANGE
from fusiqa.errors import FusiqaError
from fusiqa.explain.opinions import BINS, above_strongest, calibration, flaw_made, likeliest, opinions, scores_by_cell
from fusiqa.io import to_markdown
from fusiqa.progress import progress_bar
from fusiqa.scoring.image import decode
from fusiqa.scoring.result import FLAW_COLUMNS, FLAW_WORDS, LIKELY, described
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.srgb import from_light, to_light
from fusiqa.stats.metrics import FEWEST_IMAGES, estimate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from packaged_images import A_QUARTER, DIM, LIGHT, photographs, pixels_of, tables

Part = Literal["distorted", "sharp", "validation", "cuts", "training"]
MADE = FLAWS[:-1]  # but for none
DIVISORS = (2, 3, 4, 6)  # of the light
DARK = 50  # mean level of 255 below which a photograph is dark
GREY = 1  # mean difference of 255 between a pixel's largest and smallest channel, below which a photograph is grey
DRAWN = 120  # photographs of the training split
GOOD = 75  # score above which a photograph should have no flaw
rated = cache(photographs)
validation_cuts = cache(lambda biq2021, clones, work: tables(biq2021, clones, work)["light"])


@dataclass
class Options:
    """Measure what the card of a model states."""

    models: tuple[str, ...] = ("fusiqa-fast", "fusiqa-accurate")
    """Names or folders."""
    parts: tuple[Part, ...] = get_args(Part)
    evaluated: Path | None = None
    """Folder that has a folder with distorted.csv of each model, by its name (distorted)."""
    sharp: Path | None = None
    """Folder of sharp images (sharp)."""
    biq2021: Path | None = None
    """Folder of BIQ2021 (validation, cuts, training)."""
    sharp_clones: Path | None = None
    """Folder of the clones of examples/train_packaged.sh (cuts)."""
    work: Path | None = None
    """Folder of maps and state of examples/train_packaged.py; images that it lacks are made (cuts)."""
    limit: int | None = None
    """Images of each part at most, the first ones, for trying."""


def folder(options: Options, name: str) -> Path:
    """A folder of the options. Raises FusiqaError where it was not given."""
    if (given := getattr(options, name)) is None:
        raise FusiqaError(f"this part needs --{name}")
    return given


def rows_of(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def joined(values: Iterable[float], spec: str = ".1f") -> str:
    return ", ".join(f"{value:{spec}}" for value in values)


def scored(scorer: Scorer, images: Iterable[Pixels], what: str, total: int) -> pd.DataFrame:
    """Score and probabilities of flaws of each image, in order."""
    results = list(progress_bar(scorer.stream(images), what=what, total=total, shown=True))
    if failed := [f"{result.name}: {result.error}" for result in results if not result.ok]:
        raise FusiqaError(failed[0])
    return pd.DataFrame([result.row() for result in results])[["score", *FLAW_COLUMNS]].astype(float)


def named(table: pd.DataFrame) -> str:
    """In how many rows a flaw is named, which ones, and in how many something is said of flaws."""
    likely, said = table[list(FLAW_COLUMNS[:-1])] >= LIKELY, sum(described(row) != "" for row in rows_of(table))
    which = ", ".join(f"{flaw} {number}" for flaw, number in zip(MADE, likely.sum(), strict=True) if number)
    return f'{likely.any(axis=1).sum()} of {len(table)} ({which or "none"}); named or said with "perhaps" in {said}'


def of_distorted(scorer: Scorer, options: Options) -> list[str]:
    """Scores of each distortion and level beside opinions, and flaws, from a table of all scores."""
    file = folder(options, "evaluated") / scorer.info.name.rpartition("@")[0] / "distorted.csv"
    if scorer.info.name not in file.with_suffix(".md").read_text():
        raise FusiqaError(f"{file} was not made with {scorer.info.name}: run `fusiqa evaluate` again")
    table = pd.read_csv(file, keep_default_na=False)
    table = table[table["image"].isin(table["image"].unique()[: options.limit])]
    clean, cells = scores_by_cell(table)
    above = above_strongest(clean, cells)[~np.eye(len(clean), dtype=bool)].mean(axis=0)
    beside = np.stack([cells.mean(axis=0), 100 * OPINION_RANGE.to_unit(opinions())], axis=2)
    levels = pd.DataFrame([[f"{mean:.1f} ({mos:.0f})" for mean, mos in row] for row in beside], columns=LEVELS)
    levels.insert(0, "distortion", list(DISTORTIONS))
    levels["sharp above"] = [f"{share:.1%}" for share in above]
    seen = cells[:, list(DISTORTIONS).index("gaussian_blur"), LEVELS.index(2)] < clean
    _, there, number = calibration(table).sum(axis=0).T
    true = [f"{there[place] / number[place]:.1%} near {place / BINS + 0.05:.2f}" for place in (1, 8)]
    return [
        f"undistorted, {len(clean)} images: mean score {clean.mean():.1f}, from {clean.min():.1f} to {clean.max():.1f}",
        f"blur of 0.5 pixels: {(~seen).mean():.1%} do not score below the undistorted image",
        f"a flaw named in the undistorted images: {named(table[table['distortion'] == ''])}",
        f"probabilities of flaws, true of them: {', '.join(true)}",
        "mean score and, in brackets, the viewers' mean opinion; a sharp image above another one of level 4 or 5:"
        f"\n\n{to_markdown(levels)}\n",
        f"the flaw that was applied, of level 3 and up:\n\n{to_markdown(flaws_of(table))}\n",
    ]


def flaws_of(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of the versions in which the applied flaw is the likeliest, named, and named or said with "perhaps"."""
    clear = table.assign(made=flaw_made(table)).dropna(subset="made").reset_index(drop=True)
    made, strongest = clear["made"], clear["level"] == LEVELS[-1]
    right = pd.DataFrame({"likeliest": likeliest(clear, MADE) == made})
    right["named"] = [row[f"flaw_{row['made']}"] >= LIKELY for row in rows_of(clear)]
    right['named or "perhaps"'] = [FLAW_WORDS[FLAWS.index(row["made"])] in described(row) for row in rows_of(clear)]
    chosen = {flaw: made == flaw for flaw in MADE} | {"all but exposure": made != "exposure"}
    chosen["contrast_change alone"] = clear["distortion"] == "contrast_change"
    chosen |= {f"{name}, level 5": (clear["distortion"] == name) & strongest for name in ("brighten", "darken")}
    shares = [[name, which.sum(), *(f"{each:.1%}" for each in right[which].mean())] for name, which in chosen.items()]
    return pd.DataFrame(shares, columns=["flaw", "versions", *right])


def with_less_light(pixels: Pixels, divisor: float) -> Pixels:
    """Linear light divided."""
    return to_bytes(from_light(to_light(to_unit(pixels)) / divisor))


def of_sharp(scorer: Scorer, options: Options) -> list[str]:
    ratings = read_images([folder(options, "sharp")])
    names = ratings.names[: options.limit]
    images = (make(pixels) for pixels in map(ratings.images.read, names) for make in VERSIONS.values())
    table = scored(scorer, images, "versions of sharp images", len(names) * len(VERSIONS))
    of = {name: table[place :: len(VERSIONS)].reset_index(drop=True) for place, name in enumerate(VERSIONS)}
    clean, turn = of["undistorted"]["score"], of["turned"]["score"] - of["undistorted"]["score"]
    dim = [of[f"light / {divisor}"] for divisor in DIVISORS]
    hopper = decode(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes())
    single = [np.full((384, 512, 3), level, np.uint8) for level in (128, 255)]
    single += [hopper, with_less_light(hopper, 3), to_bytes(2.2 * to_unit(hopper))]
    alone = scored(scorer, single, "single images", len(single))["score"]
    return [
        f"undistorted, {len(clean)} images: mean score {clean.mean():.1f}",
        f"linear light divided by {joined(DIVISORS, 'd')}: mean scores {joined(each['score'].mean() for each in dim)};"
        f" below the undistorted image {joined(((each['score'] < clean).mean() for each in dim), '.1%')};"
        f" exposure named in {joined(((each['flaw_exposure'] >= LIKELY).mean() for each in dim), '.1%')}",
        f"turned to grey: mean score {of['grey']['score'].mean():.1f}",
        f"turned by 90 degrees to the left: mean change {turn.mean():+.2f}, largest {max(turn, key=abs):+.1f}",
        f"plain grey (128), plain white: {joined(alone[:2])}",
        f"Grace Hopper, with a third of the light, with values times 2.2: {joined(alone[2:])}",
    ]


@cache
def validation_photographs(biq2021: Path, limit: int | None) -> pd.DataFrame:
    """With `level`, the mean of all values, and `colour`, the mean difference of a pixel's channels."""
    table = rated(biq2021)
    table = table[table["split"] == "validation"][:limit].reset_index(drop=True)
    images = map(pixels_of, progress_bar(rows_of(table), what="reading validation photographs", shown=True))
    level, colour = np.transpose([(pixels.mean(), np.ptp(pixels, axis=2).mean()) for pixels in images])
    return table.assign(level=level, colour=colour)


def of_validation(scorer: Scorer, options: Options) -> list[str]:
    table = validation_photographs(folder(options, "biq2021"), options.limit)
    scores = scored(scorer, map(pixels_of, rows_of(table)), "validation photographs", len(table))["score"]
    mos = 100 * table["mos"]

    def agreement(which: pd.Series) -> str:
        found = f"{estimate(scores[which], mos[which]):.4f}" if which.sum() >= FEWEST_IMAGES else "undefined"
        return f"{which.sum()}: SRCC {found}, standard deviation of their ratings {mos[which].std():.1f}"

    slope, offset = np.polyfit(mos, scores, 1)
    grey = (scores - (offset + slope * mos))[table["colour"] < GREY]
    return [
        f"validation photographs, {agreement(mos.notna())}",
        f"those with a mean level below {DARK} of 255, {agreement(table['level'] < DARK)}",
        f"those whose channels differ by less than {GREY} of 255 on average, {len(grey)}: score minus what a linear fit"
        f" over all predicts from the rating {grey.mean():+.1f}, standard error {grey.sem():.1f}",
    ]


def of_cuts(scorer: Scorer, options: Options) -> list[str]:
    rows = validation_cuts(*(folder(options, name) for name in ("biq2021", "sharp_clones", "work")))
    rows = rows[rows["path"].isin(rows["path"].unique()[: options.limit])].reset_index(drop=True)
    table = scored(scorer, map(pixels_of, rows_of(rows)), "cuts", len(rows)).join(rows)
    score = {cell: part.set_index("path")["score"] for cell, part in table.groupby(["distortion", "level"])}
    clean, dim = score["", 0.0], score[DIM, A_QUARTER]
    compressed = [score["jpeg", level] for level in LIGHT["jpeg"]]
    qualities = [100 + (DISTORTIONS["jpeg"].parameters[0] - 100) * level for level in LIGHT["jpeg"]]
    return [
        f"{len(clean)} cuts: mean score {clean.mean():.1f}; with a quarter of the light {dim.mean():.1f},"
        f" {(dim < clean).mean():.1%} below their original",
        f"JPEG quality {joined(qualities, '.0f')}: mean scores {joined(each.mean() for each in compressed)};"
        f" above their original {joined(((each > clean).mean() for each in compressed), '.1%')}",
        f"a flaw named in the undistorted cuts: {named(table[table['distortion'] == ''])}",
    ]


def of_training(scorer: Scorer, options: Options) -> list[str]:
    table = rated(folder(options, "biq2021"))
    drawn = table[table["split"] == "train"].sample(DRAWN, random_state=0)[: options.limit]
    table = scored(scorer, map(pixels_of, rows_of(drawn)), "training photographs", len(drawn))
    flaws, good = pd.Series(likeliest(table, FLAWS)), table["score"] > GOOD
    counts = ", ".join(f"{flaw} {number}" for flaw, number in flaws.value_counts().items())
    return [
        f"the likeliest flaw of {len(table)} training photographs: {counts};"
        f" of the {good.sum()} that score above {GOOD} none in {(flaws[good] == 'none').sum()}",
    ]


VERSIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "undistorted": lambda pixels: pixels,
    **{f"light / {divisor}": partial(with_less_light, divisor=divisor) for divisor in DIVISORS},
    "grey": lambda pixels: np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")),
    "turned": np.rot90,
}
PARTS: dict[Part, Callable[[Scorer, Options], list[str]]] = {
    "distorted": of_distorted, "sharp": of_sharp, "validation": of_validation, "cuts": of_cuts, "training": of_training,
}  # fmt: skip


def main(options: Options) -> None:
    failed = []
    for model in options.models:
        scorer = Scorer(model)
        print(f"\n## {scorer.info.name}\n", flush=True)
        for part in options.parts:
            try:
                print("\n".join(f"- {line}" for line in PARTS[part](scorer, options)), flush=True)
            except Exception:  # the other parts go on
                traceback.print_exc()
                failed.append(f"{part} of {model}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(tyro.cli(Options))
