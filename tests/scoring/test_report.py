"""`fusiqa report`: what one file shows of a table, offline, at any size of window."""

import codecs
import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from broken_files import break_into
from browser import faults, opened, severe, until
from commands import exit_code
from PIL import Image
from tiny_models import make_model, noise

from fusiqa.cli import USER_MISTAKE
from fusiqa.config import ReportConfig
from fusiqa.scoring import report as reporting
from fusiqa.scoring.charts import bars, histogram, over_time
from fusiqa.scoring.report import write_html_report
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.table import SCORE_TYPES, read_rows, write_rows

MANY = 10_000
EVIL = "<script>alert(1)</script> & \"'.png"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(make_model(tmp_path_factory.mktemp("models") / "small", flaws=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images of a clock that began anew in 2000, one without EXIF, one of an awkward name, and broken ones."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(6):
        exif = Image.Exif()
        time = (datetime(2000, 1, 1) if number < 3 else datetime(2024, 5, 6)) + timedelta(seconds=number)
        exif[36867] = f"{time:%Y:%m:%d %H:%M:%S}"
        Image.fromarray(noise(90, 120, number)).save(folder / f"{number}.jpg", exif=exif)
    Image.fromarray(noise(90, 120, 7)).save(folder / EVIL.replace("/", "_"))
    break_into(folder, 5)
    return folder


@pytest.fixture(scope="module")
def made(folder, model, tmp_path_factory) -> Path:
    """The report of those, by `fusiqa score --report`."""
    place = tmp_path_factory.mktemp("report")
    output = "--output", place / "scores.csv"
    assert (
        exit_code("score", folder, "--model", model, *output, "--report", place / "report.html", "--device", "cpu") == 1
    )
    return place / "report.html"


def rows_in(page: Path) -> list[dict]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"))
    return json.loads(text)


def test_the_page_holds_every_row_and_loads_nothing(made, folder):
    text = made.read_text(encoding="utf-8")
    rows = rows_in(made)
    assert len(rows) == len(list(folder.iterdir())) == 12
    assert [row["score"] is None for row in rows] == [False] * 7 + [True] * 5
    assert [row["score"] for row in rows[:7]] == sorted(row["score"] for row in rows[:7])
    assert {row["taken"] for row in rows} == {None, *(f"2000-01-01T00:00:0{n}" for n in range(3)), *(
        f"2024-05-06T00:00:0{n}" for n in range(3, 6)
    )}  # fmt: skip
    assert all(row["picture"].startswith("data:image/webp;base64,") for row in rows[:7])
    assert all(row["note"] for row in rows[7:])
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<script>alert" not in text
    assert text.count("heat map of") == 2 * 4  # of seven images, four at each end
    assert "7 images with a score, higher is better" in text
    assert "5 without a score" in text


def test_the_report_of_a_table_is_that_of_the_run(made, model, tmp_path, capsys):
    table, page = made.with_name("scores.csv"), tmp_path / "again.html"
    command = "report", table, "--output", page, "--model", model, "--device", "cpu"
    assert exit_code(*command) == 0
    assert rows_in(page) == rows_in(made)
    assert "7 scores, 0." in capsys.readouterr().err
    before = page.read_bytes()
    assert exit_code(*command) == USER_MISTAKE
    assert "exists; add --overwrite to replace it" in capsys.readouterr().err
    assert exit_code(*command, "--overwrite") == 0
    assert page.read_bytes() == before


def test_a_table_that_a_spreadsheet_saved_has_a_report(made, tmp_path):
    table = tmp_path / "saved.csv"
    table.write_bytes(codecs.BOM_UTF8 + made.with_name("scores.csv").read_bytes().replace(b"\n", b"\r\n"))
    assert exit_code("report", table) == 0
    assert len(rows_in(table.with_suffix(".html"))) == 12


def test_a_table_of_bursts_has_a_report_too(folder, model, tmp_path):
    table = tmp_path / "sorted.jsonl"
    assert exit_code("sort", folder, "--model", model, "--output", table, "--device", "cpu") == 1
    assert exit_code("report", table, "--model", model, "--device", "cpu") == 0
    assert len(rows_in(tmp_path / "sorted.html")) == 12


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.csv", None, "no table"),
        ("notes.txt", "a", "no table"),
        ("other.csv", "image,mos\na,1\n", "is not a table of scores"),
        ("none.csv", ",".join(COLUMNS) + "\n", "no image of"),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path, capsys, name, content, reason):
    if content is not None:
        (tmp_path / name).write_text(content)
    assert exit_code("report", tmp_path / name) == USER_MISTAKE
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("named", ["owner/name@12345678", "/etc@12345678", "@", "fusiqa-fast"])
def test_no_model_is_looked_up_by_a_name_in_a_table(made, model, tmp_path, named, monkeypatch):
    """A table may come from anywhere."""
    monkeypatch.setattr("fusiqa.scoring.report.Scorer", lambda *_, **__: pytest.fail("opened"))
    rows = list(read_rows(made.with_name("scores.csv"), SCORE_TYPES))
    write_rows(tmp_path / "a.csv", [row | {"model": named.strip("@")} for row in rows], SCORE_TYPES)
    assert exit_code("report", tmp_path / "a.csv") == 0
    assert "is not in the package; name it by --model" in (tmp_path / "a.html").read_text()


def test_a_table_of_two_models_has_no_report(made, tmp_path, refused):
    rows = list(read_rows(made.with_name("scores.csv"), SCORE_TYPES))
    write_rows(tmp_path / "a.csv", [row | {"model": f"m{n % 2}@1"} for n, row in enumerate(rows)], SCORE_TYPES)
    assert "has scores of m0@1, m1@1: report one model's alone" in refused("report", tmp_path / "a.csv")


def test_a_page_of_somebody_else_is_not_replaced(made, tmp_path, capsys):
    (tmp_path / "index.html").write_text("<p>mine")
    ask = "report", made.with_name("scores.csv"), "--output", tmp_path / "index.html", "--overwrite"
    assert exit_code(*ask) == USER_MISTAKE
    assert (tmp_path / "index.html").read_text() == "<p>mine"
    assert exit_code("score", "a.jpg", "--report", "a.pdf") == USER_MISTAKE
    assert "--report must end in .html, .htm, got a.pdf" in capsys.readouterr().err


def many_rows(count: int) -> list[dict]:
    row = dict.fromkeys(SCORE_TYPES) | {"spread": 1.0, "width": 4000, "height": 3000, "model": "gone@12345678"}
    flaws = {f"flaw_{name}": 0.1 for name in ("noise", "compression", "blocks", "colour", "exposure", "sharpening")}
    return [
        row | flaws | {"path": f"holiday/IMG_{n:05}.jpg", "score": 100 * (n * 7919 % count) / count}
        | {"flaw_blur": 0.9 if n % 4 == 0 else 0.1, "flaw_none": 0.8 if n % 4 else 0.2}
        for n in range(count)
    ]  # fmt: skip


def test_ten_thousand_rows_stay_small_and_usable(tmp_path_factory, tmp_path):
    write_rows(tmp_path / "scores.csv", many_rows(MANY))
    assert exit_code("report", tmp_path / "scores.csv", "--no_progress") == 0
    page = tmp_path / "scores.html"
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3e6
    assert "Without heat maps: gone@12345678 is not in the package; name it by --model" in text
    assert "<span>2,500 (25%)</span>" in text  # blurred
    for browser in opened(tmp_path):
        browser.get(page.as_uri())
        until(lambda: browser.find_element("id", "place").text == "1 to 100 of 10,000")  # noqa: B023
        first = "return document.querySelector('#rows td.name').textContent"
        assert browser.execute_script(first) == "holiday/IMG_00000.jpg"
        seconds = browser.execute_script(
            "const start = performance.now(); document.querySelector('[data-sort=path]').click();"
            "document.querySelector('[data-sort=path]').click(); return (performance.now() - start) / 2000"
        )
        assert seconds < 3
        assert browser.execute_script(first) == "holiday/IMG_09999.jpg"
        assert browser.execute_script("return document.querySelector('[aria-sort]').textContent") == "Name"
        browser.find_element("id", "last").click()
        assert browser.find_element("id", "place").text == "9,901 to 10,000 of 10,000"
        browser.find_element("id", "words").send_keys("blurred 0004")
        assert browser.find_element("id", "place").text == "1 to 4 of 4"  # 4, 40, 44 and 48
        assert severe(browser) == []


def test_a_page_of_more_rows_than_it_lists_has_the_worst_and_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_AT_MOST", 10)
    rows = many_rows(31)
    write_html_report(rows, ReportConfig(tmp_path / "a.csv", progress=False, thumbnails=0))
    shown = [row["score"] for row in rows_in(tmp_path / "a.html")]
    ranked = sorted(row["score"] for row in rows)
    assert shown == ranked[:5] + ranked[-5:]
    assert "31 rows; the page lists 10: the worst, the best, and without a score." in (tmp_path / "a.html").read_text()


def test_images_without_a_score_displace_none_of_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "ROWS_AT_MOST", 10)
    rows = many_rows(31)
    failed = [{**row, "path": f"broken {row['path']}", "score": None, "error": "not an image"} for row in rows]
    drawn = []
    monkeypatch.setattr(reporting, "thumbnail", lambda path, size: drawn.append(path))
    write_html_report([*failed, *rows], ReportConfig(tmp_path / "a.csv", progress=False, thumbnails=4))
    ranked = sorted(rows, key=lambda row: row["score"])
    assert [row["path"] for row in rows_in(tmp_path / "a.html")[:10]] == [
        row["path"] for row in ranked[:5] + ranked[-5:]
    ]
    assert [row["score"] for row in rows_in(tmp_path / "a.html")[10:]] == [None] * 5
    assert {row["path"] for row in ranked[:2] + ranked[-2:]} <= set(drawn)


