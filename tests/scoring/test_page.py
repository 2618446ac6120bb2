"""The page of `fusiqa serve` in headless Chromium, as a person uses it."""

import csv
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tiny_models import noise

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)
QUIET = ("background-networking", "component-update", "sync")  # else it would look for hosts elsewhere
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += [*(f"--disable-{each}" for each in QUIET), "--window-size=1180,1150"]


@pytest.fixture(scope="module")
def address(model_folder) -> Iterator[str]:
    command = [sys.executable, "-m", "fusiqa", "serve", "--model", str(model_folder), "--port", "0", "--device", "cpu"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield server.stdout.readline().split()[3]
    server.terminate()
    server.communicate(timeout=30)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield window
    window.quit()


def until(condition, seconds: float = 60):
    """What a condition gives once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def element(browser, name: str):
    return browser.find_element("id", name)


def rows_of(browser) -> list:
    return element(browser, "rows").find_elements("tag name", "tr")


def texts_of(browser) -> list[str]:
    """The rows' texts, read in one step: the page draws them anew whenever a score arrives."""
    return browser.execute_script("return Array.from(document.querySelectorAll('#rows tr'), (row) => row.innerText)")


def test_images_are_scored_explained_compared_and_saved(browser, address, downloads, tmp_path):
    for seed, name in enumerate(("=evil().png", "b.png", "c.png")):
        Image.fromarray(noise(90, 120, seed)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_text("<html>")
    browser.get(address)
    until(lambda: "higher is better" in element(browser, "model").text)
    names = sorted(path.name for path in tmp_path.glob("*.*"))
    element(browser, "files").send_keys("\n".join(str(tmp_path / name) for name in names))
    until(lambda: len(texts := texts_of(browser)) == 4 and not any("waiting" in text for text in texts))
    assert "not an image in a format that can be read" in texts_of(browser)[3]
    name = rows_of(browser)[1].find_element("css selector", "td.name")
    wanted = name.text
    name.click()
    until(lambda: element(browser, "chosen-name").text == wanted)
    assert 1 <= float(element(browser, "chosen-score").text) <= 5
    assert len(element(browser, "weights").find_elements("tag name", "li")) == 4
    assert browser.execute_script("return document.getElementById('picture').width") == 120
    assert [element(browser, name).text for name in ("low", "high")] == ["1", "5"]  # the limits of the colours
    with_heat = browser.execute_script("return document.getElementById('picture').toDataURL()")
    element(browser, "heat").click()
    assert browser.execute_script("return document.getElementById('picture').toDataURL()") != with_heat
    element(browser, "csv").click()
    saved = until(lambda: [path for path in downloads.glob("scores.csv") if path.stat().st_size])[0]
    table = list(csv.DictReader(io.StringIO(saved.read_text(encoding="utf-8"))))
    assert sorted(row["path"] for row in table) == sorted(["'=evil().png", "b.png", "broken.jpg", "c.png"])
    assert [row["score"] == "" for row in table] == [False, False, False, True]
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_the_heat_map_of_the_page_is_that_of_the_library(browser, address, scorer):
    score = scorer(noise(90, 120))
    crops = [
        {"box": box, "score": value}
        for box, value in zip(score.crops.boxes.tolist(), score.crops.scores.tolist(), strict=True)
    ]
    browser.get(address)
    drawn = browser.execute_async_script(
        "const [result, done] = arguments;"
        "import('/heat.js').then(({ heatMap }) => done(Array.from(heatMap(result, 24, 18))));",
        {"crops": crops},
    )
    expected = score.crops.heat_map(18, 24)
    assert drawn == pytest.approx(expected.ravel().tolist(), abs=1e-9)


def test_the_colours_span_the_score_range(browser, address):
    browser.get(address)
    drawn = browser.execute_async_script(
        "const done = arguments[0];import('/heat.js').then(({ colour }) => done([-1, 0, 0.5, 0.75, 1, 2].map(colour)));"
    )
    red, white, blue = [178, 24, 43], [247, 247, 247], [33, 102, 172]
    between = [round((w + b) / 2) for w, b in zip(white, blue, strict=True)]
    assert drawn[:3] == [red, red, white]
    assert drawn[3] == pytest.approx(between, abs=1)
    assert drawn[4:] == [blue, blue]
