"""How well bursts are grouped and their best is found: python benchmarks/bursts.py --data_dir data/biq2021

A burst is made of each photograph: five frames, each shifted and cropped a little differently, as by a moving hand; one
is not degraded, the others are made too dark or too bright, blurred or noisy, each by its own strength. All are saved
as JPEG. Limits are chosen on one half of BIQ2021's 12,000 photographs and measured on the other. BIQ2021 has many
photographs of one scene: of those whose hashes differ in at most `SAME_SCENE` bits, the first is taken. The clock is
the worst case: the next scene begins within the seconds that may lie between two frames of one burst.

Bursts are scored of photographs of the second half that are in the official test split, on which no model was trained.
Then 100,000 hashes are grouped; the memory is what that allocates.
"""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image, ImageFilter

from fusiqa import Scorer
from fusiqa.data import catalog
from fusiqa.scoring.burst import MICRO, SORT_TYPES, UNKNOWN, Frame, Limits, Shots, grouped, groups_of, row_of
from fusiqa.scoring.duplicates import SAME_SCENE, near_duplicates, perceptual_hash
from fusiqa.scoring.image import Resize, decode, decode_resized
from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.sheet import Shown, contact_sheet

FRAMES, CUT = 5, 0.08  # frames of a burst; largest fraction that is cropped off a side
KINDS = ("exposure", "blur", "noise")
BY = ("score", "sharpness")
STOPS, SIGMA, NOISE = 1.5, 2.5, 25.0  # of the strongest: exposure stops, blur in pixels, standard deviation in levels
LEAST = 0.25  # of the strongest
STEP, PAUSE = 0.3, 2.0  # seconds between frames, and between the last of a scene and the first of the next
DISTANCES, IN_TIME, COLOURS = range(8, 15, 2), range(10, 21, 2), (4.0, 6.0, 8.0, 12.0, 256.0)  # that are tried
SECONDS = 3.0
Z = 1.96  # of 95 % intervals


@dataclass(frozen=True)
class Settings:
    """Measure bursts made of photographs."""

    data_dir: Path = Path("data/biq2021")
    """Folder of BIQ2021, with its images and its two tables."""
    photographs: int = 12_000
    """How many of them take part, drawn at random."""
    scored: int = 200
    """Bursts that are scored to find the best."""
    hashes: int = 100_000
    """Hashes that are grouped with time and memory taken."""
    seed: int = 0
    sheet: Path | None = None
    """Picture (.png) of pairs of scenes that were merged in the second half, to look at."""
    output: Path | None = None
    """JSON file for the figures; by default they are only printed."""


@dataclass(frozen=True)
class Made:
    """A frame: its JPEG, what was done to it, and how strongly, 0 to 1."""

    content: bytes
    kind: str
    strength: float


def burst_of(photograph: Path, rng: np.random.Generator) -> list[Made]:
    """Five frames of a photograph in random order, one of them only cropped."""
    with Image.open(photograph) as opened:
        picture = opened.convert("RGB")
    left = int(rng.integers(FRAMES))
    frames = []
    for place in range(FRAMES):
        size = rng.uniform(1 - CUT, 1)
        across, down = rng.uniform(0, 1 - size, 2)
        width, height = picture.size
        box = across * width, down * height, (across + size) * width, (down + size) * height
        frame = picture.crop(tuple(map(round, box)))
        kind, strength = (KINDS[rng.integers(len(KINDS))], rng.uniform(LEAST, 1)) if place != left else ("none", 0.0)
        degraded(frame, kind, strength, rng).save(file := io.BytesIO(), "JPEG", quality=92)
        frames.append(Made(file.getvalue(), kind, strength))
    return frames


def degraded(frame: Image.Image, kind: str, strength: float, rng: np.random.Generator) -> Image.Image:
    """A frame too dark or bright, blurred, noisy, or as it is."""
    if kind == "blur":
        return frame.filter(ImageFilter.GaussianBlur(strength * SIGMA))
    levels = np.asarray(frame, np.float64)
    if kind == "exposure":
        stops = strength * STOPS * rng.choice([-1, 1])
        levels = np.minimum((levels / 255) ** 2.2 * 2**stops, 1) ** (1 / 2.2) * 255
    elif kind == "noise":
        levels = levels + rng.normal(0, strength * NOISE, levels.shape)
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


