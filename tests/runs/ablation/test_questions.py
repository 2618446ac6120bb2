"""Questions of ablations: presets and your own files, typed, and refused by the name of what is wrong."""

import pytest
from pages import ROOT, blocks

from fusiqa.config import AblateConfig, ScaleWeighing, TrainConfig
from fusiqa.config.train import groups
from fusiqa.errors import FusiqaError
from fusiqa.runs.ablation.questions import PRESETS, SHARED, find_question, plan_runs, select_variants

GOOD = """
question = "Does dropout in the attention network matter?"

[variants."dropout 0.1"]
attention_fusion = true

[variants."no dropout"]
fusion = "attention"
attention_dropout = 0.0
weighing = { gain = 4 }

[variants."注意力"]
multiscale = false
backbone_args = ["embed_dim=24", "depths=1,1,2,1"]
"""


def question(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_variants_are_typed_edits_of_the_settings(tmp_path):
    found = find_question(str(question(tmp_path, GOOD)))
    assert found.text == "Does dropout in the attention network matter?"
    assert found.reference == "dropout 0.1"
    assert found.variants == {
        "dropout 0.1": {"attention_fusion": True},
        "no dropout": {"fusion": "attention", "attention_dropout": 0.0, "weighing": ScaleWeighing(gain=4.0)},
        "注意力": {"multiscale": False, "backbone_args": ("embed_dim=24", "depths=1,1,2,1")},
    }
    config = TrainConfig.of(epochs=7).replace(**found.variants["no dropout"])
    assert (config.network.weighing.gain, config.optimiser.epochs) == (4, 7)


def test_every_variant_has_its_folders_in_any_script(tmp_path):
    found = find_question(str(question(tmp_path, GOOD)))
    runs = plan_runs(AblateConfig(seeds=2), found.variants, tmp_path)
    names = ["dropout-0-1", "no-dropout", "注意力"]
    assert [run.folder.name for run in runs] == [f"{name}-seed{seed}" for seed in (0, 1) for name in names]


def test_a_setting_that_equals_the_default_is_an_edit_too(tmp_path):
    """Else what all runs share would win over what the variant says."""
    text = 'question = "?"\nreference = "b"\n[variants]\na = {epochs = 30}\nb = {epochs = 3}'
    found = find_question(str(question(tmp_path, text)))
    assert found.reference == "b"
    assert found.variants["a"] == {"epochs": TrainConfig().optimiser.epochs}
    with pytest.raises(FusiqaError, match="the variants of this question set `epochs`"):
        plan_runs(AblateConfig(base=TrainConfig.of(epochs=7)), found.variants, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question = 3", "holds no question: expected question ="),
        ('question = "?"\n[variants]\na = {epochs = 3}', "holds no question: .*two or more"),
        ('question = "?"\nvariant = 3', r"unknown 'variant', did you mean 'variants'\?"),
        ('question = "?"\nreference = "c"\nvariants = {a = {}, b = {}}', "reference 'c' is none of the variants a, b"),
        ("question = ", "cannot be read as TOML"),
        ("a=" + "[" * 9999, "cannot be read as TOML"),
    ],
)
def test_a_file_that_holds_no_question_is_refused(tmp_path, text, message):
    path = question(tmp_path, text)
    with pytest.raises(FusiqaError, match=message) as refused:
        find_question(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ("3", "must be a table of settings, .* got 3"),
        ('"--epochs 3"', "must be a table of settings, .* got '--epochs 3'"),
        ("{epocks = 3}", r"unknown setting 'epocks', did you mean 'epochs'\?"),
        ("{zzzzz = 3}", "unknown setting 'zzzzz'; settings are backbone, .*epochs"),
        ("{weighing = {gian = 3}}", "weighing: unknown 'gian'; known are gate, temperature, gain"),
        ('{weighing = "sigmoid"}', "weighing: expected a table of settings, got 'sigmoid'"),
        ('{weighing = {gate = "tanh"}}', "`weighing.gate` must be 'softmax', 'sigmoid', got 'tanh'"),
        ("{epochs = 0}", "`epochs` must be at least 1, got 0"),
        ("{epochs = true}", "`epochs` must be a whole number, got True"),
        ('{lr = "x"}', "`lr` must be a number or none, got 'x'"),
        ("{dropout = nan}", "`dropout` must be finite.*, got nan"),
        ('{backbone_args = ["checkpoint_path=a.pth"]}', "'checkpoint_path' is not allowed"),
        ("{seed = 3}", "sets `seed`, which all runs share"),
        ('{dataset = "spaq"}', "sets `dataset`, which all runs share"),
    ],
)
def test_edits_that_are_not_allowed_are_refused_by_name(tmp_path, edits, message):
    path = question(tmp_path, f'question = "?"\n[variants]\na = {edits}\nb = {{}}')
    with pytest.raises(FusiqaError, match=message) as refused:
        find_question(str(path))
    assert f"{path}: variant 'a'" in str(refused.value)


def test_words_that_are_neither_preset_nor_file_are_refused(tmp_path):
    with pytest.raises(
        FusiqaError, match=r"no preset 'colapse', did you mean 'collapse'\?; presets are attention, sca"
    ):
        find_question("colapse")
    with pytest.raises(FusiqaError, match=r"none.toml: no such file"):
        find_question(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_its_reference_and_edits_nothing_that_is_shared(preset):
    variants = PRESETS[preset].variants
    assert PRESETS[preset].reference in variants
    assert set(groups()) >= SHARED
    assert all(SHARED.isdisjoint(edits) for edits in variants.values())


def test_some_variants_of_a_preset_in_the_order_given():
    part = select_variants(PRESETS["collapse"], ["gain 4", "attention"])
    assert list(part.variants) == ["gain 4", "attention"]
    assert part.reference == "gain 4"
    assert select_variants(PRESETS["collapse"], []) is PRESETS["collapse"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["attention"], "needs two or more names"),
        (["gain 5", "attention"], "unknown gain 5; this question has 'attention', 'gain 4'"),
        (["attention"] * 2, "one is named twice; this question has 'attention', 'gain 4'"),
    ],
)
def test_a_selection_that_cannot_be_compared_is_refused(names, said):
    with pytest.raises(FusiqaError, match=f"`variants`.*{said}"):
        select_variants(PRESETS["collapse"], names)


def test_the_questions_in_the_docs_are_some(tmp_path):
    for text, datasets, variants in zip(
        blocks(ROOT / "docs" / "compare.md", "toml"), ("koniq-10k", ("koniq-10k", "kadid-10k")), (3, 4), strict=True
    ):
        found = find_question(str(question(tmp_path, text)))
        asked = AblateConfig(base=TrainConfig.of(dataset=datasets), seeds=1)
        assert len(plan_runs(asked, found.variants, tmp_path)) == len(found.variants) == variants
