import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageSequence

from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import (
    file_image,
    image_files,
    image_of,
    images_in,
    is_many,
    listed_names,
    path_of,
    printable,
    walk,
)
from fusiqa.scoring.scorer import Scorer

PIXELS = np.random.default_rng(1).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Opened:
    """A file object that is no `io` class, as object stores give."""

    name = "s3.png"

    def read(self) -> bytes:
        return encoded()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(encoded(), id="bytes"),
        pytest.param(bytearray(encoded()), id="bytearray"),
        pytest.param(memoryview(encoded()), id="memoryview"),
        pytest.param(io.BytesIO(encoded()), id="file object"),
        pytest.param(Opened(), id="duck"),
        pytest.param(Image.fromarray(PIXELS), id="PIL"),
        pytest.param(PIXELS, id="uint8"),
        pytest.param(PIXELS.transpose(2, 0, 1), id="channels first"),
        pytest.param(PIXELS.astype(np.uint16) * 257, id="uint16"),
        pytest.param(PIXELS / 255, id="float64"),
        pytest.param((PIXELS / 255).astype(np.float32), id="float32"),
        pytest.param(torch.from_numpy(PIXELS).permute(2, 0, 1), id="uint8 tensor"),
        pytest.param((torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).requires_grad_(), id="float tensor"),
        pytest.param((torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).double(), id="double tensor"),
    ],
)
def test_whatever_a_image_comes_as_its_pixels_are_the_same(given):
    np.testing.assert_array_equal(image_of(given).read(), PIXELS)


def test_paths_are_read_as_text_and_as_objects(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        image = image_of(path)
        np.testing.assert_array_equal(image.read(), PIXELS)
        assert image.name == image.path == str(tmp_path / "a.png")


def test_grey_pictures_have_three_equal_channels_and_transparent_ones_lie_on_white():
    grey = PIXELS[:, :, 0]
    for given in (grey, grey[:, :, None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        np.testing.assert_array_equal(image_of(given).read(), np.repeat(grey[:, :, None], 3, axis=2))
    clear = np.dstack([PIXELS, np.zeros((13, 17), np.uint8)])
    clear[0, 0] = 7, 7, 7, 255  # without which it would be refused
    assert image_of(clear).read().reshape(-1, 3).tolist() == [[7] * 3, *[[255] * 3] * (13 * 17 - 1)]


def test_a_picture_lies_as_its_exif_says():
    picture = Image.fromarray(PIXELS)
    picture.getexif()[274] = 3
    np.testing.assert_array_equal(image_of(picture).read(), PIXELS[::-1, ::-1])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"<html>", "not an image"),
        (b"", "not an image"),
        (io.StringIO("text"), "open it in binary mode"),
        (3, "int is no image; expected a path"),
        (None, "NoneType is no image"),
        ({}, "dict is no image"),
        ("https://example.org/a.jpg", "URLs are not read"),
        ("gone.jpg", "no such file"),
        (PIXELS.astype(np.int32), "an array of int32; expected uint8"),
        (np.zeros((5, 7), bool), "an array of bool"),
        (PIXELS.astype(float), "values from 0 to 255 in an array of float64; expected 0 to 1"),
        (np.full((5, 7, 3), np.nan), "values from nan"),
        (np.full((5, 7, 3), -0.5), r"values from -0\.5"),
        (np.zeros((5, 7, 2)), r"an array of shape \(5, 7, 2\)"),
        (np.zeros((0, 7, 3), np.uint8), r"an array of shape \(0, 7, 3\)"),
        (np.zeros(5), r"an array of shape \(5,\)"),
        (torch.zeros(7, 5, 3), r"a tensor of shape \(7, 5, 3\); expected \(3, height, width\)"),
        (torch.zeros(3, 5, 7, dtype=torch.int64), "an array of int64"),
    ],
)
def test_what_is_no_image_is_refused_with_what_came_and_what_is_expected(given, reason):
    with pytest.raises(FusiqaError, match=reason):
        image_of(given, place=5).read()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_an_empty_picture_is_an_error_of_its_own(mode, size):
    good, empty = Scorer().many([Image.fromarray(PIXELS), Image.new(mode, size)])
    assert good.ok
    assert empty.error == f"an image of {size[0]} x {size[1]} pixels: it is empty"


def test_a_file_object_is_read_again_from_where_it_was():
    image = image_of(io.BytesIO(encoded()))
    for _ in range(2):
        np.testing.assert_array_equal(image.read(), PIXELS)


def test_arrays_of_the_other_order_of_bytes_are_read():
    np.testing.assert_array_equal(image_of((PIXELS.astype(np.uint16) * 257).astype(">u2")).read(), PIXELS)


