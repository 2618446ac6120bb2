"""What makes photographs one scene, and how those of one scene are ranked."""

import io
from datetime import datetime, timedelta

import numpy as np
import pytest
from PIL import Image, ImageFilter
from raw_files import jpeg
from tiny_models import noise

from fusiqa.data.synthetic import dead_leaves
from fusiqa.scoring import burst
from fusiqa.scoring.burst import (
    FRAME_TYPES,
    MICRO,
    SHARPNESS_CELLS,
    SORT_TYPES,
    UNKNOWN,
    Frame,
    Limits,
    Shots,
    colours_of,
    grouped,
    groups_of,
    row_of,
    sharpness_of,
)
from fusiqa.scoring.inputs import image_of
from fusiqa.scoring.result import COLUMNS

LIMITS = Limits(distance=4, distance_in_time=12, seconds=3.0)


def shots(*images: tuple[int, float | None, int]) -> Shots:
    """Each image as its hash, the second when it was taken, and the camera; all of one colour."""
    times = [UNKNOWN if second is None else round(second * MICRO) for _, second, _ in images]
    return Shots(
        np.array([each[0] for each in images], np.uint64),
        np.array(times, np.int64),
        np.array([each[2] for each in images], np.int64),
        np.full((len(images), 32), 128, np.uint8),
    )


def groups(*images: tuple[int, float | None, int], limits: Limits = LIMITS) -> list[int]:
    return groups_of(shots(*images), limits).tolist()


def test_hashes_alone_tell_scenes_apart_where_no_time_is_known():
    near, far = 0b1111, 0b11111
    assert groups((0, None, 0), (near, None, 0), (far << 20, None, 0)) == [0, 0, 1]
    assert groups((0, None, 0), (far, None, 0)) == [0, 1]
    assert groups((0, None, 0), (0, None, 1)) == [0, 0]  # cameras without a clock say nothing


def test_where_times_are_known_they_must_agree():
    assert groups((0, 0.0, 0), (0, 3.0, 0), (0, 6.1, 0)) == [0, 0, 1]
    assert groups((0, 0.0, 0), (0, 0.0, 1)) == [0, 1]  # two cameras at one moment
    assert groups((0, 0.0, 0), (0, None, 0)) == [0, 0]  # a copy without EXIF


def test_more_bits_may_differ_within_seconds():
    moved = 2**12 - 1
    assert groups((0, 0.0, 0), (moved, 1.0, 0)) == [0, 0]
    assert groups((0, 0.0, 0), (moved, 4.0, 0)) == [0, 1]
    assert groups((0, None, 0), (moved, None, 0)) == [0, 1]
    assert groups((0, 0.0, 0), (2 * moved + 1, 1.0, 0)) == [0, 1]


def test_colours_tell_scenes_apart_where_no_time_does():
    made = shots((0, None, 0), (1, None, 0), (3, None, 0), (7, 0.0, 0), (15, 1.0, 0))
    made.colours[1] += 5
    made.colours[2] += 13
    made.colours[4] += 100  # in time, colours say nothing
    assert groups_of(made, LIMITS).tolist() == [0, 0, 0, 0, 0]  # 0, 5 and 13: in steps of at most 8
    assert groups_of(made, LIMITS._replace(colour_distance=4)).tolist() == [0, 1, 2, 0, 0]


def test_colours_are_those_of_the_cells():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10, :15] = (255, 0, 0)
    found = colours_of(pixels).reshape(4, 4, 2)
    assert found[0, 0].tolist() == pytest.approx([85, 255], abs=1)  # Cb and Cr of red, ITU-T T.871
    assert (found.reshape(-1, 2)[1:] == 128).all()


def test_a_group_is_all_that_is_connected_however_it_is_ordered():
    chain = [(2 ** (4 * step) - 1, None, 0) for step in range(6)]  # each 4 bits from the next, the ends 20 apart
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(6)
        assert groups(*(chain[place] for place in order)) == [0] * 6


def test_groups_are_numbered_by_their_first_image():
    a, b, c = 0, 0xFF00, 0xFF0000
    assert groups(*((each, None, 0) for each in (b, a, b, c, a))) == [0, 1, 0, 2, 1]
    assert groups() == []


def test_a_clock_that_stands_still_leaves_it_to_the_hash(monkeypatch):
    """All of 2000-01-01 00:00:00: the time says that all are one burst."""
    monkeypatch.setattr(burst, "NEIGHBOURS", 3)
    scenes = [0, 0xFFFF << 8, 0xFFFF << 32]
    assert groups(*((scenes[place % 3], 0.0, 0) for place in range(300))) == [0, 1, 2] * 100


