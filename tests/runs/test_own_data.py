"""Whether a data set is the one that a run was trained on, and which of its images the run has seen."""

import json
from pathlib import Path

import pandas as pd
import pytest

from fusiqa.runs.own_data import is_own, seen_in_training


def run_on(folder: Path, dataset: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"settings": {"dataset": dataset}, "resolved": {}}))
    rows = [("a.jpg", "train"), ("b.jpg", "validation"), ("c.jpg", "test"), ("7", "train")]
    pd.DataFrame(rows, columns=["image", "split"]).to_csv(folder / "split.csv", index=False)
    return folder


def test_a_table_is_the_same_however_its_path_is_spelled(tmp_path, monkeypatch):
    run = run_on(tmp_path / "run", str(tmp_path / "own" / "ratings.csv"))
    (tmp_path / "own").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "own" / "ratings.csv")
    monkeypatch.chdir(tmp_path / "own")
    for spelled in (f"{tmp_path}/own/ratings.csv", "ratings.csv", "../own/./ratings.csv", "../link.csv"):
        assert is_own(run, spelled), spelled
    for other in ("../ratings.csv", "other.csv", "spaq", "synthetic"):
        assert not is_own(run, other), other


@pytest.mark.parametrize(
    ("trained_on", "asked", "own"),
    [
        ("koniq-10k", "KonIQ10k", True), ("koniq-10k", "spaq", False), ("synthetic", "synthetic", True),
        ("ratings.csv", "koniq-10k", False), ("koniq-10k", "koniq-10k.csv", False),
    ],
)  # fmt: skip
def test_a_published_set_is_known_by_any_of_its_names(tmp_path, trained_on, asked, own):
    assert is_own(run_on(tmp_path / "run", trained_on), asked) is own


def test_a_model_outside_a_run_has_no_data_set_of_its_own(tmp_path):
    assert not is_own(tmp_path, "koniq-10k")
    assert seen_in_training(tmp_path, ["a.jpg"]) == 0


def test_the_images_that_a_run_has_seen_are_counted(tmp_path):
    run = run_on(tmp_path / "run", "ratings.csv")
    assert seen_in_training(run, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "7"]) == 3
