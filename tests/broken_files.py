"""Twenty kinds of files that are named as images and are none, as folders of real images have them."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(kind: str, side: int = 40, **options) -> bytes:
    """A good image in some format."""
    pixels = np.random.default_rng(3).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def half(kind: str) -> bytes:
    content = encoded(kind)
    return content[: len(content) // 2]


def png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def with_wrong_sum() -> bytes:
    content = bytearray(encoded("PNG"))
    content[content.index(b"IDAT") + 20] ^= 0xFF
    return bytes(content)


def listening(path: Path) -> None:
    home = os.getcwd()
    os.chdir(path.parent)  # a socket's name may be 107 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(home)


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def writes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    "truncated JPEG": (".jpg", writes(half("JPEG"))),
    "truncated PNG": (".png", writes(half("PNG"))),
    "truncated WebP": (".webp", writes(half("WEBP"))),
    "truncated TIFF": (".tif", writes(half("TIFF"))),
    "truncated BMP": (".bmp", writes(half("BMP"))),
    "no bytes": (".jpg", writes(b"")),
    "HTML": (".jpg", writes(b"<!doctype html><title>404</title>")),
    "text": (".png", writes("gr\u00fcn".encode())),
    "noise": (".jpeg", writes(bytes(range(256)) * 7)),
    "a ZIP": (".jpg", writes(b"PK\x03\x04" + bytes(60))),
    "a film": (".jpg", writes(struct.pack(">I", 24) + b"ftypisom" + bytes(64))),
    "PostScript": (".jpg", writes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
    "a bomb": (".png", writes(png(60_000, 60_000))),
    "0 x 0": (".png", writes(png(0, 0))),
    "NaN": (".tiff", writes(tiff(np.full((9, 9), np.nan, np.float32)))),
    "32 bits": (".tif", writes(tiff(np.full((9, 9), 2**30, np.int32)))),
    "a wrong checksum": (".png", writes(with_wrong_sum())),
    "a dangling link": (".jpg", lambda path: path.symlink_to(path.with_name("gone.jpg"))),
    "a link to itself": (".jpg", to_itself),
    "a named pipe": (".jpg", os.mkfifo),
    "a socket": (".jpg", listening),
}


def break_into(folder: Path, count: int) -> list[Path]:
    """Make this many broken files, all kinds in turn."""
    kinds = list(BROKEN.items())
    paths = []
    for number in range(count):
        kind, (ending, make) = kinds[number % len(kinds)]
        path = folder / f"broken {number} {kind.replace(' ', '-')}{ending}"
        make(path)
        paths.append(path)
    return paths
