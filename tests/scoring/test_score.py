"""`fusiqa score` as its users run it."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_files import BROKEN, break_into
from commands import exit_code
from PIL import Image
from tiny_models import CROP, make_model, noise

from fusiqa.cli import SOME_UNREADABLE
from fusiqa.config import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import hold
from fusiqa.scoring.inputs import listed_names
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.sheet import Shown, contact_sheet
from fusiqa.scoring.table import read_rows, recording

PROGRAM = [sys.executable, "-m", "fusiqa", "score"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Takes images as small as they are: one crop each."""
    return str(make_model(tmp_path_factory.mktemp("models") / "small", resize="none"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eleven good images, two of them in a folder below, a hidden one and a text beside them."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for number in range(11):
        place = folder / "below" if number > 8 else folder
        Image.fromarray(noise(CROP, CROP, number)).save(place / f"{number:02}.png")
    Image.fromarray(noise(CROP, CROP)).save(folder / ".hidden.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory, model) -> tuple[Path, list[dict]]:
    """A folder of eleven images, left unchanged, and the rows of their table."""
    folder = tmp_path_factory.mktemp("scored")
    for number in range(11):
        Image.fromarray(noise(CROP, CROP, number)).save(folder / f"{number:02}.png")
    output = folder.with_suffix(".csv")
    assert score(folder, "--model", model, "--output", output) == 0
    return folder, rows_of(output)


def rows_of(path: Path) -> list[dict]:
    match path.suffix:
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        case ".parquet":
            return pd.read_parquet(path).to_dict("records")
        case _:
            return pd.read_csv(path, keep_default_na=False).to_dict("records")


def same_rows(rows: list[dict], others: list[dict]) -> bool:
    """The same, to the last digits of a number: how many crops a batch holds changes the order of its sums."""
    one, other = (
        [{name: "" if value is None or value != value else value for name, value in row.items()} for row in each]
        for each in (rows, others)
    )
    try:
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other), rtol=0, atol=1e-5, check_dtype=False)
    except AssertionError as different:
        print(different)
        return False
    return True


def score(*arguments: object) -> int:
    return exit_code("score", *arguments, "--device", "cpu")


def test_three_hundred_files_of_which_fifty_are_broken_in_twenty_ways(tmp_path, model, capsys):
    for number in range(250):
        Image.fromarray(noise(CROP, CROP, number)).save(tmp_path / f"{number}.png")
    broken = {str(path) for path in break_into(tmp_path, 50)}
    assert len(BROKEN) >= 20
    assert score(tmp_path, "--model", model, "--output", tmp_path / "scores.csv") == SOME_UNREADABLE
    table = pd.read_csv(tmp_path / "scores.csv")
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 300
    assert table["score"].notna().sum() == 250
    assert set(table["path"][table["error"].notna()]) == broken
    assert table["score"].isna().sum() == 50
    reasons = table["error"].dropna()
    assert reasons.str.len().between(5, 200).all()
    assert "250 scored, 50 without a score (their rows say why)" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_tables_hold_the_same_rows_in_every_format(folder, model, tmp_path, ending):
    output = tmp_path / f"scores{ending}"
    assert score(folder, "--model", model, "--output", output) == 0
    rows = rows_of(output)
    assert [Path(row["path"]).name for row in rows] == [f"{number:02}.png" for number in range(11)]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(1 <= row["score"] <= 5 for row in rows)
    assert len({row["score"] for row in rows}) == 11
    assert sum(rows[0][f"scale_{place}"] for place in range(4)) == pytest.approx(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", output.name]


def test_a_pipe_gets_csv_and_nothing_else(folder, model, capsys):
    assert score(folder / "00.png", folder / "gone.png", "--model", model) == SOME_UNREADABLE
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["error"] for row in rows] == ["", "no such file"]
    assert "1 scored, 1 without a score" in printed.err


def test_a_terminal_gets_a_table(folder, model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    score(folder / "00.png", folder / "gone.png", "--model", model)
    head, good, bad = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["score", "spread"]
    assert "scores on 1 to 5, higher is better" in head
    assert good.endswith("00.png")
    assert 1 <= float(good.split()[0]) <= 5
    assert bad.endswith("gone.png: no such file")


def test_patterns_and_a_list_on_standard_input_name_images_too(folder, model, tmp_path, monkeypatch):
    assert score(folder / "**" / "1?.png", "--model", model, "--output", tmp_path / "a.csv") == 0
    assert [Path(row["path"]).name for row in rows_of(tmp_path / "a.csv")] == ["10.png"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / '03.png'}\n\n{folder / 'below'}\n"))
    assert score("-", "--model", model, "--output", tmp_path / "b.csv") == 0
    assert [Path(row["path"]).name for row in rows_of(tmp_path / "b.csv")] == ["03.png", "09.png", "10.png"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.png\n\nb c.png\n", ["a.png", "b c.png"]),
        ("\ufeffa.png\nb.png", ["a.png", "b.png"]),
        ("a.png\0b\n.png\0", ["a.png", "b\n.png"]),
    ],
)
def test_lists_of_names_are_lines_or_ended_by_nul(text, names):
    """As `find` and `find -print0` write them; a byte order mark is no part of a name."""
    assert [name.rstrip("\n") for name in listed_names(io.StringIO(text)) if name.strip()] == names


def test_what_is_named_twice_has_one_row(folder, model, tmp_path):
    assert score(folder, folder / "00.png", folder, "--model", model, "--output", tmp_path / "a.csv") == 0
    assert len(rows_of(tmp_path / "a.csv")) == 11


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_run_that_was_cut_off_goes_on_without_scoring_twice(scored, model, tmp_path, ending, capsys):
    (folder, whole), output = scored, tmp_path / f"scores{ending}"
    score(*sorted(folder.glob("0[0-4].png")), "--model", model, "--output", output)
    if ending != ".parquet":
        content = output.read_bytes()
        output.write_bytes(content[: len(content) - 9])  # killed in the middle of a row
    capsys.readouterr()
    assert score(folder, "--model", model, "--output", output, "--resume") == 0
    kept = 5 if ending == ".parquet" else 4
    assert f"{11 - kept} scored, {kept} had a row already" in capsys.readouterr().err
    assert same_rows(rows_of(output), whole)


def test_a_row_with_an_error_counts_as_done(folder, model, tmp_path):
    break_into(folder, 3)
    output = tmp_path / "scores.csv"
    assert score(folder, "--model", model, "--output", output) == SOME_UNREADABLE
    before = output.read_bytes()
    assert score(folder, "--model", model, "--output", output, "--resume") == SOME_UNREADABLE
    assert output.read_bytes() == before


def test_an_output_is_not_overwritten_unasked_and_not_mixed_with_another_models_rows(folder, model, tmp_path, refused):
    output = tmp_path / "scores.csv"
    score(folder, "--model", model, "--output", output)
    before = output.read_bytes()
    said = refused("score", folder, "--model", model, "--output", output)
    assert "exists; add --resume to continue it, or --overwrite to discard it" in said
    other = make_model(tmp_path / "other", resize="none", seed=1)
    said = refused("score", folder, "--model", other, "--output", output, "--resume")
    assert "choose another output for another model" in said
    assert output.read_bytes() == before
    assert score(folder / "00.png", "--model", other, "--output", output, "--overwrite") == 0
    assert len(rows_of(output)) == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--bottom", 3], lambda scores: sorted(scores)[:3]),
        (["--top", 2], lambda scores: sorted(scores, reverse=True)[:2]),
        (["--sort", "worst"], sorted),
        (["--sort", "best"], lambda scores: sorted(scores, reverse=True)),
        (["--sort", "path"], lambda scores: scores),
        (["--below", "MEDIAN"], lambda scores: [s for s in scores if s < float(np.median(scores))]),
        (["--above", "MEDIAN", "--sort", "best"], lambda scores: sorted(scores, reverse=True)[:5]),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_rows_are_chosen_and_ordered_as_asked(scored, model, tmp_path, arguments, wanted, ending):
    (folder, whole), output = scored, tmp_path / f"scores{ending}"
    scores = [row["score"] for row in whole]
    asked = [float(np.median(scores)) if word == "MEDIAN" else word for word in arguments]
    assert score(folder, "--model", model, "--output", output, *asked) == 0
    assert [row["score"] for row in rows_of(output)] == pytest.approx(wanted(scores), abs=1e-5)
    assert score(folder, "--model", model, "--output", output, *asked, "--resume") == 0
    assert [row["score"] for row in rows_of(output)] == pytest.approx(wanted(scores), abs=1e-5)


def test_rows_that_were_left_out_are_kept_for_a_later_run(folder, model, tmp_path, capsys):
    output = tmp_path / "worst.csv"
    score(folder, "--model", model, "--output", output, "--bottom", 1)
    capsys.readouterr()
    assert score(folder, "--model", model, "--output", output, "--bottom", 2, "--resume") == 0
    assert "0 scored, 11 had a row already" in capsys.readouterr().err
    assert len(rows_of(output)) == 2


def test_rows_that_were_left_out_come_back_with_the_whole_table_and_go_when_it_is_overwritten(
    folder, model, tmp_path, capsys
):
    output = tmp_path / "scores.csv"
    for how, rows, had in (("--resume", 11, 11), ("--overwrite", 1, 1)):
        score(folder, "--model", model, "--output", output, "--bottom", 1, "--overwrite")
        assert score(folder / "00.png", "--model", model, "--output", output, how) == 0
        assert len(rows_of(output)) == rows
        capsys.readouterr()
        assert score(folder, "--model", model, "--output", output, "--bottom", 1, "--resume") == 0
        assert f"{11 - had} scored, {had} had a row already" in capsys.readouterr().err


def test_rows_that_only_the_record_or_only_the_table_has_are_all_kept(folder, model, tmp_path, capsys):
    output, files = tmp_path / "scores.csv", sorted(folder.glob("*.png"))
    score(*files[:4], "--model", model, "--output", output, "--bottom", 1)
    record = (tmp_path / "scores.csv.all.jsonl").read_bytes()
    score(*files[:6], "--model", model, "--output", output, "--resume")
    (tmp_path / "scores.csv.all.jsonl").write_bytes(record)
    for more, rows in (([], 7), (["--sort", "worst"], 8)):
        assert score(*files[:rows], "--model", model, "--output", output, "--resume", *more) == 0
        assert f"1 scored, {rows - 1} had a row already" in capsys.readouterr().err
        assert len(rows_of(output)) == rows
        (tmp_path / "scores.csv.all.jsonl").write_bytes(record)


def test_the_sheet_shows_the_worst_and_the_best(folder, model, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert score(folder, "--model", model, "--output", tmp_path / "a.csv", "--sheet", sheet) == 0
    with Image.open(sheet) as picture:
        assert picture.width > 900
        assert picture.height > 3 * 240
    again = ("--model", model, "--output", tmp_path / "a.csv", "--sheet", sheet)
    assert score(folder, *again, "--resume") == 0


def test_a_sheet_among_the_images_is_none_of_them(folder, model, tmp_path):
    images, sheet = tmp_path / "two", tmp_path / "two" / "sheet.png"
    images.mkdir()
    for name in ("00.png", "01.png"):
        shutil.copy(folder / name, images)
    for how in ((), ("--resume",), ("--overwrite",)):
        assert score(images, "--model", model, "--output", tmp_path / "a.csv", "--sheet", sheet, *how) == 0
        assert [Path(row["path"]).name for row in rows_of(tmp_path / "a.csv")] == ["00.png", "01.png"]
        assert sheet.is_file()


def test_a_caption_of_a_sheet_is_one_line_whatever_is_in_it(tmp_path):
    pixels, odd = noise(48, 60), "a\nb\u2028\x07.jpg"
    contact_sheet([Shown(pixels, [odd, "score 3"]), Shown(pixels, ["c" * 999])], tmp_path / "a.png", title=odd)
    contact_sheet([Shown(pixels, ["", "score 3"])] * 2, tmp_path / "b.png", title="b")
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert one.size == other.size


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_table_of_somebody_else_is_neither_continued_nor_replaced(folder, model, tmp_path, ending, refused):
    output = tmp_path / f"notes{ending}"
    table = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "mos": [3, 4]})
    match ending:
        case ".csv":
            output.write_text("image,mos\na.jpg,3\nb.jpg,4")  # a last line without its end, which --resume would cut
        case ".jsonl":
            output.write_text('{"a": 1}')
        case _:
            table.to_parquet(output)
    before = output.read_bytes()
    for ask in ("--resume", "--overwrite"):
        said = refused("score", folder, "--model", model, "--output", output, ask)
        assert "is not an earlier output of this command" in said
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "path,score\na.png,1\n", "row 1, is not a row of scores: expected the columns path, score, spread"),
        (
            "a.csv",
            f"{','.join(COLUMNS)}\na.png,good{',' * (len(COLUMNS) - 2)}\n",
            "row 1, is not a row of scores: could not convert",
        ),
        (
            "a.csv",
            f"{','.join(COLUMNS)}\na.png,nan{',' * (len(COLUMNS) - 2)}\n",
            "row 1, .*: it has a number that is not finite",
        ),
        ("a.csv", f"{','.join(COLUMNS)}\na.png,99", "row 1, is not a row of scores: expected the columns"),
        ("a.jsonl", '{"path": "a.png"}\n', "row 1, is not a row of scores: expected the columns"),
        ("a.jsonl", "[" * 100_000 + "\n", "row 1, is not a row of scores: expected the columns"),
        ("a.csv", "path\udcf3\n", "row 1, is not a row of scores: 'utf-8' codec can't decode byte 0xf3"),
        ("a.parquet", "text", "a.parquet is not a table of scores: expected the columns"),
    ],
)
def test_what_is_no_table_of_scores_is_not_read(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(FusiqaError, match=reason):
        list(read_rows(tmp_path / name))


def test_an_image_is_not_drawn_over(folder, model, tmp_path, refused):
    images = sorted(folder.glob("*.png"))
    before = images[0].read_bytes()
    for sheet, reason in ((images[0], "is one of the inputs"), (images[1], "is not an earlier output")):
        assert reason in refused("score", images[0], "--model", model, "--sheet", sheet, "--overwrite")
    assert images[0].read_bytes() == before


def test_a_table_that_is_being_written_has_one_writer(folder, model, tmp_path, refused):
    output = tmp_path / "scores.csv"
    with hold(output):
        said = refused("score", folder, "--model", model, "--output", output)
    assert f"scores.csv is being written by process {os.getpid()} on" in said
    assert score(folder, "--model", model, "--output", output) == 0


def test_an_output_that_is_removed_while_it_is_written_is_said(tmp_path, model):
    config = ScoreConfig(("a",), output=str(tmp_path / "scores.csv"))
    with pytest.raises(FusiqaError, match=r"scores.csv was removed while it was written"), recording(config, model="m"):
        (tmp_path / "scores.csv").unlink()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--output", "a.xlsx"], "--output must end in .csv, .jsonl, .parquet, got a.xlsx"),
        (["--resume"], "--resume needs the table to continue"),
        (["--top", "2", "--bottom", "2"], "--top and --bottom exclude each other"),
        (["--top", "0"], "--top must be at least 1, got 0"),
        (["--sheet", "a.pdf"], "--sheet must end in .png, .jpg, .jpeg, got a.pdf"),
        (["--model", "nothing"], "no model nothing"),
        (["--below", "nan"], "--below must be"),
        ([""], "the path of an image is empty"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, arguments, reason, refused):
    assert reason in refused("score", folder, *arguments)


def test_an_empty_folder_says_what_it_looked_for_and_costs_no_table(tmp_path, model, refused, monkeypatch):
    assert "no images in" in refused("score", tmp_path, "--model", model)
    table = tmp_path / "scores.csv"
    table.write_text(f"{','.join(COLUMNS)}\n")
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "gone", tmp_path / "*.jpg", "-"):
        with (tmp_path / "empty.txt").open("w+") as stream:
            monkeypatch.setattr("sys.stdin", stream)
            said = refused("score", nothing, "--model", model, "--output", table, "--overwrite")
        assert f"no images in {nothing}" in said
        assert table.is_file()


