"""`fusiqa sort` as its users run it."""

import csv
import io
import json
import os
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_files import break_into
from commands import exit_code
from PIL import Image, ImageFilter
from tiny_models import make_model

from fusiqa.cli import SOME_UNREADABLE, main
from fusiqa.config import ScoreRange, SortConfig
from fusiqa.data.synthetic import dead_leaves
from fusiqa.scoring import sort as sorting
from fusiqa.scoring.burst import SORT_TYPES
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sort import NOT_WRITTEN, stars_of
from fusiqa.scoring.table import read_rows
from fusiqa.scoring.xmp import Packet, write_sidecar

SCENES, EACH = 3, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Names flaws, all with about even odds."""
    return str(make_model(tmp_path_factory.mktemp("models") / "small", resize="none", flaws=True))


scene_of = cache(partial(dead_leaves, size=61))


def photograph(path: Path, scene: int, frame: int, *, clock: datetime | None = datetime(2000, 1, 1)) -> Path:
    """A frame of a scene: blurred the more the later it was taken; a clock that began anew, or none."""
    exif = Image.Exif()
    if clock is not None:
        exif[271], exif[272] = "Maker", "Model"
        exif[36867] = f"{clock + timedelta(seconds=60 * scene + frame):%Y:%m:%d %H:%M:%S}"
    picture = Image.fromarray(scene_of(scene)).filter(ImageFilter.GaussianBlur(0.4 * frame))
    picture.save(path, quality=95, exif=exif)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three bursts of three frames, and an image alone."""
    folder = tmp_path / "card"
    folder.mkdir()
    for number in range(SCENES * EACH):
        photograph(folder / f"IMG_{number}.jpg", *divmod(number, EACH))
    photograph(folder / "IMG_9.jpg", 7, 0)
    return folder


def sort(*arguments: object) -> int:
    return exit_code("sort", *arguments, "--device", "cpu")


def bursts(rows: list[dict]) -> list[list[str]]:
    """The names in each group, in order."""
    found: dict[int, list[str]] = {}
    for row in rows:
        if row["group"] is not None:
            found.setdefault(row["group"], []).append(Path(row["path"]).name)
    return list(found.values())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_bursts_go_to_a_table_a_sheet_and_links_and_no_image_changes(folder, model, tmp_path, ending, capsys):
    before = files(folder)
    output, sheet, best = tmp_path / f"sorted{ending}", tmp_path / "sheet.png", tmp_path / "best"
    assert sort(folder, "--model", model, "--output", output, "--sheet", sheet, "--link", best) == 0
    rows = list(read_rows(output, SORT_TYPES))
    assert sorted(map(sorted, bursts(rows))) == [["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"], *(
        [f"IMG_{3 * scene + frame}.jpg" for frame in range(3)] for scene in (1, 2)
    ), ["IMG_9.jpg"]]  # fmt: skip
    scores = Scorer(model, device="cpu", windows=True)
    for row in rows:
        assert row["score"] == pytest.approx(scores(row["path"]).score, abs=1e-5)
    for group in range(1, SCENES + 1):
        ranked = [row for row in rows if row["group"] == group]
        assert [row["rank"] for row in ranked] == [1, 2, 3]
        assert ranked[0]["score"] == max(row["score"] for row in ranked)
        assert ranked[0]["reason"].startswith("best of 3: score")
        assert "below the best" in ranked[2]["reason"]
    assert rows[-1]["reason"] is None
    assert files(folder) == before
    firsts = {row["path"] for row in rows if row["rank"] == 1}
    assert {os.readlink(link) for link in best.iterdir() if link.is_symlink()} == firsts
    with Image.open(sheet) as picture:
        assert picture.size[0] > 3 * 240
        green = (np.asarray(picture.convert("RGB")) == (0x1B, 0x78, 0x37)).all(axis=2)
        assert green.sum() > 3 * 4 * 200 * 5 * 0.8  # three frames
    assert f"10 scored; written to {output}" in capsys.readouterr().err


