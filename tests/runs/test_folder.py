"""Run directories: which may be written, and what is read back from them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hostile_values import HOSTILE, places_in, refusal_of, with_value

from fusiqa.config import TrainConfig
from fusiqa.data.distortions import content_of_version
from fusiqa.errors import FusiqaError
from fusiqa.runs import folder
from fusiqa.runs.ablation.report import conditions_of
from fusiqa.runs.data import own_part
from fusiqa.runs.folder import TrainedModel, check_run_dir, choose_run_dir, is_run, read_record, start_run
from fusiqa.scoring.models import IN_THE_PACKAGE


def run_on(folder: Path, dataset: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"settings": {"dataset": dataset}, "resolved": {}, "provenance": {}})
    )
    rows = [("a.jpg", "train", "0a"), ("b.jpg", "validation", "0b"), ("c.jpg", "test", "0c"), ("7", "train", "0d")]
    pd.DataFrame(rows, columns=["image", "split", "sha256"]).to_csv(folder / "split.csv", index=False)
    return folder


def test_a_table_is_the_same_however_its_path_is_spelled(tmp_path, monkeypatch):
    run = run_on(tmp_path / "run", str(tmp_path / "own" / "ratings.csv"))
    (tmp_path / "own").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "own" / "ratings.csv")
    monkeypatch.chdir(tmp_path / "own")
    trained = TrainedModel.at(run)
    for spelled in (f"{tmp_path}/own/ratings.csv", "ratings.csv", "../own/./ratings.csv", "../link.csv"):
        assert trained.own_name(spelled) == str(tmp_path / "own" / "ratings.csv"), spelled
    for other in ("../ratings.csv", "other.csv", "spaq", "synthetic"):
        assert trained.own_name(other) is None, other


@pytest.mark.parametrize(
    ("trained_on", "asked", "own"),
    [
        ("koniq-10k", "KonIQ10k", True), ("koniq-10k", "spaq", False), ("synthetic", "synthetic", True),
        ("ratings.csv", "koniq-10k", False), ("koniq-10k", "koniq-10k.csv", False),
    ],
)  # fmt: skip
def test_a_published_set_is_known_by_any_of_its_names(tmp_path, trained_on, asked, own):
    assert TrainedModel.at(run_on(tmp_path / "run", trained_on)).own_name(asked) == (trained_on if own else None)


def test_each_of_several_data_sets_is_known(tmp_path):
    model = TrainedModel.at(run_on(tmp_path / "run", ["KonIQ10k", "ratings.csv"]))
    assert model.trained_on == "koniq-10k + ratings.csv"
    assert [model.own_name(name) for name in ("koniq-10k", "./ratings.csv", "spaq")] == [
        "KonIQ10k",
        "ratings.csv",
        None,
    ]


def test_a_model_outside_a_run_has_no_data_set_of_its_own(tmp_path):
    model = TrainedModel.at(tmp_path / "model.safetensors")
    assert (model.folder, model.trained_on, model.backbone) == (tmp_path, "unknown", "unknown")
    assert TrainedModel.at(IN_THE_PACKAGE / "fusiqa-fast").trained_on == "biq2021 + distorted"
    assert model.own_name("koniq-10k") is None
    assert model.seen(["0a"]) == 0


def test_a_model_is_found_by_name_and_its_outputs_do_not_go_into_the_package(tmp_path, monkeypatch):
    run = run_on(tmp_path / "run", "ratings.csv")
    weights = run / "model.safetensors"
    weights.touch()
    for given in (run, weights):
        assert TrainedModel.named(given, "evaluation") == (TrainedModel.at(run), given, run / "evaluation")
    packaged = IN_THE_PACKAGE / "fusiqa-fast"
    expected = TrainedModel.at(packaged), packaged, Path("evaluation_fusiqa-fast")
    assert TrainedModel.named(Path("fusiqa-fast"), "evaluation") == expected
    monkeypatch.setenv("HOME", str(tmp_path))
    assert TrainedModel.named(Path("~/run"), "evaluation")[2] == run / "evaluation"
    with pytest.raises(FusiqaError, match="no model nowhere: expected one of"):
        TrainedModel.named(Path("nowhere"), "evaluation")


def test_the_images_that_a_run_has_seen_are_counted_by_their_content(tmp_path):
    run = TrainedModel.at(run_on(tmp_path / "run", "ratings.csv"))
    assert run.seen(["0a", "0b", "0c", "0e", "0d", "a.jpg"]) == 3


def test_an_image_that_was_seen_undistorted_among_distorted_ones_is_counted(tmp_path):
    run = run_on(tmp_path / "run", "distorted")
    with open(run / "split.csv", "a") as split:
        split.write(f"d.jpg::Pristine,train,{content_of_version('0d1')}\n")
    assert TrainedModel.at(run).seen(["0d1", "0d2"]) == 1


def test_a_folder_of_something_else_is_never_emptied(tmp_path):
    (tmp_path / "config.json").write_text('{"model": "of somebody"}')
    (tmp_path / "thesis.txt").write_text("years")
    for settings in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(FusiqaError, match="is not empty and was not made by a training run"):
            check_run_dir(tmp_path, TrainConfig.of(run_dir=tmp_path, **settings), precision="32")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_kill_left_of_a_first_write_is_no_obstacle(tmp_path):
    (tmp_path / ".config.0123abcd.json").write_text("{")
    config = TrainConfig.of(run_dir=tmp_path, resume=True)
    check_run_dir(tmp_path, config, precision="32")
    start_run(tmp_path, config, resolved={})
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_run_is_replaced_only_when_asked(tmp_path):
    start_run(tmp_path, TrainConfig(), resolved={})
    (tmp_path / "history.csv").write_text("epoch")
    with pytest.raises(FusiqaError, match="already holds a run; add `resume` or `overwrite`"):
        check_run_dir(tmp_path, TrainConfig.of(run_dir=tmp_path), precision="32")
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    config = TrainConfig.of(run_dir=link, overwrite=True)
    check_run_dir(link, config, precision="32")
    start_run(link, config, resolved={})
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_folder_of_a_table_is_named_by_its_whole_path():
    data = TrainConfig.of(dataset="lr=0.1/r.csv", data_dir=("lr=0.1/r.csv=/images=1",)).data
    assert data.folders == {"lr=0.1/r.csv": Path("/images=1")}
    assert TrainConfig.of(dataset="spaq", data_dir=("/a=b",)).data.folders == {"spaq": Path("/a=b")}


def test_every_run_has_a_name_of_its_own_that_its_other_processes_share(monkeypatch):
    monkeypatch.setenv(folder.SHARED_NAME, "")
    configs = [TrainConfig.of(dataset=dataset) for dataset in ("spaq", "biq2021")]
    first, second = map(choose_run_dir, configs)
    assert (first.name[:5], second.name[:8]) == ("spaq-", "biq2021-")
    monkeypatch.setattr(folder.os, "getpid", lambda: -1)  # in a process that the second run starts
    assert choose_run_dir(configs[1]) == second


def test_overwrite_never_removes_what_the_run_reads(tmp_path):
    run = tmp_path / "run"
    start_run(run, TrainConfig(), resolved={})
    (tmp_path / "images").mkdir()
    for name in ("dataset", "split_file", "backbone_weights", "start_from"):
        (run / name).touch()
        path: str | Path = f"{tmp_path}/images/../run/{name}"
        path = Path(path) if name == "split_file" else path
        given = TrainConfig.of(run_dir=run, overwrite=True, **{name: path})
        with pytest.raises(FusiqaError, match=f"`overwrite` would remove .*{name}, which the run reads"):
            check_run_dir(run, given, precision="32")
    assert len(list(run.iterdir())) == 5


def test_a_run_is_resumed_however_its_paths_are_spelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"data_root": Path("sets"), "data_dir": Path("sets/a"), "start_from": "other", "dataset": "ratings.csv"}
    start_run(tmp_path / "run", TrainConfig.of(**given), resolved={"precision": "32"})
    again = {name: type(path)(f"{tmp_path}/run/../{path}") for name, path in given.items()}
    resumed = TrainConfig.of(**again, run_dir=tmp_path / "run", resume=True)
    check_run_dir(tmp_path / "run", resumed, precision="32")
    with pytest.raises(FusiqaError, match="has other settings: `start_from` other -> another"):
        check_run_dir(tmp_path / "run", resumed.replace(start_from="another"), precision="32")


def test_settings_of_an_earlier_version_are_read_by_their_new_names(tmp_path):
    settings = {"dataset": "spaq", "validation_share": 0.25, "devices": 2}
    record = {"settings": settings, "resolved": {}, "provenance": {}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    read = read_record(tmp_path)["settings"]
    assert (read["dataset"], read["validation_fraction"], read["num_devices"]) == ("spaq", 0.25, 2)
    assert read["epochs"] == TrainConfig().optimiser.epochs


@pytest.mark.parametrize("value", HOSTILE[::4], ids=lambda value: repr(value)[:20])
def test_any_value_in_any_place_of_a_record_is_read_or_refused_in_one_line(tmp_path, own_csv, monkeypatch, value):
    """Whatever reads config.json: training that goes on, evaluation, comparison, explanation, the report of seeds."""
    origin = {"device": "CPU", "commit": "abc", "packages": {}, "directory": str(tmp_path)}
    monkeypatch.setattr(folder, "describe_origin", lambda: origin)
    run = tmp_path / "run"
    config = TrainConfig.of(dataset=str(own_csv), run_dir=run, resume=True)
    resolved = {"backbone": "frozen", "precision": "32", "resize": "384", "broken": [{"image": "a", "reason": "b"}]}
    resolved |= {"data_fingerprint": "0", "split_fingerprint": "1", "lr_backbone": 1e-5, "lr_head": 1e-4}
    start_run(run, config, resolved=resolved)
    start_run(run, config, resolved=resolved)
    (run / "split.csv").write_text("image,split,sha256\n" + "".join(f"{n}.png,test,{n}\n" for n in range(20)))
    whole = json.loads((run / "config.json").read_text())
    assert set(whole) == {"settings", "resolved", "provenance", "resumed"}

    def explained():
        model = TrainedModel.at(run)
        own_part(model, "test")
        return model.trained_on, model.own_name("koniq-10k"), model.own_name(str(own_csv))

    readers = [
        lambda: check_run_dir(run, config, precision="32"),
        lambda: start_run(run, config, resolved=resolved),
        lambda: conditions_of(read_record(run)),
        explained,
    ]
    places = list(places_in(whole))
    assert len(places) > 60
    for place in places:
        for read in readers:
            (run / "config.json").write_text(json.dumps(with_value(whole, place, value)))
            assert "\n" not in refusal_of(read), place


@pytest.mark.parametrize("content", ["[]", "3", "[" * 100_000, "{", "\ud800"])
def test_a_config_that_is_no_table_is_of_no_run(tmp_path, content):
    (tmp_path / "config.json").write_text(content, errors="surrogatepass")
    assert not is_run(tmp_path)
    with pytest.raises(FusiqaError):
        read_record(tmp_path)
