"""From bytes to crops: formats, modes, damage; and the resize protocol, padding and covering crops."""

import hashlib
import os
import pickle
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, black_png, encoded, part, picture, png, tiff
from PIL import Image, ImageOps, PngImagePlugin, features
from tiny_models import random_pixels

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import (
    LARGEST_FILE,
    LARGEST_SIDE,
    FolderImages,
    Resize,
    _without_oversized,
    content_of,
    decode,
    decode_resized,
    prove_readable,
    reason_of,
    register_heic,
    upright_pixels,
)

needs_heic = pytest.mark.skipif(find_spec("pi_heif") is None, reason="the extra heic is not installed")
HEIC = Path(__file__).parent / "images"
RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 180, 0), (0, 0, 160), (240, 240, 240)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_that_of_pillows_own_transpose(form: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), form, exif=exif)
    with Image.open(BytesIO(content)) as reference:
        expected = np.array(ImageOps.exif_transpose(reference))
    assert decode(content).shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    np.testing.assert_array_equal(decode(content), expected)


def test_orientation_6_turns_the_stored_left_column_into_the_top_row():
    stored = np.zeros((3, 2, 3), np.uint8)
    stored[:, 0] = [[10] * 3, [20] * 3, [30] * 3]
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode(encoded(Image.fromarray(stored), "PNG", exif=exif))
    assert upright[0, :, 0].tolist() == [30, 20, 10]
    assert upright[1, :, 0].tolist() == [0, 0, 0]


def test_malformed_exif_does_not_refuse_good_pixels():
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert decode(content).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("image", "form", "expected"),
    [
        (Image.new("L", (5, 3), 101), "PNG", (101, 101, 101)),
        (Image.new("1", (5, 3), 1), "PNG", (255, 255, 255)),
        (Image.new("LA", (5, 3), (0, 51)), "PNG", (204, 204, 204)),  # 0 * 0.2 + 255 * 0.8
        (Image.new("RGBA", (5, 3), (255, 0, 101, 51)), "PNG", (255, 204, 224)),  # 0.2 c + 0.8 * 255
        (Image.new("RGBA", (5, 3), (200, 100, 0, 102)), "WEBP", (233, 193, 153)),  # 0.4 c + 0.6 * 255
        (Image.new("CMYK", (5, 3), (0, 0, 0, 0)), "TIFF", (255, 255, 255)),
        (Image.new("CMYK", (5, 3), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("RGB", (5, 3), (7, 11, 13)).quantize(2), "PNG", (7, 11, 13)),
        (Image.fromarray(np.full((3, 5), 257 * 101, np.uint16)), "PNG", (101, 101, 101)),
        (Image.fromarray(np.full((3, 5), 65_535, np.uint16)), "TIFF", (255, 255, 255)),
        (Image.fromarray(np.full((3, 5), 128, np.uint16)), "PNG", (0, 0, 0)),  # 128 / 257 rounds down
        (Image.fromarray(np.full((3, 5), 257 * 7, np.uint16)), "PPM", (7, 7, 7)),
        (Image.new("RGB", (5, 3), (7, 11, 13)), "BMP", (7, 11, 13)),
        (Image.new("L", (5, 3), 101), "AVIF", (101, 101, 101)),
        (Image.new("RGBA", (5, 3), (0, 0, 0, 102)), "AVIF", (153, 153, 153)),
        (Image.new("YCbCr", (5, 3), (101, 128, 128)), "TIFF", (101, 101, 101)),
        (Image.new("RGB", (5, 3), (7, 11, 13)), "JPEG2000", (7, 11, 13)),
    ],
)
def test_every_mode_becomes_srgb(image: Image.Image, form: str, expected: tuple[int, int, int]):
    settings = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    pixels = decode(encoded(image, form, **settings))
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=1)


