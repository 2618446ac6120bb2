"""The wheel in an empty environment: the core alone is small, needs no torch, and scores an image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGES_AT_MOST = 15
MEGABYTES_AT_MOST = 250


def run(*command: str | Path, **options) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Path:
    """The bin folder of an environment that holds the wheel and what its core install requires."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "venv")
    pip = folder / "venv" / "bin" / "pip"
    run(pip, "install", "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt", wheel)
    return pip.parent


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(path)
    return path


def environment() -> dict[str, str]:
    """This process's, without what would let the other interpreter see this one's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_the_core_is_small_and_has_no_torch(core):
    installed = json.loads(run(core / "pip", "list", "--format", "json", "--disable-pip-version-check"))
    names = {package["name"].lower() for package in installed} - {"pip", "setuptools", "fusiqa"}
    assert "torch" not in names
    assert len(names) <= PACKAGES_AT_MOST
    size = sum(path.stat().st_size for path in core.parent.rglob("*") if path.is_file())
    assert size <= MEGABYTES_AT_MOST * 1e6


def test_the_core_scores_from_the_command_line_and_from_python(core, image):
    table = run(core / "fusiqa", "score", image, cwd=image.parent, env=environment())
    header, row = table.strip().splitlines()
    code = "import fusiqa; result = fusiqa.Scorer()('photo.jpg'); print(result.score)"
    score = float(run(core / "python", "-c", code, cwd=image.parent, env=environment()))
    assert float(dict(zip(header.split(","), row.split(","), strict=True))["score"]) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train",), "train"),
        (("compare", "runs/a", "runs/b"), "train"),
        (("export", "--output", "model.onnx"), "torch"),
        (("score", "photo.jpg", "--backend", "torch"), "torch"),
        (("serve",), "serve"),
        (("score", "photo.jpg", "--engine", "ray", "--output", "scores"), "ray"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(core, image, command, extra):
    done = subprocess.run(
        [core / "fusiqa", *command], cwd=image.parent, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"pip install 'fusiqa[{extra}]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
