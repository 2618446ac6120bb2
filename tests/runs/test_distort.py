"""`fusiqa distort`: any images under KADID-10k's distortions."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fusiqa.cli import main
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.synthetic import dead_leaves


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(dead_leaves(1, size=64)).save(folder / "a.png")
    Image.fromarray(dead_leaves(2, size=64)).save(folder / "deep" / "b.jpg")
    (folder / "broken.jpg").write_text("no image")
    return folder


def distort(*arguments):
    main(["distort", *map(str, arguments), "--no_progress"])


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_every_distortion_and_level_gets_its_file(images, tmp_path, capsys):
    out = tmp_path / "out"
    distort(images, "--output", out)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    names = ("a.png", "deep/b.jpg.png")
    assert found == sorted(
        f"{name}/{level}/{image}" for name in DISTORTIONS for level in range(1, 6) for image in names
    )
    assert "notice: skipped broken.jpg" in capsys.readouterr().out
    assert abs(pixels(out / "mean_shift/1/a.png") - pixels(images / "a.png")).max() == 38  # 0.15 of 255


def test_the_same_seed_gives_the_same_files_and_two_images_other_noise(images, tmp_path):
    settings = ("--distortion", "white_noise", "--level", 5)
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        distort(images, "--output", tmp_path / name, *settings, "--seed", seed)
    one, two, three = (pixels(tmp_path / name / "white_noise/5/a.png") for name in ("one", "two", "three"))
    assert (one == two).all()
    assert (one != three).any()


def test_what_an_earlier_run_wrote_among_the_images_is_not_distorted_again(images, tmp_path):
    shutil.copytree(images, tmp_path / "mine")
    out = tmp_path / "mine" / "distorted"
    for level in (1, 2):
        distort(tmp_path / "mine", "--output", out, "--distortion", "jpeg", "--level", level)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == sorted(
        f"jpeg/{level}/{image}" for level in (1, 2) for image in ("a.png", "deep/b.jpg.png")
    )


def test_a_sheet_has_a_row_for_each_distortion(images, tmp_path):
    distort(
        images / "a.png", "--output", tmp_path / "out", "--sheet", "--distortion", "jpeg", "pixelate",
        "--level", 1, 5, "--resize", "32",
    )  # fmt: skip
    with Image.open(tmp_path / "out" / "a.png") as sheet:
        assert sheet.width == 2 * 252 + 12
        assert 2 * 280 < sheet.height < 2 * 300 + 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--distortion", "fog"], "--distortion: unknown fog; there are gaussian_blur"),
        (["--level", 6], "--level must be at least 1 and below 6, got 6"),
    ],
)
def test_what_does_not_exist_is_named(images, tmp_path, refused, arguments, said):
    assert said in refused("distort", images, "--output", tmp_path / "out", *arguments)


def test_of_many_broken_images_five_are_named_and_all_counted(images, tmp_path, capsys):
    for number in range(6):
        (images / f"cut{number}.jpg").write_text("no image")
    distort(images, "--output", tmp_path / "out", "--distortion", "jpeg", "--level", 1)
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice")]
    assert [line.split(":")[1] for line in notices[:5]] == [
        " skipped broken.jpg", " skipped cut0.jpg", " skipped cut1.jpg", " skipped cut2.jpg", " skipped cut3.jpg",
    ]  # fmt: skip
    assert notices[5:] == [f"notice: 7 images of {images.name} were skipped in all"]


@pytest.mark.parametrize("sheet", [False, True])
def test_only_files_that_the_command_wrote_are_replaced(sheet, images, tmp_path, refused):
    out = tmp_path / "out"
    settings = ("--output", out, "--distortion", "jpeg", "--level", 5, *(["--sheet"] if sheet else []))
    distort(images / "a.png", *settings)
    made = out / "a.png" if sheet else out / "jpeg" / "5" / "a.png"
    before = made.read_bytes()
    distort(images / "a.png", *settings)
    assert made.read_bytes() == before
    foreign = (images / "a.png").read_bytes()
    made.write_bytes(foreign)
    assert f"{made} exists and is not an earlier output" in refused("distort", images / "a.png", *settings)
    assert made.read_bytes() == foreign


def test_two_images_with_one_output_are_refused_before_anything_is_written(tmp_path, refused):
    for name in ("a.jpg", "a.jpg.png"):
        Image.fromarray(dead_leaves(1, size=64)).save(tmp_path / name)
    out = tmp_path / "out"
    assert "two of the images would be written to" in refused("distort", tmp_path, "--output", out, "--no_progress")
    assert not out.exists()
    distort(tmp_path / "a.jpg", "--output", out, "--distortion", "jpeg", "jpeg", "--level", 3, 3)
    assert [path.name for path in out.rglob("*.png")] == ["a.jpg.png"]