def test_a_palette_with_a_transparent_colour_lies_on_white():
    image = Image.new("P", (5, 3), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((2, 1), 0)
    pixels = decode(encoded(image, "PNG", transparency=1))
    assert pixels[1, 2].tolist() == [10, 20, 30]
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_mpo_and_gif_give_their_first_frame():
    first, second = Image.new("RGB", (5, 3), (200, 0, 0)), Image.new("RGB", (5, 3), (0, 0, 200))
    for form in ("MPO", "GIF"):
        pixels = decode(encoded(first, form, save_all=True, append_images=[second]))
        np.testing.assert_allclose(pixels[1, 2], [200, 0, 0], atol=3, err_msg=form)


@pytest.mark.parametrize(
    ("mode", "form", "settings"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("RGB", "BMP", {}),
    ],
)
def test_a_cut_file_is_refused_and_verifying_agrees_with_reading(mode: str, form: str, settings: dict):
    content = encoded(picture(mode), form, **settings)
    decode(content)
    prove_readable(content)
    trailer = {"PNG": 20, "BMP": 1}.get(form, 0)  # an end mark or filling that Pillow does not miss: no pixel is lost
    for cut in np.linspace(0, len(content) - 1 - trailer, 29).astype(int):
        for read in (decode, prove_readable):
            with pytest.raises((OSError, SyntaxError, ValueError, IndexError, struct.error)):
                read(content[:cut])


@pytest.mark.parametrize(
    ("levels", "reason"),
    [(np.float32(0.5), "floating-point"), (np.int32(70_001), "70001"), (np.int32(200), r"32 bits \(200 to 200\)")],
)
def test_pixels_without_a_range_are_refused(levels, reason):
    """32-bit grey of 0 to 255 must not be taken for 16 bits: it would be scored as black."""
    image = Image.fromarray(np.full((3, 5), levels))
    for read in (lambda: decode(encoded(image, "TIFF")), lambda: upright_pixels(image)):
        with pytest.raises(FusiqaError, match=reason):
            read()


@pytest.mark.parametrize("after", [False, True])
def test_a_long_text_or_profile_beside_a_png_costs_nothing(after):
    info, long = PngImagePlugin.PngInfo(), zlib.compress(bytes(1_200_000))
    info.add_text("short", "x", zip=True)
    info.add(b"zTXt", b"a\0\0" + long, after)
    info.add(b"iTXt", b"b\0\1\0\0\0" + long, after)
    content = encoded(picture(), "PNG", pnginfo=info, icc_profile=bytes(1_200_000))
    prove_readable(content)
    np.testing.assert_array_equal(decode(content), random_pixels(HEIGHT, WIDTH))
    assert Image.open(BytesIO(_without_oversized(content))).text == {"short": "x"}


@pytest.mark.parametrize("orientation", [1, 6])
def test_models_of_whole_images_decode_a_large_jpeg_at_a_reduced_scale(orientation):
    smooth = np.asarray(Image.fromarray(random_pixels(9, 13)).resize((1_301, 901), Image.Resampling.BICUBIC))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(smooth), "JPEG", exif=exif, quality=95)
    size = (901, 1_301) if orientation == 1 else (1_301, 901)
    for text in ("101", "140x97", "none", "500"):
        whole, before, _ = decode_resized(content, Resize.parse(text))
        reduced, same, _ = decode_resized(content, Resize.parse(text, view="whole"))
        assert before == same == size
        assert reduced.shape == whole.shape == (*Resize.parse(text).size(*size), 3)
        assert np.abs(reduced.astype(int) - whole).mean() < 2
        if text in ("none", "500"):  # less than 2 times 2: not reduced
            np.testing.assert_array_equal(reduced, whole)


@pytest.mark.parametrize("form", ["PNG", pytest.param("HEIC", marks=needs_heic)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch, form: str):
    content = (HEIC / "plain.heic").read_bytes() if form == "HEIC" else encoded(picture(), form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 3)
    for read in (decode, prove_readable):
        with pytest.raises(Image.DecompressionBombError, match=str(HEIGHT * WIDTH)):
            read(content)


def test_pillows_warnings_stay_inside_in_every_thread(monkeypatch: pytest.MonkeyPatch):
    content = encoded(picture(), "PNG")
    expected = hashlib.sha256(decode(content)).hexdigest()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)  # Pillow warns up to twice this
    before = list(warnings.filters)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(BytesIO(content))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: hashlib.sha256(decode(content)).hexdigest(), range(200)))
    assert set(found) == {expected}
    assert list(warnings.filters) == before
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(BytesIO(content))


def everywhere(*values: int) -> np.ndarray:
    return np.broadcast_to(np.array(values, np.uint16), (3, 5, len(values)))


V, W, X, HALF = 257 * 101, 257 * 17, 257 * 211, 257 * 51  # 51 / 255 = 0.2 of the colour, 0.8 of the white below it


@pytest.mark.parametrize(
    ("samples", "colour", "expected"),
    [
        (everywhere(V), 0, (101, 101, 101)),
        (everywhere(V, W, X), 2, (101, 17, 211)),
        (everywhere(0, HALF), 4, (204, 204, 204)),
        (everywhere(V, W, X, HALF), 6, (224, 207, 246)),
    ],
)
def test_png_of_16_bits(samples: np.ndarray, colour: int, expected: tuple[int, int, int]):
    pixels = decode(png(samples, colour=colour))
    assert pixels.shape == (3, 5, 3)
    np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=1)