def test_a_list_is_not_shortened_by_looking_whether_it_names_anything(folder, tmp_path, model, monkeypatch):
    (tmp_path / "list.txt").write_text(f"{folder / '03.png'}\n{folder / '05.png'}\n")
    for _ in range(2):
        with (tmp_path / "list.txt").open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            assert score("-", "--model", model, "--output", tmp_path / "scores.csv", "--overwrite") == 0
        assert [Path(row["path"]).name for row in rows_of(tmp_path / "scores.csv")] == ["03.png", "05.png"]


def heed_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


ORDERLY = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


@pytest.mark.parametrize("stop", [*ORDERLY, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_a_whole_table_and_goes_on_from_there(tmp_path, stop):
    """With the packaged model, which starts without torch."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(noise(384, 512, number)).save(folder / f"{number:03}.jpg")
    output = tmp_path / "scores.csv"
    command = [*PROGRAM, "-", "--output", str(output), "--device", "cpu"]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    running.stdin.write("".join(f"{path}\n" for path in sorted(folder.iterdir())[:20]))
    running.stdin.flush()  # and left open: it cannot be done before it is stopped
    until = time.monotonic() + 120
    while (not output.exists() or output.read_bytes().count(b"\n") < 5) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(running.pid, stop)
    running.wait(timeout=60)
    said = running.stderr.read()
    running.stdin.close()
    running.stderr.close()
    if stop in ORDERLY:
        code, word = ORDERLY[stop]
        assert running.returncode == code
        assert f"{word}; the same command with --resume goes on from what is saved" in said
        assert output.read_bytes().endswith(b"\n")
    done = output.read_bytes().count(b"\n") - 1
    assert 4 <= done <= 20
    assert score(folder, "--output", output, "--resume") == 0
    table = pd.read_csv(output)
    assert len(table) == 30
    assert table["path"].is_unique
    assert table["score"].notna().all()
