"""`fusiqa score --engine ray` in one Ray session on this machine, with two processes of which one is killed."""

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from broken_files import break_into
from commands import exit_code
from PIL import Image
from tiny_models import noise

from fusiqa.cli import SOME_UNREADABLE
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.scorer import Scorer

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own
IMAGES, BROKEN = 70, 6


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory) -> Iterator[None]:
    """The first command starts it, later ones join. Two on one machine would wait for each other's cores."""
    with open(tmp_path_factory.getbasetemp().parent / "cluster.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        ray.shutdown()


def score(*arguments: object, workers: int) -> int:
    """Run the command with the packaged model; its exit code."""
    return exit_code("score", *arguments, "--engine", "ray", "--workers", workers, "--device", "cpu")


def scoring_processes() -> list[int]:
    """The process numbers of this session's workers that hold a scorer."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title, parent = (folder / "cmdline").read_bytes(), parent_of(folder.name)
            if title.startswith(b"ray::") and b"ScoringProcess" in title and parent_of(parent) == str(os.getpid()):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def parent_of(process: str) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]


@contextmanager
def killing_the_first_process() -> Iterator[list[int]]:
    killed, ended = [], threading.Event()

    def watch() -> None:
        while not killed and not ended.wait(0.02):
            for process in scoring_processes()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield killed
    finally:
        ended.set()
        watching.join()


class Run(NamedTuple):
    """A run of which one process was killed: two files of images are named by a URL too, three by their contents."""

    folder: Path
    inputs: tuple[object, ...]
    broken: set[str]
    output: Path
    killed: list[int]
    code: int
    said: str
    table: pd.DataFrame


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    top = tmp_path_factory.mktemp("cluster")
    folder, output = top / "images", top / "scores"
    (folder / "below").mkdir(parents=True)
    for number in range(IMAGES):
        Image.fromarray(noise(61, 79 + number % 7, number)).save(folder / f"{number:03}.png")
    os.rename(folder / "069.png", os.fsencode(folder) + b"/069\n\xe9\\n.png")  # a name that no table can hold
    for number in range(2):
        Image.fromarray(noise(61, 79, number)).save(folder / "below" / f"{number}.png")
    contents = [*((folder / f"{number:03}.png").read_bytes() for number in range(3)), b"no", b"no"]
    pd.DataFrame({"path": ["a", "b", None, "d", "d"], "bytes": contents}).to_parquet(top / "in.parquet")
    inputs = (folder, f"file://{folder}/below", top / "in.parquet")
    broken, said = {str(path) for path in break_into(folder, BROKEN)}, StringIO()
    with killing_the_first_process() as killed, redirect_stderr(said):
        code = score(*inputs, "--output", output, "--windows", workers=2)
    return Run(folder, inputs, broken, output, killed, code, said.getvalue(), pd.read_parquet(output))


def test_a_killed_process_loses_nothing_and_the_numbers_are_those_of_one_process(run):
    assert len(run.killed) == 1
    assert run.code == SOME_UNREADABLE
    assert f"{IMAGES + 2 + 2 + 3:,} of {IMAGES + 2 + 2 + 5 + BROKEN} images have a score" in run.said
    assert tuple(run.table.columns) == COLUMNS
    assert run.table["path"][run.table["path"].duplicated()].tolist() == ["d"]  # twice in the Parquet file
    assert set(run.table["path"][run.table["error"].notna()]) == {*run.broken, "d"}
    files = run.table[run.table["error"].isna() & run.table["path"].str.startswith("/")].sort_values("path")
    scorer = Scorer(device="cpu", windows=True)
    alone = sorted(scorer.many(run.folder.rglob("[0-9]*.png")), key=lambda result: result.name)
    assert files["path"].tolist() == [result.name for result in alone]
    for column in ("score", "spread"):
        expected = [getattr(one, column) for one in alone]
        np.testing.assert_allclose(files[column].astype(float), expected, atol=1e-4 * scorer.score_range.width)


def test_images_in_a_parquet_file_and_at_a_url_are_scored_as_files_are(run):
    table = run.table.set_index("path")
    assert table["error"]["d"].str.contains("not an image").tolist() == [True, True]
    assert sum(name.startswith("sha256:") for name in table.index) == 1
    assert table["score"]["b"] == pytest.approx(table["score"][f"{run.folder}/001.png"])
    urls = [name for name in table.index if name.startswith("file://")]
    assert urls == [f"file://{run.folder}/below/{number}.png" for number in range(2)]
    for url in urls:
        assert table["score"][url] == pytest.approx(table["score"][url.removeprefix("file://")])


def test_a_resumed_run_scores_the_images_that_have_no_row(run):
    Image.fromarray(noise(61, 79, 5)).save(run.folder / "below" / "new.png")
    assert score(*run.inputs[1:], "--output", run.output, "--resume", workers=1) == SOME_UNREADABLE
    resumed = pd.read_parquet(run.output)
    assert set(resumed["path"]) - set(run.table["path"]) == {f"file://{run.folder}/below/new.png"}
    assert len(resumed) == len(run.table) + 1


def test_rows_are_overwritten_only_by_others(run, tmp_path, refused):
    image = run.folder / "below" / "0.png"
    output = tmp_path / "scores"
    shutil.copytree(run.output, output)
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "gone"):
        ask = "score", tmp_path / nothing, "--engine", "ray", "--output", output, "--overwrite"
        assert "no images in" in refused(*ask)
    assert len(pd.read_parquet(output)) >= len(run.table)
    assert score(image, "--output", output, "--overwrite", workers=1) == 0
    assert pd.read_parquet(output)["path"].tolist() == [str(image)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--engine ray writes Parquet files: add --output FOLDER"),
        (["--output", "x", "--top", "3"], "--engine ray writes every row"),
        (["--output", "x", "--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(arguments, reason, tmp_path, refused):
    assert reason in refused("score", tmp_path, "--engine", "ray", *arguments)


def test_a_cluster_that_does_not_answer_is_an_error_in_a_line(monkeypatch, tmp_path, capsys):
    """Ray's own error is a stand-in: it tries for a minute."""

    def unreachable(address: str, **_: object) -> None:
        raise ConnectionError(f"Failed to connect to {address}")

    monkeypatch.setenv("RAY_ADDRESS", "198.51.100.1:6379")
    monkeypatch.setattr("ray.init", unreachable)
    Image.fromarray(noise(40, 40)).save(tmp_path / "a.png")
    assert score(tmp_path / "a.png", "--output", tmp_path / "out", workers=1) == 2
    assert "no Ray cluster answers at 198.51.100.1:6379: check $RAY_ADDRESS" in capsys.readouterr().err.replace(
        "\n", " "
    )
