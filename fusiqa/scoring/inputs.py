"""Images from what users pass: arrays, bytes, files, folders, patterns, lists of paths."""

from __future__ import annotations

import glob
import os
import re
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image

from fusiqa.errors import FusiqaError, listed
from fusiqa.scoring.image import (
    ENDINGS,
    ORIGINAL_SIZE,
    SIDECAR_ENDING,
    Decoded,
    Pixels,
    Resize,
    content_of,
    decode_resized,
    naming,
    pillow_warnings_ignored,
    reason_of,
    upright_pixels,
)

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and opacity
ALLOWED = "a path, bytes, a file object, a PIL image, an array (height, width, 3) or a tensor (3, height, width)"
STANDARD_INPUT = "-"
HELD_BACK = 10  # lines of a list at most, until it is known what ends a name
EXECUTED = ("=", "+", "-", "@")  # first characters of a formula in a spreadsheet; such names get ./ in front
ESCAPE = re.compile(r"\\(\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")  # as `printable` writes them
UNWRITABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories that no line of a table can hold
PILLOW = threading.Lock()  # two threads must not load one PIL image


@dataclass(frozen=True)
class ImageInput:
    """An image that is not read yet.

    Attributes:
        name: its path as given, or its place in what was given ("image 3").
        load: returns its encoded bytes or its pixels; may raise anything.
        path: the file, if it is one.
    """

    name: str
    load: Callable[[], Pixels | bytes]
    path: str | None = None
    tolerate_truncated: bool = field(default=False, kw_only=True)  # as `decode_resized` takes it

    def read(self) -> Pixels:
        """Upright sRGB pixels, uint8 (height, width, 3). Raises FusiqaError with the name and the reason."""
        return self.resized(ORIGINAL_SIZE).pixels

    def resized(self, resize: Resize) -> Decoded:
        """The image after its resize. Raises what `read` does."""
        with naming(self.name):
            loaded = self.load()
            if isinstance(loaded, str):
                raise FusiqaError("the file object gives text; open it in binary mode ('rb')")
            if isinstance(loaded, bytes):
                return decode_resized(loaded, resize, tolerate_truncated=self.tolerate_truncated)
            return Decoded(resize.apply(loaded), loaded.shape[:2])


def is_many(given: Any) -> bool:
    """Whether something is several images: a list, a generator, a column of paths, a 4-D array or tensor."""
    if isinstance(given, str | bytes | bytearray | memoryview | os.PathLike | Image.Image) or hasattr(given, "read"):
        return False
    if hasattr(given, "ndim"):
        return given.ndim == 4 or (given.ndim == 1 and getattr(given.dtype, "kind", "") in ("O", "U", "S", "T"))
    return isinstance(given, Iterable) and not isinstance(given, Mapping)


def images_in(given: Iterable[Any]) -> Iterator[ImageInput]:
    """The images of a list or generator, one by one."""
    for place, each in enumerate(given):
        yield from images_in(each) if is_many(each) else [image_of(each, place=place)]


def image_of(given: Any, *, place: int = 0) -> ImageInput:
    """One image, not read yet: a path, bytes, a file object, a PIL image, an array or a tensor.

    An image without a name is named by its `place` in a list.
    """
    name = f"image {place}"
    match given:
        case ImageInput():
            return given
        case str() | os.PathLike():
            return file_image(os.fspath(given))
        case bytes() | bytearray() | memoryview():
            return ImageInput(name, partial(bytes, given))
        case Image.Image():
            return ImageInput(getattr(given, "filename", "") or name, _pixels_in(given))
    if isinstance(given, np.ndarray) or (hasattr(given, "detach") and hasattr(given, "ndim")):
        return ImageInput(name, partial(pixels_of, given))
    if hasattr(given, "read"):
        named = getattr(given, "name", None)
        return ImageInput(named if isinstance(named, str) else name, _from_here(given))
    return ImageInput(name, partial(_refuse, f"{type(given).__name__} is no image; expected {ALLOWED}"))


def _pixels_in(image: Image.Image) -> Callable[[], Pixels]:
    """What gives the pixels of a PIL image; of one with several frames those of now, before an iterator goes on."""
    pixels = partial(_pixels_of_one, image)
    try:
        return pixels if getattr(image, "n_frames", 1) == 1 else partial(np.array, pixels())
    except Exception as reason:  # malformed files make Pillow raise almost anything
        return partial(_refuse, reason_of(reason))


