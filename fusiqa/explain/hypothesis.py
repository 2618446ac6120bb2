"""A test of what the design assumes of scale weights (`CLAUSES`), on one model or over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from fusiqa.explain.shifts import UNDISTORTED
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.stats.intervals import Mean, mean_interval

SUPPORTED, CONTRADICTED, NO_EFFECT, INCONCLUSIVE = "supported", "contradicted", "no effect", "inconclusive"
LEAST_SHIFT = 0.01  # of two scales' weight, out of 1: a smaller one is no effect, however significant


class Clause(NamedTuple):
    """What is expected of the images with a value in a column: that two scales together gain weight, or hold most."""

    words: str
    column: str
    value: str
    scales: tuple[int, int]

    @property
    def about_pristine(self) -> bool:
        return self.value == UNDISTORTED


class Assessment(NamedTuple):
    """What was found for a clause over images: gains in weight, or of undistorted images the weights."""

    clause: Clause
    pair: Mean  # of the clause's two scales together; of undistorted images, less a half
    by_scale: list[Mean]

    @property
    def verdict(self) -> str:
        """Of the pair, as `verdict_of` defines it."""
        return verdict_of(self.pair)


CLAUSES = (
    Clause("blur shifts weight to the fine scales 0 and 1", "kind", "blur", (0, 1)),
    Clause("JPEG shifts weight to the middle scales 1 and 2", "distortion", "jpeg", (1, 2)),
    Clause("colour distortions shift weight to the coarse scales 2 and 3", "kind", "colour", (2, 3)),
    Clause("undistorted images rely on the coarse scales 2 and 3", "distortion", UNDISTORTED, (2, 3)),
)


def assess(table: pd.DataFrame) -> list[Assessment]:
    """Assess each clause by a table as for `distortion_shifts`: versions averaged, images taken as independent."""
    pristine = table[table["distortion"] == UNDISTORTED].set_index("original")[list(SCALE_COLUMNS)].sort_index()
    findings = []
    for clause in CLAUSES:
        weights = table[table[clause.column] == clause.value].groupby("original")[list(SCALE_COLUMNS)].mean()
        gains = weights if clause.about_pristine else weights - pristine
        pair = gains.iloc[:, list(clause.scales)].sum(axis=1) - (0.5 if clause.about_pristine else 0)
        by_scale = [mean_interval(gains[scale]) for scale in SCALE_COLUMNS]
        findings.append(Assessment(clause, mean_interval(pair), by_scale))
    return findings


def assess_runs(runs: Sequence[list[Assessment]]) -> list[Assessment]:
    """Assess each clause over training seeds: each run's `assess` counts once, by its mean over the same images."""
    findings = []
    for of_runs in zip(*runs, strict=True):
        means = [[mean.mean for mean in (each.pair, *each.by_scale)] for each in of_runs]
        pair, *by_scale = (mean_interval(list(of_one)) for of_one in zip(*means, strict=True))
        findings.append(Assessment(of_runs[0].clause, pair, by_scale))
    return findings


def verdict_of(gain: Mean) -> str:
    """Supported: interval above 0 and mean at least 0.01; contradicted: so below; no effect: within 0.01 of 0."""
    if gain.low > 0 and gain.mean >= LEAST_SHIFT:
        return SUPPORTED
    if gain.high < 0 and gain.mean <= -LEAST_SHIFT:
        return CONTRADICTED
    return NO_EFFECT if -LEAST_SHIFT < gain.low <= gain.high < LEAST_SHIFT else INCONCLUSIVE


def runs_table(runs: Mapping[str, list[Assessment]]) -> pd.DataFrame:
    """One row a run and clause: run, clause, verdict, n images, gain of the clause's pair of scales, low, high."""
    found = [(run, each) for run, findings in runs.items() for each in findings]
    rows = [(run, each.clause.words, each.verdict, each.pair.n, *each.pair.estimate) for run, each in found]
    return pd.DataFrame(rows, columns=["run", "clause", "verdict", "n", "gain", "low", "high"])


def describe_model(findings: list[Assessment], *, model: str) -> str:
    """The page `hypothesis.md`."""
    return f"""# What the scale weights of one model say about the hypothesis

The hypothesis: blur shifts weight to the fine scales, JPEG to the middle ones, colour distortions to the coarse ones,
and undistorted images rely on the coarse ones. The model: {model}. Images: {findings[0].pair.n}.

{_clauses(findings)}

A shift is the difference of an image's scale weights (scale 0 is the finest; the four sum to 1) from those of the same
image undistorted, averaged over the clause's distortions and the five levels, then over images. Intervals are 95 % t
intervals over images, without correction for the number of clauses; d is the mean over the standard deviation. Shifts
below 0.01 count as no effect. These results are about one model: another training seed, backbone or data set may weigh
its scales differently, and a scale's weight is not its contribution to the score.
"""


def describe_runs(findings: list[Assessment]) -> str:
    """What `assess_runs` found, as a section of the page."""
    return f"""## Over {findings[0].pair.n} runs

{_clauses(findings)}

Here n is the number of runs. Each run counts once, by its mean over the images; the intervals cover other training
seeds of this design on these images.
"""


def _clauses(findings: list[Assessment]) -> str:
    """A list item for each clause: its verdict and numbers."""

    def cell(mean: Mean, form: str) -> str:
        return f"{mean.mean:{form}} (no interval: n = 1)" if mean.n == 1 else f"{mean.estimate:{form}}"

    items = []
    for clause, pair, by_scale in findings:
        what, form = ("weight above one half", ".3f") if clause.about_pristine else ("shift", "+.3f")
        effect = f", d = {pair.effect:+.2f}" if pair.sd > 0 else ""
        found = f"{what} {cell(pair, '+.3f')}{effect}, n = {pair.n}"
        scales = ", ".join(f"{scale}: {cell(mean, form)}" for scale, mean in enumerate(by_scale))
        first, second = clause.scales
        start = f"- {clause.words}: **{verdict_of(pair)}**. Scales {first} and {second} together"
        items.append(f"{start}: {found}. By scale: {scales}.")
    return "\n".join(items)
