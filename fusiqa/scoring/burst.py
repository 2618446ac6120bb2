"""Bursts: photographs of one scene are grouped, and ranked within their group.

Two photographs show one scene if their perceptual hashes, which ignore colour, differ in few bits, and their colours
little. Where capture time and camera of both are known, they must instead be of one camera within a few seconds, and
more bits may differ. A group is a connected component of such pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from fusiqa.scoring.duplicates import Hashes, close_pairs, perceptual_hash
from fusiqa.scoring.exif import capture_of
from fusiqa.scoring.image import LUMA, Decoded, Pixels, Resize
from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.result import Result, described
from fusiqa.scoring.table import SCORE_TYPES, Row, Types


class Time(str):
    """A time as text, as `datetime.isoformat` writes it; ValueError for another, which a spreadsheet may have made."""

    def __new__(cls, text: str) -> Time:
        datetime.fromisoformat(text)
        return super().__new__(cls, text)


class Hexadecimal(str):
    """Bytes as hexadecimal text; ValueError for another."""

    def __new__(cls, text: str) -> Hexadecimal:
        bytes.fromhex(text)
        return super().__new__(cls, text)


GROUP_TYPES = {"group": int, "rank": int, "reason": str}
FRAME_TYPES = {"sharpness": float, "taken": Time, "camera": str, "hash": Hexadecimal, "colours": Hexadecimal}
SORT_TYPES: Types = {"path": str} | GROUP_TYPES | dict(SCORE_TYPES) | FRAME_TYPES | {"sidecar": str}
"""Columns of the table of `fusiqa sort`."""
Colours = UInt8[np.ndarray, "32"]
TILES, COLOUR_DISTANCE = 4, 8.0  # cells along each side, of which the colours are compared; levels
ROUGH = 16  # levels of colour that are merged where the hashes are the same
SHARPNESS_CELLS = 8  # cells along each side of an image, of which the sharpness is measured
SUBJECT = 0.25  # fraction of an image that counts as its subject: where the heat map is highest
UNKNOWN = np.iinfo(np.int64).min  # a time that is not known
EPOCH = datetime(1970, 1, 1)
MICRO = 1_000_000
NEIGHBOURS = 200  # most images that each is compared with by time, as the clock of a camera may have stopped


@dataclass(frozen=True)
class Frame(ImageInput):
    """An image that records the features for grouping while it is read for scoring, so that it is decoded once."""

    seen: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, image: ImageInput) -> Frame:
        seen: dict[str, Any] = {}
        return cls(image.name, partial(_recording, image.load, seen), image.path, seen)

    def resized(self, resize: Resize) -> Decoded:
        decoded = super().resized(resize)
        colours = colours_of(decoded.pixels).tobytes().hex()
        self.seen.update(hash=f"{perceptual_hash(decoded.pixels):016x}", colours=colours)
        self.seen.update(cells=sharpness_of(decoded.pixels))
        return decoded


def _recording(load: Callable[[], Pixels | bytes], seen: dict[str, Any]) -> Pixels | bytes:
    content = load()
    if isinstance(content, bytes):
        time, camera = capture_of(content)
        seen.update(taken=time, camera=camera or None)
    return content


def row_of(result: Result) -> Row:
    """The row of a scored frame, without a group."""
    row = dict.fromkeys(SORT_TYPES) | result.row()
    if isinstance(result.image, Frame) and result.crops is not None:
        seen = result.image.seen
        row |= {name: seen.get(name) for name in FRAME_TYPES}
        heat = result.crops.heat_map(SHARPNESS_CELLS, SHARPNESS_CELLS)
        subject = heat >= np.quantile(heat, 1 - SUBJECT)
        row["sharpness"] = float(np.sqrt(seen["cells"][subject].mean()))
    return row


def colours_of(pixels: Pixels) -> Colours:
    """Cb and Cr of each of 4 x 4 cells of an image, which the perceptual hash ignores."""
    chroma = Image.fromarray(pixels).convert("YCbCr").resize((TILES, TILES), Image.Resampling.BOX)
    return np.asarray(chroma)[..., 1:].ravel()


def sharpness_of(pixels: Pixels) -> Float[np.ndarray, "grid grid"]:
    """The sharpness of each of 8 x 8 cells of an image: mean square of the Laplacian of its smoothed luminance.

    Noise counts as detail, so it only compares frames of one scene.
    """
    grey = np.pad(pixels @ LUMA.astype(np.float32), 2, mode="edge")
    smooth = grey[:-2] / 4 + grey[1:-1] / 2 + grey[2:] / 4
    smooth = smooth[:, :-2] / 4 + smooth[:, 1:-1] / 2 + smooth[:, 2:] / 4
    inside = smooth[1:-1, 1:-1]
    energy = (4 * inside - smooth[:-2, 1:-1] - smooth[2:, 1:-1] - smooth[1:-1, :-2] - smooth[1:-1, 2:]) ** 2
    rows, columns = (np.linspace(0, side, SHARPNESS_CELLS, endpoint=False).astype(int) for side in energy.shape)
    sums, counts = (
        np.add.reduceat(np.add.reduceat(each, rows, axis=0), columns, axis=1) for each in (energy, np.ones_like(energy))
    )
    return sums / counts


class Limits(NamedTuple):
    """The largest differences of two photographs of one scene.

    Attributes:
        distance: bits of 64 in which their hashes differ.
        distance_in_time: the same where both were taken by one camera within `seconds`.
        seconds: between them, where both say when they were taken.
        colour_distance: mean difference of their colours, levels, where one does not say when it was taken.
    """

    distance: int
    distance_in_time: int
    seconds: float
    colour_distance: float = COLOUR_DISTANCE


class Shots(NamedTuple):
    """The features that images are grouped by.

    Attributes:
        hashes: perceptual ones.
        times: when each was taken, microseconds of its camera's clock; `UNKNOWN` where it does not say.
        cameras: a number for each camera.
        colours: as `colours_of` gives them.
    """

    hashes: Hashes
    times: Int[np.ndarray, " images"]
    cameras: Int[np.ndarray, " images"]
    colours: UInt8[np.ndarray, "images 32"]


def groups_of(shots: Shots, limits: Limits) -> Int[np.ndarray, " images"]:
    """The group of each image, numbered from 0 in the order of their first images."""
    hashes, times, cameras, colours = shots
    # Images that agree in all are one node, so that a thousand copies are not half a million pairs.
    keys = [each.view(np.uint8).reshape(-1, 8) for each in (hashes, times, cameras)] + [colours // ROUGH]
    same = np.concatenate(keys, axis=1).view(f"V{3 * 8 + colours.shape[1]}").ravel()
    _, firsts, nodes = np.unique(same, return_index=True, return_inverse=True)
    parents = np.arange(len(firsts))
    for one, other, _ in close_pairs(hashes[firsts], limits.distance):
        first, second = firsts[one], firsts[other]
        timed = (times[first] != UNKNOWN) & (times[second] != UNKNOWN)
        near = (np.abs(times[first] - times[second]) <= limits.seconds * MICRO) & (cameras[first] == cameras[second])
        kept = timed & near
        untimed = np.flatnonzero(~timed)
        unlike = np.abs(colours[first[untimed]].astype(np.int16) - colours[second[untimed]]).mean(axis=1)
        kept[untimed] = unlike <= limits.colour_distance
        _join(parents, one[kept], other[kept])
    for one, other in _neighbours(shots, limits):
        _join(parents, nodes.ravel()[one], nodes.ravel()[other])
    labels = parents[nodes.ravel()]
    _, begins, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(begins))[numbers]


def _neighbours(shots: Shots, limits: Limits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of one camera within the seconds and bits of the limits; at most `NEIGHBOURS` of each image."""
    order = np.lexsort((shots.times, shots.cameras))
    order = order[shots.times[order] != UNKNOWN]
    for step in range(1, min(len(order), NEIGHBOURS + 1)):
        one, other = order[:-step], order[step:]
        near = shots.times[other] - shots.times[one] <= limits.seconds * MICRO
        near &= shots.cameras[one] == shots.cameras[other]
        if not near.any():
            return
        one, other = one[near], other[near]
        alike = np.bitwise_count(shots.hashes[one] ^ shots.hashes[other]) <= limits.distance_in_time
        yield one[alike], other[alike]


