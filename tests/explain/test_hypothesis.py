"""Verdicts on the hypothesis, on made-up images whose answer is known in each direction."""

import numpy as np
import pandas as pd
import pytest

from fusiqa.explain.hypothesis import (
    CLAUSES,
    FAILS,
    HOLDS,
    STILL,
    UNTOLD,
    in_words,
    judge,
    over_runs,
    runs_table,
    runs_to_markdown,
    to_markdown,
)
from fusiqa.stats.intervals import Mean, mean_interval

DONE = [
    ("none", "none", 0), ("blur", "gaussian_blur", 1), ("blur", "lens_blur", 5), ("compression", "jpeg", 3),
    ("compression", "jpeg2000", 3), ("colour", "color_shift", 2),
]  # fmt: skip
AS_EXPECTED = {"blur": (0.1, 0.1, -0.1, -0.1), "jpeg": (-0.1, 0.1, 0.1, -0.1), "colour": (-0.1, -0.1, 0.1, 0.1)}
COARSE, FINE = (0.15, 0.2, 0.25, 0.4), (0.4, 0.25, 0.2, 0.15)


def table(*, sign: float = 1, pristine=COARSE, spread: float = 0.001, images: int = 5) -> pd.DataFrame:
    """Every shift as the hypothesis expects it times `sign`; images differ by `spread`."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(images):
        base = np.array(pristine) + random.normal(0, spread) * np.array([1, 1, -1, -1])
        for kind, distortion, level in DONE:
            expected = AS_EXPECTED.get(kind, AS_EXPECTED.get(distortion, (0, 0, 0, 0)))
            moved = np.array(expected) * (sign + random.normal(0, 10 * spread))
            named = {"original": f"{number}.jpg", "kind": kind, "distortion": distortion, "level": level}
            rows.append(named | {f"scale_{scale}": value for scale, value in enumerate(base + moved)})
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (table(), HOLDS),
        (table(sign=-1, pristine=FINE), FAILS),
        (table(sign=0, pristine=(0.25,) * 4, spread=0.02), UNTOLD),
        (table(sign=0, pristine=(0.25,) * 4, spread=0), STILL),
        (table(sign=0.01, pristine=(0.2499, 0.25, 0.25, 0.2501), spread=1e-5), STILL),
        (table(images=1), UNTOLD),
    ],
    ids=["as expected", "the other way", "noise", "nothing moves", "surely, but by next to nothing", "one image"],
)
def test_the_verdict_is_that_of_the_table(made, verdict):
    assert [found.verdict for found in judge(made)] == [verdict] * len(CLAUSES)


@pytest.mark.parametrize("about", range(3))
def test_each_clause_is_judged_by_its_own_images(about):
    """Turned around for one kind alone, only its clause falls."""
    made, clause = table(), CLAUSES[about]
    scales = [f"scale_{scale}" for scale in range(4)]
    rows = made[clause.column] == clause.value
    pristine = made[made["distortion"] == "none"].set_index("original")[scales]
    before = pristine.loc[made.loc[rows, "original"]].to_numpy()
    made.loc[rows, scales] = 2 * before - made.loc[rows, scales].to_numpy()
    expected = [FAILS if place == about else HOLDS for place in range(4)]
    assert [found.verdict for found in judge(made)] == expected


def test_the_numbers_are_paired_and_over_images():
    made = table(sign=0.5, spread=0.002)
    blur, *_, sharp = judge(made)
    fine = made.assign(fine=made["scale_0"] + made["scale_1"]).groupby(["original", "kind"])["fine"].mean().unstack()
    assert blur.pair == pytest.approx(mean_interval(fine["blur"] - fine["none"]))
    assert blur.pair.n == 5
    assert blur.pair.mean == pytest.approx(0.1, abs=0.01)
    assert blur.by_scale[3].mean == pytest.approx(-0.05, abs=0.005)
    assert sharp.pair.mean == pytest.approx(0.15, abs=0.01)  # 0.25 + 0.40 less a half
    assert sharp.by_scale[3].mean == pytest.approx(0.4, abs=0.01)


def test_an_interval_that_ends_at_zero_tells_nothing():
    assert in_words(Mean(3, 0.1, 0.1, 0.0, 0.2)) == UNTOLD
    assert in_words(Mean(3, -0.1, 0.1, -0.2, 0.0)) == UNTOLD
    assert in_words(Mean(3, 0.009, 0.1, 0.001, 0.017)) == UNTOLD
    assert in_words(Mean(3, 0.009, 0.1, 0.008, 0.0099)) == STILL


def test_the_page_says_verdicts_numbers_and_that_it_is_one_model():
    page = to_markdown(judge(table()), model="runs/first")
    assert "The model: runs/first. Images: 5." in page
    assert page.count("**holds**") == 4
    assert "blur moves weight to the fine scales 0 and 1: **holds**. Scales 0 and 1 together, shift +0.20" in page
    blur = judge(table())[0].pair
    assert f", d = {blur.mean / blur.sd:+.2f}, n = 5" in page
    assert "All of this is about one model" in page
    assert "no interval: n = 1" in to_markdown(judge(table(images=1)), model="runs/first")


def test_over_runs_each_run_counts_once():
    signs = [1.0, 0.8, 1.2, 0.9]
    runs = [judge(table(sign=sign, images=3 + number)) for number, sign in enumerate(signs)]
    found = over_runs(runs)
    assert [verdict.verdict for verdict in found] == [HOLDS] * 4
    assert found[0].pair == pytest.approx(mean_interval([run[0].pair.mean for run in runs]))
    assert found[0].pair.n == 4
    assert found[1].by_scale[2] == pytest.approx(mean_interval([run[1].by_scale[2].mean for run in runs]))


def test_runs_that_contradict_each_other_tell_nothing_together():
    """Each alone is sure."""
    runs = {"a": judge(table(sign=1)), "b": judge(table(sign=-1)), "c": judge(table(sign=1))}
    assert [verdict.verdict for verdict in over_runs(list(runs.values()))][:3] == [UNTOLD] * 3
    told = runs_table(runs)
    assert told.groupby("run")["verdict"].first().to_dict() == {"a": HOLDS, "b": FAILS, "c": HOLDS}
    assert told.loc[4, "gain"] == pytest.approx(runs["b"][0].pair.mean)
    page = runs_to_markdown(over_runs(list(runs.values())))
    assert page.startswith("## Over 3 runs")
    assert page.count("**cannot be told**") == 3
