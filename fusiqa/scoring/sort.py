"""`fusiqa sort`: groups of photographs of one scene, the best of each, and XMP sidecars."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fusiqa.config import ScoreRange, SortConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import check_output, claim
from fusiqa.scoring.batch import say_counts, scored
from fusiqa.scoring.burst import SORT_TYPES, Frame, Limits, grouped, row_of
from fusiqa.scoring.inputs import path_of, printable
from fusiqa.scoring.raw import RAW_ENDINGS
from fusiqa.scoring.result import likely_flaws
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sheet import Shown, cell_of, contact_sheet
from fusiqa.scoring.table import Row, read_rows, recording, row_writer, write_rows
from fusiqa.scoring.xmp import Marks, sidecar_of, write_sidecar

SHEET_COLUMNS, SHEET_BURSTS, SHEET_EACH = 6, 24, 12  # images in a row, bursts, and images of each at most
BEST, FLAWED = "Green", "Red"  # labels, as Lightroom names its colours
NOT_WRITTEN = "not written: "
STARS = 5


def sort_images(config: SortConfig) -> int:
    """Score and group images, and write or print the rows. Returns how many failed: no score, or no sidecar.

    Raises:
        FusiqaError: no model, no images, or an output that must not be written.
    """
    _check_outputs(config)
    scorer = Scorer(config.model, device=config.device, backend=config.backend, readers=config.readers, windows=True)
    counts: Counter[str] = Counter()
    finish = partial(grouped, limits=Limits(config.distance, config.distance_in_time, config.seconds))
    done, ending = 0, ""
    if config.output is None:
        rows = finish(map(row_of, scored(scorer, config, counts, wrap=Frame.of)))
    else:
        with recording(config, model=scorer.info.name, types=SORT_TYPES, finish=finish) as record:
            done, ending = len(record.done), f"; written to {config.output}"
            for result in scored(scorer, config, counts, done=record.done, wrap=Frame.of):
                record.write(row_of(result))
        rows = list(read_rows(config.table, SORT_TYPES))
    if config.xmp:
        _write_sidecars(rows, config, scorer.score_range)
        if config.output is not None:
            write_rows(config.table, rows, SORT_TYPES)
    _show(rows, config)
    say_counts(counts, done=done, ending=ending)
    return sum(row["error"] is not None or (row["sidecar"] or "").startswith(NOT_WRITTEN) for row in rows)


def _check_outputs(config: SortConfig) -> None:
    """Refuse outputs before anything is computed for them."""
    if config.sheet is not None:
        check_output(config.sheet, replace=config.resume or config.overwrite, inputs=config.paths)
    if config.link is not None:
        folder = config.link.resolve()
        for path in map(Path, config.paths):
            if path.is_dir() and folder.is_relative_to(path.resolve()):
                raise FusiqaError(f"`link` {config.link} lies in {path}, where the next run would find the links")
        claim(config.link, "*")


def _write_sidecars(rows: Sequence[Row], config: SortConfig, score_range: ScoreRange) -> None:
    """Write the sidecar of each image with a score, and state the outcome in its row."""
    marked = [row for row in rows if row["score"] is not None]
    stars = stars_of(np.array([row["score"] for row in marked]), config, score_range)
    owners = _owners(marked, config)
    sizes = Counter(row["group"] for row in marked)
    for row, rating in zip(marked, stars.tolist(), strict=True):
        image = Path(path_of(row["path"]))
        name = printable(sidecar_of(image, config.xmp_name).name)
        owner = owners.get(row["path"])
        if owner is not None:
            row["sidecar"] = f"{NOT_WRITTEN}{name} is of {owner} too"
            continue
        marks = marks_of(row, rating, in_burst=sizes[row["group"]] > 1)
        try:
            kept = write_sidecar(image, marks, naming=config.xmp_name, overwrite_ratings=config.overwrite_ratings)
            row["sidecar"] = f"{name}; {kept}" if kept else name
        except FusiqaError as reason:
            row["sidecar"] = f"{NOT_WRITTEN}{reason}"
        except OSError as reason:
            row["sidecar"] = f"{NOT_WRITTEN}{name}: {(reason.strerror or str(reason)).lower()}"


def _owners(rows: Sequence[Row], config: SortConfig) -> dict[str, str]:
    """For images whose sidecar belongs to another image, the path of that image.

    Of a raw file and images made from it, the raw file has the sidecar.
    """
    sharing = defaultdict(list)
    for row in rows:
        sharing[os.path.realpath(sidecar_of(Path(path_of(row["path"])), config.xmp_name))].append(row["path"])
    owners = {}
    for paths in sharing.values():
        raws = [path for path in paths if Path(path).suffix.lower() in RAW_ENDINGS]
        for path in paths:
            others = [other for other in raws + paths if os.path.realpath(other) != os.path.realpath(path)]
            if others and raws != [path]:
                owners[path] = others[0]
    return owners


def stars_of(scores: np.ndarray, config: SortConfig, score_range: ScoreRange) -> np.ndarray:
    """A rating of 1 to 5 for each score: its fifth among these scores, or by limits. Ties have the same rating."""
    if config.stars == "quantile":
        below, upto = (np.searchsorted(np.sort(scores), scores, side=side) for side in ("left", "right"))
        return 1 + np.floor(STARS * (below + upto) / 2 / max(1, len(scores))).astype(int).clip(0, STARS - 1)
    limits = config.star_limits or [score_range.from_unit(step / STARS) for step in range(1, STARS)]
    return 1 + np.searchsorted(limits, scores, side="right")


def marks_of(row: Row, rating: int, *, in_burst: bool) -> Marks:
    """The marks of an image: green for the best of a burst, red for a likely flaw."""
    flaws, best = likely_flaws(row), in_burst and row["rank"] == 1
    label = BEST if best else FLAWED if flaws else None
    properties = {"Score": f"{row['score']:.4g}", "Model": row["model"]}
    return Marks(rating, label, [*flaws, *(["best"] if best else [])], properties)


def _show(rows: Sequence[Row], config: SortConfig) -> None:
    """Print the rows unless they are written to a file; draw the sheet, make the links."""
    if config.output is None:
        if sys.stdout.isatty():
            for line in lines_of(rows):
                tqdm.write(line)
        else:
            write = row_writer(sys.stdout, ".csv", header=True, types=SORT_TYPES)
            for row in rows:
                write(row)
    if config.sheet is not None:
        drawn = draw_bursts(rows, config.sheet)
        print(f"{config.sheet}: {drawn} bursts" if drawn else "no burst to draw", file=sys.stderr)
    if config.link is not None:
        links = link_best(rows, config.link)
        print(f"{config.link}: {links:,} links", file=sys.stderr)


def bursts_in(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The groups of two and more, the best first."""
    for group, members in groupby(rows, key=lambda row: row["group"]):
        burst = list(members)
        if group is not None and len(burst) > 1:
            yield burst


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """The bursts as lines of the terminal, the images without a score, and the number of single images."""
    in_bursts = 0
    for burst in bursts_in(rows):
        in_bursts += len(burst)
        for row in burst:
            yield f"{row['group']:6} {'best' if row['rank'] == 1 else '':4}  {row['path']}: {row['reason']}"
    failed = [row for row in rows if row["score"] is None]
    for row in failed:
        yield f"            {row['path']}: {row['error']}"
    for row in rows:
        if (row["sidecar"] or "").startswith(NOT_WRITTEN):
            yield f"            {row['path']}: sidecar {row['sidecar']}"
    yield f"{in_bursts:,} images in bursts, {len(rows) - in_bursts - len(failed):,} alone"


