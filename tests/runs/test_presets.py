"""The questions of an ablation: their variants are designs of their own, and edit nothing that all runs share."""

import pytest

from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError
from fusiqa.runs.ablate import planned
from fusiqa.runs.presets import COMMON, PRESETS, Variant


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_its_reference_and_its_variants_differ(preset, tmp_path):
    variants = PRESETS[preset].variants
    assert PRESETS[preset].reference in {variant.name for variant in variants}
    configs = [variant.of(TrainConfig()) for variant in variants]
    assert len(set(map(str, configs))) == len(variants)
    folders = {run.folder for run in planned(AblateConfig(preset, seeds=3), variants, tmp_path)}
    assert len(folders) == 3 * len(variants)


@pytest.mark.parametrize(
    ("base", "flag"),
    [
        (TrainConfig.of(attention_fusion=True), "attention_fusion"),
        (TrainConfig.of(fusion="spatial"), "fusion"),
        (TrainConfig.of(multiscale=False), "multiscale"),
    ],
)
def test_a_setting_that_the_variants_set_is_refused(base, flag, tmp_path):
    with pytest.raises(FusiqaError, match=f"--.*{flag}.*: the variants of this preset set that themselves"):
        planned(AblateConfig("fusions", base), PRESETS["fusions"].variants, tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_variant_edits_what_the_images_come_from(preset):
    """They are looked at once for all runs, under the settings that the runs have in common."""
    assert set(groups()) >= COMMON
    assert all(COMMON.isdisjoint(variant.edits) for variant in PRESETS[preset].variants)


def test_variants_that_differ_in_what_they_have_no_use_for_are_one_design(tmp_path):
    same = Variant("a", {"fusion": "concat"}), Variant("b", {"fusion": "concat", "single_scale": 0})
    with pytest.raises(FusiqaError, match="the variants 'a' and 'b' are the same settings"):
        planned(AblateConfig("scales"), same, tmp_path)
