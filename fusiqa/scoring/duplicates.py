"""Images that show the same scene, found by perceptual hash.

The hash is the 64-bit pHash: which of the 8 x 8 lowest frequencies (DCT-II) of a 32 x 32 grey thumbnail are above their
median. Exposure, white balance, blur and compression hardly change it. The bits equal those of the package imagehash.

Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (DCT based hash).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt64
from PIL import Image

from fusiqa.scoring.image import Pixels

Hashes = UInt64[np.ndarray, "names"]
"""One perceptual hash per image."""
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of the first and of the second image of each pair, first < second, and the bits in which they differ."""
SAME_SCENE = 8  # bits of 64 that differ, up to which two images show the same scene
"""Measured on BIQ2021's 12,000 images: of 36 pairs looked at for each distance up to 8, at most 1 showed different
scenes, of those at 12 a third. At 0, 390 of 410 pairs are one image saved twice."""
SIDE, FREQUENCIES = 32, 8  # of the grey thumbnail, pixels; of each axis, those compared with their median
COSINES = 2 * np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))
DECIMALS = 6  # of the coefficients: those of a flat image are 0, and must not be told apart by their rounding errors
BANDS, BAND = 4, 16  # parts of a hash, and the bits of each
AT_ONCE = 2**20  # pairs that are looked at in one step
LOOK_UP = 2.4  # pairs that are compared in the time of one look-up, measured with 27,000 hashes


def perceptual_hash(pixels: Pixels) -> int:
    """The 64-bit pHash of an image.

    Example:
        >>> hex(perceptual_hash(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)))
        '0x8364d364d365d365'
    """
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    low = np.round(COSINES @ np.asarray(grey, np.float64) @ COSINES.T, DECIMALS)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_duplicates(hashes: Hashes, distance: int) -> list[tuple[int, int, int]]:
    """Positions of every pair whose hashes differ in at most so many bits, and in how many.

    Example:
        >>> near_duplicates(np.array([0b1100, 0b0011, 0b1101], np.uint64), 1)
        [(0, 2, 1)]
    """
    found = (zip(*(each.tolist() for each in pairs), strict=True) for pairs in close_pairs(hashes, distance))
    return sorted(pair for pairs in found for pair in pairs)


def close_pairs(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """The pairs whose hashes differ in at most so many bits, each once, some at a time in bounded memory.

    Two hashes that differ in at most d bits differ in at most d // 4 bits in one of their four bands of 16 bits. So
    each band is an index, in which the few values that near are looked up. Where that would be more work, all pairs
    are looked at.

    Source: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012.
    """
    within = distance // BANDS
    masks = np.flatnonzero(np.bitwise_count(np.arange(2**BAND)) <= within)
    if LOOK_UP * BANDS * len(masks) >= len(hashes) / 2:
        yield from _all_pairs(hashes, distance)
        return
    for band in range(BANDS):
        order = np.argsort(_bands(hashes)[:, band], kind="stable")
        ordered = hashes[order]
        keys = _bands(ordered)[:, band].astype(np.int64)
        starts = np.searchsorted(keys, np.arange(2**BAND + 1))
        for mask in masks.tolist():
            partners = keys ^ mask
            # Every pair is met from both sides; it is taken from the one with the lower key or, in one key, the first.
            begins = starts[partners] if mask else np.arange(1, len(keys) + 1)
            counts = np.where(partners >= keys, starts[partners + 1] - begins, 0)
            for first, second in _in_blocks(begins, counts):
                differing = ordered[first] ^ ordered[second]
                bits = np.bitwise_count(differing)
                kept = bits <= distance
                if band:  # those that an earlier band has found
                    kept &= (np.bitwise_count(_bands(differing)[:, :band]) > within).all(axis=1)
                one, other = order[first[kept]], order[second[kept]]
                yield np.minimum(one, other), np.maximum(one, other), bits[kept]


def _bands(hashes: Hashes) -> np.ndarray:
    return hashes.view(np.uint16).reshape(-1, BANDS)


def _in_blocks(begins: np.ndarray, counts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each position with the `counts` positions from its `begins` on, as two arrays of about `AT_ONCE`."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        some = counts[start:stop]
        offsets = np.arange(some.sum()) - np.repeat(ends[start:stop] - some - before, some)
        yield np.repeat(np.arange(start, stop), some), np.repeat(begins[start:stop], some) + offsets
        start = stop


def _all_pairs(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    positions = np.arange(len(hashes))
    for first, second in _in_blocks(positions + 1, len(hashes) - 1 - positions):
        bits = np.bitwise_count(hashes[first] ^ hashes[second])
        kept = bits <= distance
        yield first[kept], second[kept], bits[kept]