def fraction_of(hits: int, total: int) -> dict[str, Any]:
    """A fraction with its 95 % interval (Wilson)."""
    p, n = hits / total, total
    middle, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (round(abs(float((middle + sign * half) / (1 + Z**2 / n))), 4) for sign in (-1, 1))
    return {"fraction": round(p, 4), "interval": [low, high], "n": n}


def shots_of(hashes: np.ndarray, colours: np.ndarray, *, timed: bool) -> Shots:
    """All frames in the order of shooting, by one camera, with or without its clock."""
    scenes = len(hashes)
    each = np.arange(FRAMES) * STEP
    starts = np.arange(scenes) * ((FRAMES - 1) * STEP + PAUSE)
    times = ((starts[:, None] + each) * MICRO).round().astype(np.int64).ravel()
    unknown = np.full(times.shape, UNKNOWN)
    return Shots(hashes.ravel(), times if timed else unknown, np.zeros(times.shape, np.int64), colours)


def outcome(seen: tuple[np.ndarray, np.ndarray], limits: Limits, *, timed: bool) -> dict[str, Any]:
    """Whether each scene is in one group, and in one with no other scene; the pairs of scenes that share a group."""
    groups = groups_of(shots_of(*seen, timed=timed), limits).reshape(seen[0].shape)
    whole = (groups == groups[:, :1]).all(axis=1)
    scenes_of = Counter(group for scene in groups for group in set(scene.tolist()))
    merged = np.array([any(scenes_of[group] > 1 for group in scene) for scene in groups.tolist()])
    return {"whole": whole, "merged": merged, "groups": groups}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    whole, merged = found["whole"], found["merged"]
    parts = {"found whole": whole, "merged with another": merged, "exactly right": whole & ~merged}
    return {name: fraction_of(int(hits.sum()), len(hits)) for name, hits in parts.items()}


def chosen_limits(seen: tuple[np.ndarray, np.ndarray]) -> tuple[Limits, dict[str, Any]]:
    """The limits under which most scenes are exactly right, without a clock and with it; and the fraction for each."""

    def right(limits: Limits, *, timed: bool) -> float:
        found = outcome(seen, limits, timed=timed)
        return float((found["whole"] & ~found["merged"]).mean())

    alone = {(d, c): right(Limits(d, 0, 0, c), timed=False) for d in DISTANCES for c in COLOURS}
    distance, colours = max(alone, key=lambda each: (alone[each], -each[0], -each[1]))
    in_time = {d: right(Limits(distance, d, SECONDS, colours), timed=True) for d in IN_TIME}
    within = max(in_time, key=lambda each: (in_time[each], -each))
    tried = {
        "exactly right, by distance and colours": {f"{d}, {c}": value for (d, c), value in alone.items()},
        "by distance in time": in_time,
    }
    return Limits(distance, within, SECONDS, colours), tried


def best_found(photographs: Sequence[Path], scorer: Scorer, seed: int) -> dict[str, Any]:
    """How often the frame that is not degraded has the highest score, or the sharpest subject; and by kind."""
    hits, wins, counts = Counter[str](), Counter[str](), Counter[str]()
    for photograph in photographs:
        counts["bursts"] += 1
        burst, images = frames_of(photograph, seed)
        rows = [row_of(result) for result in scorer.stream(images)]
        left = next(place for place, each in enumerate(burst) if each.kind == "none")
        for by in BY:
            hits[by] += max(rows, key=itemgetter(by)) is rows[left]
        for row, each in zip(rows, burst, strict=True):
            counts[each.kind] += 1
            wins[each.kind] += rows[left]["score"] > row["score"]
    found = {f"best by {by} is the one not degraded": fraction_of(hits[by], counts["bursts"]) for by in BY}
    return found | {f"scores above one with {kind}": fraction_of(wins[kind], counts[kind]) for kind in KINDS}


def frames_of(photograph: Path, seed: int) -> tuple[list[Made], list[Frame]]:
    """The burst of a photograph, the same in every run, and its frames as images to score."""
    made = burst_of(photograph, np.random.default_rng([seed, *photograph.name.encode()]))
    return made, [Frame.of(ImageInput(str(place), partial(bytes, each.content))) for place, each in enumerate(made)]


