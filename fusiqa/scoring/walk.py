"""What a user names on a command line -> images, one by one, a million files deep. It opens none of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from typing import TextIO

from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import ImageInput, file_image, printable
from fusiqa.scoring.reading import ENDINGS

STANDARD_INPUT = "-"


def walk(paths: Iterable[str], standard_input: TextIO | None = None) -> Iterator[ImageInput]:
    """Images in the order named; in folders and below them by ending, sorted, without hidden files.

    A file that is named is taken whatever its ending. One that is not there, and a folder that may not be read, come as
    an image whose reading fails, so that it costs one row. What is named twice comes once.

    Args:
        paths: files, folders, patterns, or "-" for a list in `standard_input`.
        standard_input: one path a line.

    Raises:
        FusiqaError: at the end, if there was none at all.
    """
    paths = list(paths)
    seen: set[str] = set()
    found = 0
    for image in _named(paths, standard_input):
        found += 1
        if len(paths) == 1 or image.name not in seen:
            yield image
        if len(paths) > 1:
            seen.add(image.name)
    if not found:
        named = ", ".join(paths)
        raise FusiqaError(f"no images in {named}; in folders, these endings are taken: {' '.join(sorted(ENDINGS))}")


def _named(paths: Iterable[str], standard_input: TextIO | None) -> Iterator[ImageInput]:
    for path in paths:
        if path == STANDARD_INPUT and standard_input is not None:
            yield from _named((line.rstrip("\r\n") for line in standard_input if line.strip()), None)
        elif not os.path.lexists(path) and glob.has_magic(path):
            yield from _named(sorted(glob.iglob(path, recursive=True)), None)
        elif os.path.isdir(path):
            yield from _below(path)
        else:
            yield file_image(path)


def _below(folder: str) -> Iterator[ImageInput]:
    """The images of a folder, then those of its folders, each in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield _unreadable(folder, error)
        return
    visible = [entry for entry in inside if not entry.name.startswith(".")]
    folders = [entry for entry in visible if entry.is_dir(follow_symlinks=False)]
    for entry in visible:
        if os.path.splitext(entry.name)[1].lower() in ENDINGS and not os.path.isdir(entry.path):
            yield file_image(entry.path)
    for entry in folders:
        yield from _below(entry.path)


def _unreadable(folder: str, error: OSError) -> ImageInput:
    def refuse():
        raise error

    return ImageInput(printable(folder), refuse, folder)