def draw_bursts(rows: Sequence[Row], path: Path) -> int:
    """Draw the first 24 bursts, each in rows of its own, the best framed; how many were drawn."""
    bursts = list(bursts_in(rows))
    columns = min(SHEET_COLUMNS, max(map(len, bursts), default=0))
    shown: list[Shown | None] = []
    for burst in bursts[:SHEET_BURSTS]:
        some = burst[:SHEET_EACH]
        for row in some:
            caption = f"{row['score']:.4g}, {row['rank']} of {len(burst)}"
            shown.append(Shown(cell_of(row["path"]), [row["path"], caption], row["rank"] == 1))
        shown += [None] * (-len(some) % columns)
    if shown:
        title = f"{min(SHEET_BURSTS, len(bursts))} of {len(bursts):,} bursts, the best of each framed"
        contact_sheet(shown, path, columns=columns, title=title)
    return min(SHEET_BURSTS, len(bursts))


def link_best(rows: Iterable[Row], folder: Path) -> int:
    """Replace the links in a claimed folder by links to the best image of each group. Returns how many."""
    for earlier in folder.iterdir():
        if earlier.is_symlink():
            earlier.unlink()
    count = 0
    for row in rows:
        image, number = Path(path_of(row["path"])), 1
        if row["rank"] == 1 and image.exists():
            link = folder / image.name
            while os.path.lexists(link):
                number += 1
                link = folder / f"{image.stem}-{number}{image.suffix}"
            link.symlink_to(os.path.abspath(image))
            count += 1
    return count
