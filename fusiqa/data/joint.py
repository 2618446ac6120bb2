"""Several data sets as one: each keeps its split, groups and resize; ratings move to the range of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from fusiqa.data.audit import Checked
from fusiqa.data.cache import CachedImages
from fusiqa.data.distortions import DistortedImages, content_of_version
from fusiqa.data.ratings import RESIZE, SET, ImageReader, Ratings, fingerprint
from fusiqa.data.splits import check_no_leak, group_copies
from fusiqa.scoring.image import ORIGINAL_SIZE, Pixels, Resize


@dataclass(frozen=True)
class JointImages:
    """Images named such as "biq2021/1.jpg", by their data sets: an ImageReader."""

    readers: Mapping[str, ImageReader]

    @property
    def in_memory(self) -> bool:
        return all(getattr(reader, "in_memory", False) for reader in self.readers.values())

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> Pixels:
        name, _, own = image.partition("/")
        return self.readers[name].read(own, resize)

    def verify(self, image: str) -> str:
        name, _, own = image.partition("/")
        return self.readers[name].verify(own)


def join(sets: Mapping[str, Ratings]) -> Ratings:
    """Data sets, or the same split of each, as one, by the names that images and the column `set` get.

    The range is that of the first; the table states each image's data set and resize protocol.
    """
    first, tables = next(iter(sets.values())), []
    for name, ratings in sets.items():
        mos = first.score_range.from_unit(ratings.score_range.to_unit(ratings.table["mos"])).clip(*first.score_range)
        own = {column: f"{name}/" + ratings.table[column].astype(str) for column in ("image", "group")}
        tables.append(ratings.table.assign(**own, mos=mos, **{SET: name, RESIZE: ratings.resize}))
    table = pd.concat(tables, ignore_index=True)
    images = JointImages({name: ratings.images for name, ratings in sets.items()})
    return replace(first, name=" + ".join(sets), table=table, images=images)


def join_checked(sets: Mapping[str, Checked]) -> Checked:
    """Checked data sets as one. Raises FusiqaError for an image in several splits, under any name.

    An image and its undistorted version in a set of distorted ones are one image.
    """
    joined = join({name: each.ratings for name, each in sets.items()})
    contents = {f"{name}/{i}": content for name, each in sets.items() for i, content in each.contents.items()}
    broken = [row._replace(image=f"{name}/{row.image}") for name, each in sets.items() for row in each.broken]
    versions = {name for name, each in sets.items() if of_versions(each.ratings.images)}
    undistorted = {
        image: content if image.partition("/")[0] in versions else content_of_version(content)
        for image, content in contents.items()
    }
    check_no_leak(group_copies(joined, undistorted), advice="; give each table a column `split`, alike for one image")
    return Checked(joined, broken, fingerprint([each.fingerprint for each in sets.values()]), contents)


def of_versions(images: ImageReader) -> bool:
    """Whether the contents of these images are those of `content_of_version`."""
    return isinstance(images.source if isinstance(images, CachedImages) else images, DistortedImages)
