"""Tables as Markdown."""

import math

import pandas as pd

from fusiqa.io import to_markdown


def test_markdown_aligns_numbers_escapes_bars_and_leaves_gaps_empty():
    table = pd.DataFrame({"run": ["a|b", "c"], "n": [3, 5], "srcc": [0.123456, math.nan]})
    assert to_markdown(table).split("\n") == [
        "| run | n | srcc |",
        "| :--- | ---: | ---: |",
        "| a\\|b | 3 | 0.1235 |",
        "| c | 5 |  |",
    ]
