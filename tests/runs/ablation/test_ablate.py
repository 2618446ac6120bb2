"""An ablation from its command line to its report: paired, resumed, and honest about what can be told."""

import json
import pickle
import shutil
from concurrent.futures import Future

import pandas as pd
import pytest
import torch
from commands import exit_code

from fusiqa.cli import INTERRUPTED, USER_MISTAKE, main
from fusiqa.config import AblateConfig, TrainConfig
from fusiqa.errors import FusiqaError
from fusiqa.machine import cores
from fusiqa.runs.ablation import ablate as module
from fusiqa.runs.ablation.questions import PRESETS, plan_runs
from fusiqa.runs.ablation.report import DIFFERS, describe_conditions
from fusiqa.stats.comparisons import paired_over_seeds

SETTINGS = [
    "--dataset", "biq2021", "--backbone", "test_efficientnet", "--backbone_weights", "none", "--crop_size", "40",
    "--resize", "48", "--batch_size", "8", "--epochs", "1", "--validation_fraction", "0.2", "--no_progress",
    "--device", "cpu", "--num_workers", "0", "--freeze_backbone", "--precision", "32", "--jobs", "1",
]  # fmt: skip


def asked(data, folder, *more, question="scales", seeds=2):
    """The command line of an ablation with seeds from 3 on."""
    own = "--data_dir", data, "--seeds", seeds, "--seed", 3, "--run_dir", folder
    return ["ablate", *map(str, (question, *SETTINGS, *own, *more))]


@pytest.fixture(scope="module")
def finished(biq2021, tmp_path_factory):
    """Two seeds of three designs, trained with the threads that each of two runs at once would have."""
    folder = tmp_path_factory.mktemp("ablation") / "scales"
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, cores() // 2))
    main(asked(biq2021, folder))
    torch.set_num_threads(threads)
    return folder


def test_every_variant_is_trained_with_every_seed(finished):
    runs = pd.read_csv(finished / "runs.csv")
    assert list(zip(runs["variant"], runs["seed"], strict=True)) == [
        ("single", 3), ("single", 4), ("concat", 3), ("concat", 4), ("attention", 3), ("attention", 4),
    ]  # fmt: skip
    for row in runs.itertuples():
        test = json.loads((finished / f"{row.variant}-seed{row.seed}" / "test.json").read_text())
        assert row.srcc == test["srcc"]["value"]
        assert test["backbone"] == row.backbone == "frozen"


def test_all_runs_share_their_split(finished):
    assert len({(run / "split.csv").read_bytes() for run in finished.glob("*-seed*")}) == 1


def test_the_report_holds_the_table_the_figures_and_the_verdicts(finished):
    text = (finished / "report.md").read_text()
    assert "Data: biq2021; backbone: test_efficientnet; its weights: none; trained: the heads alone" in text
    runs = pd.read_csv(finished / "runs.csv").pivot(index="seed", columns="variant", values="srcc")
    mean = paired_over_seeds(runs["attention"], runs["concat"]).mean
    assert f"SRCC of attention minus concat is {mean:+.4f} [" in text
    assert "SRCC of single minus concat is" in text
    assert f"validation SRCC of attention minus concat is {mean_on_validation(finished):+.4f} [" in text
    for name in ("srcc.png", "differences.png", "training.png"):
        assert (finished / name).stat().st_size > 10_000
        assert f"({name})" in text
    latex = (finished / "table.tex").read_text()
    assert latex.count(chr(92) * 2) == 4  # the header and three rows
    assert chr(92) + "toprule" in latex


def mean_on_validation(folder):
    """From the runs' own records."""
    best = {
        name: [
            json.loads((folder / f"{name}-seed{seed}" / "test.json").read_text())["validation_srcc"] for seed in (3, 4)
        ]
        for name in ("attention", "concat")
    }
    return sum(best["attention"]) / 2 - sum(best["concat"]) / 2


def test_what_is_finished_is_not_trained_again_and_what_is_missing_is(biq2021, finished, capsys):
    again = finished / "attention-seed4" / "test.json"
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*-seed*/test.json")}
    again.unlink()
    main(asked(biq2021, finished))
    assert "1 of 6 runs to do" in capsys.readouterr().out
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [again]


