"""A scorer with a small network, and images of different sizes and formats."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_models import make_model, noise

from fusiqa.scoring.scorer import Scorer


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def scorer(model_folder) -> Scorer:
    return Scorer(model_folder, device="cpu")


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Seven images of different sizes and formats."""
    folder = tmp_path / "images"
    folder.mkdir()
    sizes = [(53, 71), (97, 61), (37, 41), (20, 90), (64, 64), (113, 47), (7, 11)]
    paths = []
    for seed, (height, width) in enumerate(sizes):
        path = folder / f"{seed}.{'png' if seed % 2 else 'jpg'}"
        Image.fromarray(noise(height, width, seed)).save(path)
        paths.append(path)
    return paths
