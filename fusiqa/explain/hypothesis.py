"""The hypothesis on what the scale weights mean, tested on one model: a verdict in words for each clause.

It was proposed with the design: blur is seen at the fine scales, JPEG at the middle ones, colour and the absence of any
flaw at the coarse ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from fusiqa.explain.distortion_shifts import UNDISTORTED
from fusiqa.explain.scale_weights import SCALES
from fusiqa.stats.intervals import Mean, mean_interval

HOLDS, FAILS, STILL, UNTOLD = "holds", "does not hold", "nothing moves", "cannot be told"
LEAST_SHIFT = 0.01
"""A smaller shift of two scales' weight, of 1 in all, is none worth the name, however sure it is."""
EQUAL_SHARE = 0.5  # of two scales among four


class Clause(NamedTuple):
    """What is expected of some images: that two scales together gain weight, or hold more than their share.

    Attributes:
        words: the expectation.
        column, value: the images that it is about, such as those whose `kind` is "blur".
        scales: that are expected to count for more.
    """

    words: str
    column: str
    value: str
    scales: tuple[int, int]


class Verdict(NamedTuple):
    """What was found of a clause.

    `holds` where the 95 % interval of `pair` is above 0 and its mean at least 0.01, `does not hold` where both are
    below, `nothing moves` where the interval lies within 0.01 of 0, else `cannot be told`.

    Attributes:
        clause: what was expected.
        verdict: in words.
        pair: gain of the clause's two scales together, over images; for pristine ones, their share less a half.
        by_scale: gain of each scale alone; for pristine images, its share.
    """

    clause: Clause
    verdict: str
    pair: Mean
    by_scale: list[Mean]


CLAUSES = (
    Clause("blur moves weight to the fine scales 0 and 1", "kind", "blur", (0, 1)),
    Clause("JPEG moves weight to the middle scales 1 and 2", "distortion", "jpeg", (1, 2)),
    Clause("colour distortions move weight to the coarse scales 2 and 3", "kind", "colour", (2, 3)),
    Clause("pristine images lean on the coarse scales 2 and 3", "distortion", UNDISTORTED, (2, 3)),
)


def judge(table: pd.DataFrame) -> list[Verdict]:
    """A verdict for each clause, images taken as independent: what one image becomes is averaged first.

    Args:
        table: as for `distortion_shifts`.
    """
    pristine = table[table["distortion"] == UNDISTORTED].set_index("original")[list(SCALES)].sort_index()
    return [_judged(clause, table, pristine) for clause in CLAUSES]


def _judged(clause: Clause, table: pd.DataFrame, pristine: pd.DataFrame) -> Verdict:
    """The verdict on one clause; `pristine` has the weights of each image as it is."""
    own = table[table[clause.column] == clause.value].groupby("original")[list(SCALES)].mean()
    about_pristine = clause.value == UNDISTORTED
    gains = own if about_pristine else own - pristine
    pair = gains[[SCALES[scale] for scale in clause.scales]].sum(axis=1) - EQUAL_SHARE * about_pristine
    found = mean_interval(pair)
    return Verdict(clause, in_words(found), found, [mean_interval(gains[scale]) for scale in SCALES])


def in_words(gain: Mean) -> str:
    """Whether an expected gain is there."""
    if gain.low > 0 and gain.mean >= LEAST_SHIFT:
        return HOLDS
    if gain.high < 0 and gain.mean <= -LEAST_SHIFT:
        return FAILS
    return STILL if -LEAST_SHIFT < gain.low <= gain.high < LEAST_SHIFT else UNTOLD


def over_runs(runs: Sequence[list[Verdict]]) -> list[Verdict]:
    """A verdict for each clause over training seeds: runs taken as independent, each run's mean over images once.

    Args:
        runs: the verdicts of `judge` on each run, on the same images; one at least.
    """
    return [
        Verdict(
            of_runs[0].clause,
            in_words(found := mean_interval([each.pair.mean for each in of_runs])),
            found,
            [mean_interval([each.by_scale[scale].mean for each in of_runs]) for scale in range(len(SCALES))],
        )
        for of_runs in zip(*runs, strict=True)
    ]


def runs_table(runs: Mapping[str, list[Verdict]]) -> pd.DataFrame:
    """One row a run and clause: run, clause, verdict, n images, gain of the clause's pair of scales, low, high."""
    rows = [
        (run, each.clause.words, each.verdict, each.pair.n, each.pair.mean, each.pair.low, each.pair.high)
        for run, verdicts in runs.items()
        for each in verdicts
    ]
    return pd.DataFrame(rows, columns=["run", "clause", "verdict", "n", "gain", "low", "high"])


def runs_to_markdown(verdicts: list[Verdict]) -> str:
    """What `over_runs` found, for reading."""
    clauses = "\n".join(f"- {_sentence(verdict)}" for verdict in verdicts)
    return f"""## Over {verdicts[0].pair.n} runs

{clauses}

Here n is the number of runs: each counts once, by its mean over the images, and the intervals cover another
training seed of this design, on these images.
"""


def to_markdown(verdicts: list[Verdict], *, model: str) -> str:
    """The page `hypothesis.md`."""
    clauses = "\n".join(f"- {_sentence(verdict)}" for verdict in verdicts)
    return f"""# What the scale weights of one model say of the hypothesis

The hypothesis: blur is judged at the fine scales, JPEG at the middle ones, colour and flawless images at the
coarse ones.
The model: {model}. Images: {verdicts[0].pair.n}.

{clauses}

Shifts are those of an image's scale weights (scale 0 is the finest, the four sum to 1) against the same image
undistorted, averaged over the distortions of the clause and the five levels, then over images; intervals are of
95 % over images (Student's t), each by itself; d is the mean over its standard deviation. A shift of less than
0.01 of the weight counts as none. All of this is about one model: another training seed, backbone or data set may weigh
its scales differently, and a weight is not the share of the score that a scale made.
"""


def _sentence(found: Verdict) -> str:
    """The clause, the verdict and its numbers."""
    about_pristine = found.clause.value == UNDISTORTED
    first, second = found.clause.scales
    what = "more than half of the weight, by" if about_pristine else "shift"
    numbers = ", ".join(f"{scale}: {_figure(mean, signed=not about_pristine)}" for scale, mean in _numbered(found))
    return (
        f"{found.clause.words}: **{found.verdict}**. Scales {first} and {second} together, {what} "
        f"{_figure(found.pair, signed=True)}{_effect(found.pair)}, n = {found.pair.n}; scale by scale, {numbers}."
    )


def _effect(mean: Mean) -> str:
    """Cohen's d of the paired values: their mean over their standard deviation, where there is one."""
    return f", d = {mean.mean / mean.sd:+.2f}" if mean.sd > 0 else ""


def _numbered(found: Verdict) -> list[tuple[int, Mean]]:
    return list(enumerate(found.by_scale))


def _figure(mean: Mean, *, signed: bool) -> str:
    """A mean with its interval."""
    form = "+.3f" if signed else ".3f"
    if mean.n == 1:
        return f"{mean.mean:{form}} (no interval: n = 1)"
    return f"{mean.mean:{form}} [{mean.low:{form}}, {mean.high:{form}}]"
