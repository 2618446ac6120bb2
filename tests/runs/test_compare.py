"""`fusiqa compare`, whole: over run folders, in their order, to the screen and to files."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusiqa.cli import main
from fusiqa.config import CompareConfig
from fusiqa.errors import FusiqaError
from fusiqa.runs import compare as module
from fusiqa.runs.compare import compare_runs
from fusiqa.stats.comparisons import compare_predictions

IMAGES = 61
MOS = np.random.default_rng(1).uniform(0, 100, IMAGES)


def finished(folder: Path, *, noise: float, seed: int, images: int = IMAGES) -> Path:
    """A run folder whose predictions miss the mos by Gaussian noise, rows in an order of their own."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    table = pd.DataFrame({"image": [f"{row}.jpg" for row in range(images)], "mos": MOS[:images]})
    table = table.assign(score=table["mos"] + random.normal(0, noise, images))
    table.sample(frac=1, random_state=seed).to_csv(folder / "predictions.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    """Enough for what is asserted here, at a fraction of the time."""
    monkeypatch.setattr(module, "compare_predictions", partial(compare_predictions, resamples=400))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path, Path]:
    return (
        finished(tmp_path / "concat", noise=40, seed=2),
        finished(tmp_path / "attention", noise=5, seed=3),
        finished(tmp_path / "single", noise=41, seed=4),
    )


def test_runs_are_measured_and_compared_with_the_first(runs, tmp_path):
    said: list[str] = []
    table = compare_runs(CompareConfig(runs, output=tmp_path / "out"), say=said.append).set_index("run")
    assert table.index.tolist() == ["concat", "attention", "single"]
    for run in runs:
        predictions = pd.read_csv(run / "predictions.csv")
        assert table.loc[run.name, "n"] == IMAGES
        expected = stats.spearmanr(predictions["score"], predictions["mos"])[0]
        assert table.loc[run.name, "srcc"] == pytest.approx(expected, abs=1e-12)
        assert table.loc[run.name, "srcc_low"] < table.loc[run.name, "srcc"] < table.loc[run.name, "srcc_high"]
    assert table.loc["attention", "srcc_difference"] == table.loc["attention", "srcc"] - table.loc["concat", "srcc"]
    assert "attention is significantly higher" in table.loc["attention", "verdict"]
    assert "no significant difference" in table.loc["single", "verdict"]
    markdown = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert said[0] + "\n" == markdown
    assert [line.split("|")[1].strip() for line in markdown.splitlines()[2:5]] == ["concat", "attention", "single"]
    assert "2 comparisons with the first run, not corrected for their number" in markdown
    row = table.loc["attention"]
    assert f"| {row.srcc:.3f} [{row.srcc_low:.3f}, {row.srcc_high:.3f}] |" in markdown
    assert f"| {row.srcc_difference:+.4f} [" in markdown
    assert "| 61 | " in markdown.splitlines()[2]
    assert markdown.splitlines()[2].endswith("|  |  | reference of the comparison |")
    written = pd.read_csv(tmp_path / "out" / "comparison.csv").set_index("run")
    assert written["srcc"].tolist() == pytest.approx(table["srcc"].tolist(), rel=1e-12)
    assert said[1].startswith("written to ")


def test_a_foreign_file_is_not_replaced(runs, tmp_path):
    (tmp_path / "comparison.md").write_text("mine")
    with pytest.raises(FusiqaError, match=r"comparison\.md exists and was not made by fusiqa"):
        compare_runs(CompareConfig(runs[:2], output=tmp_path), say=lambda _: None)
    assert (tmp_path / "comparison.md").read_text() == "mine"
    assert not (tmp_path / "comparison.csv").exists()


def test_one_comparison_says_nothing_of_several(runs):
    said: list[str] = []
    compare_runs(CompareConfig(runs[:2]), say=said.append)
    assert "comparisons with" not in said[0]


def test_the_order_decides_what_the_others_are_compared_with(runs):
    forth = compare_runs(CompareConfig(runs[:2]), say=lambda _: None)
    back = compare_runs(CompareConfig(runs[1::-1]), say=lambda _: None)
    assert back["run"].tolist() == ["attention", "concat"]
    assert back["srcc_difference"][1] == pytest.approx(-forth["srcc_difference"][1])
    assert back["srcc_difference_low"][1] == pytest.approx(-forth["srcc_difference_high"][1], abs=0.03)  # other draws


def test_without_an_output_nothing_is_written(runs, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    main(["compare", str(runs[0]), str(runs[1])])
    assert "| concat | unknown | 61 |" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_one_run_is_no_comparison(runs):
    with pytest.raises(FusiqaError, match="at least two runs, got concat"):
        compare_runs(CompareConfig(runs[:1]), say=lambda _: None)


def test_a_run_that_is_not_finished_is_named(runs, tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(FusiqaError, match=r"half/predictions\.csv is missing: .*half is not a finished run"):
        compare_runs(CompareConfig((runs[0], tmp_path / "half")), say=lambda _: None)


def test_two_runs_of_one_name_are_told_apart_by_the_folders_above(runs, tmp_path):
    twin = finished(tmp_path / "elsewhere" / "concat", noise=3, seed=5)
    table = compare_runs(CompareConfig((runs[0], twin, runs[1])), say=lambda _: None)
    above = tmp_path.name
    assert table["run"].tolist() == [f"{above}/concat", "elsewhere/concat", f"{above}/attention"]


def test_a_run_that_is_named_twice_is_refused(runs):
    with pytest.raises(FusiqaError, match=r"concat is named twice; every run is compared once"):
        compare_runs(CompareConfig((runs[0], runs[0] / ".." / "concat")), say=lambda _: None)


def test_runs_on_other_images_are_refused_and_nothing_is_written(runs, tmp_path):
    smaller = finished(tmp_path / "smaller", noise=3, seed=6, images=IMAGES - 1)
    with pytest.raises(FusiqaError, match=r"only concat has 60\.jpg; only smaller has none"):
        compare_runs(CompareConfig((runs[0], smaller), output=tmp_path / "out"), say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_the_command_ends_with_code_2_and_one_line(runs, tmp_path, refused):
    said = refused("compare", runs[0], tmp_path / "absent")
    assert said.startswith(f"error: {tmp_path / 'absent'}/predictions.csv is missing")


def test_an_output_that_cannot_be_written_is_one_line(runs, tmp_path, refused):
    (tmp_path / "file").write_text("no folder")
    told = refused("compare", *runs[:2], "--output", tmp_path / "file" / "out")
    assert told.startswith(f"error: {tmp_path / 'file' / 'out'}: Not a directory; ")
    assert told.count("\n") == 1


def test_the_table_says_which_backbone_was_frozen(runs, tmp_path):
    for run, resolved in zip(runs, ({"backbone": "frozen"}, {"backbone": "fine-tuned"}, {}), strict=True):
        (run / "config.json").write_text(json.dumps({"settings": {}, "resolved": resolved, "provenance": {}}))
    said: list[str] = []
    table = compare_runs(CompareConfig(runs, output=tmp_path / "out"), say=said.append)
    assert table["backbone"].tolist() == ["frozen", "fine-tuned", "fine-tuned"]
    assert "| concat | frozen |" in said[0]
    assert pd.read_csv(tmp_path / "out" / "comparison.csv")["backbone"].tolist() == table["backbone"].tolist()
