"""`fusiqa attention --groups every-distortion`, whole, on small images with a tiny model of random weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_models import make_model, noise

from fusiqa.config import AttentionConfig
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.errors import FusiqaError
from fusiqa.runs.explain import explain

FILES = ["hypothesis.md", "scale_weight_shifts.csv", "scale_weight_shifts.png", "scale_weights.csv"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(["a.png", "照片.png", "c.png"]):
        Image.fromarray(noise(37, 41, seed=number)).save(folder / name)
    return folder


def explained(run: Path, images: Path, folder: Path, **settings) -> list[str]:
    said: list[str] = []
    config = AttentionConfig(run, (images,), groups="every-distortion", output=folder, progress=False, **settings)
    assert explain(config, say=said.append) == folder
    return said


def test_every_image_is_scored_under_every_distortion_and_level(images, tmp_path):
    run = make_model(tmp_path / "run", resize="none")
    said = explained(run, images, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    weights = pd.read_csv(tmp_path / "out" / "scale_weights.csv")
    assert len(weights) == 3 * 126
    assert weights.groupby("original")["image"].nunique().tolist() == [126] * 3
    shifts = pd.read_csv(tmp_path / "out" / "scale_weight_shifts.csv")
    assert len(shifts) == 25 * 5 * 4
    assert list(dict.fromkeys(shifts["distortion"])) == list(DISTORTIONS)
    still = shifts.set_index(["distortion", "level"]).loc[[("mean_shift", 3), ("contrast_change", 3)]]
    assert (still["shift"] == 0).all()  # KADID-10k's parameter is 0 there
    wide = weights.set_index(["original", "distortion", "level"])["scale_2"].unstack([1, 2])
    row = shifts.set_index(["distortion", "level", "scale"]).loc[("gaussian_blur", 5, 2)]
    assert row["shift"] == pytest.approx((wide["gaussian_blur", 5] - wide["none", 0]).mean())
    page = (tmp_path / "out" / "hypothesis.md").read_text("utf-8")
    assert said[0] == page
    assert page.count("**") == 8
    assert "of 500 shifts can be told from none" in said[1]


def test_the_seed_decides_what_is_drawn_and_nothing_else(images, tmp_path):
    run = make_model(tmp_path / "run", resize="none")
    tables = []
    for number, seed in enumerate([3, 3, 5]):
        explained(run, images, tmp_path / f"out{number}", seed=seed, limit=1)
        tables.append(pd.read_csv(tmp_path / f"out{number}" / "scale_weights.csv").set_index("distortion"))
    first, again, other = (part["score"] for part in tables)
    assert first.tolist() == again.tolist()
    assert first["jpeg"].to_numpy() == pytest.approx(other["jpeg"].to_numpy(), rel=1e-5)
    assert np.abs(first["white_noise"].to_numpy() - other["white_noise"].to_numpy()).max() > 1e-4


def test_a_seed_below_zero_is_refused():
    with pytest.raises(FusiqaError, match=r"--seed -1"):
        AttentionConfig(Path("run"), seed=-1)


def test_other_seeds_are_judged_beside_the_first_and_over_all(images, tmp_path):
    runs = [make_model(tmp_path / f"run{seed}", resize="none", seed=seed) for seed in range(3)]
    said = explained(runs[0], images, tmp_path / "out", other_seeds=tuple(runs[1:]), limit=2)
    told = pd.read_csv(tmp_path / "out" / "hypothesis_runs.csv")
    assert told["run"].tolist() == [str(run) for run in runs for _ in range(4)]
    alone = explained(runs[2], images, tmp_path / "alone", limit=2)[0]
    blur = told[(told["run"] == str(runs[2])) & told["clause"].str.startswith("blur")].iloc[0]
    assert f"shift {blur['gain']:+.3f} [{blur['low']:+.3f}, {blur['high']:+.3f}]" in alone
    assert "n = 2; scale by scale" in alone
    first, _, over = said[0].partition("## Over 3 runs")
    assert first.count("**") == over.count("**") == 8
    mean = told[told["clause"].str.startswith("blur")]["gain"].mean()
    assert f"shift {mean:+.3f} [" in over
    assert "n = 3" in over


def test_a_run_of_another_design_is_refused_before_anything_is_scored(images, tmp_path):
    first, other = make_model(tmp_path / "a", resize="none"), make_model(tmp_path / "b", resize="48")
    with pytest.raises(FusiqaError, match=r"b is of another design .*; --other_seeds takes runs"):
        explained(first, images, tmp_path / "out", other_seeds=(other,))
    with pytest.raises(FusiqaError, match="a second time; every run counts once"):
        explained(first, images, tmp_path / "out", other_seeds=(tmp_path / "b" / ".." / "a",))
    assert not (tmp_path / "out").exists()
    with pytest.raises(FusiqaError, match="--other_seeds goes with --groups every-distortion"):
        AttentionConfig(first, other_seeds=(other,))