def seen_in(photographs: Iterable[Path], resize: Resize, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of the frames of every burst, (scenes, frames), and their colours, (scenes * frames, 32)."""
    hashes, colours = [], []
    for photograph in photographs:
        for frame in frames_of(photograph, seed)[1]:
            frame.resized(resize)
            hashes.append(int(frame.seen["hash"], 16))
            colours.append(list(bytes.fromhex(frame.seen["colours"])))
    return np.array(hashes, np.uint64).reshape(-1, FRAMES), np.array(colours, np.uint8)


def one_of_each_scene(photographs: Sequence[Path], resize: Resize) -> list[Path]:
    """The photographs without those that are near-duplicates of an earlier one."""
    hashes = [perceptual_hash(decode_resized(path.read_bytes(), resize).pixels) for path in photographs]
    repeated = {other for _, other, _ in near_duplicates(np.array(hashes, np.uint64), SAME_SCENE)}
    return [path for place, path in enumerate(photographs) if place not in repeated]


def draw_merged(photographs: Sequence[Path], groups: np.ndarray, path: Path) -> None:
    """Scenes that share a group, side by side."""
    members: dict[int, list[int]] = {}
    for scene, found in enumerate(groups.tolist()):
        for group in set(found):
            members.setdefault(group, []).append(scene)
    pairs = [scenes[:2] for scenes in members.values() if len(scenes) > 1]
    paths = [photographs[scene] for pair in pairs for scene in pair]
    shown = [Shown(decode(path.read_bytes()), [path.name]) for path in paths]
    contact_sheet(shown[:96], path, columns=8, title=f"{len(pairs)} groups of several scenes, two of each")


def many_hashes(count: int, limits: Limits) -> dict[str, Any]:
    """CPU seconds and memory of grouping so many images, in bursts of five whose hashes differ in up to six bits."""
    rng = np.random.default_rng(0)
    bits = np.argsort(rng.random((count // FRAMES, 64)), axis=1) < 32
    hashes = np.repeat(np.packbits(bits, axis=1).view(np.uint64).ravel(), FRAMES)
    for _ in range(3):
        flipped = np.uint64(1) << rng.integers(0, 64, len(hashes), np.uint64)
        hashes ^= np.where(rng.random(len(hashes)) < 0.6, flipped, np.uint64(0))
    colours = np.repeat(rng.integers(0, 256, (count // FRAMES, 32), np.uint8), FRAMES, axis=0)
    row = dict.fromkeys(SORT_TYPES) | {"score": 50.0, "sharpness": 1.0}

    def as_rows() -> object:
        told = enumerate(zip(hashes.tolist(), colours, strict=True))
        own = ({"path": f"{n}.jpg", "hash": f"{h:016x}", "colours": c.tobytes().hex()} for n, (h, c) in told)
        return grouped((row | each for each in own), limits)

    ways = {
        "without a clock": lambda: groups_of(shots_of(hashes.reshape(-1, FRAMES), colours, timed=False), limits),
        "as rows of a table": as_rows,
    }
    found: dict[str, Any] = {"hashes": len(hashes)}
    for name, way in ways.items():
        started = time.process_time()
        way()
        found[f"{name}, CPU seconds"] = round(time.process_time() - started, 1)
        tracemalloc.start()
        way()
        found[f"{name}, MB at the peak"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return found


def main() -> None:
    settings = tyro.cli(Settings)
    table = catalog.read("biq2021", data_dir=settings.data_dir).table.sample(frac=1, random_state=settings.seed)
    unseen = set(table["image"][table["split"] == "test"])
    scorer = Scorer(device="cpu", windows=True)
    resize = Resize.parse(scorer.info.resize, view=scorer.info.view)
    scenes = one_of_each_scene(
        [settings.data_dir / "Images" / name for name in table["image"][: settings.photographs]], resize
    )
    np.random.default_rng(settings.seed).shuffle(scenes)  # those with near-duplicates were mostly at the start
    halves = scenes[: len(scenes) // 2], scenes[len(scenes) // 2 :]
    first, second = (seen_in(half, resize, settings.seed) for half in halves)
    limits, tried = chosen_limits(first)
    found: dict[str, Any] = {"scenes": len(scenes), "chosen on the first half": limits._asdict(), **tried}
    for name, timed in (("without a clock", False), ("with a clock", True)):
        found[f"second half, {name}"] = summary(outcome(second, limits, timed=timed))
    print(json.dumps(found, indent=2), flush=True)
    if settings.sheet is not None:
        draw_merged(halves[1], outcome(second, limits, timed=False)["groups"], settings.sheet)
    found["best of a burst"] = best_found(
        [path for path in halves[1] if path.name in unseen][: settings.scored], scorer, settings.seed
    )
    found["many hashes"] = many_hashes(settings.hashes, limits)
    print(json.dumps(found, indent=2), flush=True)
    if settings.output is not None:
        settings.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
