"""Where the faults of faults.py are tried: a folder with images and ratings, in which commands run and are killed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
IMAGES, SIDE = 48, 48
HANGS_AFTER = 600.0  # seconds
WALL_CLOCK = ("train_seconds", "validation_seconds", "crops_per_second", "data_wait_fraction")


@dataclass(frozen=True)
class Settings:
    """Run faults against fusiqa and print how many did harm."""

    only: tuple[str, ...] = ()
    """Names of faults; by default all."""
    kills: int = 20
    """Kills of a training run, whole and frozen, and of scoring in each format."""
    cache_kills: int = 10
    """Kills of a run that fills a cache together with another one."""
    download_kills: int = 5
    ray_kills: int = 3
    requests: int = 200
    """Requests to the server at once."""
    soak_minutes: float = 30
    seed: int = 0
    """Of the moments of the kills."""


class SkippedError(Exception):
    """A fault that cannot be tried here, and why."""


Outcomes = Generator[tuple[object, str], None, str | None]
"""Of each try whether it did no harm, and what was seen if it did; at the end a remark."""
FAULTS: dict[str, Callable[[Place], Outcomes]] = {}


def fault(function: Callable[[Place], Outcomes]) -> Callable[[Place], Outcomes]:
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


def descendants(process: int, words: str = "") -> list[int]:
    """The processes that a process started, and those that they did, whose command line has the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process:
                own = words.encode() in (folder / "cmdline").read_bytes()
                found += [int(folder.name)] * own + descendants(int(folder.name), words)
    return found


def kill(*processes: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


class Place:
    """A folder with images, ratings and a cache of its own, in which commands run."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.random = settings, random.Random(settings.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="fusiqa-faults-"))
        (self.folder / "images").mkdir()
        rows = ["image,mos"]
        for number, small in enumerate(np.random.default_rng(0).integers(0, 256, (IMAGES, 6, 6, 3), dtype=np.uint8)):
            image = Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            image.save(self.folder / "images" / f"{number}.png")
            rows.append(f"images/{number}.png,{1 + number % 5}.{number:02}")
        (self.folder / "ratings.csv").write_text("\n".join(rows) + "\n")

    def start(self, words: str, *, cache: str = "cache", code: str = "", **more: str) -> subprocess.Popen[str]:
        """Start a command of fusiqa, or Python code with its words."""
        own = {"FUSIQA_CACHE": str(self.folder / cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        command = [sys.executable, *(["-c", code] if code else ["-m", "fusiqa"]), *words.split()]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=os.environ | own | more, **pipes)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Exit code and output of a process that ends by itself; one that hangs is killed, and says so."""
        try:
            out, err = process.communicate(timeout=HANGS_AFTER)
        except subprocess.TimeoutExpired:
            kill(process.pid, *descendants(process.pid))
            return process.wait(), f"hung for {HANGS_AFTER:.0f} s"
        return process.returncode, out + err

    def run(self, words: str, **more: str) -> tuple[int, str]:
        return self.end(self.start(words, **more))

    def seconds_of(self, words: str, **more: str) -> float:
        """Of a run that must succeed."""
        began = time.monotonic()
        code, said = self.run(words, **more)
        if code:
            raise RuntimeError(said)
        return time.monotonic() - began

    def kill_within(self, seconds: float, words: str, **more: str) -> None:
        process = self.start(words, **more)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=self.random.uniform(0.1, seconds))
        kill(process.pid, *descendants(process.pid))  # those of Ray would wait for the driver
        process.communicate()

    def outcome(self, run: str) -> tuple[object, ...]:
        """What a training run ended with, without its times, and temporary files that it left."""
        folder = self.folder / run
        with open(folder / "history.csv", newline="") as file:
            history = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]
        files = [(folder / name).read_bytes() for name in ("model.safetensors", "predictions.csv", "split.csv")]
        return *files, history, [path.name for path in folder.iterdir() if path.name.startswith(".")]

    def rows(self, output: str) -> list[tuple[str, float]]:
        """Path and score of each row of a table or a folder of them, sorted."""
        path = self.folder / output
        if path.is_dir() or path.suffix == ".parquet":
            import pyarrow.dataset

            rows = pyarrow.dataset.dataset(path, format="parquet").to_table().to_pylist()
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        return sorted((row["path"], round(float(row["score"]), 5)) for row in rows)
