"""A whole run in process: its flags, its folder, its refusals."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from tiny_models import TINY_RUN, make_model

from fusiqa.cli import main, parse
from fusiqa.config import FUSIONS, ModelConfig, ScaleWeighing, TrainConfig
from fusiqa.data.catalog import read
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel, load_checkpoint
from fusiqa.runs.train import build, ignored, train
from fusiqa.training.recipe import inherit, resolve

RUN_FILES = {
    "attention.png", "config.json", "history.csv", "last.ckpt", "logs", "model.json", "model.safetensors",
    "predictions.csv", "split.csv", "test.json",
}  # fmt: skip


def run(*arguments):
    main(["train", *TINY_RUN, *map(str, arguments)])


def test_the_run_folder_holds_everything(finished):
    assert {path.name for path in finished.iterdir()} == RUN_FILES


def test_config_records_what_is_needed_to_repeat_the_run(finished):
    record = json.loads((finished / "config.json").read_text())
    assert record["settings"]["run"]["seed"] == 3
    assert record["resolved"]["fusion"] == "attention"
    assert record["resolved"]["images"] == {"train": 17, "validation": 4, "test": 9}
    assert record["provenance"]["packages"]["torch"]
    assert len(record["resolved"]["data_fingerprint"]) == len(record["resolved"]["split_fingerprint"]) == 16
    assert {"commit", "command", "python"} <= set(record["provenance"])


def test_a_test_on_images_that_the_start_has_learned_from_is_told(finished, own_split, biq2021, tmp_path, capsys):
    own = [word for word in TINY_RUN if word not in ("--backbone", "test_resnet", "--resize", "48")]
    own += ["--start_from", str(finished), "--epochs", "1", "--data_dir", str(biq2021), "--split_file", str(own_split)]
    main(["train", *own, "--run_dir", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert "warning: 9 of the 9 images of the test split of biq2021 are images of `start_from`'s training" in said
    sides = pd.read_csv(tmp_path / "run" / "split.csv")["split"].value_counts().to_dict()
    assert sides == {"train": 17, "test": 9, "validation": 4}  # validation is drawn where a file has none


@pytest.fixture
def own_split(finished, tmp_path):
    """A split of images that turns training images of a finished run into test images, and has no validation."""
    split = pd.read_csv(finished / "split.csv")
    tested = split["image"][split["split"] == "train"][:9]
    split.assign(split=split["image"].isin(tested).map({True: "test", False: "train"}))[["image", "split"]].to_csv(
        tmp_path / "own_split.csv", index=False
    )
    return tmp_path / "own_split.csv"


def test_a_run_goes_on_from_another_model(finished, biq2021, tmp_path, capsys):
    """Where nothing is learned, its parameters stay, and its architecture and resize need not be named."""
    own = [word for word in TINY_RUN if word not in ("--backbone", "test_resnet", "--resize", "48")]
    own += ["--start_from", str(finished), "--lr", "0", "--epochs", "1", "--data_dir", str(biq2021)]
    main(["train", *own, "--run_dir", str(tmp_path / "run")])
    assert "images of the test split" not in capsys.readouterr().out
    trained, source = load_checkpoint(tmp_path / "run"), load_checkpoint(finished)
    assert all(torch.equal(*both) for both in zip(trained.parameters(), source.parameters(), strict=True))
    assert (trained.config, trained.resize) == (source.config, source.resize)


def test_a_model_of_another_architecture_is_no_start(finished, refused, tmp_path):
    said = refused("train", *TINY_RUN, "--start_from", finished, "--fusion", "concat", "--run_dir", tmp_path / "run")
    assert "has another --fusion: leave it out" in said
    assert "no model nowhere" in refused("train", *TINY_RUN, "--start_from", "nowhere", "--run_dir", tmp_path / "run")


def test_the_architecture_of_a_packaged_model_is_taken():
    network = inherit(TrainConfig.of(start_from="fusiqa-fast")).network
    assert (network.backbone, network.chosen_fusion, network.view) == ("tf_efficientnet_lite0", "attention", "whole")
    assert inherit(TrainConfig.of(start_from="fusiqa-fast")).data.resize == "max512"
    for own in ({"crop_size": 160}, {"view": "whole"}, {"view": "whole", "crop_size": 160}):
        network = inherit(TrainConfig.of(start_from="biq2021", **own)).network
        assert {name: getattr(network, name) for name in own} == own


def test_a_run_that_starts_from_an_average_starts_from_its_first_network(tmp_path, biq2021):
    models = [load_checkpoint(make_model(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    QualityModel.average(models).save_pretrained(tmp_path / "both")
    config = inherit(TrainConfig.of(start_from=str(tmp_path / "both"), device="cpu"))
    built = build(config.network, resolve(config), read("biq2021", data_dir=biq2021)).state_dict()
    assert built.keys() == models[0].state_dict().keys()
    assert all(torch.equal(values, built[name]) for name, values in models[0].state_dict().items())


def test_a_run_begins_with_the_function_of_the_model_that_it_starts_from(tmp_path, biq2021):
    """Gates that a frozen run trained stay on the pools; a size that the weights are not made for is refused."""
    make_model(tmp_path / "gates", fusion="spatial", gates_on_pools=True)
    config = inherit(TrainConfig.of(start_from=str(tmp_path / "gates"), device="cpu"))
    ratings = read("biq2021", data_dir=biq2021)
    assert build(config.network, resolve(config), ratings).config.gates_on_pools
    small = (("depths", (1, 1, 1, 1)), ("embed_dim", (32, 32, 32, 32)), ("stem_width", 8))
    tables = ModelConfig(backbone="maxvit_tiny_tf_224", fusion="single", crop_size=64, timm_args=small)
    QualityModel(tables, resize="64").save_pretrained(tmp_path / "tables")
    config = inherit(TrainConfig.of(start_from=str(tmp_path / "tables"), crop_size=96, device="cpu"))
    with pytest.raises(FusiqaError, match="tables: its weights do not fit `crop_size` 96; leave it out"):
        build(config.network, resolve(config), ratings)


def test_a_training_that_diverges_is_an_error_in_a_line(refused, biq2021, tmp_path):
    said = refused("train", *TINY_RUN, "--lr", "1e30", "--data_dir", biq2021, "--run_dir", tmp_path / "run")
    assert "training diverged: the network no longer gives finite scores; use a lower --lr" in said


def test_figures_of_the_test_are_those_of_the_predictions(finished):
    result = json.loads((finished / "test.json").read_text())
    predictions = pd.read_csv(finished / "predictions.csv")
    assert list(predictions) == ["image", "mos", "score", "scale_0", "scale_1", "scale_2", "scale_3"]
    assert result["n"] == len(predictions) == 9
    assert result["srcc"]["value"] == pytest.approx(stats.spearmanr(predictions["score"], predictions["mos"])[0])
    assert result["plcc"]["value"] == pytest.approx(stats.pearsonr(predictions["score"], predictions["mos"])[0])
    for metric in ("srcc", "plcc", "plcc_logistic", "krcc", "rmse"):
        assert result[metric]["low"] <= result[metric]["value"] <= result[metric]["high"]
    assert result["parameters"] > 1_000_000
    assert result["seconds_per_epoch"] > 0
    np.testing.assert_allclose(predictions.filter(like="scale_").sum(axis=1), 1, atol=1e-5)


def test_the_best_epoch_by_validation_is_the_model_kept(finished):
    history = pd.read_csv(finished / "history.csv")
    best = history.loc[history["val_srcc"].idxmax()]
    provenance = json.loads((finished / "model.json").read_text())["provenance"]
    assert provenance["epoch"] == best["epoch"]
    assert provenance["val_srcc"] == pytest.approx(best["val_srcc"])


def test_the_attention_figure_has_the_published_resolution(finished):
    with Image.open(finished / "attention.png") as figure:
        assert figure.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_patience_stops_a_run_that_no_longer_improves(biq2021, tmp_path):
    run("--data_dir", biq2021, "--run_dir", tmp_path / "r",
        "--epochs", 9, "--patience", 1, "--lr", 0, "--backbone", "test_convnext", "--lr_scheduler", "none")  # fmt: skip
    history = (tmp_path / "r" / "history.csv").read_bytes()
    assert len(pd.read_csv(tmp_path / "r" / "history.csv")) == 2
    (tmp_path / "r" / "test.json").unlink()  # killed after its last epoch
    run("--data_dir", biq2021, "--run_dir", tmp_path / "r", "--resume",
        "--epochs", 9, "--patience", 1, "--lr", 0, "--backbone", "test_convnext", "--lr_scheduler", "none")  # fmt: skip
    assert (tmp_path / "r" / "history.csv").read_bytes() == history
    assert (tmp_path / "r" / "test.json").is_file()


def test_a_fusion_without_weights_leaves_the_scales_empty(biq2021, tmp_path, capsys):
    run("--data_dir", biq2021, "--no_multiscale", "--attention_fusion", "--epochs", 1, "--spaq",
        "--run_dir", tmp_path / "r", "--spaq_dir", tmp_path / "nowhere", "--lr_scheduler", "step")  # fmt: skip
    said = capsys.readouterr().out
    assert "warning: `attention_fusion` has no effect" in said
    assert "epoch 1: train_mae " in said  # no terminal, so no bar
    assert "notice: no test on SPAQ" in said
    assert json.loads((tmp_path / "r" / "config.json").read_text())["resolved"]["fusion"] == "single"
    assert pd.read_csv(tmp_path / "r" / "predictions.csv").filter(like="scale_").isna().all(axis=None)
    assert not (tmp_path / "r" / "attention.png").exists()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--dataset koniq-10k --epochs 30 --batch-size 4 --attention-fusion", "attention"),
        ("--dataset koniq-10k --use_multiscale --attention_fusion", "attention"),
        ("--dataset koniq-10k --use-multiscale --attention_fusion", "attention"),
        ("--fusion single --no_multiscale --no_spaq", "single"),
        ("--fusion cross-scale --weighing.gate sigmoid --weighing.gain 4", "cross-scale"),
    ],
)
def test_other_spellings_of_the_fusion_mean_what_they_say(line, expected):
    config = parse("train", line.split())
    assert config.network.chosen_fusion == expected
    assert config.run.spaq == ("--no_spaq" not in line)
    if "--weighing" in line:
        assert config.network.weighing == ScaleWeighing(gate="sigmoid", gain=4)


def test_a_run_on_an_own_split_and_scale_is_cross_tested_on_spaq_where_it_is(biq2021, tmp_path):
    spaq, files = tmp_path / "SPAQ", sorted((biq2021 / "Images").iterdir())
    (spaq / "TestImage").mkdir(parents=True)
    (spaq / "Annotations").mkdir()
    for number, image in enumerate(files[:6]):
        shutil.copy(image, spaq / "TestImage" / f"{number:05d}.jpg")
    (spaq / "TestImage" / "00002.jpg").write_bytes(b"no image")
    table = pd.DataFrame({"Image name": [f"{n:05d}.jpg" for n in range(6)], "MOS": [10.0, 35, 40, 55, 70, 90]})
    table.to_excel(spaq / "Annotations" / "MOS and Image attribute scores.xlsx", index=False)
    names, folder = [path.name for path in files], tmp_path / "r"
    sides = ["test"] * 8 + ["validation"] * 6 + ["train"] * (len(names) - 14)
    pd.DataFrame({"image": names, "split": sides}).to_csv(tmp_path / "mine.csv", index=False)
    run("--data_dir", biq2021, "--run_dir", folder, "--epochs", 1, "--split_file", tmp_path / "mine.csv", "--spaq",
        "--spaq_dir", spaq, "--fusion", "single", "--single_scale", 0, "--resize", 160, "--crop_size", 160)  # fmt: skip
    assert sorted(pd.read_csv(folder / "predictions.csv")["image"]) == names[:8]
    assert pd.read_csv(folder / "split.csv").set_index("image")["split"][names].tolist() == sides
    assert json.loads((folder / "test_spaq.json").read_text())["n"] == 5
    trained = load_checkpoint(folder)
    assert trained.config.single_scale == 0
    assert trained.hypernetwork.chain[0].in_channels == trained.pyramid.channels[0]


@pytest.mark.parametrize(
    ("fusion", "switch"),
    [("spatial", "--attention_fusion"), ("single", "--attention_fusion"), ("concat", "--no_multiscale")],
)
def test_flags_that_contradict_each_other_are_refused(fusion, switch):
    config = parse("train", ["--fusion", fusion, switch])
    with pytest.raises(FusiqaError, match=f"`fusion` {fusion} contradicts `{switch[2:]}`"):
        config.network.chosen_fusion  # noqa: B018


def test_settings_that_the_fusion_has_no_use_for_are_named():
    line = "--single_scale 0 --weighing.gain 4 --entropy_weight 0.1 --attention_dropout 0.2"
    config = parse("train", line.split())
    unread = {fusion: list(ignored(config.replace(fusion=fusion))) for fusion in FUSIONS}
    assert unread["concat"] == ["single_scale", "weighing", "attention_dropout", "entropy_weight"]
    assert unread["single"] == ["weighing", "attention_dropout", "entropy_weight"]
    assert unread["spatial"] == ["single_scale", "weighing", "attention_dropout"]
    assert unread["cross-scale"] == ["single_scale", "weighing"]
    assert ignored(config.replace(fusion="attention")) == {"single_scale": "`fusion` attention"}
    assert ignored(TrainConfig.of(fusion="single")) == {}


def test_settings_that_heads_on_a_frozen_backbone_have_no_use_for_are_named():
    given = {"drop_path": 0.1, "logger": "none"}
    assert ignored(TrainConfig.of(freeze_backbone=True, **given)) == dict.fromkeys(given, "`freeze_backbone`")
    assert ignored(TrainConfig.of(**given)) == {}
    assert ignored(TrainConfig.of(freeze_backbone=True)) == {}


def test_a_scale_that_is_not_there_is_refused():
    with pytest.raises(FusiqaError, match="`single_scale` must be at least 0 and below 4, got 4"):
        TrainConfig.of(single_scale=4)


@pytest.fixture
def broken(biq2021, tmp_path):
    """The miniature set with seven rows that cannot be used, each in its own way or the same."""
    root = tmp_path / "broken"
    shutil.copytree(biq2021, root)
    images = sorted((root / "Images").iterdir())
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:-200])
    images[2].write_text("<html>not found</html>")
    for image in images[3:6]:
        image.unlink()
    sheet = root / "Train (Images and MOS).csv"
    table = pd.read_csv(sheet)
    whole = [row for row, name in enumerate(table["Image Name"]) if name in {image.name for image in images[6:]}]
    table.loc[whole[0], "MOS"] = np.nan
    table.to_csv(sheet, index=False)
    return root


def test_broken_rows_are_listed_before_training_starts(broken, tmp_path, refused):
    said = refused("train", *TINY_RUN, "--data_dir", broken, "--run_dir", tmp_path / "r")
    assert "7 of 30 rows cannot be used" in said
    assert "--skip_broken" in said
    assert said.count(".jpg:") == 5
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        (("--logger", "tensorboard"), "needs TensorBoard"),
        (
            ("--crop_size", "32", "--batch_size", "16"),
            "cannot train on one crop whose last map is one cell, as 17 crops",
        ),
        (("--batch_size", "1", "--crop_size", "32"), "use a larger --crop_size"),
        (("--batch_size", "1", "--loss", "fidelity"), "--loss fidelity compares the images of a batch"),
    ],
)
def test_a_mistake_costs_no_earlier_run(mistake, reason, finished, biq2021, tmp_path, refused, monkeypatch):
    monkeypatch.setattr("fusiqa.training.recipe.find_spec", lambda name: None)
    run = shutil.copytree(finished, tmp_path / "run")
    given = "--data_dir", biq2021, "--run_dir", run, "--overwrite"
    assert reason in refused("train", *TINY_RUN, *given, *mistake)
    assert {path.name for path in run.iterdir()} == RUN_FILES


def test_a_run_that_is_not_there_to_be_resumed_is_told(tmp_path):
    said: list[str] = []
    config = TrainConfig.of(dataset="koniq-10k", data_dir=tmp_path / "gone", run_dir=tmp_path / "typo", resume=True)
    with pytest.raises(FusiqaError, match="koniq-10k was not found"):
        train(config, say=said.append)
    assert f"notice: there is no run in {tmp_path / 'typo'} to resume; a new one begins" in said


def test_skip_broken_goes_on_and_records_them(broken, tmp_path):
    run("--data_dir", broken, "--run_dir", tmp_path / "r", "--skip_broken", "--epochs", 1,
        "--validation_fraction", "0.3")  # fmt: skip
    record = json.loads((tmp_path / "r" / "config.json").read_text())["resolved"]
    assert len(record["broken"]) == 7
    assert sum(record["images"].values()) == 23


def test_a_split_of_which_no_row_can_be_used_is_not_drawn_anew(own_csv, tmp_path, refused):
    table = pd.read_csv(own_csv)
    sides = ["train"] * (len(table) - 6) + ["validation"] * 3 + ["test"] * 3
    table.assign(split=sides, mos=table["mos"].where(np.array(sides) != "validation")).to_csv(own_csv, index=False)
    given = "--dataset", own_csv, "--skip_broken", "--backbone", "test_resnet", "--backbone_weights", "none"
    said = refused("train", *given, "--run_dir", tmp_path / "r", "--no_progress")
    assert "no row of its validation split can be used, and another must not be drawn" in said


def test_zero_usable_rows_are_an_error(biq2021, tmp_path, refused):
    root = tmp_path / "empty"
    shutil.copytree(biq2021, root)
    for image in (root / "Images").iterdir():
        image.write_bytes(b"")
    said = refused("train", *TINY_RUN, "--data_dir", root, "--skip_broken", "--run_dir", tmp_path / "r")
    assert "none of the 30 rows can be used" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "konik-10k"), "unknown data set 'konik-10k', did you mean koniq-10k?"),
        (("--dataset", "koniq-10k", "--data_dir", "nowhere"), "koniq-10k was not found in nowhere (no such folder)"),
        (("--dataset", "synthetic", "--backbone", "resnet5O"), "unknown backbone 'resnet5O'"),
        (("--dataset", "synthetic", "--crop_size", "31"), "at least 32x32, got 31x31"),
        (("--dataset", "synthetic", "--resize", "tall"), "WIDTHxHEIGHT (512x384), sides from 1 to 16384; got tall"),
        (("--dataset", "synthetic", "--resume"), "--resume needs the --run_dir of the run to continue"),
    ],
)
def test_a_mistake_is_named_in_at_most_two_lines(arguments, message, tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused("train", *TINY_RUN, *arguments)
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") <= 2


def test_a_wrong_column_and_a_leaking_group_are_named(own_csv, tmp_path, refused):
    table = pd.read_csv(own_csv)
    table.rename(columns={"mos": "opinion"}).to_csv(tmp_path / "wrong.csv", index=False)
    assert "no column 'mos'" in refused("train", *TINY_RUN, "--dataset", tmp_path / "wrong.csv")
    table.assign(split=["train", "test"] * 10).to_csv(tmp_path / "leak.csv", index=False)
    assert "scene0" in refused("train", *TINY_RUN, "--dataset", tmp_path / "leak.csv")


def test_a_csv_of_ones_own_says_its_range_and_keeps_its_contents_together(own_csv, tmp_path):
    said = []
    folder = train(
        TrainConfig.of(
            dataset=str(own_csv), backbone="test_resnet", backbone_weights="none", crop_size=40, epochs=1,
            resize="none",
            batch_size=4, validation_fraction=0.4, spaq=False, export=False, progress=False, num_workers=0,
            run_dir=tmp_path / "r", device="cpu",
        ),
        say=said.append,
    )  # fmt: skip
    assert "score range: 1 to 5.19, the lowest and highest rating of the table (`score_range`)" in said
    split = pd.read_csv(folder / "split.csv").merge(pd.read_csv(own_csv), on="image")
    assert (split.groupby("group")["split"].nunique() == 1).all()
    assert set(split["split"]) == {"train", "validation", "test"}
