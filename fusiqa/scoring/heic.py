"""HEIC, the format of telephones, through the extra `heic`. It knows what a file says of itself, and no pixels."""

from __future__ import annotations

from functools import cache

from fusiqa.errors import FusiqaError

BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
"""Brands of HEIF files coded with HEVC (ISO/IEC 23008-12, annex B.4)."""


def is_heic(content: bytes) -> bool:
    """Whether an encoded image calls itself HEIC, as its main brand or, if that is general, a compatible one.

    Example:
        >>> is_heic(bytes([0, 0, 0, 24]) + b"ftypmif1" + bytes(4) + b"mif1heic")
        True
        >>> is_heic(bytes([0, 0, 0, 24]) + b"ftypmif1" + bytes(4) + b"mif1avif")
        False
    """
    if content[4:8] != b"ftyp":
        return False
    if content[8:12] not in (b"mif1", b"msf1"):
        return content[8:12] in BRANDS
    box = content[: int.from_bytes(content[:4], "big")]
    return any(box[start : start + 4] in BRANDS for start in range(16, len(box), 4))


@cache
def register() -> None:
    """Teach Pillow to read HEIC (its format "HEIF"), once a process and only when the first such image comes.

    Raises:
        FusiqaError: the extra is not installed.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise FusiqaError("a HEIC image, which needs one more library: pip install 'fusiqa[heic]'") from error
    pi_heif.register_heif_opener()