def _join(parents: Int[np.ndarray, " nodes"], one: Int[np.ndarray, " pairs"], other: Int[np.ndarray, " pairs"]) -> None:
    """Join the trees of each pair of nodes; the parent of a node is always the lowest node of its tree."""
    while len(one):
        low, high = np.minimum(parents[one], parents[other]), np.maximum(parents[one], parents[other])
        apart = low != high
        one, other = one[apart], other[apart]
        np.minimum.at(parents, high[apart], low[apart])
        while (parents[parents] != parents).any():
            parents[:] = parents[parents]


def grouped(rows: Iterable[Row], limits: Limits) -> list[Row]:
    """The rows with group, rank and reason, sorted by them; those without a score come last, without a group."""
    rows = list(rows)
    scored = [row for row in rows if row["score"] is not None]
    for row, group in zip(scored, groups_of(_shots(scored), limits).tolist(), strict=True):
        row["group"] = group + 1
    scored.sort(key=lambda row: (row["group"], -row["score"], row["path"]))
    for _, members in groupby(scored, key=lambda row: row["group"]):
        burst = list(members)
        for rank, row in enumerate(burst, start=1):
            row |= {"rank": rank, "reason": _reason(row, burst)}
    return scored + [row for row in rows if row["score"] is None]


def _shots(rows: Sequence[Row]) -> Shots:
    cameras = np.unique(np.array([row["camera"] or "" for row in rows], str), return_inverse=True)[1]
    times = [_microseconds(row["taken"]) for row in rows]
    hashes = np.array([int(row["hash"], 16) for row in rows], np.uint64)
    colours = np.frombuffer(bytes.fromhex("".join(row["colours"] for row in rows)), np.uint8).reshape(-1, 2 * TILES**2)
    return Shots(hashes, np.array(times, np.int64), cameras, colours)


def _microseconds(time: str | None) -> int:
    return UNKNOWN if time is None else round((datetime.fromisoformat(time) - EPOCH).total_seconds() * MICRO)


def _reason(row: Row, burst: Sequence[Row]) -> str | None:
    """Why a row has its rank in its burst; None for one alone."""
    if len(burst) == 1:
        return None
    best, second = burst[:2]
    if row is best:
        compared = f"best of {len(burst)}: score {row['score']:.3g}, the next {second['score']:.3g}"
    else:
        compared = f"score {row['score']:.3g}, {best['score'] - row['score']:.3g} below the best"
    sharpest = max(each["sharpness"] for each in burst)
    fraction = row["sharpness"] / sharpest if sharpest else 1.0
    sharp = "sharpest subject" if fraction == 1 else f"subject {fraction:.0%} as sharp as the sharpest"
    return "; ".join(filter(None, (compared, sharp, described(row))))