def test_the_clear_level_of_a_16_bit_grey_png_is_white():
    samples = everywhere(V).copy()
    samples[1, 2] = W
    pixels = decode(png(samples, colour=0, extra=struct.pack(">H", W)))
    assert pixels[1, 2].tolist() == [255] * 3
    assert pixels[0, 0].tolist() == [101] * 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("samples", "photometric", "alpha", "expected"),
    [
        (everywhere(V), 1, None, (101, 101, 101)),
        (everywhere(V, W, X), 2, None, (101, 17, 211)),
        (everywhere(V, W, X, HALF), 2, 2, (224, 207, 246)),
        (everywhere(0, 65_535, 65_535, 0), 5, None, (255, 0, 0)),  # cyan, magenta, yellow, black
    ],
)
def test_tiff_of_16_bits_in_either_byte_order(
    order: str, samples: np.ndarray, photometric: int, alpha: int | None, expected: tuple[int, int, int]
):
    strip = samples.astype(f"{order}u2").tobytes()
    depth = samples.shape[2]
    content = tiff(strip, size=(3, 5), bits=16, samples=depth, photometric=photometric, order=order, alpha=alpha)
    np.testing.assert_allclose(decode(content), np.broadcast_to(expected, (3, 5, 3)), atol=1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(everywhere(V).astype("<u2").tobytes(), samples=1, photometric=0), [[255 - 101] * 5] * 3),  # zero is white
        (tiff(bytes([0xFF, 0xF0, 0x00] * 9), size=(3, 6), bits=12, samples=1, photometric=1), [[255, 0] * 3] * 3),
    ],
)
def test_tiff_of_grey_reaches_white_and_is_turned_over_where_zero_is_white(content, expected):
    """The second has the levels 4095 and 0, 6 in a row."""
    np.testing.assert_array_equal(decode(content)[:, :, 0], expected)


def test_tiff_of_8_bit_cmyk():
    content = tiff(bytes([0, 255, 255, 0] * 15), bits=8, samples=4, photometric=5, order=">")
    np.testing.assert_allclose(decode(content), np.broadcast_to((255, 0, 0), (3, 5, 3)), atol=1)


def test_transparent_grey_keeps_its_place_in_front_of_white():
    np.testing.assert_array_equal(decode(encoded(Image.new("LA", (5, 3), (101, 255)), "PNG")), 101)


@needs_heic
@pytest.mark.parametrize(
    ("name", "corners"), [("plain", (RED, GREEN, BLUE, WHITE)), ("turned", (BLUE, RED, WHITE, GREEN))]
)
def test_heic_is_read_upright(name: str, corners: tuple):
    """The turned file holds a rotation by 90 degrees and EXIF that says so too: it has to be turned once."""
    pixels = decode((HEIC / f"{name}.heic").read_bytes())
    assert pixels.shape == ((HEIGHT, WIDTH, 3) if name == "plain" else (WIDTH, HEIGHT, 3))
    found = [pixels[3, 3], pixels[3, -4], pixels[-4, 3], pixels[-4, -4]]
    np.testing.assert_allclose(found, corners, atol=3)


@needs_heic
def test_heic_with_a_profile_and_with_transparency():
    np.testing.assert_allclose(decode((HEIC / "profile.heic").read_bytes()), 188, atol=1)  # linear light 128 / 255
    pixels = decode((HEIC / "alpha.heic").read_bytes())
    np.testing.assert_allclose([pixels[3, 3], pixels[3, -4]], [(255, 255, 255), GREEN], atol=3)


def test_heic_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    register_heic.cache_clear()
    (tmp_path / "a.heic").write_bytes((HEIC / "plain.heic").read_bytes())
    images = FolderImages(tmp_path)
    for look in (images.read, images.verify):
        with pytest.raises(FusiqaError, match=r"^a\.heic: a HEIC image needs pi_heif: pip install 'fusiqa\[heic\]'$"):
            look("a.heic")


def test_other_formats_are_refused_even_if_pillow_would_start_a_program_for_them(tmp_path: Path):
    Image.new("RGB", (5, 3)).save(tmp_path / "a.eps")
    with pytest.raises(FusiqaError, match=r"a\.eps: not an image in a format that can be read"):
        FolderImages(tmp_path).verify("a.eps")


def is_refused(read, content: bytes) -> bool:
    try:
        read(content)
    except Exception:  # whatever Pillow raises
        return True
    return False


