"""What `spatial` and `cross-scale` runs attended to, through `fusiqa attention`, with tiny models of random weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import CROP, make_model, noise

from fusiqa.config import AttentionConfig
from fusiqa.data.folder import read_images
from fusiqa.errors import FusiqaError
from fusiqa.models.checkpoint import load_checkpoint
from fusiqa.models.crops import attention_of, to_unit_range
from fusiqa.runs.attention_maps import attended_to
from fusiqa.runs.explain import explain
from fusiqa.scoring.image import Resize

USUAL = ["attention_distribution.png", "attention_heatmap.png", "scale_weight_shifts.csv", "scale_weights.csv"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.fromarray(noise(37, 41, seed=number)).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def files(run: Path, images: Path, folder: Path, **settings) -> set[str]:
    explain(AttentionConfig(run, (images,), output=folder, progress=False, **settings), say=lambda _: None)
    return {path.name for path in folder.iterdir()} - {*USUAL, "scale_weights_by_group.csv"}


def test_a_spatial_run_draws_its_gates_over_the_images(images, tmp_path):
    run = make_model(tmp_path / "run", fusion="spatial", resize="none")
    assert files(run, images, tmp_path / "out") == {"attention_maps.png"}
    every = files(run, images, tmp_path / "every", groups="every-distortion", limit=1)
    assert every == {"attention_maps.png", "hypothesis.md", "scale_weight_shifts.png"}


def test_a_image_of_one_crop_has_the_gates_of_that_crop(tmp_path):
    pixels = noise(CROP, CROP)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    trained = load_checkpoint(make_model(tmp_path / "run", fusion="spatial"))
    found = attended_to(trained, read_images([tmp_path / "one.png"]), 0, Resize())
    with torch.no_grad():
        gates = trained.model.fuse(to_unit_range(torch.tensor(pixels).permute(2, 0, 1)[None])).attention[0]
    assert (found.name, found.gates.shape) == ("one.png", (4, CROP, CROP))
    assert (found.pixels == pixels).all()
    cell = np.arange(CROP) * 7 // CROP
    assert found.gates == pytest.approx(gates.numpy()[:, cell][:, :, cell], abs=1e-6)


def test_a_cross_scale_run_draws_and_writes_its_matrix_by_group(images, tmp_path):
    run = make_model(tmp_path / "run", fusion="cross-scale", resize="none")
    assert files(run, images, tmp_path / "out") == {"attention_matrix.csv", "attention_matrix.png"}
    found = pd.read_csv(tmp_path / "out" / "attention_matrix.csv")
    assert len(found) == 4 * 16
    assert found.groupby(["group", "looks"])["mean"].sum().to_numpy() == pytest.approx(np.ones(16))
    paths = pd.read_csv(tmp_path / "out" / "scale_weights.csv")
    looked_at = found.groupby(["group", "looked_at"], sort=False)["mean"].mean().to_numpy().reshape(4, 4)
    weights = paths.groupby("group", sort=False)[[f"scale_{scale}" for scale in range(4)]].mean()
    assert looked_at == pytest.approx(weights.to_numpy(), abs=1e-5)  # a scale weight is the mean of a column


def test_a_fusion_that_attends_to_nothing_more_is_refused(tmp_path):
    trained = load_checkpoint(make_model(tmp_path / "run", fusion="attention"))
    with pytest.raises(FusiqaError, match="attention fusion attends to nothing beyond its scale weights"):
        attention_of(trained.model, torch.zeros(1, 3, CROP, CROP, dtype=torch.uint8))
