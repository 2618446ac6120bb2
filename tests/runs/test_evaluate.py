"""A finished run on other data sets: one table, and of each its kinds, its scatter and its worst errors."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import noise

from fusiqa.cli import main
from fusiqa.config import EvaluateConfig, ModelConfig
from fusiqa.data.catalog import KIND_PATTERNS, is_custom, kinds
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel
from fusiqa.runs.data import own_part
from fusiqa.runs.evaluate import evaluate, images_to_measure, measure_by
from fusiqa.runs.folder import TrainedModel
from fusiqa.stats.metrics import measure, srcc


def call(*arguments):
    main(list(map(str, arguments)))


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A copy, into which evaluations are written."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "first")


@pytest.fixture
def data(tmp_path, biq2021):
    """A folder with KADID-10k in its true layout: two contents under three distortions at two levels."""
    images = tmp_path / "data" / "kadid-10k" / "images"
    images.mkdir(parents=True)
    rows = []
    for number in range(12):
        name = f"I{number % 2 + 1:02d}_{number % 3 + 1:02d}_{number // 6 + 1:02d}.png"
        pixels = np.random.default_rng(number).integers(0, 20 * (number + 1), (61, 67, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / name)
        rows.append({"dist_img": name, "ref_img": f"I{number % 2 + 1:02d}.png", "dmos": 1 + number / 4})
    pd.DataFrame(rows).to_csv(tmp_path / "data" / "kadid-10k" / "dmos.csv", index=False)
    return tmp_path / "data"


def test_every_data_set_gets_its_row_and_its_files(run, data, tmp_path, capsys):
    call(
        "evaluate", run, "--dataset", "kadid-10k", "biq2021", "spaq", "--data_root", data,
        "--output", tmp_path / "out", "--no_progress", "--worst", 5,
    )  # fmt: skip
    out = tmp_path / "out"
    said = capsys.readouterr().out
    assert "notice: not measured on spaq: spaq was not found in" in said
    table = pd.read_csv(out / "evaluation.csv").set_index("dataset")
    assert table["n"].to_dict() == {"kadid-10k": 12, "biq2021": 9}
    assert table["part"].to_dict() == {"kadid-10k": "all", "biq2021": "test"}
    assert table["resize"].to_dict() == {"kadid-10k": "none", "biq2021": "48"}
    predictions = pd.read_csv(out / "predictions_kadid-10k.csv")
    found = measure(predictions["score"].to_numpy(), predictions["mos"].to_numpy())
    assert table.loc["kadid-10k", "srcc"] == pytest.approx(found.srcc.value)
    assert predictions["score"].between(0, 6).all()  # on KADID-10k's range, not on BIQ2021's
    kinds_of_it = pd.read_csv(out / "kinds_kadid-10k.csv").set_index("kind")
    assert kinds_of_it["n"].to_dict() == {"Gaussian blur": 4, "lens blur": 4, "motion blur": 4}
    groups_of_it = pd.read_csv(out / "groups_kadid-10k.csv").set_index("group")
    assert groups_of_it["n"].to_dict() == {"I01.png": 6, "I02.png": 6}
    first = predictions[predictions["image"].str.startswith("I01")]
    assert groups_of_it.loc["I01.png", "srcc"] == pytest.approx(
        srcc(first["score"].to_numpy(), first["mos"].to_numpy())
    )
    assert not (out / "groups_biq2021.csv").exists()
    assert set(table["backbone"]) == {"fine-tuned"}
    with Image.open(out / "worst_kadid-10k.png") as sheet:
        assert sheet.width > 900
    for name in ("scatter_kadid-10k.png", "scatter_biq2021.png", "worst_biq2021.png", "predictions_biq2021.csv"):
        assert (out / name).stat().st_size > 300
    assert "Trained on biq2021; backbone fine-tuned" in (out / "evaluation.md").read_text()


def test_the_runs_own_data_set_gives_the_figures_of_its_test(run):
    call("evaluate", run, "--dataset", "BIQ2021", "--no_progress", "--worst", 0)
    again = pd.read_csv(run / "evaluation" / "predictions_biq2021.csv")
    first = pd.read_csv(run / "predictions.csv")
    assert again["image"].tolist() == first["image"].tolist()
    np.testing.assert_allclose(again["score"], first["score"], atol=1e-5)
    assert not (run / "evaluation" / "worst_biq2021.png").exists()


def test_a_model_away_from_its_run_is_measured_on_the_published_test_split(run, data, biq2021, tmp_path, capsys):
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(run / name, shared)
    call("evaluate", shared, "--dataset", "biq2021", "--data_dir", biq2021, "--no_progress", "--worst", 0)
    of_run, here = pd.read_csv(run / "predictions.csv"), pd.read_csv(shared / "evaluation" / "predictions_biq2021.csv")
    assert here["image"].tolist() == of_run["image"].tolist()
    np.testing.assert_allclose(here["score"], of_run["score"], atol=1e-6)
    assert "warning" not in capsys.readouterr().out
    stated = (shared / "model.json").read_text()
    (shared / "model.json").write_text(stated.replace('"dataset": "biq2021"', '"dataset": "kadid-10k + spaq"'))
    call("evaluate", shared, "--dataset", "kadid-10k", "--data_root", data, "--no_progress", "--worst", 0)
    assert "warning: the model was trained on kadid-10k, and not on which images is known" in capsys.readouterr().out


def test_foreign_files_are_refused(run, tmp_path, refused):
    (tmp_path / "predictions_mine.csv").write_text("mine")
    said = refused("evaluate", run, "--dataset", "biq2021", "--output", tmp_path)
    assert "predictions_mine.csv exists and was not made by fusiqa" in said
    assert [path.name for path in tmp_path.iterdir()] == ["predictions_mine.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "spaq"], "none of spaq could be measured on"),
        ([], "name at least one data set"),
        (["--dataset", "spaq", "--lower_is_better"], "--score_range and --lower_is_better are of tables"),
        (
            ["--dataset", "distorted", "--data_dir", "x", "--score_range", "1", "5"],
            "--score_range and --lower_is_better are of tables",
        ),
    ],
)
def test_nothing_to_measure_on_is_one_line(run, monkeypatch, refused, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("evaluate", run, *arguments, "--no_progress")


def test_two_tables_of_one_name_keep_their_files_and_seen_images_are_told(run, biq2021, tmp_path, capsys):
    split = pd.read_csv(run / "split.csv")
    tables = []
    for name, rows in (("a", split[split["split"] == "test"]), ("b", split[split["split"] != "train"])):
        (tmp_path / name).mkdir()
        rows = rows.assign(mos=np.linspace(1, 5, len(rows)))[["image", "mos"]]
        for number, image in enumerate(rows["image"]):
            (tmp_path / name / f"{number}.jpg").symlink_to(biq2021 / "Images" / image)  # a file under another name
        rows.assign(image=[f"{number}.jpg" for number in range(len(rows))]).to_csv(
            tmp_path / name / "ratings.csv", index=False
        )
        tables.append(tmp_path / name / "ratings.csv")
    out = tmp_path / "out"
    call("evaluate", run, "--dataset", *tables, "--output", out, "--no_progress", "--worst", 0)
    said = capsys.readouterr().out
    assert said.count("warning:") == 1
    assert f"warning: 4 of the 13 images of {tables[1]} are images of training or validation" in said
    assert [len(pd.read_csv(out / f"predictions_{stem}.csv")) for stem in ("ratings", "ratings-2")] == [9, 13]
    trained = json.loads((run / "config.json").read_text())["resolved"]
    table = pd.read_csv(out / "evaluation.csv", dtype=str)
    assert table["resize"].tolist() == [trained["resize"]] * 2  # as the model saw its own, not a table's usual 384
    assert trained["resize"] != "384"
    assert "| fine-tuned |" in said


def test_a_table_of_ones_own_is_seen_as_the_model_was_trained(run, biq2021, tmp_path, capsys):
    first = pd.read_csv(run / "predictions.csv")
    turned = (-first["score"]).rank(method="first") - 1  # of distortion, as DMOS is
    rows = first.assign(image=[str(biq2021 / "Images" / image) for image in first["image"]], mos=turned)
    rows[["image", "mos"]].to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "out"
    call("evaluate", run, "--dataset", tmp_path / "own.csv", "--output", out, "--no_progress")
    assert pd.read_csv(out / "evaluation.csv", dtype=str)["resize"].tolist() == ["48"]
    said = capsys.readouterr().out
    assert "| 48 |" in said
    assert "warning: SRCC -1.000 on " in said
    assert "strongly negative, do the ratings run the other way" in said
    unit = pd.read_csv(out / "predictions_own.csv")["score"] / (len(first) - 1)
    low, high = json.loads((run / "model.json").read_text())["model"]["score_range"]
    np.testing.assert_allclose(unit, (first["score"] - low) / (high - low), atol=1e-5)
    stated = "--score_range", low, high + len(first), "--lower_is_better"
    call("evaluate", run, "--dataset", tmp_path / "own.csv", "--output", out, *stated, "--no_progress", "--worst", 0)
    again = pd.read_csv(out / "predictions_own.csv")
    assert pd.read_csv(out / "evaluation.csv")["srcc"].tolist() == pytest.approx([1.0])
    np.testing.assert_allclose(again["mos"], low + high + len(first) - turned)
    assert "score range" not in (said := capsys.readouterr().out)
    assert "warning: SRCC" not in said


def test_a_table_is_the_models_own_wherever_it_is_measured_from(run, biq2021, tmp_path, monkeypatch):
    """By its path when the model was trained, not by its name alone."""
    run = shutil.copytree(run, tmp_path / "run")
    first, record = pd.read_csv(run / "predictions.csv"), json.loads((run / "config.json").read_text())
    for folder, ratings in (("then", first["mos"]), ("now", first["mos"][::-1].tolist())):
        (tmp_path / folder).mkdir()
        rows = first.assign(image=[str(biq2021 / "Images" / image) for image in first["image"]], mos=ratings)
        rows[["image", "mos"]].to_csv(tmp_path / folder / "own.csv", index=False)
    pd.concat([rows[["image"]].assign(split="train")[2:], rows[["image"]].assign(split="test")[:2]]).to_csv(
        run / "split.csv", index=False
    )
    record["settings"]["data"] |= {"dataset": "own.csv", "data_dir": None, "score_range": [0, 100]}
    record["provenance"]["directory"] = str(tmp_path / "then")
    (run / "config.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path / "now")
    model = TrainedModel.at(run)
    assert (model.own_name("own.csv"), model.own_name("../then/own.csv")) == (None, "own.csv")
    other = pd.read_csv("own.csv").assign(split=["train", "test"] * (len(first) // 2) + ["test"] * (len(first) % 2))
    other.to_csv("own.csv", index=False)
    measured = [
        images_to_measure(name, EvaluateConfig(run, (name,)), model, "48", print)
        for name in ("own.csv", os.path.abspath("own.csv"))
    ]
    assert [(len(ratings), part) for ratings, part in measured] == [(len(first), "all")] * 2
    assert own_part(model, "test").table["mos"].tolist() == first["mos"][:2].tolist()
    (tmp_path / "then" / "own.csv").unlink()  # moved with the run
    assert model.own_name("own.csv") == "own.csv"
    assert own_part(model, "test").table["mos"].tolist() == first["mos"][::-1][:2].tolist()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FusiqaError, match=r"own\.csv: the table of the training is no longer there; put it back"):
        own_part(model, "test")
    monkeypatch.chdir("now")
    said: list[str] = []
    with pytest.raises(FusiqaError, match=r"none of own\.csv could be measured on"):
        evaluate(EvaluateConfig(run, ("own.csv",), score_range=(0.0, 1.0), output=tmp_path / "out"), say=said.append)
    assert "`score_range` and `lower_is_better` are those of the training; leave them out" in said[0]


@pytest.mark.parametrize(
    ("dataset", "own"),
    [("ratings.csv", True), ("a/koniq-10k.csv", True), ("KonIQ10k", False), ("Synthetic", False)],
)
def test_what_is_published_or_built_in_is_no_table_of_ones_own(dataset, own):
    assert is_custom(dataset) is own


def test_kinds_by_hand():
    table = pd.DataFrame({"kind": ["a"] * 4 + ["b"] * 2, "mos": [1.0, 2, 3, 4, 1, 2], "score": [1.0, 3, 2, 5, 2, 4]})
    found = measure_by("kind", table).set_index("kind")
    assert found.loc["a", "srcc"] == pytest.approx(srcc(np.array([1.0, 3, 2, 5]), np.array([1.0, 2, 3, 4])))
    assert np.isnan(found.loc["b", ["srcc", "srcc_low", "srcc_high"]].to_numpy(float)).all()
    whole = measure(np.array([1.0, 3, 2, 5]), np.array([1.0, 2, 3, 4])).srcc
    assert tuple(found.loc["a", ["srcc", "srcc_low", "srcc_high"]]) == tuple(whole)
    assert found.loc["a", "mean_error"] == pytest.approx(0.25)
    assert found.loc["b", "mean_absolute_error"] == pytest.approx(1.5)


def test_a_kind_whose_scores_hardly_differ_is_left_without_a_figure_and_costs_no_other():
    table = pd.DataFrame({"kind": ["a"] * 4 + ["b"] * 4, "mos": [1.0, 2, 3, 4] * 2})
    found = measure_by("kind", table.assign(score=[1.0, 3, 2, 4, 0.5, 0.5 + 1e-8, 0.5, 0.5])).set_index("kind")
    assert found["srcc"].isna().tolist() == [False, True]


def test_the_kinds_of_published_sets_are_told_by_name():
    assert len(set(KIND_PATTERNS["kadid-10k"]["words"].values())) == 25
    assert kinds("kadid-10k", ["I01_10_01.png"]) == ["JPEG"]
    assert kinds("kadid-10k", ["I01_26_01.png"]) is None
    assert kinds("live", ["jp2k/img1.bmp", "fastfading/img174.bmp"]) == ["JPEG2000", "fast fading"]
    assert kinds("csiq", ["jpeg2000/1600.jpeg2000.5.png", "trolley.contrast.3.png"]) == ["JPEG2000", "contrast"]
    assert kinds("tid2013", ["i03_24_5.bmp"]) == ["distortion 24"]
    assert kinds("agiqa-3k", ["AttnGAN_normal_000.jpg"]) == ["AttnGAN"]
    assert kinds("biq2021", ["a.jpg"]) is None


def test_evaluate_measures_a_folder_of_sharp_images(tmp_path, capsys, refused):
    torch.manual_seed(0)
    config = ModelConfig(backbone="test_resnet", fusion="attention", view="whole", crop_size=64)
    config = dataclasses.replace(config, flaws=True)
    QualityModel(config, resize="max96").save_pretrained(tmp_path / "run")
    sharp = tmp_path / "sharp"
    sharp.mkdir()
    for seed in range(2):
        Image.fromarray(noise(64, 96, seed)).save(sharp / f"{seed}.png")
    (sharp / "broken.png").write_text("no image")
    words = ["evaluate", str(tmp_path / "run"), "--dataset", "distorted", "--no_progress", "--data_dir"]
    assert not main([*words, str(sharp)])
    said = capsys.readouterr().out
    assert "notice: skipped broken.png: not an image" in said
    assert "SRCC of cells" in said
    folder = tmp_path / "run" / "evaluation"
    assert len(pd.read_csv(folder / "distorted.csv")) == 2 * 126
    assert "flaw named" in (folder / "distorted.md").read_text()
    for name in ("distorted.png", "reliability.png"):
        with Image.open(folder / name) as figure:
            assert figure.width > 500
    (sharp / "1.png").unlink()
    for given, said in (([*words, str(sharp)], "at least two sharp images"), (words[:-1], "--data_dir: name a folder")):
        assert said in refused(*given)
