"""From a table of scale weights to the files that explain a model. It predicts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.explain.plots import scale_bars, scale_heatmap
from fusiqa.explain.scale_weights import effective_scales, quality_bands, summarise, weights_of
from fusiqa.io import write_atomically

BARS_FILE = "attention_distribution.png"
HEATMAP_FILE = "attention_heatmap.png"
WEIGHTS_FILE = "scale_weights.csv"
SUMMARY_FILE = "scale_weights_by_group.csv"


def explain_to(
    folder: Path, table: pd.DataFrame, *, scale_sizes: Sequence[tuple[int, int]], title: str
) -> pd.DataFrame:
    """Write the bar chart, the heat map and both tables of one model's scale weights.

    Args:
        folder: where attention_distribution.png, attention_heatmap.png, scale_weights.csv and
            scale_weights_by_group.csv go.
        table: one row an image: image, mos, score, group, scale_0 .. scale_3.
        scale_sizes: (height, width) of each scale's map, finest first.
        title: what the images are, above the bar chart.

    Returns:
        The table by group, as `scale_weights.summarise` gives it.
    """
    table = table.assign(effective_scales=effective_scales(weights_of(table)))
    summary = summarise(table)
    write_atomically(folder / WEIGHTS_FILE, lambda path: table.to_csv(path, index=False))
    write_atomically(folder / SUMMARY_FILE, lambda path: summary.to_csv(path, index=False))
    scale_bars(summary, scale_sizes=scale_sizes, title=title, path=folder / BARS_FILE)
    scale_heatmap(table, scale_sizes=scale_sizes, path=folder / HEATMAP_FILE)
    return summary


def with_quality_bands(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a `group` column: bands of the ratings where every image has one, else of the scores.

    As many bands as fit: three, or one group of all images where they cannot be told apart.
    """
    rated = table["mos"].notna().all()
    quality = table["mos" if rated else "score"].to_numpy()
    if len(table) < 3 or quality.min() == quality.max():
        return table.assign(group="all images")
    bands = quality_bands(quality)
    suffix = "rated" if rated else "scored"
    return table.assign(group=bands.cat.rename_categories(lambda band: f"{suffix} {band}").set_axis(table.index))