def test_another_setting_is_refused_where_runs_are_finished(biq2021, finished, refused):
    said = refused(*asked(biq2021, finished, "--lr", 0.5))
    assert "single-seed3 has other settings: --lr None -> 0.5; choose another --run_dir" in said


def copied_from(folder):
    """A stand-in for the training of a run: the finished run of the same name."""

    def train(config, **_):
        shutil.copytree(folder / config.run.run_dir.name, config.run.run_dir)

    return train


def test_an_interrupted_ablation_reports_what_it_has(biq2021, finished, tmp_path, monkeypatch):
    train, calls = copied_from(finished), []

    def interrupted(config, **_):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(config)
        train(config)

    monkeypatch.setattr(module, "train", interrupted)
    assert exit_code(*asked(biq2021, tmp_path / "a", question="attention")) == INTERRUPTED
    runs = pd.read_csv(tmp_path / "a" / "runs.csv")
    assert list(runs["variant"]) == ["concat", "attention"]
    assert "with one seed each: inconclusive" in (tmp_path / "a" / "report.md").read_text()


def test_several_runs_at_once_end_like_runs_in_turn(biq2021, finished, tmp_path):
    main(asked(biq2021, tmp_path / "b", "--jobs", 2, seeds=1))
    together = pd.read_csv(tmp_path / "b" / "runs.csv")
    alone = pd.read_csv(finished / "runs.csv").query("seed == 3").reset_index(drop=True)
    columns = ["variant", "seed", "srcc", "plcc", "parameters"]
    pd.testing.assert_frame_equal(together[columns], alone[columns], check_exact=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_images_are_looked_at_once_for_all_runs(jobs, biq2021, tmp_path, monkeypatch):
    """Other processes are handed what was found, as pickled bytes."""
    looked, trained = [], []
    prepare = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *given, **more: looked.append(given) or prepare(*given, **more))

    def stand_in(config, *, prepared, say):
        trained.append(prepared)
        say("warning: of something")
        say("epoch 1")

    monkeypatch.setattr(module, "train", stand_in)
    monkeypatch.setattr(module, "start_processes", Here)
    base = TrainConfig.of(
        dataset="biq2021", data_dir=biq2021, validation_fraction=0.2, resize="48", cache_dir=tmp_path / "c",
        progress=False,
    )  # fmt: skip
    runs = plan_runs(AblateConfig("scales", base, seeds=2), PRESETS["scales"].variants, tmp_path)
    config = AblateConfig("scales", base, jobs=jobs)
    monkeypatch.setattr(module, "build", lambda *_: None)
    said = []
    assert [(run, reason) for run, reason in module.train_runs(runs, runs, config, said.append) if reason] == []
    assert sum(line.endswith("warning: of something") for line in said) == 6
    if jobs == 2:
        assert "single, seed 0: warning: of something" in said
        assert "epoch 1" not in said
    assert len(looked) == 1
    assert len(trained) == 6
    assert len({prepared.fingerprint for prepared in trained}) == 1
    image = trained[0].ratings.table["image"].iloc[0]
    pixels = [prepared.ratings.images.read(image) for prepared in trained]
    assert all((other == pixels[0]).all() for other in pixels)


class Here:
    """Processes that are none: what is submitted is pickled, and done at once."""

    def __init__(self, *_, **__):
        pass

    def shutdown(self, **_):
        pass

    def submit(self, task, *given):
        done = Future()
        done.set_result(task(*pickle.loads(pickle.dumps(given))))
        return done


