"""Settings that no training could use are refused before it begins, by the name of their flag."""

import math
from dataclasses import dataclass

import pytest

from fusiqa.config import ScaleWeighing, TrainConfig
from fusiqa.config.checks import Bounds, from_plain, hints
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError

NUMBERS = [
    name
    for name, group in groups().items()
    if "float" in str(hints(type(getattr(TrainConfig(), group)))[name])
    and name not in ("score_range", "dataset_weights")
]


def test_an_entropy_term_that_rewards_collapse_is_refused():
    with pytest.raises(FusiqaError, match=r"`entropy_weight` must be at least 0, got -0\.5"):
        TrainConfig.of(entropy_weight=-0.5)
    assert TrainConfig.of(entropy_weight=0.05).optimiser.entropy_weight == 0.05


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_to_be_finite(name, value):
    assert {"lr", "head_lr_ratio", "entropy_weight", "dropout", "cache_gb"} <= set(NUMBERS)
    with pytest.raises(FusiqaError, match=f"`{name}` must be finite and at least 0.*, got {value}"):
        TrainConfig.of(**{name: value})


@pytest.mark.parametrize("value", [-4.0, math.nan, math.inf])
def test_a_weighing_that_no_weights_come_from_is_refused(value):
    with pytest.raises(FusiqaError, match=rf"`weighing\.temperature` must be .*above 0, got {value}"):
        ScaleWeighing(temperature=value)
    with pytest.raises(FusiqaError, match=rf"`weighing\.gain` must be .*at least 0, got {value}"):
        ScaleWeighing(gain=value)
    with pytest.raises(FusiqaError, match=r"above 0, got 0\.0"):
        ScaleWeighing(temperature=0.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "at least 1, got 0"), ("epochs", "3", "a whole number, got '3'"),
        ("epochs", True, "a whole number, got True"), ("lr", "fast", "a number or none, got 'fast'"),
        ("spaq", 1, "true or false, got 1"), ("fusion", "sum", "'cross-scale' or none, got 'sum'"),
        ("score_range", (1.0, 2.0, 3.0), "a list of 2 values or none"), ("seed", 2**63, "below 9223372036854775808"),
        ("backbone_args", ("a=1", 7), "a list, got"), ("dropout", 1, "below 1, got 1"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_or_out_of_its_bounds_is_named(name, value, message):
    with pytest.raises(FusiqaError, match=f"`{name}` must be .*{message}"):
        TrainConfig.of(**{name: value})


def test_a_setting_is_reached_by_its_own_name_and_another_is_refused():
    config = TrainConfig.of(dataset="spaq", epochs=7).replace(seed=3)
    assert (config["dataset"], config["epochs"], config["seed"]) == ("spaq", 7, 3)
    assert (config.data.dataset, config.optimiser.epochs, config.run.seed) == ("spaq", 7, 3)
    with pytest.raises(FusiqaError, match="there is no setting `epoch`"):
        config.replace(epoch=7)


def test_settings_are_the_same_after_json(tmp_path):
    weighing = ScaleWeighing(gate="sigmoid", gain=4)
    config = TrainConfig.of(
        score_range=(1.0, 5.0), run_dir=tmp_path, weighing=weighing, backbone_args=("embed_dim=24",)
    )
    assert from_plain(TrainConfig, config.to_json(), where="config.json") == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": {"epoch": 3}}, "config.json: optimiser: unknown 'epoch'; known are epochs"),
        ({"optimiser": {"epochs": 0}}, "config.json: optimiser: `epochs` must be at least 1, got 0"),
        ({"optimiser": 3}, "config.json: optimiser: expected a table of settings, got 3"),
        ({"network": {"weighing": {"gate": 1}}}, "network: weighing: `weighing.gate` must be"),
        ({"network": {"backbone_args": ["pretrained_cfg=x"]}}, "'pretrained_cfg' is not allowed"),
        ([], "expected a table of settings"),
    ],
)
def test_plain_values_that_are_no_settings_are_one_line(settings, message):
    with pytest.raises(FusiqaError, match=message):
        from_plain(TrainConfig, settings, where="config.json")


def test_a_missing_value_is_named():
    @dataclass(frozen=True)
    class Point:
        x: int

    with pytest.raises(FusiqaError, match=r"point\.json: missing 1 required positional argument: 'x'"):
        from_plain(Point, {}, where="point.json")


def test_bounds_say_themselves():
    assert str(Bounds(above=0, below=1)) == "above 0 and below 1"
    assert Bounds(above=0).allow(5e-324)
    assert not Bounds(above=0).allow(0)
