"""Several data sets as one: each keeps its split, groups and resize; ratings move to the range of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd

from fusiqa.data.audit import Checked
from fusiqa.data.ratings import SET, ImageReader, Ratings, fingerprint
from fusiqa.data.splits import check_no_leak, group_copies
from fusiqa.scoring.image import Pixels, Resize


@dataclass(frozen=True)
class JointImages:
    """Images named such as "biq2021/1.jpg", read and resized as their own data set asks: an ImageReader."""

    readers: Mapping[str, tuple[ImageReader, Resize]]
    resized: ClassVar[bool] = True

    @property
    def in_memory(self) -> bool:
        return all(getattr(reader, "in_memory", False) for reader, _ in self.readers.values())

    def read(self, image: str) -> Pixels:
        """Pixels of one resized image, sRGB. Raises FusiqaError as its reader does."""
        name, _, own = image.partition("/")
        reader, resize = self.readers[name]
        return resize.read(reader, own)

    def verify(self, image: str) -> str:
        name, _, own = image.partition("/")
        return self.readers[name][0].verify(own)

    def resize_of(self, image: str) -> Resize:
        return self.readers[image.partition("/")[0]][1]


def join(sets: Mapping[str, Ratings], *, view: str) -> Ratings:
    """Data sets, or the same part of each, as one, by the names that images and the column `set` shall have.

    The range and `resize` are those of the first; `images` resizes those of each set by its own.
    """
    first, readers, tables = next(iter(sets.values())), {}, []
    for name, ratings in sets.items():
        readers[name] = ratings.images, Resize.parse(ratings.resize, view=view)
        mos = first.score_range.from_unit(ratings.score_range.to_unit(ratings.table["mos"])).clip(*first.score_range)
        own = {column: f"{name}/" + ratings.table[column].astype(str) for column in ("image", "group")}
        tables.append(ratings.table.assign(**own, mos=mos, **{SET: name}))
    table = pd.concat(tables, ignore_index=True)
    return replace(first, name=" + ".join(sets), table=table, images=JointImages(readers))


def join_checked(sets: Mapping[str, Checked], *, view: str) -> Checked:
    """Checked data sets as one. Raises FusiqaError for an image that is on several sides, under whatever name."""
    joined = join({name: each.ratings for name, each in sets.items()}, view=view)
    contents = {f"{name}/{i}": content for name, each in sets.items() for i, content in each.contents.items()}
    broken = [row._replace(image=f"{name}/{row.image}") for name, each in sets.items() for row in each.broken]
    check_no_leak(group_copies(joined, contents))
    return Checked(joined, broken, fingerprint([each.fingerprint for each in sets.values()]), contents)