def test_no_warning_of_pillow_comes_from_a_palette_with_opacity(recwarn):
    picture = Image.fromarray(PIXELS).quantize(16)
    picture.info["transparency"] = bytes(range(16))
    assert image_of(picture).read().shape == PIXELS.shape
    assert not recwarn.list


def test_what_has_no_name_is_called_by_its_place():
    with pytest.raises(FusiqaError, match=r"^image 2: "):
        list(images_in([PIXELS, PIXELS, b"no"]))[2].read()


@pytest.mark.parametrize(
    "one",
    [
        "a.jpg", Path("a.jpg"), b"", io.BytesIO(), Image.new("L", (2, 2)), PIXELS,
        np.frombuffer(encoded(), np.uint8), torch.zeros(9),
    ],
)  # fmt: skip
def test_one_is_not_many(one):
    assert not is_many(one)


@pytest.mark.parametrize(
    "many",
    [
        [PIXELS, PIXELS],
        (PIXELS, PIXELS),
        (each for each in (PIXELS, PIXELS)),
        np.stack([PIXELS, PIXELS]),
        torch.from_numpy(np.stack([PIXELS, PIXELS])).permute(0, 3, 1, 2),
        [np.stack([PIXELS]), PIXELS],
    ],
    ids=["list", "tuple", "generator", "array", "tensor", "nested"],
)
def test_many_come_one_by_one(many):
    assert is_many(many)
    found = [image.read() for image in images_in(many)]
    assert len(found) == 2
    for pixels in found:
        np.testing.assert_array_equal(pixels, PIXELS)


def test_frames_of_an_iterator_and_one_image_given_twice_keep_their_pixels():
    frames, file = [Image.new("RGB", (5, 7), (0, 0, 40 * each)) for each in range(6)], io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    found = list(images_in(ImageSequence.Iterator(Image.open(file))))
    assert [int(image.read()[0, 0, 2]) for image in found] == [0, 40, 80, 120, 160, 200]
    once = Image.open(io.BytesIO(encoded()))
    with ThreadPoolExecutor(4) as pool:
        for pixels in pool.map(lambda image: image.read(), list(images_in([once] * 20))):
            np.testing.assert_array_equal(pixels, PIXELS)


def test_a_column_of_paths_is_many(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    for column in (pd.Series([str(tmp_path / "a.png")] * 2, index=[7, 9]), np.array([tmp_path / "a.png"] * 2)):
        assert is_many(column)
        assert [image.read().shape for image in images_in(column)] == [PIXELS.shape] * 2


def test_names_fit_into_one_line_of_a_table_and_no_two_are_the_same():
    assert printable("caf\udce9.jpg") == r".//caf\udce9.jpg"
    assert printable("/in/a\nb\t.jpg") == r"//in/a\nb\t.jpg"
    odd = [
        "a\nb",
        "a\\nb",
        "a\\\nb",
        "a\\\\nb",
        "\x85",
        "\udcc2\udc85",
        "\udc85",
        "\\x85",
        "\\udc85",
        "./a\nb",
        "\u2028",
    ]
    assert len(set(map(printable, odd))) == len(odd) - 1  # the fifth and the sixth are the same bytes
    for path in odd:
        assert os.fsencode(path_of(printable(path))) == os.fsencode(path)
    for path in ("//server/a\\q.png", ".//a.png", ".//a\\", "./a\\nb"):  # not made by it, though they look alike
        assert path_of(path) == path
    for name in (
        "shot 4.42.48\u202fPM.png",
        "obrazovka\u00a0v.png",
        "\u5199\u771f\u3000\u4e00.png",
        "\U0001f468\u200d\U0001f469.png",
    ):
        assert printable(name) == name  # a table holds what a file system gives, or the path opens nothing


def test_a_name_in_a_table_opens_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["a\nb.png", "a\\nb.png", "\udce9.png", "\x85.png"]):
        for path in (name, f"{tmp_path}/{name}"):
            Image.fromarray(np.full((3, 5, 3), number, np.uint8)).save(path, "PNG")
            assert file_image(file_image(path).name).read()[0, 0, 0] == number


def test_inputs_of_files_bytes_and_arrays_can_be_pickled(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    for given in (tmp_path / "a.png", encoded(), PIXELS, Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(image_of(given))).read(), PIXELS)


# --- files and folders -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(holiday: Path) -> Path:
    return holiday


def test_a_folder_gives_its_images_sorted_and_nothing_else(folder):
    found = image_files([folder])
    assert [str(path.relative_to(folder.resolve())) for path in found] == [
        "a.png",
        "b.JPG",
        "sub/c.jpeg",
        "sub/deep/d.webp",
    ]


