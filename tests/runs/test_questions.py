"""A question of one's own: read from its file as it would be typed, and refused by the name of what is wrong."""

import pytest
from pages import ROOT, blocks

from fusiqa.config import AblateConfig, ScaleWeighing, TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.runs.ablate import planned
from fusiqa.runs.presets import PRESETS, Variant
from fusiqa.runs.questions import find_question, narrowed

GOOD = """
question = "Does dropout in the attention network matter?"

[variants]
"dropout 0.1" = "--attention_fusion"
"no dropout" = "--attention-fusion --attention_dropout=0 --weighing.gain 4"
"注意力" = "--no_multiscale --backbone_args embed_dim=24 depths=1,1,2,1"
"""


def question(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_variants_are_what_would_be_typed(tmp_path):
    preset = find_question(str(question(tmp_path, GOOD)))
    assert preset.question == "Does dropout in the attention network matter?"
    assert preset.reference == "dropout 0.1"
    assert [dict(variant.edits) for variant in preset.variants] == [
        {"attention_fusion": True},
        {"attention_fusion": True, "attention_dropout": 0.0, "weighing": ScaleWeighing(gain=4.0)},
        {"multiscale": False, "backbone_args": ("embed_dim=24", "depths=1,1,2,1")},
    ]


def test_every_variant_has_folders_of_its_own_in_any_script(tmp_path):
    preset = find_question(str(question(tmp_path, GOOD)))
    runs = planned(AblateConfig(seeds=2), preset.variants, tmp_path)
    assert [run.folder.name for run in runs] == [
        "dropout-0-1-seed0", "no-dropout-seed0", "注意力-seed0", "dropout-0-1-seed1", "no-dropout-seed1",
        "注意力-seed1",
    ]  # fmt: skip
    assert all(run.config.run.run_dir == run.folder for run in runs)


def test_a_flag_that_says_the_default_is_an_edit_too(tmp_path):
    """Else what all runs share would win over what the variant says."""
    text = '[variants]\na = "--epochs 30"\nb = "--epochs 3"'
    preset = find_question(str(question(tmp_path, 'question = "?"\n' + text)))
    assert dict(preset.variants[0].edits) == {"epochs": TrainConfig().optimiser.epochs}
    with pytest.raises(FusiqaError, match="--epochs: the variants of this preset set that themselves"):
        planned(AblateConfig(base=TrainConfig.of(epochs=7)), preset.variants, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question = 3", "holds no question: expected question ="),
        ('question = "?"\n[variants]\na = "--epochs 3"', "holds no question: .*two or more"),
        ('question = "?"\nreference = "a"', "unknown reference"),
        ("question = ", "cannot be read as TOML"),
        ('question = "?"\n[variants]\na = 3\nb = "--lr 1"', "variant 'a' is 3; expected its flags in quotes"),
        ('question = "?"\n[variants]\na = "--epocks 3"\nb = ""', "variant 'a', --epocks 3: Unrecognized.*--epocks"),
        (
            'question = "?"\n[variants]\na = "--epochs 0"\nb = ""',
            "'a', --epochs 0: .*--epochs 0: allowed is 1 and more",
        ),
        ('question = "?"\n[variants]\na = "3"\nb = ""', "variant 'a', 3: Unrecognized options: 3"),
        ('question = "?"\n[variants]\na = "--lr x"\nb = ""', "'a', --lr x: Error parsing --lr"),
        ('question = "?"\n[variants]\na = "--seed 3"\nb = ""', "'a' sets --seed, which all runs share"),
        ('question = "?"\n[variants]\na = "--help"\nb = ""', "'a', --help: expected settings; fusiqa train --help"),
        ("question = '?'\n[variants]\na = '--lr \"'\nb = ''", "No closing quotation"),
    ],
)
def test_a_file_that_asks_nothing_is_refused(tmp_path, text, message):
    path = question(tmp_path, text)
    with pytest.raises(FusiqaError, match=message) as refused:
        find_question(str(path))
    assert str(path) in str(refused.value)


def test_words_that_are_neither_preset_nor_file_are_refused(tmp_path):
    with pytest.raises(FusiqaError, match=r"no preset 'colapse', did you mean collapse\? There are attention, scales"):
        find_question("colapse")
    with pytest.raises(FusiqaError, match=r"none.toml: no such file"):
        find_question(str(tmp_path / "none.toml"))


def test_a_part_of_a_preset_in_the_order_given():
    part = narrowed(PRESETS["collapse"], ["gain 4", "attention"])
    assert [variant.name for variant in part.variants] == ["gain 4", "attention"]
    assert part.reference == "gain 4"
    assert narrowed(PRESETS["collapse"], []) is PRESETS["collapse"]


def test_one_variant_has_nothing_to_be_compared_with():
    with pytest.raises(FusiqaError, match="--variants: name two or more"):
        narrowed(PRESETS["collapse"], ["attention"])


@pytest.mark.parametrize(
    ("names", "said"), [(["gain 5", "attention"], "there is no gain 5"), (["attention"] * 2, "one is named twice")]
)
def test_a_part_that_is_none_is_refused(names, said):
    with pytest.raises(FusiqaError, match=f"--variants: {said}; this question has 'attention', 'gain 4'"):
        narrowed(PRESETS["collapse"], names)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ((Variant("a b", {"lr": 1.0}), Variant("A-b", {"lr": 2.0})), "'a b' and 'A-b' would have one folder"),
        ((Variant("a", {"lr": 1.0}), Variant("b", {"lr": 1.0})), "'a' and 'b' are the same settings"),
        (
            (Variant("a", {"attention_fusion": True}), Variant("b", {"fusion": "attention"})),
            "'a' and 'b' are the same settings",
        ),
        ((Variant("?", {"lr": 1.0}), Variant("b", {"lr": 2.0})), "a name with letters or digits, in 100 bytes: '.'"),
        (
            (Variant("a" * 101, {"lr": 1.0}), Variant("b", {"lr": 2.0})),
            "a name with letters or digits, in 100 bytes: 'a",
        ),
    ],
)
def test_variants_that_cannot_be_told_apart_are_refused(variants, said, tmp_path):
    with pytest.raises(FusiqaError, match=said):
        planned(AblateConfig(), variants, tmp_path)


def test_the_question_in_the_docs_is_one(tmp_path):
    (text,) = blocks(ROOT / "docs" / "ablation.md", "toml")
    preset = find_question(str(question(tmp_path, text)))
    assert len(planned(AblateConfig(seeds=1), preset.variants, tmp_path)) == len(preset.variants) == 3
