"""One run on several data sets: each keeps its range, split and resize, and is validated and tested by itself."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from fusiqa import Scorer
from fusiqa.cli import main, parse
from fusiqa.config.model import FLAWS
from fusiqa.data import loader
from fusiqa.data.synthetic import dead_leaves
from fusiqa.models.quality import load_checkpoint
from fusiqa.runs.train import train
from fusiqa.training import flaws

SMALL = [
    "--backbone", "test_resnet", "--backbone_weights", "none", "--crop_size", "40", "--batch_size", "16",
    "--epochs", "1", "--validation_fraction", "0.2", "--no_progress", "--device", "cpu", "--no_export", "--no_spaq",
    "--resize", "48",
]  # fmt: skip
SETS = ["biq2021", "distorted"]


@pytest.fixture(scope="module")
def sharp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharp")
    for number in range(5):
        Image.fromarray(dead_leaves(number, size=64)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def places(biq2021, sharp):
    return ["--data_dir", f"biq2021={biq2021}", f"distorted={sharp}"]


@pytest.fixture(scope="module")
def joint(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint") / "run"
    own = ["--loss", "both", "--augment_distortions", "0.3", "--dataset_weights", "2", "1", "--attention_fusion"]
    main(["train", "--dataset", *SETS, *places, *SMALL, *own, "--num_workers", "0", "--run_dir", str(folder)])
    return folder


@pytest.fixture(scope="module")
def frozen(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen") / "run"
    main(["train", "--dataset", *SETS, *places, *SMALL, "--freeze_backbone", "--run_dir", str(folder)])
    return folder


def test_one_set_under_two_names_is_refused(tmp_path, refused):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("image,mos\n")
    for twice in (("koniq-10k", "KonIQ10k"), (f"{tmp_path}/a.csv", f"{tmp_path}/../{tmp_path.name}/a.csv")):
        said = refused("train", "--dataset", *twice, f"{tmp_path}/b.csv", "--run_dir", tmp_path / "run")
        assert f"--dataset: {twice[0]} and {twice[1]} are one data set" in " ".join(said.split())


@pytest.mark.parametrize("which", ["joint", "frozen"])
def test_each_set_is_tested_by_itself(which, request):
    folder = request.getfixturevalue(which)
    result, predictions = json.loads((folder / "test.json").read_text()), pd.read_csv(folder / "predictions.csv")
    assert list(result["sets"]) == SETS
    assert list(predictions["set"].unique()) == SETS
    for name, part in predictions.groupby("set"):
        assert result["sets"][name]["n"] == len(part) == {"biq2021": 9, "distorted": 51}[name]
        ranks = stats.spearmanr(part["score"], part["mos"])[0]
        assert result["sets"][name]["srcc"]["value"] == pytest.approx(ranks)
    assert [result["sets"][name]["resize"] for name in SETS] == ["48", "48"]
    both = [result["sets"][name]["srcc"]["value"] for name in SETS]
    assert result["srcc"]["value"] == pytest.approx(np.mean(both))
    assert result["srcc"]["low"] < result["srcc"]["value"] < result["srcc"]["high"]


def test_a_set_of_weight_0_is_validated_and_tested_but_nothing_is_learned_from_it(places, tmp_path, monkeypatch):
    orders, order = [], loader.TrainingOrder
    monkeypatch.setattr(loader, "TrainingOrder", lambda **given: orders.append(given) or order(**given))
    own = ["--dataset_weights", "0", "1", "--freeze_backbone", "--flaws", "--run_dir", str(tmp_path / "run")]
    read, known = [], flaws.known_views
    monkeypatch.setattr(flaws, "known_views", lambda *given: read.append(given[1]) or known(*given))
    main(["train", "--dataset", *SETS, *places, *SMALL, *own])
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    training = split[split["split"] == "train"]["image"].str.startswith("distorted/").to_numpy()
    assert 0 < training.sum() < len(training)
    assert {*orders[0]["rows"]} == {*np.flatnonzero(training)}
    assert set(read[0].table["set"]) == {"distorted"}
    assert set(read[1].table["set"]) == {*SETS}
    assert list(json.loads((tmp_path / "run" / "test.json").read_text())["sets"]) == SETS


@pytest.mark.parametrize("which", ["joint", "frozen"])
def test_validation_is_the_mean_over_sets(which, request):
    (row,) = pd.read_csv(request.getfixturevalue(which) / "history.csv").to_dict("records")
    assert row["val_srcc"] == pytest.approx((row["val_srcc_biq2021"] + row["val_srcc_distorted"]) / 2)


def test_each_set_keeps_its_split_and_the_range_is_the_first_ones(joint, biq2021):
    split = pd.read_csv(joint / "split.csv")
    official = pd.read_csv(biq2021 / "Test (Images and MOS).csv")["Image Name"]
    tested = split[split["split"] == "test"]["image"]
    assert set(tested[tested.str.startswith("biq2021/")]) == set("biq2021/" + official)
    contents = tested[tested.str.startswith("distorted/")].str.extract(r"distorted/(\d)\.png::")[0]
    assert contents.nunique() == 1
    assert load_checkpoint(joint).config.score_range == (0, 1)
    mos = pd.read_csv(joint / "predictions.csv").query("set == 'distorted'")["mos"]
    assert mos.between(0, 1).all()
    assert mos.max() > 0.75


def test_the_first_set_is_the_common_scale(joint):
    lines = load_checkpoint(joint).provenance["calibration"]
    assert lines["biq2021"] == [0, 1]
    offset, slope = lines["distorted"]
    assert (offset, slope) != (0, 1)
    assert slope > 0


def test_resume_continues_with_the_calibration(places, tmp_path):
    """Two epochs of which the second is interrupted and done again end as two in one go."""
    own = ["--loss", "both", "--augment_distortions", "0.3", "--num_workers", "0", "--epochs", "2"]
    command = ["train", "--dataset", *SETS, *places, *SMALL, *own]
    main([*command, "--run_dir", str(tmp_path / "one")])

    def stop(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parse("train", [*command[1:], "--run_dir", str(tmp_path / "two")]), say=stop)
    main([*command, "--run_dir", str(tmp_path / "two"), "--resume"])
    one, two = ((tmp_path / name / "test.json").read_text() for name in ("one", "two"))
    assert json.loads(one)["sets"] == json.loads(two)["sets"]
    of_one, of_two = (load_checkpoint(tmp_path / name).provenance for name in ("one", "two"))
    assert of_one["calibration"] == of_two["calibration"]


def test_evaluate_measures_one_of_the_sets_on_its_test_split(joint, biq2021):
    main(
        ["evaluate", str(joint), "--dataset", "biq2021", "--data_dir", str(biq2021), "--device", "cpu", "--no_progress"]
    )
    (row,) = pd.read_csv(joint / "evaluation" / "evaluation.csv").to_dict("records")
    assert (row["dataset"], row["part"], row["n"]) == ("biq2021", "test", 9)
    assert row["srcc"] == pytest.approx(
        json.loads((joint / "test.json").read_text())["sets"]["biq2021"]["srcc"]["value"]
    )


def test_compare_measures_within_each_set(joint, frozen, tmp_path):
    main(["compare", str(joint), str(frozen), "--output", str(tmp_path)])
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert list(table["set"]) == ["biq2021", "biq2021", "distorted", "distorted"]
    assert list(table["n"]) == [9, 9, 51, 51]
    assert "2 comparisons with" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("table", ["photos", "distorted"])
def test_a_photograph_that_is_tested_while_versions_of_it_are_learned_from_is_refused(tmp_path, refused, table):
    """Undistorted it is the same image, although its content in the set of distorted ones has another hash."""
    rows = [(f"{number}.png", number / 8, ("train", "validation", "test")[number % 3]) for number in range(9)]
    for name, *_ in rows:
        Image.fromarray(dead_leaves(int(name[0]), size=64)).save(tmp_path / name)
    for name, shift in ((table, 0), ("other", 1)):
        moved = [(image, mos, rows[(row + shift) % 9][2]) for row, (image, mos, _) in enumerate(rows)]
        pd.DataFrame(moved, columns=["image", "mos", "split"]).to_csv(tmp_path / f"{name}.csv", index=False)
    run = [*SMALL, "--run_dir", tmp_path / "run"]
    with_versions = ["--dataset", tmp_path / f"{table}.csv", "distorted", "--data_dir", f"distorted={tmp_path}"]
    for given in (with_versions, ["--dataset", tmp_path / f"{table}.csv", tmp_path / "other.csv"]):
        assert "the split leaks" in refused("train", *given, *run)


def test_evaluate_tells_which_sharp_images_a_run_has_seen(joint, sharp, tmp_path, capsys):
    words = ["--dataset", "Distorted", "--data_dir", str(sharp), "--output", str(tmp_path), "--no_progress"]
    main(["evaluate", str(joint), *words])
    split = pd.read_csv(joint / "split.csv")
    seen = split[split["image"].str.endswith("::Pristine") & (split["split"] != "test")]
    said = f"warning: {len(seen)} of the {len(seen) + 1} images of {sharp.name} are images of training or validation"
    assert said in capsys.readouterr().out


def test_compare_measures_the_sets_that_all_runs_have(joint, sharp, biq2021, tmp_path, capsys, refused):
    alone, others = tmp_path / "alone", tmp_path / "others"
    on_one = ["--dataset", "biq2021", "--data_dir", str(biq2021), "--score_range", "-1", "3"]
    main(["train", *on_one, *SMALL, "--run_dir", str(alone)])
    main(["train", "--dataset", "Distorted", "--data_dir", str(sharp), *SMALL, "--run_dir", str(others)])
    capsys.readouterr()
    main(["compare", str(joint), str(alone), "--output", str(tmp_path)])
    assert "notice: not compared on distorted: not every run has it" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["set"].tolist() == ["biq2021"] * 2
    assert table["n"].tolist() == [9, 9]
    result = json.loads((alone / "test.json").read_text())["srcc"]["value"]
    assert table["srcc"].iloc[1] == pytest.approx(result)
    assert "no data set that all runs were tested on" in refused("compare", joint, alone, others)
    (alone / "config.json").unlink()
    assert "so its data set is not known" in refused("compare", joint, alone)


def test_attention_explains_all_of_them(joint, tmp_path):
    main(["attention", str(joint), "--output", str(tmp_path / "out"), "--device", "cpu", "--no_progress"])
    (table,) = [path for path in (tmp_path / "out").glob("*.csv") if "image" in pd.read_csv(path)]
    weights = pd.read_csv(table)
    assert weights["image"].str.partition("/")[0].value_counts().to_dict() == {"distorted": 51, "biq2021": 9}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", *SETS, "--data_dir", "somewhere"], "NAME=FOLDER"),
        (["--dataset", *SETS, "--dataset_weights", "1"], "one value for each"),
        (["--dataset", *SETS, "--dataset_weights", "0", "0"], "one must be above 0"),
        (["--dataset", "biq2021", "biq2021"], "named twice"),
        (["--dataset", *SETS, "--score_range", "0", "1"], "one --dataset alone"),
        (["--dataset", "distorted"], "folder of sharp images"),
        (["--freeze_backbone", "--augment_distortions", "0.1"], "leave one out"),
    ],
)
def test_refusals(arguments, words, refused, tmp_path):
    assert words in refused("train", *SMALL, *arguments, "--run_dir", tmp_path / "run").replace("\n", " ")


def test_an_image_that_two_sets_have_on_two_sides_is_refused(biq2021, tmp_path, refused):
    """One of BIQ2021's test images is a training image of a table."""
    own = tmp_path / "own"
    own.mkdir()
    tested = pd.read_csv(biq2021 / "Test (Images and MOS).csv")["Image Name"][0]
    (own / "copy.jpg").write_bytes((biq2021 / "Images" / tested).read_bytes())
    for number in range(11):
        Image.fromarray(dead_leaves(number + 50, size=64)).save(own / f"{number}.png")
    images = ["copy.jpg", *(f"{number}.png" for number in range(11))]
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    table = pd.DataFrame({"image": images, "mos": np.linspace(1, 5, 12), "split": splits})
    table.to_csv(own / "own.csv", index=False)
    arguments = ["--dataset", "biq2021", str(own / "own.csv"), "--data_dir", f"biq2021={biq2021}"]
    assert "more than one side" in refused("train", *SMALL, *arguments, "--run_dir", tmp_path / "run")


