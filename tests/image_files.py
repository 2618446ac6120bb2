"""Encoded images for tests: what an encoder of Pillow writes, and what none does, byte by byte."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image
from tiny_models import random_pixels

HEIGHT, WIDTH = 37, 53


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


def part(name: bytes, content: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ wrong)


def png(samples: np.ndarray, *, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a sample; colour 0 is grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha (PNG 1.2, 11.2.2)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    transparency = part(b"tRNS", extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + transparency + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def black_png(*, rows: int, stated: int, more: bytes = b"", colour: int = 2) -> bytes:
    """A PNG of 8 pixels a row that says how many rows it has, and has others; black."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    pixels = zlib.compress(bytes((1 + 8 * samples) * rows))
    palette = part(b"PLTE", bytes(range(6))) if colour == 3 else b""
    head = part(b"IHDR", struct.pack(">IIBBBBB", 8, stated, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + more + part(b"IDAT", pixels) + part(b"IEND", b"")


def stating(picture: Image.Image, *chunks: bytes) -> bytes:
    """A PNG with chunks before its pixels."""
    content = encoded(picture, "PNG")
    place = content.index(b"IDAT") - 4
    return content[:place] + b"".join(chunks) + content[place:]


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
