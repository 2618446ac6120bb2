"""Runs on the same images: their measures, paired differences, verdicts, and what cannot be compared."""

import math

import numpy as np
import pandas as pd
import pytest

from fusiqa.errors import FusiqaError
from fusiqa.io import to_markdown, write_csv
from fusiqa.stats.compare import compare, readable, verdict
from fusiqa.stats.metrics import Estimate, paired_difference, plcc, srcc


def predictions(noise: float, seed: int = 0, images: int = 101) -> pd.DataFrame:
    mos = np.random.default_rng(42).normal(size=images)
    scores = mos + noise * np.random.default_rng(seed).normal(size=images)
    return pd.DataFrame({"image": [f"{row}.jpg" for row in range(images)], "mos": mos, "score": scores})


def test_each_run_is_measured_and_each_later_one_against_the_first():
    runs = {"concat": predictions(1.0, 1), "attention": predictions(0.3, 2), "single": predictions(2.0, 3)}
    table = compare(runs, resamples=200).set_index("run")
    assert list(table.index) == list(runs)
    for run, rows in runs.items():
        assert table.loc[run, "n"] == 101
        assert table.loc[run, "srcc"] == srcc(rows["score"], rows["mos"])
        assert table.loc[run, "plcc"] == plcc(rows["score"], rows["mos"])
        assert table.loc[run, "srcc_low"] < table.loc[run, "srcc"] < table.loc[run, "srcc_high"]
    assert table.loc["concat", ["srcc_difference", "srcc_difference_low", "plcc_difference"]].isna().all()
    assert table.loc["attention", "srcc_difference"] == table.loc["attention", "srcc"] - table.loc["concat", "srcc"]
    paired = [runs["single"]["score"], runs["concat"]["score"], runs["concat"]["mos"]]
    expected = paired_difference(*paired, metric="plcc", resamples=200)
    came = table.loc["single", ["plcc_difference", "plcc_difference_low", "plcc_difference_high"]]
    assert came.tolist() == pytest.approx(list(expected))


def test_verdicts_say_higher_lower_or_nothing_to_tell():
    runs = {"concat": predictions(1.0, 1), "attention": predictions(0.3, 2), "single": predictions(2.0, 3)}
    hair = 0.05 * np.random.default_rng(4).normal(size=101)
    runs["again"] = runs["concat"].assign(score=runs["concat"]["score"] + hair)
    said = compare(runs, resamples=200).set_index("run")["verdict"]
    assert "attention is higher" in said["attention"]
    assert "single is lower" in said["single"]
    assert "no difference can be told from this" in said["again"]
    assert all("one seed each" in said[run] for run in ("attention", "single", "again"))


def test_an_interval_that_touches_zero_tells_nothing():
    assert "no difference can be told" in verdict("new", "old", Estimate(0.01, 0.0, 0.02))
    assert "new is higher" in verdict("new", "old", Estimate(0.01, 0.0001, 0.02))


def test_rows_may_come_in_any_order():
    first, second = predictions(1.0, 1), predictions(0.5, 2)
    expected = compare({"a": first, "b": second}, resamples=100)
    shuffled = second.sample(frac=1, random_state=5)
    assert (shuffled.index != second.index).any()
    pd.testing.assert_frame_equal(compare({"a": first, "b": shuffled}, resamples=100), expected)


def test_other_images_are_refused_by_name():
    second = predictions(1.0, 2).replace({"image": {"7.jpg": "new.jpg"}})
    with pytest.raises(FusiqaError, match=r"only a has 7\.jpg; only b has new\.jpg"):
        compare({"a": predictions(1.0, 1), "b": second})
    with pytest.raises(FusiqaError, match=r"only a has 100\.jpg; only b has none"):
        compare({"a": predictions(1.0, 1), "b": predictions(1.0, 2)[:100]})


def test_other_mos_are_refused_by_image_but_not_their_rounding():
    first, second = predictions(1.0, 1), predictions(1.0, 2)
    compare({"a": first, "b": second.assign(mos=second["mos"] * (1 + 1e-8))}, resamples=40)
    second.loc[3, "mos"] = 2.5
    with pytest.raises(FusiqaError, match=rf"different mos for the same images: 3\.jpg \({first.mos[3]:g} and 2\.5\)"):
        compare({"a": first, "b": second})


def test_what_cannot_be_measured_is_refused_with_its_run():
    first = predictions(1.0, 1)
    with pytest.raises(FusiqaError, match=r"collapsed: scores are all 0\.5 for 101 images"):
        compare({"a": first, "collapsed": first.assign(score=0.5)})
    with pytest.raises(FusiqaError, match="b: the predictions lack the columns mos, score"):
        compare({"a": first, "b": first[["image"]]})
    with pytest.raises(FusiqaError, match=r"b: predicted more than once: 0\.jpg"):
        compare({"a": first, "b": pd.concat([first, first[:1]])})
    with pytest.raises(FusiqaError, match="at least two runs; got a"):
        compare({"a": first})


def test_markdown_aligns_numbers_escapes_bars_and_leaves_gaps_empty():
    table = pd.DataFrame({"run": ["a|b", "c"], "n": [3, 5], "srcc": [0.123456, math.nan]})
    assert to_markdown(table).split("\n") == [
        "| run | n | srcc |",
        "| :--- | ---: | ---: |",
        "| a\\|b | 3 | 0.1235 |",
        "| c | 5 |  |",
    ]


def test_the_readable_table_has_intervals_in_its_cells(tmp_path):
    comparison = compare({"a": predictions(1.0, 1), "b": predictions(0.3, 2)}, resamples=100)
    table = readable(comparison)
    row = comparison.iloc[1]
    assert table.loc[1, "SRCC"] == f"{row.srcc:.3f} [{row.srcc_low:.3f}, {row.srcc_high:.3f}]"
    assert table.loc[1, "SRCC minus first"].startswith(f"{row.srcc_difference:+.4f} [")
    assert table.loc[0, "SRCC minus first"] == ""
    write_csv(comparison, tmp_path / "new" / "comparison.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "comparison.csv"), comparison)