def _pixels_of_one(image: Image.Image) -> Pixels:
    if 0 in image.size:
        raise FusiqaError(f"an image of {image.width} x {image.height} pixels: it is empty")
    with PILLOW, pillow_warnings_ignored():
        return upright_pixels(image)


def _from_here(file: Any) -> Callable[[], Any]:
    """What reads a file object from where it is now, a second time too if it can be sought in: for a heat map."""
    if not (hasattr(file, "seekable") and file.seekable()):
        return file.read
    place = file.tell()

    def read() -> Any:
        file.seek(place)
        return file.read()

    return read


def file_image(path: str) -> ImageInput:
    """An image in a file, also by its name in a table. A URL is refused when it is read: nothing here opens one."""
    if is_url(path):
        return ImageInput(path, partial(_refuse, "URLs are not read; download the image and give its path"), path)
    path = path_of(path)
    name = printable(path)
    return ImageInput(f"./{name}" if name.startswith(EXECUTED) else name, partial(content_of, path), path)


def is_url(path: str) -> bool:
    """Whether a path begins as a URL does: s3://bucket, also chained as fsspec does, simplecache::s3://bucket."""
    return re.match(r"[a-z][\w+.:-]*://", path, re.ASCII | re.IGNORECASE) is not None


def _refuse(reason: str) -> NoReturn:
    raise FusiqaError(reason)


def printable(path: str) -> str:
    r"""A path as one line of text, which no other path has.

    Control characters and bytes that are not UTF-8 are escaped as in Python, and with them backslashes; a double slash
    at the beginning, which no path in a folder has, marks such a name.

    Example:
        >>> print(printable("two\nlines.jpg"))
        .//two\nlines.jpg
    """
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    odd = {c for c in text if unicodedata.category(c) in UNWRITABLE}
    if not odd:
        return text
    escaped = "".join(c.encode("unicode_escape").decode() if c in odd | {"\\"} else c for c in text)
    return f"/{escaped}" if text.startswith("/") else f".//{escaped}"


def path_of(name: str) -> str:
    """The path that `printable` made a name of."""
    if not name.startswith((".//", "//")):
        return name
    text = ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), name.removeprefix("./")[1:])
    path = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return path if printable(path) == name else name


def pixels_of(given: Any) -> Pixels:
    """An array or a tensor of torch as an image; opacity over white. Others, and NaN, raise FusiqaError.

    Arrays are (height, width), or have 1, 3 or 4 channels last or first; tensors have them first. uint8 is 0-255,
    uint16 0-65535, floating point 0-1.
    """
    array, is_tensor = given, not isinstance(given, np.ndarray)
    if is_tensor:  # of torch, which is not imported for it
        array = given.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    if array.ndim == 3 and (is_tensor or (array.shape[2] not in CHANNELS and array.shape[0] in CHANNELS)):
        array = array.transpose(1, 2, 0)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in CHANNELS or 0 in array.shape:
        kind, shape = ("a tensor", "(3, height, width)") if is_tensor else ("an array", "(height, width, 3)")
        raise FusiqaError(f"{kind} of shape {tuple(given.shape)}; expected {shape}, with 1 or 4 for grey or RGBA")
    if array.dtype != np.uint8:
        most = 65_535 if np.issubdtype(array.dtype, np.uint16) else 1  # in either order of bytes
        if most == 1 and not np.issubdtype(array.dtype, np.floating):
            raise FusiqaError(f"an array of {array.dtype}; expected uint8 (0-255), uint16 (0-65535) or floats in 0-1")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= most):  # NaN is neither
            raise FusiqaError(f"values from {low:.9g} to {high:.9g} in an array of {array.dtype}; expected 0 to {most}")
        array = np.round(array * (255 / most)).astype(np.uint8)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return upright_pixels(Image.fromarray(array)) if array.shape[2] == 4 else np.ascontiguousarray(array)


def listed_names(lines: Iterable[str] | None = None) -> Iterator[str]:
    """The paths of a list (by default standard input), one a line, or each ended by NUL as `find -print0` writes them.

    A byte order mark is removed; bytes that are not text in the file system's encoding are kept as they are. A name
    ended by NUL may have line breaks, so the first lines are held back until one of them names a file.
    """
    lines = sys.stdin if lines is None else lines
    if hasattr(lines, "reconfigure"):
        lines.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    coming, held = iter(lines), list[str]()
    for line in coming:
        held.append(line if held else line.removeprefix("\ufeff"))
        if "\0" in line or len(held) == HELD_BACK or os.path.lexists(held[-1].rstrip("\r\n")):
            break
    if held and "\0" in held[-1]:
        yield from filter(None, "".join([*held, *coming]).split("\0"))
    else:
        yield from (line.rstrip("\r\n") for line in chain(held, coming) if line.strip())