DAMAGED = {
    "jpeg": encoded(picture(), "JPEG"),
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "grey jpeg": encoded(picture("L"), "JPEG"),
    "cmyk jpeg": encoded(picture("CMYK"), "JPEG"),
    "mpo": encoded(picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]),
    "png": encoded(picture(), "PNG"),
    "webp": encoded(picture(), "WEBP"),
    "tiff": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "bmp": encoded(picture(), "BMP"),
    "avif": encoded(picture(), "AVIF") if features.check("avif") else b"",
    "heic": (HEIC / "alpha.heic").read_bytes() if find_spec("pi_heif") else b"",
}


@pytest.mark.parametrize("name", [name for name, content in DAMAGED.items() if content])
def test_verifying_a_damaged_file_agrees_with_reading_it(name: str):
    """Only JPEG and MPO are verified by another way than reading; they are damaged 200 times each."""
    whole, rng = DAMAGED[name], np.random.default_rng(0)
    assert not is_refused(decode, whole)
    assert not is_refused(prove_readable, whole)
    times = 200 if "jp" in name or name in ("progressive", "mpo") else 40
    refused = 0
    for time in range(times):
        content = bytearray(whole[: rng.integers(len(whole))] if time % 4 == 0 else whole)
        for _ in range(rng.integers(1, 4)):  # in the head as often as in the whole, where most bytes are pixels
            reach = len(content) if time % 2 else min(len(content), 640)
            if reach:
                content[rng.integers(reach)] ^= 1 << rng.integers(8)
        outcome = is_refused(decode, bytes(content))
        assert is_refused(prove_readable, bytes(content)) == outcome, f"damage {time}"
        refused += outcome
    assert refused > 0


@pytest.fixture
def folder(tmp_path: Path) -> FolderImages:
    Image.fromarray(random_pixels(37, 53)).save(tmp_path / "whole.png")
    Image.fromarray(random_pixels(37, 53)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    Image.fromarray(np.full((3, 5), 0.5, np.float32)).save(tmp_path / "float.tiff")
    return FolderImages(tmp_path)


def test_reading_gives_the_pixels(folder: FolderImages):
    pixels = folder.read("whole.png")
    np.testing.assert_array_equal(pixels, random_pixels(37, 53))
    pixels[0, 0] = 0  # can be written to
    assert folder.read("whole.png", Resize(exact=(5, 7))).shape == (5, 7, 3)


def test_names_may_be_absolute_or_in_a_folder_below(folder: FolderImages):
    below = FolderImages(folder.root.parent)
    np.testing.assert_array_equal(below.read(f"{folder.root.name}/whole.png"), random_pixels(37, 53))
    np.testing.assert_array_equal(
        FolderImages(Path("elsewhere")).read(str(folder.root / "whole.png")), random_pixels(37, 53)
    )


@pytest.mark.parametrize("image", ["whole.png", "whole.jpg"])
def test_verifying_gives_the_hash_of_the_file(folder: FolderImages, image: str):
    assert folder.verify(image) == hashlib.sha256((folder.root / image).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("cut.jpg", "truncated"),
        ("text.jpg", "not an image"),
        ("empty.jpg", "empty"),
        ("folder.jpg", "is a folder"),
        ("pipe.jpg", "is a pipe"),
        ("dangling.jpg", "no such file in .*"),
        ("missing.jpg", "no such file in .*"),
        ("float.tiff", "floating-point"),
    ],
)
def test_what_cannot_be_used_is_refused_with_name_and_reason(folder: FolderImages, image: str, reason: str):
    for use in (folder.read, folder.verify):
        with pytest.raises(FusiqaError, match=f"^{image}: .*{reason}"):
            use(image)


def test_a_decompression_bomb_is_refused_with_its_name(folder: FolderImages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 37 * 53 // 3)
    for use in (folder.read, folder.verify):
        with pytest.raises(FusiqaError, match=r"^whole\.png: too large .*1961"):
            use("whole.png")


def test_images_are_picklable(folder: FolderImages):
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    np.testing.assert_array_equal(copy.read("whole.png"), folder.read("whole.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_says_so(folder: FolderImages):
    (folder.root / "whole.png").chmod(0)
    with pytest.raises(FusiqaError, match=r"^whole\.png: may not be read"):
        folder.read("whole.png")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "may not be read (permission denied)"),
        (FileNotFoundError(), "no such file"),
        (ValueError("odd chunk"), "cannot be read (odd chunk)"),
        (ValueError(), "cannot be read (ValueError)"),
    ],
)
def test_the_reason_for_a_refused_file_is_in_the_users_words(error, reason):
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", (1013, 769)),
        ("384", (506, 384)),  # 1013 * 384 / 769 = 505.8
        ("512x384", (384, 512)),
        ("384x512", (512, 384)),
        ("769", (1013, 769)),
    ],
)
def test_resize_gives_height_and_width_in_their_order(text: str, expected: tuple[int, int]):
    resize = Resize.parse(text)
    assert resize.size(height=1013, width=769) == expected
    assert resize.apply(np.zeros((1013, 769, 3), np.uint8)).shape == (*expected, 3)


