"""Miniature data sets in their true layout, made of small images of odd sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

# Before torch is loaded: networks this small are slower on several threads, tests share the cores, and a run is
# repeated exactly by as many threads alone.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pytest
from commands import exit_code
from PIL import Image
from tiny_models import TINY_RUN

from fusiqa.cli import USER_MISTAKE, main
from fusiqa.data.distortions import distort
from fusiqa.data.synthetic import dead_leaves
from fusiqa.io import CACHE_VARIABLE

TRAIN, TEST = 21, 9
SIDES = (67, 71, 73, 79, 83)  # distinct primes: a swapped height and width would show


@cache
def image(number: int) -> np.ndarray:
    """A small image of an odd size, the worse the higher number % 5."""
    pixels = dead_leaves(number, size=83)[: SIDES[number % 5], : SIDES[(number + 2) % 5]]
    return distort(pixels, "gaussian_blur", number % 5 + 1, seed=0)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests, and the programs that they start, keep no image in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def biq2021(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BIQ2021 in its official layout, with 21 training and 9 test images; session-wide, so leave it unchanged."""
    root = tmp_path_factory.mktemp("biq2021")
    (root / "Images").mkdir()
    names = [f"ss{number % 3 + 1:02d} ({number}).jpg" for number in range(TRAIN + TEST)]
    for number, name in enumerate(names):
        Image.fromarray(image(number)).save(root / "Images" / name, quality=95)
    mos = [round(0.9 - 0.18 * (number % 5) + 0.004 * number, 4) for number in range(TRAIN + TEST)]
    table = pd.DataFrame({"Image Name": names, "MOS": mos})
    table[:TRAIN].to_csv(root / "Train (Images and MOS).csv", index=False)
    table[TRAIN:].to_csv(root / "Test (Images and MOS).csv", index=False)
    return root


@pytest.fixture(scope="session")
def finished(biq2021: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run on it, two epochs with attention fusion; session-wide, so leave it unchanged."""
    folder = tmp_path_factory.mktemp("runs") / "attention"
    main(
        ["train", *TINY_RUN, "--attention_fusion", "--data_dir", str(biq2021), "--run_dir", str(folder), "--seed", "3"]
    )
    return folder


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a command that must end with exit code 2 and without a traceback, and gives what it says."""

    def run(*arguments: object) -> str:
        assert exit_code(*arguments) == USER_MISTAKE
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture
def own_csv(tmp_path: Path) -> Path:
    """A custom CSV with twenty images of ten contents beside it."""
    rows = []
    for number in range(20):
        Image.fromarray(image(number)).save(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "mos": 1 + number % 5 + 0.01 * number, "group": f"scene{number // 2}"})
    pd.DataFrame(rows).to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    """Images in a folder and below it, with other files and a folder that is named as an image."""
    root = tmp_path / "holiday"
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "sub/deep/d.webp", "notes.txt", "sub/movie.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".txt", ".mp4")):
            (root / name).write_text("no image")
        else:
            Image.new("RGB", (5, 7), (len(name), 0, 0)).save(root / name)
    (root / "folder.jpg").mkdir()
    return root
