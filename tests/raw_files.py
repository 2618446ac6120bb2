"""Raw files as cameras write them, small: a TIFF with a thumbnail first, the sensor's values, and a JPEG preview."""

from __future__ import annotations

import io
import struct
from datetime import datetime

import numpy as np
from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5  # types of TIFF
SIZES = {BYTE: "B", SHORT: "H", LONG: "I"}
Field = tuple[int, int, object]  # tag, type, value or values
SENSOR = 640, 480  # width and height of the sensor, pixels


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG", quality=95, **options)
    return file.getvalue()


def tiff(directory: list[Field], *, start: int = 8) -> bytes:
    """A TIFF of one directory, whose values may be directories (lists of fields) or pieces of the file (bytes)."""
    content = bytearray(b"II*\0" + struct.pack("<I", start) + b"CR\2\0\0\0\0\0"[: start - 8])
    _write(content, directory)
    return bytes(content)


def _write(content: bytearray, directory: list[Field]) -> int:
    """Append a directory and all that hangs on it; its offset."""
    offset = len(content)
    content += bytes(2 + 12 * len(directory) + 4)
    struct.pack_into("<H", content, offset, len(directory))
    for place, (tag, kind, value) in enumerate(sorted(directory, key=lambda field: field[0])):
        values = value if isinstance(value, list) and not isinstance(value[0], tuple) else [value]
        if kind == LONG and isinstance(values[0], list):
            values = [_write(content, each) for each in values]
        elif kind == LONG and isinstance(values[0], bytes):
            values = [_append(content, each) for each in values]
        if kind == ASCII:
            packed = str(values[0]).encode() + b"\0"
        else:
            packed = struct.pack(f"<{len(values)}{SIZES[kind]}", *values)
        count = len(packed) if kind == ASCII else len(values)
        stored = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", _append(content, packed))
        struct.pack_into("<HHI4s", content, offset + 2 + 12 * place, tag, kind, count, stored)
    return offset


def _append(content: bytearray, piece: bytes) -> int:
    content += bytes(len(content) % 2)
    place = len(content)
    content += piece
    return place


def raw_file(
    preview: np.ndarray | None,
    *,
    make: str = "Example",
    kind: str = "dng",
    orientation: int = 1,
    taken: datetime | None = None,
) -> bytes:
    """A raw file with this preview: a dng, or a nef or arw (a TIFF that begins with a thumbnail), or a cr2."""
    width, height = SENSOR
    values = np.random.default_rng(0).integers(0, 2**12, (height, width), dtype=np.uint16).tobytes()
    sensor: list[Field] = [
        (254, LONG, 0), (256, LONG, width), (257, LONG, height), (258, SHORT, 16), (259, SHORT, 1),
        (262, SHORT, 32803), (273, LONG, values), (277, SHORT, 1), (278, LONG, height), (279, LONG, len(values)),
        (33421, SHORT, [2, 2]), (33422, BYTE, [0, 1, 1, 2]),
    ]  # fmt: skip
    thumbnail = bytes(range(192)) * 3  # 12 x 16 pixels
    first: list[Field] = [
        (254, LONG, 1), (256, LONG, 12), (257, LONG, 16), (258, SHORT, [8, 8, 8]), (259, SHORT, 1), (262, SHORT, 2),
        (271, ASCII, make), (272, ASCII, "Model 1"), (273, LONG, thumbnail), (274, SHORT, orientation),
        (277, SHORT, 3), (278, LONG, 16), (279, LONG, len(thumbnail)),
    ]  # fmt: skip
    below = [sensor]
    if preview is not None:
        encoded = jpeg(preview)
        below.append([
            (254, LONG, 1), (256, LONG, preview.shape[1]), (257, LONG, preview.shape[0]), (258, SHORT, [8, 8, 8]),
            (259, SHORT, 7), (262, SHORT, 6), (273, LONG, encoded), (277, SHORT, 3),
            (278, LONG, preview.shape[0]), (279, LONG, len(encoded)),
        ])  # fmt: skip
    first.append((330, LONG, below))
    if taken is not None:
        exif: list[Field] = [(36867, ASCII, f"{taken:%Y:%m:%d %H:%M:%S}"), (37521, ASCII, f"{taken:%f}"[:2])]
        first.append((34665, LONG, [exif]))
    if kind == "dng":
        first += [(50706, BYTE, [1, 4, 0, 0]), (50708, ASCII, f"{make} Model 1")]
    return tiff(first, start=16 if kind == "cr2" else 8)
