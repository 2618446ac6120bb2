"""Outputs: whole or not at all, never over foreign files, one writer at a time."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.io import (
    CACHE_VARIABLE,
    cache_folder,
    check_output,
    claim,
    hold,
    is_marked,
    replacing,
    same_place,
    write_atomically,
    write_json,
    write_text,
)
from fusiqa.scoring.sheet import Shown, contact_sheet

HOLDING = "import sys, time, pathlib; from fusiqa.io import hold\nwith hold(pathlib.Path(sys.argv[1])):\n"
HOLDING += "    print('held', flush=True); time.sleep(600)"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"n": 1})

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_atomically(path, fail)
    assert path.read_text() == '{\n  "n": 1\n}\n'
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))


def test_two_writers_of_one_process_number_use_other_temporary_files(tmp_path):
    """As processes in two containers may have one number."""
    seen = []

    def write(temporary):
        seen.append(temporary)
        if len(seen) == 1:
            write_atomically(tmp_path / "a.txt", write)
        temporary.write_text(str(len(seen)))

    write_atomically(tmp_path / "a.txt", write)
    assert len(set(seen)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_an_output_is_replaced_if_it_is_ours_and_the_user_asked(tmp_path):
    ours, theirs = tmp_path / "ours.txt", tmp_path / "theirs.txt"
    ours.write_text("made with fusiqa")
    theirs.write_text("years of work")
    check_output(tmp_path / "new.txt", replace=False)
    check_output(ours, replace=True)
    with pytest.raises(FusiqaError, match=r"ours\.txt exists; add `overwrite`"):
        check_output(ours, replace=False)
    with pytest.raises(FusiqaError, match=r"theirs\.txt exists and is not an earlier output"):
        check_output(theirs, replace=True)
    with pytest.raises(FusiqaError, match=r"ours\.txt is one of the inputs"):
        check_output(ours, replace=True, inputs=["a.png", f"{tmp_path}/x/../ours.txt"])
    assert not is_marked(tmp_path / "empty")
    assert same_place(ours, tmp_path / "." / "ours.txt")


def test_a_folder_is_claimed_where_none_of_the_files_is_there_or_all_are_ours(tmp_path):
    folder = tmp_path / "new"
    claim(folder, "table.csv", "figure_*.png")
    (folder / "figure_1.png").touch()
    (folder / "notes.txt").write_text("years of work")
    claim(folder, "figure_*.png", "report.md")
    with pytest.raises(FusiqaError, match=r"notes\.txt exists and was not made by fusiqa; use another folder"):
        claim(folder, "*.txt")
    with pytest.raises(FusiqaError, match=r"notes\.txt exists and was not made"):
        claim(folder / "notes.txt", "a.md")
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty", "*")
    (tmp_path / "empty" / "anything").touch()
    claim(tmp_path / "empty", "*")


def test_what_an_earlier_run_left_is_removed_once_it_is_replaced(tmp_path):
    def run(*names: str, fails: bool = False) -> set[str]:
        with replacing(tmp_path, "table_*.csv"):
            for name in names:
                write_text(tmp_path / f"table_{name}.csv", "same")
            if fails:
                raise FusiqaError("no image")
        return {path.name for path in tmp_path.glob("*.csv")}

    (tmp_path / "mine.csv").touch()
    assert run("a", "b") == {"mine.csv", "table_a.csv", "table_b.csv"}
    with pytest.raises(FusiqaError, match="no image"):
        run(fails=True)
    assert run("b") == {"mine.csv", "table_b.csv"}


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_sheet_replaces_a_sheet_and_no_image(tmp_path, ending):
    shown = [Shown(np.full((30, 50, 3), 90, np.uint8), ["a", "b"])]
    path = tmp_path / f"a{ending}"
    contact_sheet(shown, path)
    assert is_marked(path)
    contact_sheet(shown * 2, path)
    Image.new("RGB", (30, 50)).save(path)
    before = path.read_bytes()
    with pytest.raises(FusiqaError, match="is not an earlier output"):
        contact_sheet(shown, path)
    assert path.read_bytes() == before


def test_a_second_writer_is_told_who_holds_a_file_until_that_process_ends(tmp_path):
    path = tmp_path / "new" / "table.csv"
    holder = subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(FusiqaError, match=rf"table\.csv is being written by process {holder.pid} on "), hold(path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with hold(path), pytest.raises(FusiqaError, match=f"process {os.getpid()}"), hold(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_file_system_without_locks_does_no_harm_and_neither_do_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hold(Path()), pytest.raises(FusiqaError), hold(tmp_path):
        pass
    long = tmp_path / f"{'ä' * 120}.csv"
    write_text(long, "text")
    assert [path.name for path in tmp_path.iterdir()] == [long.name]
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOSYS, "not implemented")))
    with hold(long):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [long.name]


def test_where_the_cache_lies(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "asked"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "asked"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == tmp_path / "xdg" / "fusiqa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "fusiqa"
