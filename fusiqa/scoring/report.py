"""`fusiqa report`: a table of scores as one HTML file, which works offline and can be sent."""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from fusiqa.config import ReportConfig, ScoreRange
from fusiqa.config.commands import TABLES, has
from fusiqa.config.model import FLAWS
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import check_output, write_text
from fusiqa.progress import progress_bar
from fusiqa.scoring import burst, table
from fusiqa.scoring.charts import bars, histogram, over_time
from fusiqa.scoring.exif import capture_in
from fusiqa.scoring.inputs import path_of
from fusiqa.scoring.models import names
from fusiqa.scoring.result import FLAW_COLUMNS, FLAW_WORDS, Result, as_data, described, likely_flaws, overlay, word_of
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sheet import thumbnail
from fusiqa.scoring.table import Row

STATIC = Path(__file__).parent / "web" / "static"
ROWS_AT_MOST = 20_000  # of the table in the page: the worst and the best, where more have a score
CARD, THUMBNAIL, QUALITY = 300, 72, 60  # pixels, the longer sides; of WebP


def report(config: ReportConfig) -> None:
    """Write the report of a table. FusiqaError: a file that is not one, or an output that must not be replaced."""
    if not config.table.is_file() or not has(config.table, TABLES):
        raise FusiqaError(f"no table {config.table}: name a file in {TABLES} that fusiqa score or fusiqa sort wrote")
    check_output(config.file, replace=config.overwrite, inputs=[config.table])
    types = next((each for each in (table.SCORE_TYPES, burst.SORT_TYPES) if table.is_table(config.table, each)), None)
    if types is None:
        raise FusiqaError(f"{config.table} is not a table of scores: name one that fusiqa score or fusiqa sort wrote")
    rows = list(table.read_rows(config.table, types))
    write_html_report(rows, config)