def walk(
    paths: Iterable[str], *, done: Collection[str] = (), say: Callable[[str], object] | None = None
) -> Iterator[ImageInput]:
    """Images in the order named; in folders and below them by ending, sorted, without hidden files.

    A file that is named is taken whatever its ending. A missing file, a pattern without a match and a folder that may
    not be read come as an image whose reading fails, so that each has its row. What is named twice comes once. Raises
    FusiqaError at the end if there was none at all.

    Args:
        paths: files, folders, patterns, or "-" for a list on standard input.
        done: names that are left out.
        say: called at the end with what was skipped in folders: other files by ending, and linked folders.
    """
    paths, seen, found, skipped = list(paths), set(), False, Counter[str]()
    may_repeat = len(paths) != 1 or not os.path.isdir(paths[0])  # one folder has every name once
    for image in _named(paths, skipped):
        found = True
        if image.name not in seen and image.name not in done:
            yield image
        if may_repeat:
            seen.add(image.name)
    if not found:
        raise FusiqaError(nothing_in(paths))
    if skipped and say:
        say(f"skipped in folders: {listed([f'{n:,} {what}' for what, n in skipped.most_common()])}")


def check_any(paths: Iterable[str]) -> None:
    """Raise FusiqaError where `paths` name no file that exists. Of a list on standard input nothing is taken."""
    paths = list(paths)
    named = [path for path in paths if path != STANDARD_INPUT]
    if len(named) < len(paths):
        coming = getattr(sys.stdin, "buffer", None)
        if coming is None or coming.peek(1):
            return
    if not any(os.path.lexists(image.path or "") for image in _named(named, Counter())):
        raise FusiqaError(nothing_in(paths))


def nothing_in(paths: Iterable[str | Path]) -> str:
    """The error for paths that hold no image."""
    endings = " ".join(sorted(ENDINGS))
    return f"no images in {', '.join(map(str, paths))}; in folders, these endings are taken: {endings}"


def image_files(paths: Sequence[Path], *, say: Callable[[str], object] | None = None) -> list[Path]:
    """The files that `walk` finds, as absolute paths, each once.

    Raises FusiqaError for a path that does not exist, and where there is no image at all.
    """
    for path in paths:
        if not path.exists() and not glob.has_magic(str(path)):
            raise FusiqaError(f"no such file or folder: {path}")
    found = [Path(image.path or image.name) for image in walk(map(str, paths), say=say)]
    if files := list(dict.fromkeys(path.resolve() for path in found if path.is_file())):
        return files
    raise FusiqaError(nothing_in(paths))


def _named(paths: Iterable[str], skipped: Counter[str], *, patterns: bool = True) -> Iterator[ImageInput]:
    for path in paths:
        if path == STANDARD_INPUT:
            names = (f"./{name}" if name == path else name for name in listed_names())
            yield from _named(names, skipped, patterns=False)
        elif patterns and not os.path.lexists(path) and (matching := sorted(glob.iglob(path, recursive=True))):
            yield from _named(matching, skipped)
        elif os.path.isdir(path):
            yield from _below(path, skipped)
        else:
            yield file_image(path)


def _below(top: str, skipped: Counter[str]) -> Iterator[ImageInput]:
    """The images of a folder, then those of its folders, each in the order of their names; then unreadable folders."""
    failed: list[OSError] = []
    for folder, below, files in os.walk(top, onerror=failed.append):
        below[:] = sorted(name for name in below if not name.startswith("."))
        skipped.update("linked folder" for name in below if os.path.islink(os.path.join(folder, name)))
        for name in sorted(name for name in files if not name.startswith(".")):
            ending = os.path.splitext(name)[1].lower()
            if ending in ENDINGS:
                yield file_image(os.path.join(folder, name))
            elif ending != SIDECAR_ENDING:
                skipped[ending or "without an ending"] += 1
    for error in failed:
        path = str(error.filename or top)
        yield ImageInput(printable(path), partial(_refuse, reason_of(error)), path)
