"""Charts of the report, as SVG that a style sheet colours for light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

HISTOGRAM_BARS, WINDOW, POINTS = 20, 31, 600  # bars; images of a running median; most points that are drawn
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 240, 56, 12, 20, 40  # of a chart and its margins, in its own units
TICKS = 5


def histogram(scores: Float[np.ndarray, " images"], low: float, high: float) -> str:
    """A histogram of scores in 20 bins of a range; those outside count in the first and last bin."""
    counts, edges = np.histogram(scores.clip(low, high), HISTOGRAM_BARS, (low, high if high > low else low + 1))
    top = counts.max()
    step = (WIDTH - LEFT - RIGHT) / HISTOGRAM_BARS
    parts = []
    for place, count in enumerate(counts.tolist()):
        tall = (HEIGHT - TOP - BOTTOM) * count / top
        corner = f'x="{LEFT + place * step + 1:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}"'
        box = f'{corner} width="{step - 2:.1f}" height="{tall:.1f}"'
        parts.append(
            f'<rect class="bar" {box}><title>{edges[place]:.3g} to {edges[place + 1]:.3g}: {count:,}</title></rect>'
        )
    ticks = [(place / (TICKS - 1), f"{low + (high - low) * place / (TICKS - 1):.3g}") for place in range(TICKS)]
    fullest = int(counts.argmax())
    label = f"Histogram of {len(scores):,} scores; most, {top:,}, from {edges[fullest]:.3g} to {edges[fullest + 1]:.3g}"
    return _chart(parts, ticks, [(0.0, "0"), (1.0, f"{top:,}")], label)


def over_time(times: Sequence[tuple[str, float]], low: float, high: float) -> str:
    """Scores in the order of capture, with their running median.

    Images are evenly spaced, so that a pause, or a clock that was reset to 2000, does not compress the rest.
    """
    ordered = sorted(times)
    begin, end = ordered[0][0][:10], ordered[-1][0][:10]
    scores = np.array([score for _, score in ordered])
    unit = ((scores - low) / max(high - low, 1e-9)).clip(0, 1)
    places = np.arange(len(unit)) / max(1, len(unit) - 1)
    parts = []
    for place in np.linspace(0, len(unit) - 1, min(len(unit), POINTS)).astype(int):
        where = f'cx="{_across(places[place]):.1f}" cy="{_down(unit[place]):.1f}"'
        title = f"{escape(ordered[place][0])}: {scores[place]:.3g}"
        parts.append(f'<circle class="point" {where} r="2.5"><title>{title}</title></circle>')
    half = min(WINDOW, len(unit)) // 2
    steps = np.linspace(0, len(unit) - 1, min(len(unit), POINTS // 2)).astype(int)
    medians = [np.median(unit[max(0, step - half) : step + half + 1]) for step in steps]
    line = " ".join(
        f"{_across(places[step]):.1f},{_down(value):.1f}" for step, value in zip(steps, medians, strict=True)
    )
    parts.append(f'<polyline class="line" points="{line}"/>')
    dates = [round(fraction * (len(ordered) - 1)) for fraction in np.linspace(0, 1, min(4, len(ordered)))]
    shown = slice(10) if begin != end else slice(11, 16)  # days, or hours of one day
    ticks = [(float(places[place]), escape(ordered[place][0][shown])) for place in dates]
    label = f"Scores of {len(ordered):,} images in the order of capture, {escape(begin)} to {escape(end)}"
    return _chart(parts, ticks, [(0.0, f"{low:.3g}"), (0.5, f"{(low + high) / 2:.3g}"), (1.0, f"{high:.3g}")], label)


def bars(counts: Sequence[tuple[str, int]], total: int) -> str:
    """A list of words, each with a bar, a count and a percentage."""
    lines = [
        f'<li><span>{escape(word)}</span><meter min="0" max="{total}" value="{count}">{count}</meter>'
        f"<span>{count:,} ({count / total:.0%})</span></li>"
        for word, count in counts
    ]
    return f'<ul class="bars">{"".join(lines)}</ul>'


def _across(fraction: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * fraction


def _down(fraction: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - fraction)


def _chart(
    parts: Sequence[str], across: Sequence[tuple[float, str]], down: Sequence[tuple[float, str]], label: str
) -> str:
    """An SVG with axes; `across` and `down` are the ticks of each, as fractions of its length, with their labels."""
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_down(y):.1f}" y2="{_down(y):.1f}"/>'
        for y, _ in down
    ]
    words = [f'<text x="{LEFT - 6}" y="{_down(y) + 4:.1f}" text-anchor="end">{text}</text>' for y, text in down]
    for place, (x, text) in enumerate(across):
        anchor = "start" if place == 0 else "end" if place == len(across) - 1 else "middle"
        words.append(f'<text x="{_across(x):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{text}</text>')
    inside = "".join((*lines, *parts, *words))
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {HEIGHT}">{inside}</svg>'
