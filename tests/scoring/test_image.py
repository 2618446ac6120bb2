"""From bytes to crops: formats, modes, profiles, damage; and the resize protocol, padding and covering crops."""

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
from fusiqa.scoring.srgb import to_xyz

needs_heic = pytest.mark.skipif(find_spec("pi_heif") is None, reason="the extra heic is not installed")
HEIC = Path(__file__).parent / "images"
HEIGHT, WIDTH = 37, 53
RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 180, 0), (0, 0, 160), (240, 240, 240)


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(random_pixels(HEIGHT, WIDTH)).convert(mode)


def encoded(image: Image.Image, form: str, **settings) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def signed(*values: float) -> bytes:
    """Fixed-point numbers of 16 and 16 bits, as profiles have them."""
    return struct.pack(f">{len(values)}i", *(round(value * 65_536) for value in values))


def icc(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC v2 profile of these tags (ICC.1:2001-04, section 6)."""
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = struct.pack(">I", offset + len(body)) + b"\0\0\0\0\x02\x40\0\0" + kind + b"\0" * 12 + b"acsp"
    header += b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def linear_rgb_profile() -> bytes:
    """Linear light with sRGB's primaries."""
    whites = {b"wtpt": (0.9642, 1.0, 0.8249), b"rXYZ": (0.4361, 0.2225, 0.0139)}
    whites |= {b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
    gamma_one = b"curv\0\0\0\0" + struct.pack(">IH", 1, 256) + b"\0\0"
    tags = {name: b"XYZ \0\0\0\0" + signed(*values) for name, values in whites.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma_one)
    return icc(b"mntrRGB XYZ ", tags | {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + b"\0" * 79})


def cmyk_profile() -> bytes:
    """A printer's profile whose paper is L* = 100 and whose every ink alone leaves L* = 50 (lut8, 6.5.8)."""
    grid = b"".join(
        bytes([255 if inks == 0 else 128 if inks.bit_count() == 1 else 0, 128, 128]) for inks in range(16)
    )  # the last ink varies fastest; 128 is a* = b* = 0
    ramp = bytes(range(256))
    identity = signed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 4) + b"ink\0" + b"\0" * 79,
        b"wtpt": b"XYZ \0\0\0\0" + signed(0.9642, 1.0, 0.8249),
        b"A2B0": b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3,
    }
    return icc(b"prtrCMYKLab ", tags)


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


GREY = Image.new("RGB", (5, 3), (128, 128, 128))
SHORT = linear_rgb_profile()[:200]
LINEAR = 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055)  # IEC 61966-2-1: 187.8


@pytest.mark.parametrize(
    ("image", "form", "profile", "expected"),
    [
        *((GREY, form, linear_rgb_profile(), LINEAR) for form in ("PNG", "JPEG", "TIFF", "WEBP")),
        (Image.new("RGBA", (5, 3), (128, 128, 128, 255)), "PNG", linear_rgb_profile(), LINEAR),
        (GREY.quantize(2), "PNG", linear_rgb_profile(), LINEAR),
        (GREY, "PNG", b"no profile", 128),
        (GREY, "PNG", SHORT, 128),
        (Image.new("L", (5, 3), 128), "PNG", linear_rgb_profile(), 128),
    ],
)
def test_a_colour_profile_is_turned_into_srgb_and_a_broken_or_misfit_one_is_ignored(image, form, profile, expected):
    settings = {"lossless": True} if form == "WEBP" else {}
    pixels = decode(encoded(image, form, icc_profile=profile, **settings))
    np.testing.assert_allclose(pixels, np.full((3, 5, 3), expected), atol=0 if expected == 128 else 1)


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


