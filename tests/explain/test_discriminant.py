"""Scale weights tell flaws apart where flaws move them, and not by chance."""

import numpy as np
import pandas as pd
import pytest

from fusiqa.data.distortions import FLAW_OF_DISTORTION
from fusiqa.explain.discriminant import describe_separation, tell_flaws

FLAWS = sorted({flaw for flaw in FLAW_OF_DISTORTION.values() if flaw})


def table(*, moved: float, images: int = 8, levels=(3, 4, 5), seed: int = 0) -> pd.DataFrame:
    """Every distortion moves the weights by `moved` in a direction of its flaw, beside noise."""
    random, rows = np.random.default_rng(seed), []
    directions = dict(zip(FLAWS, random.normal(size=(len(FLAWS), 4)), strict=True))
    for number in range(images):
        base = random.dirichlet(np.ones(4) * 50)
        for distortion, flaw in FLAW_OF_DISTORTION.items():
            for level in levels:
                odds = np.log(base) + moved * (directions[flaw] if flaw else 0) + random.normal(0, 0.02, 4)
                weights = np.exp(odds) / np.exp(odds).sum()
                row = {"original": f"{number}.jpg", "distortion": distortion, "level": level}
                rows.append(row | {f"scale_{scale}": weight for scale, weight in enumerate(weights)})
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def test_flaws_that_move_the_weights_are_told_apart():
    found = tell_flaws(table(moved=1))
    assert found.flaws == len(FLAWS)
    assert found.accuracy.n == 8
    assert found.accuracy.mean > 0.95


def test_flaws_that_do_not_are_told_by_chance():
    found = tell_flaws(table(moved=0))
    assert found.accuracy.mean == pytest.approx(1 / len(FLAWS), abs=0.06)
    assert f"chance {1 / len(FLAWS):.3f}" in describe_separation({"runs/a": found})


def test_what_is_told_is_not_what_an_image_has_of_its_own():
    """Weights that differ from image to image, however far, tell no flaw."""
    made = table(moved=0, images=4)
    made["scale_0"] += made["original"].str[0].astype(int)
    assert tell_flaws(made).accuracy.mean < 0.3


@pytest.mark.parametrize("nothing", [table(moved=1, images=1), table(moved=1, levels=(1, 2))])
def test_one_image_and_weak_levels_say_nothing(nothing):
    assert tell_flaws(nothing) is None
    assert not describe_separation({"runs/a": None})


def test_equal_weights_do_not_fail():
    made = table(moved=0).assign(**{f"scale_{scale}": 0.25 for scale in range(4)})
    assert tell_flaws(made).accuracy.mean == pytest.approx(1 / len(FLAWS))
