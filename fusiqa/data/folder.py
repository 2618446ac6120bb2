"""Images that nobody rated, from files and folders. It knows no data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.config import ScoreRange
from fusiqa.data.ratings import Ratings
from fusiqa.errors import FusiqaError, listed
from fusiqa.scoring.image import FolderImages
from fusiqa.scoring.inputs import image_files


def read_images(paths: Sequence[Path]) -> Ratings:
    """Unrated images as a table whose `mos` is NaN; their names are paths from their common folder.

    Raises:
        FusiqaError: as `image_files`, or names that no table could be written with.
    """
    files = image_files(paths)
    root = Path(os.path.commonpath([file.parent for file in files]))
    names = [str(file.relative_to(root)) for file in files]
    undecoded = [ascii(name) for name in names if name != name.encode(errors="replace").decode()]
    if undecoded:
        raise FusiqaError(f"names of images that are not UTF-8: {listed(undecoded)}; rename the files")
    table = pd.DataFrame({"image": names, "mos": float("nan"), "split": None, "group": names})
    name = paths[0].resolve().name if len(paths) == 1 else f"{len(files)} images"
    return Ratings(name, table, ScoreRange(0, 1), FolderImages(root), "none")
