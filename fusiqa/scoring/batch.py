"""`fusiqa score`: many images to a table, one row each whatever happens to the others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from fusiqa.config import ScoreRange
from fusiqa.config.score import ScoreConfig
from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.record import chosen, recording
from fusiqa.scoring.rows import Row, csv_writer
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sheet import draw_worst_and_best
from fusiqa.scoring.walk import STANDARD_INPUT, walk

HEAD = "   score  spread  scale weights        image"


def score_images(config: ScoreConfig) -> int:
    """Score what the configuration names, and write or print the rows.

    Returns:
        How many images have no score.

    Raises:
        FusiqaError: no model, no images, or an output that must not be written.
    """
    if config.engine == "ray":
        from fusiqa.scoring.cluster import score_on_cluster

        return score_on_cluster(config)
    scorer = Scorer(config.model, device=config.device, backend=config.backend, readers=config.readers)
    if config.output is None:
        return _to_the_screen(scorer, config)
    with recording(config, model=scorer.facts.name) as record:
        tally = Tally(skipped=len(record.done))
        for row in _rows(scorer, config, done=record.done):
            record.write(row)
            tally.count(row)
        if config.sheet is not None:
            _draw(config.sheet, record.rows(), scorer.score_range)
    tally.say(f"; written to {config.output}")
    return tally.failed


class Tally:
    """Counts what became of the images."""

    def __init__(self, *, skipped: int = 0) -> None:
        self.scored = self.failed = 0
        self.skipped = skipped

    def count(self, row: Row) -> None:
        if row["score"] is None:
            self.failed += 1
        else:
            self.scored += 1

    def say(self, ending: str = "") -> None:
        """One line on standard error, where it is in no table's way."""
        parts = [f"{self.scored:,} scored"]
        if self.failed:
            parts.append(f"{self.failed:,} without a score (their rows say why)")
        if self.skipped:
            parts.append(f"{self.skipped:,} had their row already")
        print(f"{', '.join(parts)}{ending}", file=sys.stderr)


def _to_the_screen(scorer: Scorer, config: ScoreConfig) -> int:
    """Rows as they come on a terminal or into a pipe; at the end, where they are to be chosen or drawn."""
    tally = Tally()
    show = _printer(scorer.score_range)
    rows: list[Row] = []
    try:
        for row in _rows(scorer, config, done=set()):
            tally.count(row)
            if not config.chooses:
                show(row)
            if config.chooses or config.sheet is not None:
                rows.append(row)
    finally:
        if config.chooses:
            for row in chosen(rows, config):
                show(row)
    if config.sheet is not None:
        _draw(config.sheet, rows, scorer.score_range)
    tally.say()
    return tally.failed


def _printer(score_range: ScoreRange) -> Callable[[Row], None]:
    """A table for people on a terminal, CSV for what reads a pipe."""
    if not on_a_terminal():
        return csv_writer(sys.stdout, header=True)
    print(f"{HEAD}   (scores on {score_range.low:g} to {score_range.high:g}, higher is better)")
    return lambda row: tqdm.write(line_of(row))


def on_a_terminal() -> bool:
    return sys.stdout.isatty()


def line_of(row: Row) -> str:
    """A row for people."""
    if row["score"] is None:
        return f"       -       -  {'':19}  {row['path']}: {row['error']}"
    weights = [row[f"scale_{place}"] for place in range(4)]
    told = "" if weights[0] is None else " ".join(f"{weight:.2f}" for weight in weights)
    return f"{row['score']:8.4g}{row['spread']:8.3g}  {told:19}  {row['path']}"


def _rows(scorer: Scorer, config: ScoreConfig, *, done: set[str]) -> Iterator[Row]:
    """The rows of the images that have none yet, with a bar that learns the total while it goes."""
    images = walk(config.paths, sys.stdin)
    shown = config.progress and sys.stderr.isatty()
    with tqdm(desc="scoring", unit=" images", disable=not shown, initial=len(done)) as bar:
        if shown and STANDARD_INPUT not in config.paths:
            threading.Thread(target=_count, args=(config.paths, bar), daemon=True).start()
        for score in scorer.stream(_without(images, done)):
            yield score.row()
            bar.update()


def _without(images: Iterable[ImageInput], done: set[str]) -> Iterator[ImageInput]:
    return (image for image in images if image.name not in done)


def _count(paths: tuple[str, ...], bar: tqdm) -> None:
    """Tell the bar how many images there are, while the first of them are scored."""
    bar.total = sum(1 for _ in walk(paths))
    bar.refresh()


def _draw(sheet: Path, rows: Iterable[Row], score_range: ScoreRange) -> None:
    drawn = draw_worst_and_best(rows, sheet, score_range=score_range)
    print(f"{sheet}: {drawn} images" if drawn else "no image to draw", file=sys.stderr)