def png(samples: np.ndarray, *, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a sample; colour 0 is grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha (PNG 1.2, 11.2.2)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    transparency = part(b"tRNS", extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + transparency + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def tiff(strip: bytes, *, size=(3, 5), bits=16, samples: int, photometric: int, order="<", alpha=None) -> bytes:
    """An uncompressed TIFF of one strip (TIFF 6.0, sections 2 to 8)."""
    height, width = size
    tags = 10 + (alpha is not None)
    start = 8 + 2 + 12 * tags + 4
    depths = struct.pack(f"{order}{samples}H", *[bits] * samples)
    short = {256: width, 257: height, 259: 1, 262: photometric, 277: samples, 278: height, 284: 1}
    short |= {258: bits} if samples == 1 else {}
    short |= {} if alpha is None else {338: alpha}
    entries = {tag: struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in short.items()}
    for tag, kind, count, value in (
        (258, 3, samples, start),
        (273, 4, 1, start + len(depths)),
        (279, 4, 1, len(strip)),
    ):
        entries.setdefault(tag, struct.pack(f"{order}HHII", tag, kind, count, value))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, tags)
    return head + b"".join(entries[tag] for tag in sorted(entries)) + struct.pack(f"{order}I", 0) + depths + strip


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


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_the_profile_of_a_cmyk_image_is_used(form: str):
    """L* = 50 is 119 of 255 in sRGB (CIE 15 and IEC 61966-2-1); without the profile cyan would be (0, 255, 255)."""
    settings = {"quality": 100} if form == "JPEG" else {}
    content = encoded(Image.new("CMYK", (5, 3), (255, 0, 0, 0)), form, icc_profile=cmyk_profile(), **settings)
    np.testing.assert_allclose(decode(content), 119, atol=3)


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


def black_png(*, rows: int, stated: int, more: bytes = b"", colour: int = 2) -> bytes:
    """A PNG of 8 pixels a row that says how many rows it has, and has others; black."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    pixels = zlib.compress(bytes((1 + 8 * samples) * rows))
    palette = part(b"PLTE", bytes(range(6))) if colour == 3 else b""
    head = part(b"IHDR", struct.pack(">IIBBBBB", 8, stated, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + more + part(b"IDAT", pixels) + part(b"IEND", b"")


def part(name: bytes, content: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ wrong)


@pytest.mark.parametrize("colour", [0, 2, 3])
def test_a_png_with_fewer_rows_than_it_states_is_refused_and_a_black_one_is_not(colour):
    assert decode(black_png(rows=11, stated=11, colour=colour)).shape == (11, 8, 3)
    with pytest.raises(FusiqaError, match="truncated: it holds "):
        decode(black_png(rows=2, stated=11, colour=colour))
    with pytest.raises(FusiqaError, match="truncated"):
        prove_readable(black_png(rows=2, stated=11, colour=colour))


def test_a_damaged_text_beside_the_pixels_is_named():
    text = part(b"tEXt", b"author\0name", wrong=1)
    with pytest.raises(FusiqaError, match="the checksum of its chunk tEXt is wrong"):
        decode(black_png(rows=5, stated=5, more=text))


def stating(picture: Image.Image, *chunks: bytes) -> bytes:
    """A PNG with chunks before its pixels."""
    content = encoded(picture, "PNG")
    place = content.index(b"IDAT") - 4
    return content[:place] + b"".join(chunks) + content[place:]


GAMMA, STATED_SRGB = part(b"gAMA", struct.pack(">I", 100_000)), part(b"sRGB", b"\0")


def test_the_gamma_that_a_png_states_counts():
    def first(*more: bytes) -> int:
        return int(decode(stating(Image.new("L", (8, 8), 55), *more))[0, 0, 0])

    usual = part(b"gAMA", struct.pack(">I", 45_455))
    assert (first(), first(usual)) == (55, 55)
    assert first(GAMMA) == 128  # 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
    assert first(GAMMA, STATED_SRGB) == 55  # which goes before it


@pytest.mark.parametrize(
    ("codes", "colour", "expected"),
    [
        ((1, 13, 0, 1), (217, 72, 51), (217, 72, 51)),  # sRGB
        ((1, 1, 0, 1), (217, 72, 51), (217, 72, 51)),  # BT.709
        ((2, 2, 0, 1), (217, 72, 51), (217, 72, 51)),  # unstated
        ((12, 13, 0, 1), (234, 51, 35), (255, 0, 0)),  # sRGB's red in Display P3, by the matrices of CSS Color 4
        ((9, 14, 0, 1), (208, 74, 34), (255, 0, 0)),  # and in BT.2020: 0.6274, 0.0691, 0.0164 of light (ITU-R BT.2087)
        ((12, 8, 0, 1), (55, 55, 55), (128, 128, 128)),  # linear: 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
        ((9, 13, 0, 1), (101, 101, 101), (101, 101, 101)),  # all have one white
    ],
)
def test_the_colours_that_a_cicp_chunk_states_count(codes, colour, expected):
    first = decode(stating(Image.new("RGB", (3, 5), colour), GAMMA, STATED_SRGB, part(b"cICP", bytes(codes))))[0, 0]
    np.testing.assert_allclose(first.astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ((9, 16, 0, 1), r"high dynamic range \(PQ\)"),
        ((9, 18, 0, 1), r"high dynamic range \(HLG\)"),
        ((1, 13, 0, 0), "primaries 1, transfer 13, narrow range"),
        ((11, 17, 0, 1), "primaries 11, transfer 17"),
    ],
)
def test_colours_that_no_rule_turns_into_srgb_are_refused(codes, reason):
    content = stating(picture(), part(b"cICP", bytes(codes)))
    for read in (decode, prove_readable):
        with pytest.raises(FusiqaError, match=reason):
            read(content)


def test_an_avif_of_high_dynamic_range_is_refused_but_not_one_with_a_gain_map():
    content, plain, pq = encoded(picture(), "AVIF"), b"colrnclx\0\1\0\x0d", b"colrnclx\0\x09\0\x10"
    assert plain in content
    with pytest.raises(FusiqaError, match="high dynamic range"):
        decode(content.replace(plain, pq))
    both = content + b"\0\0\0\x1bfree" + pq + bytes(7)
    np.testing.assert_array_equal(decode(both), decode(content))
    with_profile = encoded(picture(), "AVIF", icc_profile=linear_rgb_profile())
    np.testing.assert_array_equal(decode(with_profile + b"\0\0\0\x1bfree" + pq + bytes(7)), decode(with_profile))


def test_primaries_have_their_published_matrices():
    from_2020 = np.linalg.inv(to_xyz(1)) @ to_xyz(9)  # ITU-R BT.2087, M2
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(from_2020, expected, atol=1e-4)
    np.testing.assert_allclose(to_xyz(1)[1], [0.2126, 0.7152, 0.0722], atol=1e-4)  # BT.709


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
