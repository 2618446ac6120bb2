"""Images that show the same scene, found by perceptual hash.

The hash is the 64-bit pHash: which of the 8 x 8 lowest frequencies (DCT-II) of a 32 x 32 grey thumbnail are above their
median. Usually half of the bits are set, so that distances are even. It is insensitive to quality: exposure, white
balance, blur and compression hardly change it, which is what is needed here. The bits are those of the package
imagehash, whose only other use would be its dependency on PyWavelets.

Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2 (DCT based hash).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt64
from PIL import Image
from scipy.fft import dctn

Hashes = UInt64[np.ndarray, "names"]
"""One perceptual hash per image."""

SAME_SCENE = 8
"""Hamming distance up to which two images show the same scene, in bits of 64.

Measured on BIQ2021's 12,000 images: the pairs at each distance, how many of them lie between its three subsets
(which come from different sources, so that most of these are chance), and how many of 36 that were looked at showed
different scenes:

    distance            0     2     4     6     8    10     12     14      16
    pairs             410   187   356   591   734  1007   1369   3462   15903
    between subsets     3     0     1     3     8    33    197   1131    7176
    different, of 36    0     0     0     1     0     0     12

Among 2,000 of them there are 9, 9, 6, 13, 23, 27, 37, 87 and 442 pairs. From 12 on chance takes over, the more so the
larger the data set. At 0, 390 of the 410 pairs are one image saved twice (thumbnails of 64 x 64 grey pixels differ
by less than 4 levels, root mean square), at 2 still 36 of 187; the others are further images of one scene. Of the
15 between subsets up to 8, 9 show different scenes: nearly all of them are dark.
"""

SIDE = 32
"""Side of the grey thumbnail, pixels."""
FREQUENCIES = 8
"""Lowest frequencies of each axis that are compared with their median."""
BLOCK_BYTES = 64 * 2**20
"""Memory for the distances looked at in one step."""


class Pair(NamedTuple):
    """Two images by their positions, the smaller first, and the bits in which their hashes differ."""

    first: int
    second: int
    distance: int


def perceptual_hash(pixels: np.ndarray) -> int:
    """The 64-bit pHash of an image, (height, width, 3), uint8.

    Example:
        >>> hex(perceptual_hash(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)))
        '0x8364d364d365d365'
    """
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, np.float64), type=2)[:FREQUENCIES, :FREQUENCIES]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_duplicates(hashes: Hashes, distance: int) -> list[Pair]:
    """Every pair whose hashes differ in at most so many bits, by position.

    All pairs are looked at, in blocks of 64 MiB: 50,000 images take seconds. Only what is found is kept, so that
    thousands of images with one and the same hash (all black, say) are what costs memory.

    Example:
        >>> near_duplicates(np.array([0b1100, 0b0011, 0b1101], np.uint64), 1)
        [Pair(first=0, second=2, distance=1)]
    """
    rows = max(1, BLOCK_BYTES // (hashes.itemsize * max(1, len(hashes))))
    found: list[Pair] = []
    for start in range(0, len(hashes), rows):
        bits = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None, start:])
        first, second = np.nonzero(bits <= distance)
        after = second > first  # both count from `start`, so this keeps each pair once and none with itself
        first, second = first[after], second[after]
        columns = (first + start).tolist(), (second + start).tolist(), bits[first, second].tolist()
        found += [Pair(*pair) for pair in zip(*columns, strict=True)]
    return found
