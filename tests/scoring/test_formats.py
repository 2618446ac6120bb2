"""Images that Pillow cannot write: built byte by byte, or encoded with another library (images/*.heic)."""

import struct
import sys
import zlib
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages, decode, prove_readable, register_heic

needs_heic = pytest.mark.skipif(find_spec("pi_heif") is None, reason="the extra heic is not installed")
HEIC = Path(__file__).parent / "images"
HEIGHT, WIDTH = 37, 53
RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 180, 0), (0, 0, 160), (240, 240, 240)


def png(samples: np.ndarray, *, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a sample; colour 0 is grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha (PNG 1.2, 11.2.2)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    transparency = chunk(b"tRNS", extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + transparency + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(
    strip: bytes,
    *,
    size: tuple[int, int],
    bits: int,
    samples: int,
    photometric: int,
    order: str,
    alpha: int | None = None,
) -> bytes:
    """An uncompressed TIFF of one strip (TIFF 6.0, sections 2 to 8)."""
    height, width = size
    short, long = 3, 4
    tags = 10 + (alpha is not None)
    start = 8 + 2 + 12 * tags + 4
    depths = struct.pack(f"{order}{samples}H", *[bits] * samples)
    entries = [
        (256, short, 1, width),
        (257, short, 1, height),
        (258, short, samples, bits if samples == 1 else start),
        (259, short, 1, 1),
        (262, short, 1, photometric),
        (273, long, 1, start + len(depths)),
        (277, short, 1, samples),
        (278, short, 1, height),
        (279, long, 1, len(strip)),
        (284, short, 1, 1),
    ]
    if alpha is not None:
        entries.append((338, short, 1, alpha))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, tags)
    for tag, kind, count, value in entries:
        packed = (
            struct.pack(f"{order}HH", value, 0) if kind == short and count == 1 else struct.pack(f"{order}I", value)
        )
        head += struct.pack(f"{order}HHI", tag, kind, count) + packed
    return head + struct.pack(f"{order}I", 0) + depths + strip


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


def test_tiff_whose_zero_is_white_is_turned_over():
    strip = everywhere(V).astype("<u2").tobytes()
    content = tiff(strip, size=(3, 5), bits=16, samples=1, photometric=0, order="<")
    np.testing.assert_array_equal(decode(content), 255 - 101)


def test_tiff_of_12_bits_reaches_white():
    strip = bytes([0xFF, 0xF0, 0x00] * 9)  # levels 4095 and 0, 6 in a row
    content = tiff(strip, size=(3, 6), bits=12, samples=1, photometric=1, order="<")
    np.testing.assert_array_equal(decode(content)[:, :, 0], [[255, 0] * 3] * 3)


def test_tiff_of_8_bit_cmyk():
    content = tiff(bytes([0, 255, 255, 0] * 15), size=(3, 5), bits=8, samples=4, photometric=5, order=">")
    np.testing.assert_allclose(decode(content), np.broadcast_to((255, 0, 0), (3, 5, 3)), atol=1)


def cmyk_profile() -> bytes:
    """A printer's ICC v2 profile whose paper is L* = 100 and whose every ink alone leaves L* = 50 (lut8, 6.5.8)."""

    def signed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65_536))

    grid = b"".join(
        bytes([255 if inks == 0 else 128 if inks.bit_count() == 1 else 0, 128, 128]) for inks in range(16)
    )  # the last ink varies fastest; 128 is a* = b* = 0
    ramp = bytes(range(256))
    identity = b"".join(signed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 4) + b"ink\0" + b"\0" * 79,
        b"wtpt": b"XYZ \0\0\0\0" + signed(0.9642) + signed(1.0) + signed(0.8249),
        b"A2B0": table,
    }
    directory, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        directory += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I", start + len(body)) + b"\0\0\0\0\x02\x40\0\0prtrCMYKLab " + b"\0" * 12 + b"acsp"
    head += b"\0" * 28 + struct.pack(">3i", 63_190, 65_536, 54_061)
    return head.ljust(128, b"\0") + directory + body


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_the_profile_of_a_cmyk_image_is_used(form: str):
    """L* = 50 is 119 of 255 in sRGB (CIE 15 and IEC 61966-2-1); without the profile cyan would be (0, 255, 255)."""
    buffer = BytesIO()
    settings = {"quality": 100} if form == "JPEG" else {}
    Image.new("CMYK", (5, 3), (255, 0, 0, 0)).save(buffer, form, icc_profile=cmyk_profile(), **settings)
    np.testing.assert_allclose(decode(buffer.getvalue()), 119, atol=3)


def test_transparent_grey_keeps_its_place_in_front_of_white():
    buffer = BytesIO()
    Image.new("LA", (5, 3), (101, 255)).save(buffer, "PNG")
    np.testing.assert_array_equal(decode(buffer.getvalue()), 101)


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
        with pytest.raises(FusiqaError, match=r"^a\.heic: a HEIC image, .*pip install 'fusiqa\[heic\]'$"):
            look("a.heic")


@needs_heic
def test_a_heic_bomb_is_refused(monkeypatch: pytest.MonkeyPatch):
    content = (HEIC / "plain.heic").read_bytes()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 3)
    for read in (decode, prove_readable):
        with pytest.raises(Image.DecompressionBombError, match=str(HEIGHT * WIDTH)):
            read(content)


def test_other_formats_are_refused_even_if_pillow_would_start_a_program_for_them(tmp_path: Path):
    Image.new("RGB", (5, 3)).save(tmp_path / "a.eps")
    with pytest.raises(FusiqaError, match=r"a\.eps: not an image in a format that can be read"):
        FolderImages(tmp_path).verify("a.eps")


# --- damaged files: verifying refuses what reading refuses, and nothing else -----------------------------------------


def written(form: str, mode: str = "RGB", **settings) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, form, **settings)
    return buffer.getvalue()


def is_refused(read, content: bytes) -> bool:
    try:
        read(content)
    except Exception:  # whatever Pillow raises; photo.py makes one reason of it
        return True
    return False


DAMAGED = {
    "jpeg": written("JPEG"),
    "progressive": written("JPEG", progressive=True),
    "grey jpeg": written("JPEG", "L"),
    "cmyk jpeg": written("JPEG", "CMYK"),
    "mpo": written("MPO", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]),
    "png": written("PNG"),
    "webp": written("WEBP"),
    "tiff": written("TIFF", compression="tiff_lzw"),
    "bmp": written("BMP"),
    "avif": written("AVIF") if features.check("avif") else b"",
    "heic": (HEIC / "alpha.heic").read_bytes() if find_spec("pi_heif") else b"",
}


@pytest.mark.parametrize("name", [name for name, content in DAMAGED.items() if content])
def test_verifying_a_damaged_file_agrees_with_reading_it(name: str):
    """Only JPEG and MPO are verified by another way than reading; they are damaged 400 times each."""
    whole, rng = DAMAGED[name], np.random.default_rng(0)
    assert not is_refused(decode, whole)
    assert not is_refused(prove_readable, whole)
    times = 400 if "jp" in name or name in ("progressive", "mpo") else 40
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
