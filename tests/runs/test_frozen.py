"""Heads on the kept maps of a frozen backbone: a whole run in process, and maps that are damaged or gone."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from fusiqa.cli import main
from fusiqa.scoring.onnx import OnnxNetwork
from fusiqa.scoring.scorer import Scorer
from fusiqa.training import frozen as module
from fusiqa.training.fit import QualityModule

SETTINGS = [
    "--dataset", "biq2021", "--backbone", "test_resnet", "--backbone_weights", "none", "--freeze_backbone",
    "--crop_size", "40", "--resize", "48", "--batch_size", "8", "--epochs", "2", "--validation_fraction", "0.2",
    "--no_spaq", "--no_export", "--no_progress", "--num_workers", "0", "--device", "cpu",
]  # fmt: skip


def command(data: Path, run_dir: Path, cache: Path, *more: object) -> list[str]:
    where = ("--data_dir", data, "--run_dir", run_dir, "--cache_dir", cache)
    return ["train", *SETTINGS, *map(str, (*where, *more))]


def run(*arguments: object) -> None:
    main(command(*arguments))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(scope="module")
def finished(biq2021, cache, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "run"
    run(biq2021, folder, cache)
    return folder


def test_a_run_leaves_no_log(finished):
    files = {path.name for path in finished.iterdir()}
    assert {"history.csv", "model.safetensors", "test.json"} <= files
    assert "logs" not in files


def test_a_run_that_is_resumed_in_its_second_epoch_ends_with_the_same_numbers(
    finished, biq2021, cache, tmp_path, monkeypatch
):
    step = QualityModule.training_step

    def interrupted(module, batch, index):
        if module.current_epoch == 1 and index == 1:
            raise KeyboardInterrupt
        return step(module, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(QualityModule, "training_step", interrupted)
        with pytest.raises(SystemExit):
            run(biq2021, tmp_path / "run", cache)
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 1
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert state
    assert not [name for name in state if "pyramid" in name]
    run(biq2021, tmp_path / "run", cache, "--resume")
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 2
    for name in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_damaged_maps_are_computed_anew_whole_ones_are_not_and_what_has_no_effect_is_named(
    biq2021, finished, cache, tmp_path, monkeypatch, capsys
):
    computed = []
    run_on_crops = module.run_on_crops

    def counted(*arguments, **named):
        for row, *made in run_on_crops(*arguments, **named):
            computed.append(row)
            yield row, *made

    monkeypatch.setattr(module, "run_on_crops", counted)
    kept = sorted(cache.rglob("*.npy"))
    whole = {path: path.read_bytes() for path in kept}
    for path in kept:
        path.write_bytes(whole[path][:-7])  # as after a power cut
    run(biq2021, tmp_path / "run", cache)
    assert len(computed) == 30  # maps of every image, for its side of the split
    assert {path: path.read_bytes() for path in kept} == whole
    run(biq2021, tmp_path / "again", cache, "--drop_path", "0.1", "--logger", "none")
    assert len(computed) == 30
    said = capsys.readouterr().out
    assert "warning: `drop_path` has no effect with `freeze_backbone`" in said
    assert "warning: `logger` has no effect with `freeze_backbone`" in said
    assert json.loads((tmp_path / "again" / "config.json").read_text())["resolved"]["drop_path"] == 0
    for folder in ("run", "again"):
        assert (tmp_path / folder / "predictions.csv").read_bytes() == (finished / "predictions.csv").read_bytes()


def test_maps_that_are_taken_away_meanwhile_are_one_line(biq2021, finished, cache, tmp_path, monkeypatch, refused):
    pack_images = module.pack_images

    def robbed(*arguments, **named):
        packed = pack_images(*arguments, **named)
        packed.store.path(packed.keys[0]).unlink(missing_ok=True)
        return packed

    monkeypatch.setattr(module, "pack_images", robbed)
    said = refused(*command(biq2021, tmp_path / "run", cache))
    assert "was removed or damaged while it was in use; run the same command again" in said
    assert said.count("\n") == 1


def test_whole_images_are_packed_once_and_what_is_left_scores_without_torch(biq2021, cache, tmp_path, capsys):
    """The heads, the whole network and its ONNX file agree."""
    pytest.importorskip("onnxscript")
    run(biq2021, tmp_path / "run", cache, "--view", "whole", "--resize", "max96", "--fusion", "attention", "--export")
    assert "notice: no model.onnx" not in capsys.readouterr().out
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv")
    scorer = Scorer(tmp_path / "run", device="cpu")
    assert isinstance(scorer.network, OnnxNetwork)
    found = [scorer(next(biq2021.rglob(image))).score for image in predictions["image"]]
    assert found == pytest.approx(predictions["score"].tolist(), abs=2e-3)
