"""The style of all figures: 300 dots an inch, colours for all kinds of colour vision, no display, no pyplot state."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from fusiqa.io import write_atomically

DOTS_PER_INCH = 300
# Okabe and Ito, 2008, without black and with the palest last: eight groups, then the same colours hatched.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#F0E442")
INK, GREY, PALE = "#333333", "#777777", "#999999"
DASHED: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 3))}
LATIN_FONT = "DejaVu Sans"  # comes with matplotlib
# For other scripts: what Linux, macOS and Windows install for Chinese, Japanese and Korean.
OTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Apple SD Gothic Neo", "Microsoft YaHei", "SimHei", "Malgun Gothic"),
    "Arial Unicode MS",
)


def sample_photograph() -> Path:
    """A photograph that comes with matplotlib: Grace Hopper, United States Navy, in the public domain."""
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def new_figure(width: float, height: float, widths: Sequence[float] = (1,)) -> tuple[Figure, list[Axes]]:
    """A white figure, inches, with one plain plot per relative width."""
    figure, (row,) = new_grid(width, height, 1, len(widths), width_ratios=list(widths))
    for axes in row:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.7)
        axes.set_axisbelow(True)
    return figure, row


def new_grid(width: float, height: float, rows: int, columns: int, **ratios: Any) -> tuple[Figure, list[list[Axes]]]:
    """A white figure, inches, with rows of plots."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False, **ratios).tolist()


def bare(axes: Axes) -> None:
    """Remove the frame, the grid, and all ticks but the labels below."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, labelleft=False, bottom=False)


def saved(figure: Figure, path: Path) -> Figure:
    """Save the figure; a character that no installed font has is drawn as an empty box, without a warning."""
    installed = {font.name for font in fontManager.ttflist}  # matplotlib logs each that is not
    fonts = [LATIN_FONT, *(name for name in OTHER_FONTS if name in installed)]
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from", UserWarning)
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=DOTS_PER_INCH))
    return figure


def plain(text: str) -> str:
    """Escape text that matplotlib would interpret: dollars are formulas, and legends skip a leading underscore."""
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")


def wrapped(text: str, characters: int) -> str:
    """Plain text, wrapped at blanks; a word that is longer than a line is broken."""
    return plain("\n".join(textwrap.wrap(text, characters)) or text)


def shortened(names: Sequence[str], characters: int) -> list[str]:
    """Shorten names by their middles to at most so many characters, or to as many as keep them distinct.

    Example:
        >>> shortened(["holiday/IMG_20260501_0007.png", "b.png"], 20)
        ['holiday/I...0007.png', 'b.png']
    """

    def short(name: str, most: int) -> str:
        kept = most - len("...")
        return name if len(name) <= most else f"{name[: kept - kept // 2]}...{name[len(name) - kept // 2 :]}"

    attempts = ([short(name, most) for name in names] for most in count(characters))
    return next(tried for tried in attempts if len(set(tried)) == len(set(names)))