def test_files_come_in_the_order_given_whatever_their_ending_and_once(folder):
    odd = folder / "photo.raw-export"
    (folder / "a.png").rename(odd)
    found = image_files([folder / "sub" / "c.jpeg", odd, folder / "sub", folder / "sub" / ".." / odd.name])
    assert [path.name for path in found] == ["c.jpeg", odd.name, "d.webp"]


def test_a_path_that_is_not_there_is_refused(folder):
    with pytest.raises(FusiqaError, match=r"no such file or folder: .*holiday/missing\.jpg"):
        image_files([folder, folder / "missing.jpg"])


def test_folders_without_images_are_refused_with_the_endings_looked_for(folder):
    with pytest.raises(FusiqaError, match=r"no images in .*folder\.jpg; in folders, .*: .*\.jpeg .*\.jpg"):
        image_files([folder / "folder.jpg"])


def test_images_of_telephones_are_found(folder):
    for name in ("e.HEIC", "f.heif", "g.avif"):
        (folder / name).write_bytes(b"found by its ending")
    found = {path.name for path in image_files([folder])}
    assert {"e.HEIC", "f.heif", "g.avif"} < found


def test_walking_goes_by_name_keeps_what_is_missing_and_leaves_out_what_is_hidden(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in (".hidden.png", "sub/old.jfif"):
        Image.new("RGB", (5, 7)).save(name, "PNG")
    everything = ["./a.png", "./b.JPG", "./sub/c.jpeg", "./sub/old.jfif", "./sub/deep/d.webp"]
    assert [image.name for image in walk(["."])] == everything
    assert [image.name for image in walk(["gone.jpg", "a.png", "a.png", "sub/*.jpeg"])] == [
        "gone.jpg",
        "a.png",
        "sub/c.jpeg",
    ]
    assert [image.name for image in walk(["a.png", "*.tiff"])] == ["a.png", "*.tiff"]
    monkeypatch.setattr("sys.stdin", io.StringIO("b.JPG\n\nsub/deep\ngone[1].jpg\n*.png\n"))
    assert [image.name for image in walk(["-"])] == ["b.JPG", "sub/deep/d.webp", "gone[1].jpg", "*.png"]


def test_what_is_named_twice_comes_once(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("sys.stdin", io.StringIO("holiday/a.png\nholiday\nholiday/a.png\ngone.png\ngone.png\n"))
    for paths, expected in ((["holiday/**"], 6), (["holiday", "holiday"], 4), (["-"], 5)):
        names = [image.name for image in walk(paths)]
        assert len(names) == len(set(names)) == expected


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["two\nlines.png", "a.png"], "two\nlines.png\0a.png\0"),
        (["many\nlines\n.png"], "many\nlines\n.png\0"),
        (["a.png", "b.png", "two", "lines.png"], "\ufeffa.png\r\nb.png\n\ntwo\nlines.png"),
        ([f"gone {number}.png" for number in range(99)], "".join(f"gone {number}.png\n" for number in range(99))),
        ([], ""),
        ([], "\n\n"),
    ],
)
def test_names_in_a_list_end_with_a_line_or_with_nul(folder, monkeypatch, names, text):
    monkeypatch.chdir(folder)
    assert list(listed_names(io.StringIO(text, newline=""))) == names


def test_a_list_that_still_grows_is_scored_meanwhile(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def lines():
        yield "a.png\n"
        raise TimeoutError

    assert next(listed_names(lines())) == "a.png"


def test_what_folders_hold_besides_is_counted_by_ending(folder):
    (folder / "a.RAF").write_bytes(b"raw")
    (folder / "README").write_text("no ending")
    (folder / "a.RAF.xmp").write_text("a sidecar, as `fusiqa sort` writes them")
    (folder / "linked").symlink_to(folder / "sub")
    said = []
    assert len(image_files([folder], say=said.append)) == 4
    (line,) = said
    assert set(line.removeprefix("skipped in folders: ").split(", ")) == {
        "1 .raf",
        "1 .txt",
        "1 .mp4",
        "1 linked folder",
        "1 without an ending",
    }
    image_files([folder / "sub" / "deep"], say=said.append)
    assert len(said) == 1


def test_a_folder_that_cannot_be_listed_costs_one_row(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    (image,) = walk([str(folder)])
    with pytest.raises(FusiqaError, match=r"holiday: may not be read \(permission denied\)"):
        image.read()


@pytest.mark.parametrize("name", ["=HYPERLINK(1).png", "+1.png", "-a.png", "@b.png"])
def test_no_name_is_a_formula_and_every_name_opens_its_file(tmp_path, monkeypatch, name):
    Image.new("RGB", (7, 5)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    image = file_image(name)
    assert image.name == f"./{name}"
    assert Path(image.name).is_file()
    assert image.read().shape == (5, 7, 3)