def test_without_a_clock_the_hash_decides_and_a_clock_that_stands_does_no_harm(tmp_path, model, capsys):
    for scene in range(3):
        for frame in range(2):
            photograph(tmp_path / f"{scene}{frame}.jpg", scene, frame, clock=None)
            still = datetime(2000, 1, 1) - timedelta(seconds=60 * scene + frame)
            photograph(tmp_path / f"{scene}{frame} still.jpg", scene, frame, clock=still)
    assert sort(tmp_path, "--model", model) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == tuple(SORT_TYPES)
    assert [{name[0] for name in burst} for burst in bursts(rows)] == [{"0"}, {"1"}, {"2"}]
    assert {row["taken"] for row in rows} == {"", "2000-01-01T00:00:00"}


def test_the_limits_are_options(folder, model, capsys):
    assert sort(folder, "--model", model, "--seconds", 0.5, "--distance", 0, "--distance_in_time", 0) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(bursts(rows)) == 10


def test_a_terminal_gets_the_bursts(folder, model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    (folder / "broken.jpg").write_text("<html>")
    assert sort(folder, "--model", model) == SOME_UNREADABLE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["1", "best"]
    assert "broken.jpg: not an image in a format that can be read" in lines[-2]
    assert lines[-1] == "9 images in bursts, 1 alone"


def test_a_run_goes_on_and_groups_old_and_new_together(folder, model, tmp_path, capsys, refused):
    output = tmp_path / "sorted.csv"
    assert sort(*sorted(folder.glob("*[0-4].jpg")), "--model", model, "--output", output) == 0
    assert sorted(map(len, bursts(list(read_rows(output, SORT_TYPES))))) == [2, 3]
    capsys.readouterr()
    assert "add --resume to continue it" in refused("sort", folder, "--model", model, "--output", output)
    assert sort(folder, "--model", model, "--output", output, "--resume") == 0
    assert "5 scored, 5 had a row already" in capsys.readouterr().err
    assert sorted(map(len, bursts(list(read_rows(output, SORT_TYPES))))) == [1, 3, 3, 3]
    assert [path.name for path in tmp_path.glob("sorted*")] == ["sorted.csv"]


@pytest.mark.parametrize(("column", "cell"), [("taken", "06.05.2024 07:08"), ("hash", "1.23E+15")])
def test_a_table_that_a_spreadsheet_changed_is_refused_before_it_is_continued(
    folder, model, tmp_path, refused, column, cell
):
    output = tmp_path / "sorted.csv"
    assert sort(*sorted(folder.glob("*[0-4].jpg")), "--model", model, "--output", output) == 0
    table = pd.read_csv(output, dtype=str)
    table.loc[0, column] = cell
    table.to_csv(output, index=False)
    before = output.read_bytes()
    said = refused("sort", folder, "--model", model, "--output", output, "--resume")
    assert "sorted.csv, row 1, is not a row of scores: " in said
    assert output.read_bytes() == before


def test_a_table_of_scores_is_not_continued_as_one_of_bursts(folder, model, tmp_path, refused):
    output = tmp_path / "scores.csv"
    main(["score", str(folder), "--model", model, "--output", str(output), "--device", "cpu"])
    before = output.read_bytes()
    said = refused("sort", folder, "--model", model, "--output", output, "--resume")
    assert "is not an earlier output of this command" in said
    assert output.read_bytes() == before


def test_fifty_broken_files_have_a_row_each(folder, model, tmp_path):
    broken = {str(path) for path in break_into(folder, 50)}
    output = tmp_path / "sorted.jsonl"
    assert sort(folder, "--model", model, "--output", output, "--xmp") == SOME_UNREADABLE
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 60
    assert {row["path"] for row in rows if row["error"]} == broken
    assert all(row["group"] is None and row["sidecar"] is None for row in rows if row["error"])
    assert {row["path"] for row in rows[-50:]} == broken
    assert len(list(folder.glob("*.xmp"))) == 10


def ratings(folder: Path, pattern: str = "*.xmp") -> dict[str, str | None]:
    packets = {path.name: Packet(path.read_bytes(), path.name) for path in sorted(folder.glob(pattern))}
    return {name: packet.value("xmp:Rating") for name, packet in packets.items()}


def test_sidecars_have_stars_labels_and_keywords(folder, model, tmp_path):
    output = tmp_path / "sorted.csv"
    assert sort(folder, "--model", model, "--output", output, "--xmp") == 0
    rows = list(read_rows(output, SORT_TYPES))
    assert sorted(ratings(folder).values()) == ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"]
    by_score = sorted(rows, key=lambda row: row["score"])
    assert ratings(folder)[f"{Path(by_score[0]['path']).name}.xmp"] == "1"
    for row in rows:
        packet = Packet(Path(f"{row['path']}.xmp").read_bytes(), "")
        assert row["sidecar"] == f"{Path(row['path']).name}.xmp"
        best = row["rank"] == 1 and row["reason"] is not None
        flaws = [name for name in ("blur", "noise", "compression") if row[f"flaw_{name}"] >= 0.5]
        keywords = packet.items("dc:subject")
        assert [f"fusiqa:{flaw}" for flaw in flaws] == [
            word for word in keywords if word[7:] in ("blur", "noise", "compression")
        ]
        assert ("fusiqa:best" in keywords) == best
        assert packet.value("xmp:Label") == ("Green" if best else "Red" if keywords else None)
        assert float(packet.value("fusiqa:Score")) == pytest.approx(row["score"], rel=1e-3)
        assert packet.value("fusiqa:Model") == row["model"]


def test_a_sidecar_that_cannot_be_written_costs_a_line_not_the_run(folder, model, tmp_path, monkeypatch, capsys):
    (folder / "IMG_0.jpg.xmp").write_text("<x:xmpmeta")
    (folder / "IMG_1.jpg.xmp").mkdir()
    write_as_before = write_sidecar

    def read_only(image: Path, *marks: object, **options: object) -> str:
        if image.name == "IMG_2.jpg":
            raise PermissionError(13, "Permission denied", str(image))
        return write_as_before(image, *marks, **options)

    monkeypatch.setattr(sorting, "write_sidecar", read_only)
    output = tmp_path / "sorted.csv"
    assert sort(folder, "--model", model, "--output", output, "--xmp") == SOME_UNREADABLE
    said = {Path(row["path"]).name: row["sidecar"] for row in read_rows(output, SORT_TYPES)}
    assert said["IMG_0.jpg"].startswith(f"{NOT_WRITTEN}IMG_0.jpg.xmp is not XML in UTF-8")
    assert said["IMG_1.jpg"] == f"{NOT_WRITTEN}IMG_1.jpg.xmp: is a directory"
    assert said["IMG_2.jpg"] == f"{NOT_WRITTEN}IMG_2.jpg.xmp: permission denied"
    assert said["IMG_3.jpg"] == "IMG_3.jpg.xmp"
    assert (folder / "IMG_0.jpg.xmp").read_text() == "<x:xmpmeta"
    assert len([path for path in folder.glob("*.xmp") if path.is_file()]) == 8


def test_images_that_would_share_a_sidecar_are_named(tmp_path, model, capsys):
    for name, scene in (("a.jpg", 0), ("a.png", 1), ("b.jpg", 2)):
        photograph(tmp_path / name, scene, 0)
    output = tmp_path / "sorted.jsonl"
    assert sort(tmp_path, "--model", model, "--output", output, "--xmp", "--xmp_name", "stem") == SOME_UNREADABLE
    said = {Path(row["path"]).name: row["sidecar"] for row in read_rows(output, SORT_TYPES)}
    assert said["a.jpg"] == f"{NOT_WRITTEN}a.xmp is of {tmp_path / 'a.png'} too"
    assert said["a.png"] == f"{NOT_WRITTEN}a.xmp is of {tmp_path / 'a.jpg'} too"
    assert said["b.jpg"] == "b.xmp"
    assert [path.name for path in tmp_path.glob("*.xmp")] == ["b.xmp"]


def test_the_sidecar_of_a_raw_file_and_its_jpeg_is_the_raw_files():
    rows = [{"path": "a.CR3"}, {"path": "a.JPG"}, {"path": "b.NEF"}, {"path": "b.ARW"}, {"path": "b.jpg"}]
    config = SortConfig(("a",), xmp_name="stem")
    assert sorting._owners(rows, config) == {"a.JPG": "a.CR3", "b.NEF": "b.ARW", "b.ARW": "b.NEF", "b.jpg": "b.NEF"}
    assert sorting._owners(rows, SortConfig(("a",))) == {}


def test_stars_by_quantile_and_by_limits():
    scores = np.array([10.0, 50.0, 20.0, 30.0, 40.0])
    unit = ScoreRange(0, 100)
    by_rank = SortConfig(("a",))
    assert stars_of(scores, by_rank, unit).tolist() == [1, 5, 2, 3, 4]
    assert stars_of(np.full(7, 3.0), by_rank, unit).tolist() == [3] * 7  # ties share the middle of their ranks
    assert stars_of(np.array([]), by_rank, unit).tolist() == []
    fixed = SortConfig(("a",), stars="limits")
    assert stars_of(np.array([-5, 19.9, 20, 59, 80, 130]), fixed, unit).tolist() == [1, 1, 2, 3, 5, 5]
    own = SortConfig(("a",), stars="limits", star_limits=(1, 2, 3, 50))
    assert stars_of(scores, own, unit).tolist() == [4, 5, 4, 4, 4]


def test_a_name_too_long_for_a_sidecar_costs_no_other(tmp_path, model):
    names = "a.jpg", f"{'b' * 248}.jpg"
    for scene, name in enumerate(names):
        photograph(tmp_path / name, scene, 0)
    assert sort(tmp_path, "--model", model, "--output", tmp_path / "a.csv", "--xmp") == SOME_UNREADABLE
    said = {Path(row["path"]).name: row["sidecar"] for row in read_rows(tmp_path / "a.csv", SORT_TYPES)}
    assert said[names[0]] == "a.jpg.xmp"
    assert said[names[1]].endswith(f"{names[1]}.xmp: file name too long")


def test_links_of_one_name_are_numbered_and_replaced_and_no_other_file_is(tmp_path, model, capsys, refused):
    for name, scene in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        photograph(tmp_path / name / "IMG.jpg", scene, 0)
    best = tmp_path / "best"
    for _ in range(2):
        assert sort(tmp_path / "a", tmp_path / "b", "--model", model, "--link", best) == 0
        assert sorted(path.name for path in best.iterdir() if path.is_symlink()) == ["IMG-2.jpg", "IMG.jpg"]
    pattern, table = tmp_path / "**" / "*.jpg", tmp_path / "a.csv"  # which finds the links too
    assert sort(pattern, "--model", model, "--link", best, "--output", table) == 0
    assert [Path(row["path"]).parent.name for row in read_rows(table, SORT_TYPES)] == ["a", "b"]
    (best / "own.txt").write_text("mine")
    assert sort(tmp_path / "a", "--model", model, "--link", best) == 0
    assert sorted(path.name for path in best.glob("[!.]*")) == ["IMG.jpg", "own.txt"]
    capsys.readouterr()
    assert "was not made by fusiqa" in refused("sort", tmp_path / "a", "--model", model, "--link", tmp_path / "b")
    assert "--link" in refused("sort", tmp_path / "a", "--model", model, "--link", tmp_path / "a" / "best")
    assert not (tmp_path / "a" / "best").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--output", "a.xlsx"], "--output must end in .csv, .jsonl, .parquet, got a.xlsx"),
        (["--resume"], "--resume needs the table to continue"),
        (["--distance", "33"], "--distance must be at least 0 and below 33, got 33"),
        (["--seconds", "-1"], "--seconds must be at least 0, got -1"),
        (["--star_limits", "1", "2", "3", "4"], "--star_limits has no effect without --stars limits"),
        (["--stars", "limits", "--star_limits", "1", "2"], "--star_limits must be four scores, got 2"),
        (["--stars", "limits", "--star_limits", "4", "3", "2", "1"], "--star_limits must ascend"),
        (["--sheet", "a.pdf"], "--sheet must end in .png, .jpg, .jpeg, got a.pdf"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments, reason, refused):
    assert reason in refused("sort", "card", *arguments)


def test_a_burst_of_one_image_under_two_names_is_no_fault(folder, model, tmp_path):
    """A copy, and the same file spelled in two ways."""
    (folder / "copy.jpg").write_bytes((folder / "IMG_9.jpg").read_bytes())
    output = tmp_path / "sorted.csv"
    assert (
        sort(folder / "IMG_9.jpg", f"{folder}/./IMG_9.jpg", folder / "copy.jpg", "--model", model, "--output", output)
        == 0
    )
    table = pd.read_csv(output)
    assert table["group"].tolist() == [1, 1, 1]
    assert table["rank"].tolist() == [1, 2, 3]