def test_a_run_that_fails_costs_itself_and_is_told_at_the_end(biq2021, finished, tmp_path, monkeypatch, capsys):
    train = copied_from(finished)

    def failing(config, **_):
        if config.network.fusion == "concat" and config.run.seed == 4:
            raise FusiqaError("the scores are not finite")
        if config.network.fusion == "attention" and config.run.seed == 3:
            raise RuntimeError("out of memory")
        train(config)

    monkeypatch.setattr(module, "train", failing)
    assert exit_code(*asked(biq2021, tmp_path / "a")) == USER_MISTAKE
    told = capsys.readouterr()
    assert "failed: concat, seed 4: the scores are not finite" in told.out
    assert "failed: attention, seed 3: RuntimeError: out of memory" in told.out
    assert 'raise RuntimeError("out of memory")' in told.out  # where, for who has to mend it
    assert "2 of 6 runs failed and are not in the report: attention, seed 3: RuntimeError: out of memory, " in told.err
    runs = pd.read_csv(tmp_path / "a" / "runs.csv")
    assert list(zip(runs["variant"], runs["seed"], strict=True)) == [
        ("single", 3), ("single", 4), ("concat", 3), ("attention", 4),
    ]  # fmt: skip
    page = (tmp_path / "a" / "report.md").read_text()
    assert "- attention, seed 3: RuntimeError: out of memory\n- concat, seed 4: the scores are not finite\n" in page
    assert "Excluding\nfailed runs biases the result upwards" in page


def test_a_run_that_was_begun_otherwise_is_refused_before_any_goes_on(finished, tmp_path):
    shutil.copytree(finished / "concat-seed3", tmp_path / "concat-seed3")
    (tmp_path / "concat-seed3" / "test.json").unlink()
    config = AblateConfig("scales", TrainConfig.of(seed=3), seeds=1)
    with pytest.raises(FusiqaError, match=r"concat-seed3 has other settings: `dataset` biq2021 -> synthetic, "):
        plan_runs(config, PRESETS["scales"].variants, tmp_path)


def test_the_folder_of_a_run_or_with_a_foreign_report_is_none_for_an_ablation(finished, tmp_path):
    with pytest.raises(FusiqaError, match="is the folder of a single run; give the ablation another `run_dir`"):
        module.ablate(AblateConfig("scales", TrainConfig.of(run_dir=finished / "concat-seed3")))
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(FusiqaError, match=r"report\.md exists and was not made by fusiqa"):
        module.ablate(AblateConfig("scales", TrainConfig.of(run_dir=tmp_path)))
    assert (tmp_path / "report.md").read_text() == "mine"


def test_a_variant_that_cannot_be_built_stops_before_any_run(biq2021, tmp_path, refused):
    question = tmp_path / "own.toml"
    question.write_text('question = "?"\n[variants]\nfine = {}\nbroken = {backbone_args = ["depths=3"]}\n')
    said = refused(*asked(biq2021, tmp_path / "a", question=question))
    assert "variant 'broken': test_efficientnet with depths=3 cannot" in said
    assert not list(tmp_path.glob("a/*-seed*"))


def test_finished_runs_on_other_images_or_in_another_precision_are_refused(biq2021, finished, tmp_path, refused):
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    record = json.loads((folder / "concat-seed3" / "config.json").read_text())
    record["resolved"]["data_fingerprint"] = "0" * 16
    (folder / "concat-seed3" / "config.json").write_text(json.dumps(record))
    for seeds in (2, 3):  # none to do, and three
        said = refused(*asked(biq2021, folder, seeds=seeds))
        assert "differ in images or ratings (data fingerprint) and cannot be compared" in said
    assert not list(folder.glob("*-seed5"))
    record["resolved"]["precision"] = "bf16"
    (folder / "concat-seed3" / "config.json").write_text(json.dumps(record))
    assert "has other settings: --precision bf16 -> 32; choose another" in refused(*asked(biq2021, folder))


