"""`fusiqa attention`, whole: over images, data sets and a run's own split, with a tiny model of random weights."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from tiny_models import CROP, make_model, noise

from fusiqa.config import AttentionConfig, ModelConfig, ScoreRange, TrainConfig
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import read_images
from fusiqa.data.distortions import DISTORTIONS, distort
from fusiqa.data.synthetic import dead_leaves
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel, build_model, load_checkpoint
from fusiqa.runs.explain import SHIFTS_FILE, explain, image_gates, images_to_explain
from fusiqa.runs.folder import TrainedModel, start_run
from fusiqa.scoring.torch import TorchNetwork

FILES = ["attention_distribution.png", "attention_heatmap.png", "scale_weights.csv", "scale_weights_by_group.csv"]
EVERY_FILES = ["hypothesis.md", "scale_weight_shifts.csv", "scale_weight_shifts.png", "scale_weights.csv"]
SCALES = ["scale_0", "scale_1", "scale_2", "scale_3"]
SEED_GROUPS = ["Gaussian blur", "JPEG compression", "Color distortion", "Pristine"]
SIDE = 64


def tiny(fusion: str = "attention", resize: str = "none") -> QualityModel:
    torch.manual_seed(3)
    config = ModelConfig(backbone="test_resnet", fusion=fusion, crop_size=SIDE, score_range=ScoreRange(0, 100))
    model = build_model(config).eval()
    if fusion == "attention":  # of random weights the four are alike; these differ from image to image
        model.fusion.attention[-1].weight.data *= 20
    model.resize = resize
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    tiny().save_pretrained(folder)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five images, one of them cut short, one with a Chinese name, one in a folder of its own."""
    folder = tmp_path / "images"
    (folder / "trip").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.jpg", "c.jpg", "中文.png", "trip/d.png"]):
        Image.fromarray(dead_leaves(number, size=89)[:79]).save(folder / name)
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:-500])
    return folder


def explained(config: AttentionConfig) -> tuple[Path, pd.DataFrame, pd.DataFrame, list[str]]:
    """The folder, both tables, and what was said."""
    said: list[str] = []
    folder = explain(replace(config, progress=False), say=said.append)
    shifts = [SHIFTS_FILE] if config.groups == "make" or (config.groups == "auto" and config.images) else []
    assert sorted(path.name for path in folder.glob("[!.]*")) == sorted([*FILES, *shifts])
    for name in FILES[:2]:
        with Image.open(folder / name) as figure:
            assert figure.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert np.ptp(np.asarray(figure.convert("L"))) > 100  # something is drawn on it
    return folder, pd.read_csv(folder / FILES[2]), pd.read_csv(folder / FILES[3]), said


def check_numbers(paths: pd.DataFrame, groups: pd.DataFrame) -> None:
    """The columns of both tables, and every group's numbers from the paths' by hand."""
    assert paths.columns.tolist() == ["image", "mos", "score", *SCALES, "group", "effective_scales"]
    assert groups.columns.tolist() == ["group", "n", "scale", "mean", "low", "high", "effective"]
    weights = paths[SCALES].to_numpy()
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(paths)), abs=1e-5)
    assert paths["effective_scales"].to_numpy() == pytest.approx(np.exp(-(weights * np.log(weights)).sum(axis=1)))
    assert np.ptp(weights, axis=0).max() > 0.01  # the model does weigh paths differently
    assert len(groups) == 4 * paths["group"].nunique()
    for name, rows in groups.groupby("group"):
        members = paths[paths["group"] == name]
        assert rows["n"].tolist() == [len(members)] * 4
        assert rows["scale"].tolist() == [0, 1, 2, 3]
        assert rows["mean"].tolist() == pytest.approx(members[SCALES].mean().tolist())
        assert rows["effective"].tolist() == pytest.approx([members["effective_scales"].mean()] * 4)
        low, high = stats.t.interval(0.95, len(members) - 1, members["scale_1"].mean(), stats.sem(members["scale_1"]))
        assert rows[["low", "high"]].iloc[1].tolist() == pytest.approx([max(low, 0), min(high, 1)])