def test_the_page_has_no_barrier_at_three_widths_in_light_and_dark(made, tmp_path):
    for browser in opened(tmp_path):
        browser.get(made.as_uri())
        assert faults(browser) == []
        assert browser.execute_script("return document.querySelectorAll('#rows tr').length") == 12
        assert browser.execute_script("return [...document.images].every((each) => each.naturalWidth > 0)")
        assert severe(browser) == []


def test_bars_of_the_histogram_have_the_heights_of_their_counts():
    chart = histogram(np.array([-1.0, 0.0, 2.5, 52.0, 99.0, 130.0]), 0, 100)
    heights = [float(text) for text in re.findall(r'height="([\d.]+)"', chart)]
    assert [round(3 * height / max(heights)) for height in heights] == [3, *[0] * 9, 1, *[0] * 8, 2]
    assert "most, 3, from 0 to 5" in chart


def test_images_of_one_day_have_hours_on_the_axis():
    chart = over_time([("2026-07-01T09:05:00", 40.0), ("2026-07-01T17:30:00", 60.0)], 0, 100)
    assert ">09:05<" in chart
    assert ">17:30<" in chart
    assert ">2026-07-01<" in over_time([("2026-07-01T09:05:00", 40.0), ("2026-07-02T17:30:00", 60.0)], 0, 100)


def test_times_are_evenly_spaced_and_ordered():
    times = [("2024-05-06T00:00:02", 80.0), ("2000-01-01T00:00:00", 20.0), ("2024-05-06T00:00:01", 50.0)]
    assert "<b>" not in over_time([("2026-07-01<b>", 40.0), ("<b>", 60.0)], 0, 100)
    chart = over_time(times, 0, 100)
    across = [float(text) for text in re.findall(r'cx="([\d.]+)"', chart)]
    down = [float(text) for text in re.findall(r'cy="([\d.]+)"', chart)]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert down[0] > down[1] > down[2]  # higher scores stand higher
    assert "2000-01-01 to 2024-05-06" in chart


def test_bars_say_counts_and_shares():
    assert "<span>1 (25%)</span>" in bars([("blurred", 1), ("none <likely>", 3)], 4)
    assert "none &lt;likely&gt;" in bars([("none <likely>", 3)], 4)
