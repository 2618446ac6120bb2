"""The test of the hypothesis, on tables whose answer is known in each direction."""

import numpy as np
import pandas as pd
import pytest

from fusiqa.explain.hypothesis import (
    CLAUSES,
    CONTRADICTED,
    INCONCLUSIVE,
    NO_EFFECT,
    SUPPORTED,
    assess,
    assess_runs,
    describe_model,
    describe_runs,
    runs_table,
    verdict_of,
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
        (table(), SUPPORTED),
        (table(sign=-1, pristine=FINE), CONTRADICTED),
        (table(sign=0, pristine=(0.25,) * 4, spread=0.02), INCONCLUSIVE),
        (table(sign=0, pristine=(0.25,) * 4, spread=0), NO_EFFECT),
        (table(sign=0.01, pristine=(0.2499, 0.25, 0.25, 0.2501), spread=1e-5), NO_EFFECT),
        (table(images=1), INCONCLUSIVE),
    ],
    ids=["as expected", "the other way", "noise", "no effect", "significant but negligible", "one image"],
)
def test_the_verdict_is_that_of_the_table(made, verdict):
    assert [found.verdict for found in assess(made)] == [verdict] * len(CLAUSES)


@pytest.mark.parametrize("about", range(3))
def test_each_clause_is_assessed_by_its_own_images(about):
    """Inverted for one kind alone, only its clause is contradicted."""
    made, clause = table(), CLAUSES[about]
    scales = [f"scale_{scale}" for scale in range(4)]
    rows = made[clause.column] == clause.value
    pristine = made[made["distortion"] == "none"].set_index("original")[scales]
    before = pristine.loc[made.loc[rows, "original"]].to_numpy()
    made.loc[rows, scales] = 2 * before - made.loc[rows, scales].to_numpy()
    expected = [CONTRADICTED if place == about else SUPPORTED for place in range(4)]
    assert [found.verdict for found in assess(made)] == expected


def test_the_numbers_are_paired_and_over_images():
    made = table(sign=0.5, spread=0.002)
    blur, *_, sharp = assess(made)
    fine = made.assign(fine=made["scale_0"] + made["scale_1"]).groupby(["original", "kind"])["fine"].mean().unstack()
    assert blur.pair == pytest.approx(mean_interval(fine["blur"] - fine["none"]))
    assert blur.pair.n == 5
    assert blur.pair.mean == pytest.approx(0.1, abs=0.01)
    assert blur.by_scale[3].mean == pytest.approx(-0.05, abs=0.005)
    assert sharp.pair.mean == pytest.approx(0.15, abs=0.01)  # 0.25 + 0.40 less a half
    assert sharp.by_scale[3].mean == pytest.approx(0.4, abs=0.01)


def test_an_interval_that_ends_at_zero_is_inconclusive():
    assert verdict_of(Mean(3, 0.1, 0.1, 0.0, 0.2)) == INCONCLUSIVE
    assert verdict_of(Mean(3, -0.1, 0.1, -0.2, 0.0)) == INCONCLUSIVE
    assert verdict_of(Mean(3, 0.009, 0.1, 0.001, 0.017)) == INCONCLUSIVE
    assert verdict_of(Mean(3, 0.009, 0.1, 0.008, 0.0099)) == NO_EFFECT


def test_the_page_has_verdicts_and_numbers_and_says_that_they_are_of_one_model():
    page = describe_model(assess(table()), model="runs/first")
    assert "The model: runs/first. Images: 5." in page
    assert page.count("**supported**") == 4
    assert "blur shifts weight to the fine scales 0 and 1: **supported**. Scales 0 and 1 together: shift +0.20" in page
    blur = assess(table())[0].pair
    assert f", d = {blur.mean / blur.sd:+.2f}, n = 5" in page
    assert "These results are about one model" in page
    assert "no interval: n = 1" in describe_model(assess(table(images=1)), model="runs/first")


def test_assess_runs_each_run_counts_once():
    signs = [1.0, 0.8, 1.2, 0.9]
    runs = [assess(table(sign=sign, images=3 + number)) for number, sign in enumerate(signs)]
    found = assess_runs(runs)
    assert [verdict.verdict for verdict in found] == [SUPPORTED] * 4
    assert found[0].pair == pytest.approx(mean_interval([run[0].pair.mean for run in runs]))
    assert found[0].pair.n == 4
    assert found[1].by_scale[2] == pytest.approx(mean_interval([run[1].by_scale[2].mean for run in runs]))


def test_runs_that_contradict_each_other_are_inconclusive_together():
    """Each alone is conclusive."""
    runs = {"a": assess(table(sign=1)), "b": assess(table(sign=-1)), "c": assess(table(sign=1))}
    assert [verdict.verdict for verdict in assess_runs(list(runs.values()))][:3] == [INCONCLUSIVE] * 3
    found = runs_table(runs)
    assert found.groupby("run")["verdict"].first().to_dict() == {"a": SUPPORTED, "b": CONTRADICTED, "c": SUPPORTED}
    assert found.loc[4, "gain"] == pytest.approx(runs["b"][0].pair.mean)
    page = describe_runs(assess_runs(list(runs.values())))
    assert page.startswith("## Over 3 runs")
    assert page.count("**inconclusive**") == 3
