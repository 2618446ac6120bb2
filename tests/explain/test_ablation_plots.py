"""Figures of an ablation: names stay inside, and an interval ends where an SRCC does."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from fusiqa.explain.plots import (
    difference_bars,
    seed_bars,
)


def overflows(figure) -> list[str]:
    """Texts that reach over the edge of a figure."""
    figure.canvas.draw()
    box = figure.bbox
    texts = [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels())]
    ends = [(text, text.get_window_extent()) for text in texts if text.get_text()]
    return [text.get_text() for text, end in ends if end.x0 < box.x0 or end.x1 > box.x1]


def test_differences_to_a_long_name_stay_inside_their_figure(tmp_path):
    name = "swin_tiny_patch4_window7_224, " + "with the entropy term that keeps weights even " * 2
    table = pd.DataFrame({"variant": [name, "b"], "difference": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]})
    assert overflows(difference_bars(table, reference=name, path=tmp_path / "d.png")) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_seeds_of_a_design_with_a_long_name_stay_inside_their_figure(place, tmp_path):
    names = ["single", "concat"]
    names.insert(place, "attention with sigmoid gates, a gain of 4, normalised maps and a temperature of 4")
    summary = pd.DataFrame({"variant": names, "srcc": 0.5, "srcc_low": 0.3, "srcc_high": 1.7})
    figure = seed_bars(summary, pd.DataFrame({"variant": names, "srcc": 0.5}), tmp_path / "srcc.png")
    assert overflows(figure) == []
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_xticklabels()) >= 0


def test_an_interval_beyond_any_correlation_does_not_stretch_the_figure(tmp_path):
    summary = pd.DataFrame({"variant": ["a"], "srcc": [0.5], "srcc_low": [-6.0], "srcc_high": [7.0]})
    results = pd.DataFrame({"variant": ["a", "a"], "srcc": [0.0, 1.0]})
    assert seed_bars(summary, results, tmp_path / "s.png").axes[0].get_ylim() == (-1.05, 1.05)


def seeds_of(*values: float, low: float, high: float):
    summary = pd.DataFrame({"variant": ["concat"], "srcc": [np.mean(values)], "srcc_low": [low], "srcc_high": [high]})
    return summary, pd.DataFrame({"variant": "concat", "srcc": values})


@pytest.mark.parametrize(
    ("low", "high", "ends", "arrowheads"),
    [
        (-5.8, 6.4, (-1, 1), ["v", "^"]),
        (0.1, 1.5, (0.1, 1), ["^"]),
        (-1, 0.7, (-1, 0.7), []),
        (0.2, 0.4, (0.2, 0.4), []),
    ],
)
def test_an_interval_ends_where_srcc_does_and_says_that_it_goes_on(low, high, ends, arrowheads, tmp_path):
    axes = seed_bars(*seeds_of(-0.1, 0.7, low=low, high=high), tmp_path / "srcc.png").axes[0]
    whiskers = next(item for item in axes.containers if isinstance(item, ErrorbarContainer))
    assert whiskers.lines[2][0].get_segments()[0][:, 1] == pytest.approx(ends)
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("v", "^")] == arrowheads
    assert ("it goes on" in axes.get_xlabel()) is bool(arrowheads)
    lowest, highest = axes.get_ylim()
    assert -1.1 < lowest < ends[0] < ends[1] < highest < 1.1