def test_a_narrower_report_leaves_nothing_of_the_wider_one(biq2021, finished, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "narrow"
    shutil.copytree(finished, folder)
    (folder / "single-seed3" / "test.json").unlink()
    monkeypatch.setattr(module, "train", lambda *_, **__: (_ for _ in ()).throw(FusiqaError("not today")))
    assert exit_code(*asked(biq2021, folder, "--variants", "single", "concat", seeds=1)) == USER_MISTAKE
    assert "notice: not in this report: attention-seed3, attention-seed4, concat-seed4, single-seed4" in (
        capsys.readouterr().out
    )
    assert not (folder / "differences.csv").exists()
    assert "The reference has not been run yet" in (folder / "report.md").read_text()


def test_a_variant_may_start_from_a_model(tmp_path):
    """Its network and its learning rates are those of that model; images are resized the same for all."""
    base = TrainConfig.of(backbone_weights="none", resize="96")
    variants = {"scratch": {"backbone": "mobilenetv2_100"}, "fast": {"start_from": "fusiqa-fast"}}
    with pytest.raises(FusiqaError, match="with `start_from` needs a `resize` that all runs share"):
        plan_runs(AblateConfig("own.toml", base.replace(resize="auto"), seeds=1), variants, tmp_path)
    scratch, fast = plan_runs(AblateConfig("own.toml", base, seeds=1), variants, tmp_path)
    assert (fast.config.network.backbone, fast.config.network.view) == ("tf_efficientnet_lite0", "whole")
    assert (scratch.recipe.chosen.lr_backbone, fast.recipe.chosen.lr_backbone) == pytest.approx((1e-3, 2e-4))
    assert scratch.config.data == fast.config.data


@pytest.mark.parametrize("preset", PRESETS)
def test_every_run_of_a_preset_has_its_folder(preset, tmp_path):
    runs = plan_runs(AblateConfig(preset, seeds=3), PRESETS[preset].variants, tmp_path)
    assert (
        len({run.folder for run in runs}) == len({str(run.config) for run in runs}) == 3 * len(PRESETS[preset].variants)
    )
    assert all(run.config.run.run_dir == run.folder for run in runs)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (TrainConfig.of(attention_fusion=True), "attention_fusion"),
        (TrainConfig.of(fusion="spatial"), "fusion"),
        (TrainConfig.of(multiscale=False), "multiscale"),
    ],
)
def test_a_setting_that_the_variants_set_is_refused(base, name, tmp_path):
    with pytest.raises(FusiqaError, match=f"the variants of this question set `{name}`"):
        plan_runs(AblateConfig("fusions", base), PRESETS["fusions"].variants, tmp_path)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"a b": {"lr": 1.0}, "A-b": {"lr": 2.0}}, "'a b' and 'A-b' would share a folder"),
        ({"a": {"lr": 1.0}, "b": {"lr": 1.0}}, "'a' and 'b' are the same settings"),
        (
            {"a": {"attention_fusion": True}, "b": {"fusion": "attention"}},
            "'a' and 'b' are the same settings",
        ),
        (
            {"a": {"fusion": "concat"}, "b": {"fusion": "concat", "single_scale": 0}},
            "'a' and 'b' are the same settings",  # concat does not read a single scale
        ),
        ({"?": {"lr": 1.0}, "b": {"lr": 2.0}}, r"letters or digits, in 100 bytes: '\?'"),
        ({"a" * 101: {"lr": 1.0}, "b": {"lr": 2.0}}, "letters or digits, in 100 bytes: 'a"),
    ],
)
def test_variants_that_are_not_distinct_are_refused(variants, said, tmp_path):
    with pytest.raises(FusiqaError, match=said):
        plan_runs(AblateConfig(), variants, tmp_path)


def test_what_variants_edit_is_said_to_differ(finished, tmp_path):
    folders = [finished / "concat-seed3", tmp_path / "other"]
    shutil.copytree(folders[0], folders[1])
    record = json.loads((folders[1] / "config.json").read_text())
    record["settings"]["network"]["backbone"] = "resnet50"
    record["settings"]["optimiser"]["epochs"] = 7
    record["resolved"]["backbone"] = "fine-tuned"
    (folders[1] / "config.json").write_text(json.dumps(record))
    record["settings"]["optimiser"] |= {"weight_decay": 0.5, "entropy_weight": 0.1}
    record["provenance"] |= {"commit": "zzz"}
    (folders[1] / "config.json").write_text(json.dumps(record))
    text = describe_conditions(folders)
    for name in ("--weight_decay", "--entropy_weight"):
        assert f"{name}: {DIFFERS}" in text
    assert "--entropy_weight: 0.1" in describe_conditions(folders[1:])
    assert "commit: zzz" in describe_conditions(folders[1:])
    assert " and zzz" in text
    assert "--single_scale" not in text
    for name in ("backbone", "trained", "epochs"):
        assert f"{name}: differs by variant" in text
    assert "batch: 8" in text
