"""A run that is killed and resumed ends with the same numbers as one that was not, bit for bit on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import exit_code

from fusiqa.cli import INTERRUPTED, TERMINATED, main
from fusiqa.io import hold
from fusiqa.training.fit import QualityModule, create_logger

ROOT = Path(__file__).parents[2]
SETTINGS = [
    "--dataset", "biq2021", "--backbone", "test_efficientnet", "--backbone_weights", "none", "--attention_fusion",
    "--crop_size", "40", "--resize", "48", "--batch_size", "8", "--epochs", "3", "--seed", "5", "--drop_path", "0.1",
    "--validation_fraction", "0.2",
    "--no_spaq", "--no_export", "--no_progress", "--device", "cpu", "--num_workers", "0",
]  # fmt: skip
WALL_CLOCK = ["train_seconds", "validation_seconds", "crops_per_second", "data_wait_fraction"]

KILLED_IN_AN_EPOCH = """
from fusiqa.training.fit import QualityModule
step = QualityModule.training_step
def killed(self, batch, index):
    if self.current_epoch == 1 and index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)
QualityModule.training_step = killed
"""
KILLED_IN_A_WRITE = """
import torch
save, calls = torch.save, []
def killed(value, path, *args, **kwargs):
    save(value, path, *args, **kwargs)
    calls.append(path)
    if len(calls) == 2:  # the second epoch's last.ckpt: half of it is on disk
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = killed
"""
KILLED_BEFORE_THE_FIRST_EPOCH_ENDS = KILLED_IN_AN_EPOCH.replace("current_epoch == 1", "current_epoch == 0")


def arguments(data: Path, run_dir: Path) -> list[str]:
    return [*SETTINGS, "--data_dir", str(data), "--run_dir", str(run_dir)]


def killed(data: Path, run_dir: Path, sabotage: str) -> int:
    """The exit code of a process that trains and kills itself."""
    code = f"import os, signal, sys\n{sabotage}\nfrom fusiqa.cli import main\nmain(['train', *sys.argv[1:]])"
    command = [sys.executable, "-c", code, *arguments(data, run_dir)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600).returncode


@pytest.fixture(scope="module")
def uninterrupted(biq2021, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    main(["train", *arguments(biq2021, folder)])
    return folder


@pytest.mark.parametrize(
    "sabotage",
    [KILLED_IN_AN_EPOCH, KILLED_IN_A_WRITE, KILLED_BEFORE_THE_FIRST_EPOCH_ENDS],
    ids=["epoch", "write", "first"],
)
def test_a_killed_run_continues_to_the_same_numbers(biq2021, uninterrupted, tmp_path, sabotage):
    folder = tmp_path / "run"
    assert killed(biq2021, folder, sabotage) == -signal.SIGKILL
    assert not (folder / "test.json").exists()
    main(["train", *arguments(biq2021, folder), "--resume"])
    for name in ("model.safetensors", "predictions.csv"):
        assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    histories = [pd.read_csv(f / "history.csv").drop(columns=WALL_CLOCK) for f in (folder, uninterrupted)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert len(json.loads((folder / "config.json").read_text())["resumed"]) == 1


def test_resuming_under_other_settings_is_refused_and_names_them(biq2021, uninterrupted, refused):
    said = refused("train", *arguments(biq2021, uninterrupted), "--resume", "--lr", "0.5", "--weight_decay", "0.25")
    assert "--lr None -> 0.5" in said
    assert "--weight_decay 0.0002 -> 0.25" in said


def test_resuming_a_finished_run_says_so_and_changes_nothing(biq2021, uninterrupted, capsys):
    before = {path.name: path.read_bytes() for path in uninterrupted.glob("*.*")}
    main(["train", *arguments(biq2021, uninterrupted), "--resume"])
    assert "already finished" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in uninterrupted.glob("*.*")} == before


def test_a_folder_with_a_run_is_not_written_into_unasked(biq2021, uninterrupted, refused):
    assert "already holds a run; add --resume" in refused("train", *arguments(biq2021, uninterrupted))


def ctrl_c() -> None:
    raise KeyboardInterrupt


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("interrupt", "code", "said"),
    [
        (ctrl_c, INTERRUPTED, "interrupted; the same command with"),
        (sigterm, TERMINATED, "terminated; the same command with"),
    ],
)
def test_an_interruption_in_an_epoch_says_so_and_keeps_the_epochs_before(
    interrupt, code, said, biq2021, tmp_path, monkeypatch, capsys
):
    step = QualityModule.training_step

    def interrupted(module, batch, index):
        if module.current_epoch == 1:
            interrupt()
        return step(module, batch, index)

    monkeypatch.setattr(QualityModule, "training_step", interrupted)
    heeding = signal.getsignal(signal.SIGINT)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert exit_code("train", *arguments(biq2021, tmp_path / "run")) == code
    finally:
        signal.signal(signal.SIGTERM, handler)  # a terminated command ignores later ones
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 1
    assert (tmp_path / "run" / "last.ckpt").is_file()
    assert signal.getsignal(signal.SIGINT) is heeding


class Payload:
    """Leaves a file where it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_training_state_runs_no_code_and_one_of_another_shape_is_one_line(biq2021, uninterrupted, tmp_path, refused):
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    (folder / "test.json").unlink()
    last = folder / "last.ckpt"
    whole = torch.load(last, weights_only=True)
    torch.save({**whole, "callbacks": Payload(tmp_path / "ran")}, last)
    assert "is not a training state" in refused("train", *arguments(biq2021, folder), "--resume")
    assert not (tmp_path / "ran").exists()
    for state in ([1, 2], {"state_dict": {}}, {**whole, "state_dict": {"model.other": torch.ones(3)}}):
        torch.save(state, last)
        said = refused("train", *arguments(biq2021, folder), "--resume")
        assert "training state" in said
        assert said.count("\n") == 1
    last.write_bytes(last.read_bytes()[:100])
    assert "is not a training state" in refused("train", *arguments(biq2021, folder), "--resume")


def test_a_run_folder_is_written_by_one_process_at_a_time(biq2021, tmp_path, refused):
    with hold(tmp_path / "run"):
        said = refused("train", *arguments(biq2021, tmp_path / "run"))
    assert f"{tmp_path / 'run'} is being written by process" in said
    assert not (tmp_path / "run").exists()


def test_steps_of_the_epochs_before_a_resume_stay_in_the_log(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text("earlier")
    create_logger("csv", tmp_path)
    assert (tmp_path / "logs" / "metrics-1.csv").read_text() == "earlier"