def write_html_report(rows: Sequence[Row], config: ReportConfig) -> None:
    """Write the report of rows, whether or not they are in the table yet. FusiqaError where none has a score."""
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        raise FusiqaError(f"no image of {config.table} has a score, so there is nothing to report")
    models = sorted({row["model"] or "" for row in scored})
    if len(models) > 1:
        raise FusiqaError(f"{config.table} has scores of {listed(models)}: report one model's alone")
    scorer, why = _scorer(models[0], config)
    score_range = scorer.score_range if scorer else None
    scores = np.array([row["score"] for row in scored])
    low, high = score_range or (float(scores.min()), float(scores.max()))
    shown = _shown(rows)
    each = min(config.each_end, (len(scored) + 1) // 2)
    ends = {
        "worst": heapq.nsmallest(each, scored, key=lambda row: (row["score"], row["path"])),
        "best": heapq.nsmallest(each, scored, key=lambda row: (-row["score"], row["path"])),
    }
    with progress_bar(what="report", total=len(shown), shown=config.progress) as bar:
        records = _records(shown, config, bar)
    times = [(each["taken"], each["score"]) for each in records if each["taken"] and each["score"] is not None]
    failed = len(rows) - len(scored)
    script = (STATIC / "report.js").read_text(encoding="utf-8")
    page = Template((STATIC / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(config.table.name),
        style="".join((STATIC / name).read_text(encoding="utf-8") for name in ("page.css", "report.css")),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        summary=_summary(scored, failed, score_range),
        histogram=histogram(scores, low, high),
        flaws=_flaws(scored),
        time=over_time(times, low, high) if len(times) > 1 else "<p>No image says when it was taken.</p>",
        worst=_cards(ends["worst"], scorer),
        best=_cards(ends["best"], scorer),
        heat="" if scorer else f"<p>Without heat maps: {escape(why)}</p>",
        limits=f"{low:g} to {high:g}",
        bound=f"<p>{len(rows):,} rows; the page lists {len(shown):,}: the worst, the best, and without a score.</p>"
        * (len(shown) < len(rows)),
        # Within a script element, whatever the names of files are:
        data=json.dumps(records, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )
    write_text(config.file, page)
    print(f"{config.file}: {len(scored):,} scores, {config.file.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def _scorer(named: str, config: ReportConfig) -> tuple[Scorer | None, str]:
    """The scorer of the table's model, for heat maps, or the reason why there is none."""
    name = named.rpartition("@")[0]
    if config.model is None and name not in names():  # a table may come from anywhere, so no name in it is looked up
        return None, f"{named or 'the model of the table'} is not in the package; name it by --model"
    try:
        scorer = Scorer(config.model or name, device=config.device, windows=True)
    except FusiqaError as reason:
        return None, str(reason)
    if scorer.info.name != named:
        return None, f"the table has scores of {named or 'a model without a name'}, not of {scorer.info.name}"
    return scorer, ""


def _shown(rows: Sequence[Row]) -> list[Row]:
    """The rows that the page lists: the worst and the best in turn, then those without a score."""
    scored = sorted((row for row in rows if row["score"] is not None), key=lambda row: (row["score"], row["path"]))
    failed = sorted((row for row in rows if row["score"] is None), key=lambda row: row["path"])
    half = ROWS_AT_MOST // 2
    ends = scored if len(scored) <= ROWS_AT_MOST else scored[:half] + scored[-half:]
    return ends + failed[: max(half, ROWS_AT_MOST - len(ends))]


def _records(rows: Sequence[Row], config: ReportConfig, bar: Any) -> list[dict[str, Any]]:
    """The entry of each row in the table of the page; the worst and the best have thumbnails."""
    scored, half = sum(row["score"] is not None for row in rows), config.thumbnails // 2
    with_picture = {*range(half), *range(scored - half, scored)}
    records = []
    for place, row in enumerate(rows):
        picture = thumbnail(row["path"], THUMBNAIL) if place in with_picture and row["score"] is not None else None
        size = f"{row['width']} x {row['height']}" if row["width"] else ""
        records.append({
            "path": row["path"], "score": row["score"], "flaws": described(row), "size": size,
            "taken": row.get("taken") or capture_in(path_of(row["path"])).time,
            "note": row["error"] or row["note"] or "",
            "picture": as_data(picture, quality=QUALITY) if picture else None,
        })  # fmt: skip
        bar.update()
    return records


def _summary(scored: Sequence[Row], failed: int, score_range: ScoreRange | None) -> str:
    scores = [row["score"] for row in scored]
    median = float(np.median(scores))
    word = f", {word_of(median, score_range)}" if score_range else ""
    parts = [f"{len(scored):,} images with a score, higher is better", f"median {median:.3g}{word}"]
    parts += [f"{failed:,} without a score"] * bool(failed) + [f"model {scored[0]['model']}"]
    return escape("; ".join(parts))


def _flaws(scored: Sequence[Row]) -> str:
    """How many images have each flaw, and how many have no likely one."""
    if all(row[FLAW_COLUMNS[0]] is None for row in scored):
        return "<p>The model names no flaws.</p>"
    counts = Counter[str]()
    for row in scored:
        counts.update([FLAW_WORDS[FLAWS.index(flaw)] for flaw in likely_flaws(row)] or ["none likely"])
    return bars([(word, counts[word]) for word in (*FLAW_WORDS, "none likely")], len(scored))


def _cards(rows: Sequence[Row], scorer: Scorer | None) -> str:
    """Images with their heat maps, scores and flaws."""
    results: Iterable[Result | None] = [None] * len(rows)
    if scorer:
        results = scorer.stream([row["path"] for row in rows])
    return "".join(_card(row, result) for row, result in zip(rows, results, strict=True))


def _card(row: Row, result: Result | None) -> str:
    picture = thumbnail(row["path"], CARD)
    name = escape(row["path"])
    if picture is None:
        images = '<p class="gone">can no longer be read</p>'
    else:
        pictures = [(picture, name)]
        if result is not None and result.crops is not None:
            pictures.append((overlay(picture, result), f"heat map of {name}"))
        images = "".join(
            f'<img src="{as_data(each, quality=QUALITY)}" '
            f'width="{each.width}" height="{each.height}" alt="{text}" loading="lazy">'
            for each, text in pictures
        )
    flaws = escape(described(row))
    caption = f"<b>{row['score']:.3g}</b>{f' {flaws}' if flaws else ''}<br><span>{name}</span>"
    return f"<li><figure><div>{images}</div><figcaption>{caption}</figcaption></figure></li>"