@pytest.fixture(scope="module")
def naming(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("naming") / "run"
    main(["train", "--dataset", *SETS, *places, *SMALL, "--num_workers", "0", "--flaws", "--run_dir", str(folder)])
    return folder


def test_a_run_that_names_flaws_states_how_well(naming, sharp):
    figures = json.loads((naming / "test.json").read_text())["flaws"]
    assert 0 < figures["named"] <= 1
    assert 0 <= figures["calibration_error"] < 0.2
    result = Scorer(naming, backend="torch")(sharp / "0.png")
    assert set(result.flaws) == set(FLAWS)


def test_flaws_change_no_score(naming, places, tmp_path):
    main(["train", "--dataset", *SETS, *places, *SMALL, "--num_workers", "0", "--run_dir", str(tmp_path / "run")])
    with_flaws, without = (pd.read_csv(folder / "predictions.csv") for folder in (naming, tmp_path / "run"))
    assert with_flaws.equals(without)
    assert Scorer(tmp_path / "run", backend="torch")(dead_leaves(0, size=64)).flaws is None


def test_flaws_need_a_data_set_that_tells_them(biq2021, places, tmp_path, refused):
    own = ["--dataset", "biq2021", "--data_dir", str(biq2021), "--flaws", "--run_dir", str(tmp_path / "run")]
    assert "--flaws needs distorted" in refused("train", *SMALL, *own)
    both = ["--dataset", *SETS, *places, "--dataset_weights", "1", "0", "--flaws", "--run_dir", str(tmp_path / "run")]
    assert "--flaws needs distorted" in refused("train", *SMALL, *both)
    assert not (tmp_path / "run" / "history.csv").exists()
