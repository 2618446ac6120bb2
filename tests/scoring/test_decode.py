import hashlib
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import decode, prove_readable

HEIGHT, WIDTH = 37, 53


def picture(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, form: str, **settings) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def linear_rgb_profile() -> bytes:
    """An ICC v2 profile of linear light with sRGB's primaries (ICC.1:2001-04, 6.1 to 6.5)."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))

    gamma_one = b"curv\0\0\0\0" + struct.pack(">IH", 1, 256) + b"\0\0"
    tags = {
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": gamma_one,
        b"gTRC": gamma_one,
        b"bTRC": gamma_one,
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + b"\0" * 79,
    }
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = struct.pack(">I", offset + len(body)) + b"\0\0\0\0\x02\x40\0\0mntrRGB XYZ " + b"\0" * 12 + b"acsp"
    header += b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


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
        (Image.new("RGBA", (5, 3), (255, 0, 101, 0)), "PNG", (255, 255, 255)),
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
        (Image.new("RGBA", (5, 3), (255, 0, 101, 0)), "AVIF", (255, 255, 255)),
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


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_colour_profile_is_turned_into_srgb(form: str):
    settings = {"lossless": True} if form == "WEBP" else {}
    content = encoded(Image.new("RGB", (5, 3), (128, 128, 128)), form, icc_profile=linear_rgb_profile(), **settings)
    linear = 128 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1: 187.8
    np.testing.assert_allclose(decode(content), np.full((3, 5, 3), expected), atol=1)


def test_a_colour_profile_works_through_transparency_and_a_palette():
    profile = linear_rgb_profile()
    half = decode(encoded(Image.new("RGBA", (5, 3), (128, 128, 128, 255)), "PNG", icc_profile=profile))
    palette = decode(encoded(Image.new("RGB", (5, 3), (128, 128, 128)).quantize(2), "PNG", icc_profile=profile))
    np.testing.assert_allclose(half, np.full((3, 5, 3), 188), atol=1)
    np.testing.assert_allclose(palette, np.full((3, 5, 3), 188), atol=1)


@pytest.mark.parametrize("profile", [b"no profile", linear_rgb_profile()[:200]])
def test_a_broken_or_misfit_profile_is_ignored(profile: bytes):
    content = encoded(Image.new("RGB", (5, 3), (128, 128, 128)), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode(content), 128)


def test_a_profile_for_another_mode_is_ignored():
    content = encoded(Image.new("L", (5, 3), 128), "PNG", icc_profile=linear_rgb_profile())
    np.testing.assert_array_equal(decode(content), 128)


def test_pixels_can_be_written_to():
    pixels = decode(encoded(picture(), "PNG"))
    pixels[0, 0] = 0
    assert pixels[0, 0].tolist() == [0, 0, 0]


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


def test_pixels_without_a_range_are_refused():
    floats = Image.fromarray(np.full((3, 5), 0.5, np.float32))
    with pytest.raises(FusiqaError, match="floating-point"):
        decode(encoded(floats, "TIFF"))
    wide = Image.fromarray(np.full((3, 5), 70_001, np.int32))
    with pytest.raises(FusiqaError, match="70001"):
        decode(encoded(wide, "TIFF"))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch):
    content = encoded(picture(), "PNG")
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
