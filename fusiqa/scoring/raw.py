"""Raw files of cameras (CR2, CR3, NEF, ARW, DNG): their embedded preview and EXIF."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from fusiqa.errors import FusiqaError, needing

RAW_ENDINGS = {".cr2", ".cr3", ".nef", ".arw", ".dng"}
TIFF, CR2, CR3 = (b"II*\0", b"MM\0*"), b"CR", b"ftypcrx "  # the first bytes; from byte 8 on; from byte 4 on
CR3_EXIF = (b"CMT1", b"CMT2")  # boxes that hold a TIFF each: the tags of the file, and those of the exposure
DNG_VERSION, SUBFILE_TYPE, REDUCED = 50706, 254, 1  # tags of TIFF, and the type of a page that is a thumbnail
LEAST_SIDE = 400  # pixels, the shorter side: the score of a smaller preview says little about the photograph
TURNED = {3: 3, 5: 8, 6: 6}  # LibRaw's `flip` -> orientation in EXIF


class Preview(NamedTuple):
    """The largest preview of a raw file: an encoded image, and its EXIF orientation where it has none of its own."""

    content: bytes
    orientation: int


def is_raw(content: bytes) -> bool:
    """Whether a file is raw by its content: CR2, CR3, DNG, or a TIFF whose first page is a thumbnail (NEF, ARW)."""
    if content[4:12] == CR3:
        return True
    if not content.startswith(TIFF):
        return False
    tags = tags_in_raw(content)
    return content[8:10] == CR2 or DNG_VERSION in tags or tags.get(SUBFILE_TYPE) == REDUCED


def preview_of(content: bytes) -> Preview:
    """The largest preview of a raw file. Raises FusiqaError without the extra `raw`, and for a file without any."""
    with needing("raw", "a raw file"):
        import rawpy
    try:
        with rawpy.imread(BytesIO(content)) as raw:
            preview, orientation = raw.extract_thumb(), TURNED.get(raw.sizes.flip, 1)
    except rawpy.LibRawError as error:
        said = b" ".join(each for each in error.args if isinstance(each, bytes)).decode() or str(error)
        raise FusiqaError(f"a raw file without a preview that can be read ({said.lower()})") from error
    if preview.format == rawpy.ThumbFormat.JPEG:
        return Preview(bytes(preview.data), orientation)
    Image.fromarray(np.asarray(preview.data)).save(file := BytesIO(), "PPM")
    return Preview(file.getvalue(), orientation)


def tags_in_raw(content: bytes) -> dict[int, Any]:
    """The EXIF tags of a raw file, or of any TIFF, by number; none where they are malformed."""
    parts = [content]
    if content[4:12] == CR3:  # a box of an ISO media file is its size in 32 bits, its name, and its content
        starts = [content.find(name) - 4 for name in CR3_EXIF]
        parts = [content[at + 8 : at + int.from_bytes(content[at : at + 4])] for at in starts if at >= 0]
    tags: dict[int, Any] = {}
    for part in parts:
        try:
            (exif := Image.Exif()).load(part)
            tags |= dict(exif) | exif.get_ifd(ExifTags.IFD.Exif)
        except Exception:  # malformed tags make Pillow raise almost anything
            continue
    return tags