def test_groups_are_those_of_a_plain_search():
    """Random hashes around few centres, random times and cameras, against a search over all pairs."""
    rng = np.random.default_rng(3)
    count = 701
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64)[rng.integers(0, 40, count)]
    for _ in range(5):
        hashes ^= np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    times = np.where(rng.random(count) < 0.3, UNKNOWN, rng.integers(0, 60 * MICRO, count))
    colours = rng.integers(0, 256, (40, 32), np.uint8)[rng.integers(0, 2, count)]
    made = Shots(hashes, times, rng.integers(0, 2, count), colours)
    limits = Limits(8, 11, 2.0)
    labels = list(range(count))
    for one in range(count):
        for other in range(one):
            bits = (int(hashes[one]) ^ int(hashes[other])).bit_count()
            timed = UNKNOWN not in (times[one], times[other])
            together = (
                abs(int(times[one]) - int(times[other])) <= 2 * MICRO and made.cameras[one] == made.cameras[other]
            )
            alike = together if timed else (colours[one] == colours[other]).all()
            if alike and bits <= (limits.distance_in_time if timed else limits.distance):
                low, high = sorted((labels[one], labels[other]))
                labels = [low if label == high else label for label in labels]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    assert groups_of(made, limits).tolist() == [numbers[label] for label in labels]
    assert len(numbers) < count - 100


def test_sharpness_falls_with_blur_and_is_measured_where_it_is():
    pixels = dead_leaves(1, size=97)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    assert sharpness_of(pixels).shape == (SHARPNESS_CELLS, SHARPNESS_CELLS)
    assert sharpness_of(blurred).mean() < 0.2 * sharpness_of(pixels).mean()
    assert sharpness_of(np.full((31, 37, 3), 99, np.uint8)).max() < 1e-6
    half = pixels.copy()
    half[:, 48:] = blurred[:, 48:]
    found, whole = sharpness_of(half), sharpness_of(pixels)
    np.testing.assert_allclose(found[:, :3], whole[:, :3], rtol=1e-5)
    assert found[:, 5:].mean() < 0.2 * whole[:, 5:].mean()


def test_sharpness_of_one_bright_pixel_by_hand():
    """The smoothed pixel is the outer product of (1, 2, 1) / 4 with itself; its Laplacian has these squares."""
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[12, 17] = 160
    small = np.outer([1, 2, 1], [1, 2, 1]) * 10.0
    padded = np.pad(small, 2)
    shifted = [np.roll(padded, step, axis) for step in (-1, 1) for axis in (0, 1)]
    expected = ((4 * padded - sum(shifted)) ** 2).sum() / 25
    assert sharpness_of(pixels).sum() == pytest.approx(expected, rel=1e-5)
    assert sharpness_of(np.zeros((3, 2, 3), np.uint8)).shape == (
        SHARPNESS_CELLS,
        SHARPNESS_CELLS,
    )  # fewer pixels than cells


def photograph(pixels: np.ndarray, taken: datetime | None = None) -> bytes:
    exif = Image.Exif()
    if taken is not None:
        exif[271], exif[36867] = "Maker", f"{taken:%Y:%m:%d %H:%M:%S}"
    return jpeg(pixels, exif=exif)


def test_a_frame_is_scored_and_noted_in_one_reading(scorer):
    reads = []

    class Counted(io.BytesIO):
        def read(self, *sizes):
            reads.append(sizes)
            return super().read(*sizes)

    pixels = noise(80, 120)
    content = photograph(pixels, datetime(2000, 1, 1))
    result = scorer(Frame.of(image_of(Counted(content))))
    assert len(reads) == 1
    row = row_of(result)
    assert tuple(row) == tuple(SORT_TYPES)
    assert {name: row[name] for name in COLUMNS} == scorer(content).row() | {"path": row["path"]}
    assert (row["taken"], row["camera"]) == ("2000-01-01T00:00:00", "Maker")
    assert len(row["hash"]) == 16
    assert row["sharpness"] > 1
    assert row_of(scorer(Frame.of(image_of(pixels))))["taken"] is None


def test_a_frame_that_cannot_be_read_has_an_error_and_no_more(scorer):
    (result,) = scorer.many([Frame.of(image_of("gone.jpg"))])
    row = row_of(result)
    assert row["error"] == "no such file"
    assert {row[name] for name in (*FRAME_TYPES, "group", "rank")} == {None}


def made_row(path: str, score: float | None, number: int, **more: object) -> dict:
    sharp = (
        {"sharpness": 4.0, "hash": f"{number:016x}", "colours": "80" * 32} if score is not None else {"error": "broken"}
    )
    return dict.fromkeys(SORT_TYPES) | {"path": path, "score": score} | sharp | more


def test_rows_are_ranked_by_score_and_say_why():
    start = datetime(2024, 5, 6)
    taken = {"camera": "M", "taken": (start + timedelta(seconds=9)).isoformat()}
    rows = [
        made_row("alone", 50.0, 0xFF << 40),
        made_row("broken", None, 0),
        made_row("second", 60.0, 1, sharpness=1.0, flaw_blur=0.93),
        made_row("best", 71.2, 0, sharpness=4.0),
        made_row("another scene", 10.0, 0, **taken),
        made_row("later", 90.0, 0, camera="M", taken=start.isoformat()),
    ]
    found = grouped(rows[:4], LIMITS)
    assert [(row["path"], row["group"], row["rank"]) for row in found] == [
        ("alone", 1, 1), ("best", 2, 1), ("second", 2, 2), ("broken", None, None),
    ]  # fmt: skip
    assert [row["reason"] for row in found] == [
        None,
        "best of 2: score 71.2, the next 60; sharpest subject",
        "score 60, 11.2 below the best; subject 25% as sharp as the sharpest; blurred (0.93)",
        None,
    ]
    assert [row["group"] for row in grouped(rows[4:], LIMITS)] == [1, 2]
    assert grouped([], LIMITS) == []
