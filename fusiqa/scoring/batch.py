"""`fusiqa score`: many images to a table, one row each, also for those that cannot be read."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fusiqa.config import ReportConfig, ScoreConfig, ScoreRange, TableSettings
from fusiqa.errors import FusiqaError
from fusiqa.io import check_output, same_place
from fusiqa.progress import progress_bar
from fusiqa.scoring.inputs import STANDARD_INPUT, ImageInput, walk
from fusiqa.scoring.result import Result, described, weights_in
from fusiqa.scoring.scorer import SCORER_SETTINGS, Scorer
from fusiqa.scoring.sheet import draw_worst_and_best
from fusiqa.scoring.table import Row, read_rows, recording, row_writer, select

HEAD, NUMBERS = "   score  spread  scale weights        image", {"score": ".4g", "spread": ".3g"}


def score_images(config: ScoreConfig) -> int:
    """Score images, and write or print the rows. Returns how many have no score.

    Raises:
        FusiqaError: no model, no images, or an output that must not be written.
    """
    for path in config.drawn:
        check_output(path, replace=config.resume or config.overwrite, inputs=config.paths)
    chosen: dict[str, Any] = {name: getattr(config, name) for name in SCORER_SETTINGS}
    scorer = Scorer(config.model, **chosen)
    counts: Counter[str] = Counter()
    if config.output is None:
        _draw(config, _print_rows(scorer, config, counts), scorer.score_range)
        say_counts(counts)
        return counts["failed"]
    finish = partial(select, config=config) if config.chooses else None
    with recording(config, model=scorer.info.name, finish=finish) as record:
        for result in scored(scorer, config, counts, done=record.done):
            record.write(result.row())
        _draw(config, read_rows(record.path), scorer.score_range)
    say_counts(counts, done=len(record.done), ending=f"; written to {config.output}")
    return counts["failed"] + record.failed


def scored(
    scorer: Scorer,
    config: TableSettings,
    counts: Counter[str],
    *,
    done: Collection[str] = (),
    wrap: Callable[[ImageInput], ImageInput] | None = None,
) -> Iterator[Result]:
    """The results of the images without a row, counted; a thread counts the images for the progress bar meanwhile.

    `wrap` is applied to each image before it is read. The pictures that an earlier run drew here are left out.
    """
    images = walk(config.paths, done=done, say=partial(tqdm.write, file=sys.stderr))
    images = (image for image in images if not is_output(image, config))
    images = map(wrap, images) if wrap else images
    with progress_bar(what="scoring", initial=len(done), shown=config.progress) as bar:
        if not bar.disable and STANDARD_INPUT not in config.paths:
            threading.Thread(target=_count, args=(config.paths, bar), daemon=True).start()
        for result in scorer.stream(images):
            counts["scored" if result.ok else "failed"] += 1
            yield result
            bar.update()


def is_output(image: ImageInput, config: TableSettings) -> bool:
    """Whether an image is the sheet, or among the links, that a run of these settings leaves."""
    if image.path is None:
        return False
    folder, name = os.path.split(image.path)
    links: Path | None = getattr(config, "link", None)
    is_sheet = config.sheet is not None and name == config.sheet.name and same_place(image.path, config.sheet)
    return is_sheet or (links is not None and same_place(folder, links))


def _count(paths: Iterable[str], bar: tqdm) -> None:
    with suppress(FusiqaError):  # of no images, which the command itself reports
        bar.total = sum(1 for _ in walk(paths))


def _print_rows(scorer: Scorer, config: ScoreConfig, counts: Counter[str]) -> list[Row]:
    """Print rows as they come, or at the end if they are selected or sorted. Returns those to be drawn."""
    if sys.stdout.isatty():
        low, high = scorer.score_range
        print(f"{HEAD}   (scores on {low:g} to {high:g}, higher is better)")
        show: Callable[[Row], None] = _show
    else:
        show = row_writer(sys.stdout, ".csv", header=True)
    rows: list[Row] = []
    try:
        for row in (result.row() for result in scored(scorer, config, counts)):
            if not config.chooses:
                show(row)
            if config.chooses or config.drawn:
                rows.append(row)
    finally:
        for row in select(rows, config) if config.chooses else ():
            show(row)
    return rows


def _show(row: Row) -> None:
    """Print a row as a line of the terminal."""
    score, spread = (f"{row[name]:{form}}" if row[name] is not None else "-" for name, form in NUMBERS.items())
    more = f": {row['error']}" if row["score"] is None else f"  {described(row)}".rstrip()
    tqdm.write(f"{score:>8}{spread:>8}  {weights_in(row):19}  {row['path']}{more}")


def _draw(config: ScoreConfig, rows: Iterable[Row], score_range: ScoreRange) -> None:
    if config.report is not None:
        from fusiqa.scoring.report import write_html_report

        rows, table = list(rows), Path(config.output or "scores")
        if any(row["score"] is not None for row in rows):
            shown = ReportConfig(
                table, config.report, model=config.model, device=config.device, progress=config.progress
            )
            write_html_report(rows, shown)
        else:
            print("no image to report", file=sys.stderr)
    if config.sheet is not None:
        drawn = draw_worst_and_best(rows, config.sheet, score_range=score_range)
        print(f"{config.sheet}: {drawn} images" if drawn else "no image to draw", file=sys.stderr)


def say_counts(counts: Counter[str], *, done: int = 0, ending: str = "") -> None:
    """Print the counts in one line on standard error, because a table may go to standard output."""
    failed = f", {counts['failed']:,} without a score (their rows say why)" if counts["failed"] else ""
    before = f", {done:,} had a row already" if done else ""
    print(f"{counts['scored']:,} scored{failed}{before}{ending}", file=sys.stderr)