def test_images_are_shown_in_four_groups_without_the_one_that_is_broken(run, images, tmp_path):
    folder, paths, groups, said = explained(AttentionConfig(run, (images,), output=tmp_path / "out"))
    assert folder == tmp_path / "out"
    names = ["a.png", "b.jpg", "中文.png", "trip/d.png"]
    assert paths["image"].tolist() == [f"{name}::{group}" for group in SEED_GROUPS for name in names]
    assert groups["group"].unique().tolist() == SEED_GROUPS
    assert paths["mos"].isna().all()
    assert paths["score"].between(0, 100).all()
    check_numbers(paths, groups)
    (notice,) = [line for line in said if line.startswith("notice")]
    assert notice.startswith("notice: skipped c.jpg: cannot be read (image file is truncated")
    assert "| Gaussian blur | 4 |" in said[-3]
    assert "gains most" in said[-2]
    assert said[-1].startswith(f"written to {tmp_path / 'out'} (attention_distribution.png")


def by_hand(pixels: np.ndarray) -> tuple[float, list[float]]:
    """Score and scale weights of pixels that are one crop."""
    score, weights, *_ = TorchNetwork(tiny().eval())(np.array(pixels)[None])
    assert weights is not None
    return float(score[0]), weights[0].tolist()


def test_the_numbers_are_the_models_on_the_distorted_pixels(run, tmp_path):
    pixels = dead_leaves(7, size=SIDE)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    _, paths, _, _ = explained(AttentionConfig(run, (tmp_path / "b.png",), level=2, output=tmp_path / "out"))
    score, weights = by_hand(distort(pixels, "gaussian_blur", 2, seed=0))
    row = paths.set_index("image").loc["b.png::Gaussian blur"]
    assert row["score"] == pytest.approx(score, abs=1e-3)
    assert row[SCALES].tolist() == pytest.approx(weights, abs=1e-5)
    assert row["score"] != pytest.approx(by_hand(pixels)[0], abs=1e-3)


def test_images_are_resized_as_the_model_was_trained_before_they_are_distorted(tmp_path):
    tiny(resize=str(SIDE)).save_pretrained(tmp_path / "run")
    large = Image.fromarray(dead_leaves(7, size=131))
    large.save(tmp_path / "b.png")
    _, paths, _, _ = explained(AttentionConfig(tmp_path / "run", (tmp_path / "b.png",)))
    scores = paths.set_index("image")["score"]
    small = np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    assert scores["b.png::Pristine"] == pytest.approx(by_hand(small)[0], abs=1e-3)
    blurred = distort(small, "gaussian_blur", 4, seed=0)
    assert scores["b.png::Gaussian blur"] == pytest.approx(by_hand(blurred)[0], abs=1e-3)


def test_images_can_be_shown_by_bands_of_their_scores(run, images, tmp_path):
    config = AttentionConfig(run, (images,), groups="quality", output=tmp_path / "out")
    _, paths, groups, _ = explained(config)
    assert paths["image"].tolist() == ["a.png", "b.jpg", "中文.png", "trip/d.png"]
    assert groups["group"].unique().tolist() == [f"scored {band} third" for band in ("lowest", "middle", "highest")]
    best = paths.loc[paths["score"].idxmax()]
    assert best["group"] == "scored highest third"


def test_a_limit_takes_images_evenly_and_opens_no_other(run, images, tmp_path):
    files = [images / name for name in ("trip/d.png", "c.jpg", "b.jpg", "中文.png", "a.png")]  # the second is broken
    config = AttentionConfig(run, tuple(files), groups="quality", limit=3, output=tmp_path / "out")
    _, paths, _, said = explained(config)
    assert paths["image"].tolist() == ["trip/d.png", "b.jpg", "a.png"]
    assert not [line for line in said if "c.jpg" in line]
    _, paths, _, _ = explained(replace(config, limit=1))
    assert paths["image"].tolist() == ["trip/d.png"]
    assert paths["group"].tolist() == ["all images"]