def test_resize_keeps_rows_rows_and_columns_columns():
    rows = np.repeat(np.linspace(0, 255, 101).astype(np.uint8)[:, None, None], 67, axis=1).repeat(3, axis=2)
    resized = Resize.parse("43x31").apply(rows)
    assert resized.shape == (31, 43, 3)
    assert np.ptp(resized, axis=1).max() == 0
    assert np.ptp(resized, axis=0).min() > 240


def test_resize_is_anti_aliased():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = Resize.parse("16").apply(board[..., None].repeat(3, axis=2).astype(np.uint8))
    np.testing.assert_allclose(small[4:12, 4:12], np.full((8, 8, 3), 127.5), atol=1)  # picking pixels gives 0 or 255


@pytest.mark.parametrize("text", ["none", "37", "53x37"])
def test_a_image_of_the_right_size_is_not_resampled(text: str):
    pixels = random_pixels(37, 53)
    assert Resize.parse(text).apply(pixels) is pixels


def test_resizing_a_sliver_stays_within_memory():
    assert Resize.parse("384").apply(random_pixels(1, 911)).shape == (384, LARGEST_SIDE, 3)


@pytest.mark.parametrize("text", ["none", "384", "512x384"])
def test_resize_prints_the_words_that_it_was_read_from(text: str):
    assert str(Resize.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "auto", "0", "-5", "384x", "x384", "512x0", "512x384x3", "3e2", "16385", "٣٨٤", "384 "]
)
def test_other_words_are_refused(text: str):
    with pytest.raises(FusiqaError) as caught:
        Resize.parse(text)
    expected = "`resize` must be none, the short side in pixels (384), max384 (never enlarge) or WIDTHxHEIGHT"
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith(f"got {text}")


def test_odd_exif_beside_the_orientation_does_not_keep_an_image_from_being_turned():
    """Pillow cannot write such a tag back, as turning with all of the EXIF would have to."""
    exif = struct.pack(">2sHIH", b"MM", 42, 8, 2)
    exif += struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHII", 0x8769, 2, 1, 0xFFFF) + bytes(4)
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0" + exif)
    assert decode(content).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize("colour", [0, 2, 3])
def test_a_png_with_fewer_rows_than_it_states_is_refused_and_a_black_one_is_not(colour):
    assert decode(black_png(rows=11, stated=11, colour=colour)).shape == (11, 8, 3)
    with pytest.raises(FusiqaError, match="truncated: it holds "):
        decode(black_png(rows=2, stated=11, colour=colour))
    with pytest.raises(FusiqaError, match="truncated"):
        prove_readable(black_png(rows=2, stated=11, colour=colour))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("more", [bytes(512), b"another file, of more than a chunk's twelve bytes"])
def test_what_follows_an_image_in_its_file_costs_nothing(form, more):
    content = encoded(picture(), form)
    assert np.array_equal(decode(content + more), decode(content))
    prove_readable(content + more)


def test_a_damaged_text_beside_the_pixels_is_named():
    text = part(b"tEXt", b"author\0name", wrong=1)
    with pytest.raises(FusiqaError, match="the checksum of its chunk 'tEXt' is wrong"):
        decode(black_png(rows=5, stated=5, more=text))


@pytest.mark.parametrize(("mode", "form"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("RGBA", "AVIF")])
def test_what_is_transparent_everywhere_is_refused(mode, form):
    clear = picture().convert(mode)
    clear.putalpha(0)
    for read in (lambda: decode(encoded(clear, form)), lambda: upright_pixels(clear)):
        with pytest.raises(FusiqaError, match="transparent everywhere"):
            read()
    clear.putpixel((1, 1), (7, 255) if mode == "LA" else (7, 7, 7, 255))
    assert decode(encoded(clear, "PNG")).min() == 7


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(FusiqaError, match="has 1,000 MB; at most 1,000 are read"):
        content_of(tmp_path / "a.png")
