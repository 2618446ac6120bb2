"""`fusiqa score --engine ray` on this machine, with two processes of which one is killed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_files import break_into
from PIL import Image
from tiny_models import RANGE, make_model, noise

from fusiqa.cli import SOME_UNREADABLE, USER_MISTAKE, main
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.scorer import Scorer

ray = pytest.importorskip("ray")
IMAGES, BROKEN = 240, 6


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(autouse=True)
def one_cluster_at_a_time(tmp_path_factory) -> Iterator[None]:
    """Two on one machine would wait for each other's cores, and a test would kill the other's process."""
    with open(tmp_path_factory.getbasetemp().parent / "cluster.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def command(*arguments: object, workers: int = 2) -> list[str]:
    fixed = ["--engine", "ray", "--workers", str(workers), "--device", "cpu"]
    return [sys.executable, "-W", "ignore", "-m", "fusiqa", "score", *map(str, arguments), *fixed]


def scoring_processes() -> list[int]:
    """The process numbers of Ray's workers that hold a scorer."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"ScoringProcess" in title:
            found.append(int(folder.name))
    return found


def test_a_killed_process_loses_nothing_and_the_numbers_are_those_of_one_process(tmp_path, model):
    folder, output = tmp_path / "images", tmp_path / "scores"
    folder.mkdir()
    for number in range(IMAGES):
        Image.fromarray(noise(61, 79 + number % 7, number)).save(folder / f"{number:03}.png")
    broken = {str(path) for path in break_into(folder, BROKEN)}
    running = subprocess.Popen(command(folder, "--model", model, "--output", output), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300  # Ray alone takes minutes to start on a busy machine
    while not (killed := scoring_processes()) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(killed[0], signal.SIGKILL)
    said = running.communicate(timeout=400)[1]
    assert running.returncode == SOME_UNREADABLE, said
    assert f"{IMAGES} of {IMAGES + BROKEN} images have a score" in said
    table = pd.read_parquet(output)
    assert tuple(table.columns) == COLUMNS
    assert table["path"].is_unique
    assert set(table["path"][table["error"].notna()]) == broken
    scored = table[table["error"].isna()].sort_values("path")
    alone = Scorer(model, device="cpu").many(sorted(folder.glob("[0-9]*.png")))
    assert scored["path"].tolist() == [score.name for score in alone]
    np.testing.assert_allclose(scored["score"], [score.score for score in alone], atol=1e-4 * RANGE.width)


def test_a_parquet_of_contents_and_a_url_go_on_where_rows_are_missing(tmp_path, model):
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.fromarray(noise(61, 79, number)).save(tmp_path / "in" / f"{number}.png")
    files = sorted((tmp_path / "in").iterdir())
    contents = [path.read_bytes() for path in files]
    pd.DataFrame({"path": ["a", "b", None, "d"], "bytes": [*contents[:3], b"no"]}).to_parquet(tmp_path / "in.parquet")
    output = tmp_path / "scores"
    wanted = [tmp_path / "in.parquet", f"file://{tmp_path}/in", "--model", model, "--output", output]
    done = subprocess.run(command(*wanted, workers=1), capture_output=True, text=True, timeout=400)
    assert done.returncode == SOME_UNREADABLE, done.stderr
    table = pd.read_parquet(output).set_index("path")
    assert len(table) == 8
    assert "not an image" in table["error"]["d"]
    assert table["score"]["b"] == pytest.approx(table["score"][f"file://{files[1]}"])
    assert sum(name.startswith("sha256:") for name in table.index) == 1
    (tmp_path / "in" / "0.png").rename(tmp_path / "in" / "new.png")
    again = subprocess.run(command(*wanted, "--resume", workers=1), capture_output=True, text=True, timeout=400)
    assert again.returncode == SOME_UNREADABLE, again.stderr
    resumed = pd.read_parquet(output)
    assert set(resumed["path"]) - set(table.index) == {f"file://{tmp_path}/in/new.png"}
    assert len(resumed) == 9


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--engine ray writes Parquet files: add --output FOLDER"),
        (["--output", "x", "--top", "3"], "--engine ray writes every row"),
        (["--output", "x", "--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(arguments, reason, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(tmp_path), "--engine", "ray", *arguments])
    assert ended.value.code == USER_MISTAKE
    assert reason in capsys.readouterr().err