def test_the_synthetic_set_is_shown_by_distortion(run, tmp_path):
    _, paths, groups, _ = explained(AttentionConfig(run, dataset="synthetic", limit=40, output=tmp_path / "out"))
    assert len(paths) == 40
    assert paths["group"].tolist() == [name.split("-")[1].replace("_", " ") for name in paths["image"]]
    assert {"jpeg", "gaussian blur", "white noise"} <= set(groups["group"])
    assert paths["image"].str[7:10].astype(int).min() >= 120  # contents of the test split
    assert paths["mos"].between(1, 5).all()
    with_several = paths.groupby("group").filter(lambda members: len(members) > 1)
    check_numbers(with_several, groups[groups["group"].isin(with_several["group"])])


@pytest.fixture
def small_csv(own_csv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A custom CSV whose images are not upscaled: hundreds of tiny crops would take their time."""
    monkeypatch.setattr(catalog, "CUSTOM_RESIZE", str(SIDE))
    return own_csv


def test_a_custom_csv_is_shown_by_bands_of_its_ratings(run, small_csv, tmp_path):
    config = AttentionConfig(run, dataset=str(small_csv), split="train", output=tmp_path / "out")
    _, paths, groups, _ = explained(config)
    rated = catalog.read(str(small_csv))
    drawn = splits.assign(rated, validation_fraction=0.1, seed=0).part("train").table
    assert paths["image"].tolist() == drawn["image"].tolist()
    assert paths["mos"].tolist() == drawn["mos"].tolist()
    assert groups["group"].unique().tolist() == [f"rated {band} third" for band in ("lowest", "middle", "highest")]
    bands = paths.groupby("group")["mos"]
    assert bands.max()["rated lowest third"] <= bands.min()["rated middle third"]
    assert bands.max()["rated middle third"] <= bands.min()["rated highest third"]
    check_numbers(paths, groups)


def test_images_that_the_model_has_seen_are_told(run, small_csv, monkeypatch):
    monkeypatch.setattr(TrainedModel, "seen", lambda self, contents: len(list(contents)) - 1)
    said: list[str] = []
    config = AttentionConfig(run, dataset=str(small_csv), split="train")
    shown = images_to_explain(config, TrainedModel.at(run), resize="none", say=said.append)
    assert f"warning: {len(shown) - 1} of the {len(shown)} images of {small_csv} are images of training" in said[-1]


def test_a_custom_csv_is_resized_as_the_model_was_trained(run, small_csv):
    config = AttentionConfig(run, dataset=str(small_csv), split="train")
    ratings = images_to_explain(config, TrainedModel.at(run), resize="none", say=lambda _: None)
    assert ratings.resize == "none" != catalog.CUSTOM_RESIZE


def test_a_run_is_explained_on_its_own_test_split_without_the_rows_that_it_left_out(biq2021, tmp_path):
    run = tmp_path / "run"
    tiny().save_pretrained(run)
    ratings = splits.assign(catalog.read("biq2021", data_dir=biq2021), validation_fraction=0.2, seed=1)
    first, *others = ratings.part("test").table["image"]
    splits.save(ratings.without([first]), run / "split.csv", {})
    settings = TrainConfig.of(dataset="biq2021", data_dir=biq2021, run_dir=run)
    resolved = {"broken": [{"image": first, "reason": "cannot be read"}]}
    start_run(run, settings, resolved=resolved)
    for model in (run, run / "model.safetensors"):
        folder, paths, groups, _ = explained(AttentionConfig(model))
        assert folder == run / "attention"
        assert paths["image"].tolist() == others
        check_numbers(paths, groups)
    _, paths, _, _ = explained(AttentionConfig(run, split="validation"))
    assert set(paths["image"]) == set(ratings.part("validation").table["image"])


def test_a_data_set_can_be_shown_in_the_four_groups(run, small_csv, tmp_path):
    config = AttentionConfig(run, dataset=str(small_csv), groups="make", limit=1, output=tmp_path / "out")
    _, paths, groups, _ = explained(config)
    assert paths["group"].tolist() == SEED_GROUPS
    assert groups["low"].isna().all()  # one image a group has no interval
    assert paths["mos"].isna().all()


# --- every distortion -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(["a.png", "照片.png", "c.png"]):
        Image.fromarray(noise(37, 41, seed=number)).save(folder / name)
    return folder


def every(run: Path, images: Path, folder: Path, **settings) -> list[str]:
    said: list[str] = []
    config = AttentionConfig(run, (images,), groups="every-distortion", output=folder, progress=False, **settings)
    assert explain(config, say=said.append) == folder
    return said


def test_every_image_is_scored_under_every_distortion_and_level(three, tmp_path):
    run = make_model(tmp_path / "run", resize="none")
    said = every(run, three, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == EVERY_FILES
    weights = pd.read_csv(tmp_path / "out" / "scale_weights.csv")
    assert len(weights) == 3 * 126
    assert weights.groupby("original")["image"].nunique().tolist() == [126] * 3
    shifts = pd.read_csv(tmp_path / "out" / "scale_weight_shifts.csv")
    assert len(shifts) == 25 * 5 * 4
    assert list(dict.fromkeys(shifts["distortion"])) == list(DISTORTIONS)
    still = shifts.set_index(["distortion", "level"]).loc[[("mean_shift", 3), ("gaussian_blur", 1)]]
    assert (still["shift"] == 0).all()  # by 0, and by 0.1 pixels: the image stays as it is
    wide = weights.set_index(["original", "distortion", "level"])["scale_2"].unstack([1, 2])
    row = shifts.set_index(["distortion", "level", "scale"]).loc[("gaussian_blur", 5, 2)]
    assert row["shift"] == pytest.approx((wide["gaussian_blur", 5] - wide["none", 0]).mean())
    page = (tmp_path / "out" / "hypothesis.md").read_text("utf-8")
    assert said[0] == page
    assert page.count("**") == 8
    assert "of 500 shifts are significant" in said[1]


def test_the_seed_decides_what_is_drawn_and_nothing_else(three, tmp_path):
    run = make_model(tmp_path / "run", resize="none")
    tables = []
    for number, seed in enumerate([3, 3, 5]):
        every(run, three, tmp_path / f"out{number}", seed=seed, limit=1)
        tables.append(pd.read_csv(tmp_path / f"out{number}" / "scale_weights.csv").set_index("distortion"))
    first, again, other = (part["score"] for part in tables)
    assert first.tolist() == again.tolist()
    assert first["jpeg"].to_numpy() == pytest.approx(other["jpeg"].to_numpy(), rel=1e-5)
    assert np.abs(first["white_noise"].to_numpy() - other["white_noise"].to_numpy()).max() > 1e-4


def test_a_seed_below_zero_is_refused():
    with pytest.raises(FusiqaError, match=r"`seed` must be .*, got -1"):
        AttentionConfig(Path("run"), seed=-1)


def test_other_seeds_are_assessed_beside_the_first_and_over_all(three, tmp_path):
    runs = [make_model(tmp_path / f"run{seed}", resize="none", seed=seed) for seed in range(3)]
    said = every(runs[0], three, tmp_path / "out", other_seeds=tuple(runs[1:]), limit=2)
    found = pd.read_csv(tmp_path / "out" / "hypothesis_runs.csv")
    assert found["run"].tolist() == [str(run) for run in runs for _ in range(4)]
    alone = every(runs[2], three, tmp_path / "alone", limit=2)[0]
    blur = found[(found["run"] == str(runs[2])) & found["clause"].str.startswith("blur")].iloc[0]
    assert f"shift {blur['gain']:+.3f} [{blur['low']:+.3f}, {blur['high']:+.3f}]" in alone
    assert "n = 2. By scale" in alone
    first, _, over = said[0].partition("## Over 3 runs")
    assert first.count("**") == over.count("**") == 8
    mean = found[found["clause"].str.startswith("blur")]["gain"].mean()
    assert f"shift {mean:+.3f} [" in over
    assert "n = 3" in over


def test_a_run_of_another_design_is_refused_before_anything_is_scored(three, tmp_path):
    first, other = make_model(tmp_path / "a", resize="none"), make_model(tmp_path / "b", resize="48")
    with pytest.raises(FusiqaError, match=r"b has another design .*; `other_seeds` takes runs"):
        every(first, three, tmp_path / "out", other_seeds=(other,))
    with pytest.raises(FusiqaError, match="a second time; every run counts once"):
        every(first, three, tmp_path / "out", other_seeds=(tmp_path / "b" / ".." / "a",))
    QualityModel.average([load_checkpoint(first)] * 2).save_pretrained(tmp_path / "average")
    with pytest.raises(FusiqaError, match=r"average has another design"):
        every(first, three, tmp_path / "out", other_seeds=(tmp_path / "average",))
    assert not (tmp_path / "out").exists()
    with pytest.raises(FusiqaError, match="`other_seeds` needs `groups` every-distortion"):
        AttentionConfig(first, other_seeds=(other,))


# --- gates and attention matrices ------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.fromarray(noise(37, 41, seed=number)).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def files_beside(run: Path, images: Path, folder: Path, **settings) -> set[str]:
    explain(AttentionConfig(run, (images,), output=folder, progress=False, **settings), say=lambda _: None)
    return {path.name for path in folder.glob("[!.]*")} - {*FILES, SHIFTS_FILE}


def test_a_spatial_run_draws_its_gates_over_the_images(two, tmp_path):
    run = make_model(tmp_path / "run", fusion="spatial", resize="none")
    assert files_beside(run, two, tmp_path / "out") == {"attention_maps.png"}
    found = files_beside(run, two, tmp_path / "every", groups="every-distortion", limit=1)
    assert found == {"attention_maps.png", "hypothesis.md", "scale_weight_shifts.png"}


def test_an_image_of_one_crop_has_the_gates_of_that_crop(tmp_path):
    pixels = noise(CROP, CROP)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    trained = load_checkpoint(make_model(tmp_path / "run", fusion="spatial"))
    found = image_gates(trained, replace(read_images([tmp_path / "one.png"]), resize="none"), 0)
    gates = trained.attention(torch.tensor(pixels).permute(2, 0, 1)[None])[0]
    assert (found.name, found.gates.shape) == ("one.png", (4, CROP, CROP))
    assert (found.pixels == pixels).all()
    cell = np.arange(CROP) * 7 // CROP
    assert found.gates == pytest.approx(gates.numpy()[:, cell][:, :, cell], abs=1e-6)


def test_a_cross_scale_run_draws_and_writes_its_matrix_by_group(two, tmp_path):
    run = make_model(tmp_path / "run", fusion="cross-scale", resize="none")
    assert files_beside(run, two, tmp_path / "out") == {"attention_matrix.csv", "attention_matrix.png"}
    found = pd.read_csv(tmp_path / "out" / "attention_matrix.csv")
    assert len(found) == 4 * 16
    assert found.groupby(["group", "scale"])["mean"].sum().to_numpy() == pytest.approx(np.ones(16))
    paths = pd.read_csv(tmp_path / "out" / "scale_weights.csv")
    attended = found.groupby(["group", "attends_to"], sort=False)["mean"].mean().to_numpy().reshape(4, 4)
    weights = paths.groupby("group", sort=False)[[f"scale_{scale}" for scale in range(4)]].mean()
    assert attended == pytest.approx(weights.to_numpy(), abs=1e-5)  # a scale weight is the mean of a column


def test_a_fusion_that_has_no_gates_or_matrix_is_refused(tmp_path):
    trained = load_checkpoint(make_model(tmp_path / "run", fusion="attention"))
    with pytest.raises(FusiqaError, match="attention fusion attends to nothing beyond its scale weights"):
        trained.attention(torch.zeros(1, 3, CROP, CROP, dtype=torch.uint8))


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["single", "concat"])
def test_a_model_that_does_not_weigh_its_scales_is_refused(fusion, images, tmp_path):
    tiny(fusion).save_pretrained(tmp_path / "run")
    with pytest.raises(FusiqaError, match=rf"run has {fusion} fusion, .*`attention_fusion`"):
        explain(AttentionConfig(tmp_path / "run", (images,), progress=False))


def test_files_that_are_links_as_in_the_cache_of_the_hub_are_followed_by_name(run, images, tmp_path):
    (tmp_path / "linked").mkdir()
    for number, file in enumerate(("model.safetensors", "model.json")):
        shutil.copy(run / file, tmp_path / str(number))
        (tmp_path / "linked" / file).symlink_to(tmp_path / str(number))
    out = tmp_path / "out"
    explain(AttentionConfig(tmp_path / "linked" / "model.safetensors", (images,), output=out, progress=False))
    assert (out / "scale_weights.csv").is_file()


def test_what_is_not_there_is_named(run, images, tmp_path):
    with pytest.raises(FusiqaError, match=r"no model .*/absent: expected one of"):
        explain(AttentionConfig(tmp_path / "absent", (images,)))
    with pytest.raises(FusiqaError, match=r"no such file or folder: .*/absent"):
        explain(AttentionConfig(run, (tmp_path / "absent",)))
    with pytest.raises(FusiqaError, match="unknown data set 'kadit'"):
        explain(AttentionConfig(run, dataset="kadit"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FusiqaError, match=r"no images in .*/empty; in folders, these endings"):
        explain(AttentionConfig(run, (tmp_path / "empty",)))


def test_no_image_that_can_be_read_is_refused(run, images, tmp_path):
    with pytest.raises(FusiqaError, match=r"none of the 1 rows can be used:\n  c\.jpg: cannot be read"):
        explain(AttentionConfig(run, (images / "c.jpg",), output=tmp_path / "out", progress=False))
    assert not (tmp_path / "out").exists()


def test_a_model_alone_has_no_data_set_to_explain(run):
    with pytest.raises(FusiqaError, match=r"first is not a run directory: give images or a `dataset`"):
        explain(AttentionConfig(run))


def test_images_and_a_data_set_exclude_each_other(run, images):
    with pytest.raises(FusiqaError, match="images or `dataset`, not both"):
        explain(AttentionConfig(run, (images,), dataset="synthetic"))


def test_unknown_distortions_are_refused_before_anything_is_scored(run, images, small_csv, monkeypatch):
    monkeypatch.setattr("fusiqa.runs.explain.predict", lambda *_, **__: pytest.fail("it was scored"))
    for config in (AttentionConfig(run, (images,)), AttentionConfig(run, dataset=str(small_csv))):
        with pytest.raises(FusiqaError, match=r"`groups` distortion needs known distortions, which .* does not have"):
            explain(replace(config, groups="distortion"))


def test_foreign_files_are_refused_before_anything_is_scored(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr("fusiqa.runs.explain.predict", lambda *_, **__: pytest.fail("it was scored"))
    (tmp_path / "scale_weights.csv").write_text("mine")
    with pytest.raises(FusiqaError, match=r"scale_weights\.csv exists and was not made by fusiqa"):
        explain(AttentionConfig(run, (images / "a.png",), output=tmp_path, progress=False))
    assert (tmp_path / "scale_weights.csv").read_text() == "mine"


@pytest.mark.parametrize(("flag", "value"), [("level", 0), ("level", 6), ("limit", 0), ("limit", -3)])
def test_levels_and_limits_that_do_not_exist_are_refused(flag, value):
    with pytest.raises(FusiqaError, match=rf"`{flag}` must be at least 1.*, got {value}"):
        AttentionConfig(Path("run"), **{flag: value})
    assert AttentionConfig(Path("run"), level=5, limit=1).limit == 1
