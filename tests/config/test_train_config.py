"""Numbers that no training could use are refused before it begins, by the name of their flag."""

import math
from dataclasses import fields

import pytest

from fusiqa.config import TrainConfig
from fusiqa.errors import FusiqaError

NUMBERS = [each.name for each in fields(TrainConfig) if str(each.type).split(" ")[0] == "float"]


def test_an_entropy_term_that_rewards_collapse_is_refused():
    with pytest.raises(FusiqaError, match=r"--entropy_weight -0\.5: allowed is 0 and more"):
        TrainConfig(entropy_weight=-0.5)
    assert TrainConfig(entropy_weight=0.05).entropy_weight == 0.05


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_to_be_finite(name, value):
    assert {"lr", "head_lr_ratio", "entropy_weight", "dropout", "cache_gb"} <= set(NUMBERS)
    with pytest.raises(FusiqaError, match=f"--{name} {value}: allowed is"):
        TrainConfig(**{name: value})


def test_what_is_infinite_is_told_that_it_has_to_be_finite():
    with pytest.raises(FusiqaError, match="--lr inf: allowed is 0 and more, but finite"):
        TrainConfig(lr=math.inf)
