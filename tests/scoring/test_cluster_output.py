"""What `fusiqa score --engine ray` keeps, refuses and removes in its output, without Ray."""

import io
from pathlib import Path

import pytest
from tiny_models import make_model

from fusiqa.config import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.scoring.cluster import UNFINISHED, discard, earlier, named
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.table import write_rows

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")


@pytest.fixture
def output(tmp_path, model_folder) -> Path:
    """A table of one image, below it a whole and a torn one of a killed run."""
    output, model = tmp_path / "out", Scorer(model_folder, device="cpu").info.name
    (output / UNFINISHED).mkdir(parents=True)
    for name in ("a", f"{UNFINISHED}/b", f"{UNFINISHED}/c"):
        row = dict.fromkeys(COLUMNS) | {"path": f"/{name[-1]}.png", "score": 1.0, "model": model}
        write_rows(output / f"{name}.parquet", [row])
    torn = output / UNFINISHED / "c.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    return output


def settings(output: str | Path, model: Path, *paths: str, **more: bool) -> ScoreConfig:
    return ScoreConfig(paths or ("in",), model=str(model), engine="ray", output=str(output), **more)


def test_a_resumed_run_keeps_whole_files_of_a_killed_one_and_removes_torn_ones(output, model_folder):
    assert earlier(str(output), settings(output, model_folder, resume=True)) == {"/a.png", "/b.png"}
    assert sorted(path.name for path in output.iterdir()) == ["a.parquet", "b.parquet"]


def test_rows_of_another_model_are_not_continued(output, tmp_path):
    other = make_model(tmp_path / "other", resize="none", seed=1)
    with pytest.raises(FusiqaError, match="choose another output for another model"):
        earlier(str(output), settings(output, other, resume=True))


def test_the_input_is_never_removed(output, model_folder):
    for path in (output / "a.parquet", f"file://{output}/a.parquet"):
        with pytest.raises(FusiqaError, match="is one of the inputs; choose an output folder without it"):
            earlier(str(output), settings(output, model_folder, str(path), overwrite=True))
    assert (output / "a.parquet").is_file()


def test_a_store_is_written_to_as_a_folder_is(output, model_folder):
    """What is not on a disk, and empty, can be overwritten too; a file cannot be a folder."""
    assert earlier("memory://new", settings("memory://new", model_folder, overwrite=True)) == set()
    with pytest.raises(FusiqaError, match=r"a\.parquet is a file; `engine` ray writes Parquet files into a folder"):
        earlier(f"{output}/a.parquet", settings(output / "a.parquet", model_folder, overwrite=True))
    assert (output / "a.parquet").is_file()


def test_a_list_may_name_files_and_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("s3://bucket/a.jpg\nb.jpg\nsimplecache::memory://c.jpg\n"))
    assert list(named(["-"])) == ["s3://bucket/a.jpg", f"{tmp_path}/b.jpg", "simplecache::memory://c.jpg"]


def test_rows_are_neither_added_to_nor_removed_unasked(output, model_folder):
    with pytest.raises(FusiqaError, match="has rows already; add `resume` to continue it, or `overwrite`"):
        earlier(str(output), settings(output, model_folder))
    (output / "notes.txt").touch()
    assert earlier(str(output), settings(output, model_folder, overwrite=True)) == set()
    assert len(tables := list(output.rglob("*.parquet"))) > 1
    with pytest.raises(FusiqaError, match="no model"):
        earlier(str(output), settings(output, output / "gone", overwrite=True))
    assert list(output.rglob("*.parquet")) == tables
    discard(str(output))
    assert [path.name for path in output.rglob("*.*")] == ["notes.txt"]
