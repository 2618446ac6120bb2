"""Two processes on the CPU train, validate and write as one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from fusiqa.cli import USER_MISTAKE, main
from fusiqa.training.processes import WatchProcesses

ROOT = Path(__file__).parents[2]
# Without batch normalisation and dropout, whose draws differ, two halves of a batch have the gradient of the whole.
SETTINGS = [
    "--dataset", "biq2021", "--backbone", "test_convnext", "--backbone_weights", "none", "--attention_fusion",
    "--crop_size", "40", "--resize", "48", "--batch_size", "6", "--epochs", "2", "--dropout", "0", "--drop_path", "0",
    "--attention_dropout", "0", "--precision", "32", "--no_spaq", "--no_export", "--no_progress", "--device", "cpu",
    "--num_workers", "0", "--validation_fraction", "0.24",
]  # fmt: skip


def test_two_processes_give_the_metrics_of_one(biq2021, tmp_path):
    settings = [*SETTINGS, "--data_dir", str(biq2021)]
    main(["train", *settings, "--num_devices", "1", "--run_dir", str(tmp_path / "one")])
    two = subprocess.run(
        [sys.executable, str(ROOT / "train_swin.py"), *settings, "--num_devices", "2"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    (shared,) = (tmp_path / "runs").glob("[!.]*")  # else the processes did not agree on the folder's name
    runs = [tmp_path / "one", shared]
    first, second = (pd.read_csv(run / "history.csv") for run in runs)
    columns = ["val_srcc", "val_plcc", "val_mae", "scale_0", "scale_1", "scale_2", "scale_3"]
    pd.testing.assert_frame_equal(first[columns], second[columns], atol=1e-4, rtol=1e-3)
    results = [json.loads((run / "test.json").read_text()) for run in runs]
    assert results[0]["n"] == results[1]["n"] == 9
    for metric in ("srcc", "plcc", "rmse"):
        assert results[0][metric]["value"] == pytest.approx(results[1][metric]["value"], abs=1e-3)
    assert two.stdout.count("test on biq2021") == 1


def test_where_one_of_two_processes_is_killed_the_other_ends_with_a_line(biq2021, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train_swin.py"), *SETTINGS, "--data_dir", str(biq2021), "--num_devices", "2"]
    first = subprocess.Popen(
        [*command, "--epochs", "1000", "--run_dir", str(run)], cwd=tmp_path, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        while not (run / "history.csv").is_file() and first.poll() is None:
            time.sleep(0.1)
        second = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True, check=True).stdout
        os.kill(int(second.split()[0]), signal.SIGKILL)
        _, said = first.communicate(timeout=300)
    finally:
        first.kill()
    assert first.returncode == USER_MISTAKE, said
    assert "error: another process of this training ended; run the same command with --resume" in said
    assert "Traceback" not in said


def test_where_another_process_failed_and_this_one_waits_it_ends_with_a_line():
    waiting = """if True:
        import subprocess, sys, time
        from types import SimpleNamespace
        from fusiqa.training import processes
        processes.PATIENCE_S = 0.1
        failed = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
        stays = subprocess.Popen(["sleep", "600"])
        print(stays.pid, flush=True)
        launcher = SimpleNamespace(procs=[failed, stays])
        processes.WatchProcesses().setup(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher)), None, "fit")
        time.sleep(600)
    """
    ended = subprocess.run([sys.executable, "-c", waiting], capture_output=True, text=True, timeout=60)
    assert ended.returncode == USER_MISTAKE
    assert "error: another process of this training ended; run the same command with --resume" in ended.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_a_process_that_failed_by_itself_is_not_ended(monkeypatch):
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("fusiqa.training.processes.PATIENCE_S", 0.1)
    watch = WatchProcesses()
    watch.on_exception(None, None, ValueError())
    watch.watch([subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])])
    assert ended == []


def test_a_batch_that_the_devices_cannot_share_is_refused(biq2021, tmp_path, refused):
    own = "--data_dir", biq2021, "--num_devices", 4, "--run_dir", tmp_path / "run"
    assert "--batch_size must be a multiple of the 4 devices, got 6" in refused("train", *SETTINGS, *own)
