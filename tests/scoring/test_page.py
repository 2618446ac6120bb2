"""The page of `fusiqa serve` in headless Chromium, as a person uses it."""

import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import faults, opened, severe, until
from PIL import Image
from tiny_models import noise


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
    yield from opened(downloads)


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
    assert severe(browser) == []


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


@pytest.fixture
def shown(browser, address, tmp_path) -> Path:
    """The page with three images scored and one that is broken; their folder."""
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        Image.fromarray(noise(90, 120, seed)).save(tmp_path / name)
    (tmp_path / "d.jpg").write_text("<html>")
    browser.get(address)
    until(lambda: "higher is better" in element(browser, "model").text)
    names = ("a.png", "b.png", "c.png", "d.jpg")
    element(browser, "files").send_keys("\n".join(str(tmp_path / name) for name in names))
    until(lambda: len(texts := texts_of(browser)) == 4 and not any("waiting" in text for text in texts))
    return tmp_path


def pixels_of(browser, name: str, x: float) -> list[int]:
    """What the screen shows of an element, in its middle row, at a fraction of its width."""
    picture = Image.open(io.BytesIO(element(browser, name).screenshot_as_png)).convert("RGB")
    return list(picture.getpixel((int(x * (picture.width - 1)), picture.height // 2)))


def test_the_page_has_no_barrier_at_three_widths_in_light_and_dark(browser, address, shown):
    for box in range(2):
        browser.find_elements("css selector", "#rows input")[box].click()
    assert element(browser, "pair").is_displayed()
    assert faults(browser) == []
    browser.get(address)
    assert faults(browser) == []
    assert severe(browser) == []


def test_two_ticked_images_lie_over_each_other_and_the_divider_moves_by_keys(browser, shown, tmp_path):
    for name, colour in (("red.png", (200, 0, 0)), ("blue.png", (0, 0, 200))):
        Image.new("RGB", (120, 90), colour).save(tmp_path / name)
    element(browser, "files").send_keys(f"{tmp_path / 'red.png'}\n{tmp_path / 'blue.png'}")
    until(lambda: len(texts := texts_of(browser)) == 6 and not any("waiting" in text for text in texts))
    for name in ("red.png", "blue.png"):
        browser.find_element("css selector", f"input[aria-label='compare {name}']").click()
    assert element(browser, "before-name").text.startswith("red.png: ")
    assert element(browser, "after-name").text.startswith("blue.png: ")
    left, right = (pixels_of(browser, "before", x) for x in (0.1, 0.9))
    assert (left, right) == ([200, 0, 0], [0, 0, 200])
    divider = element(browser, "divider")
    divider.send_keys("\ue010")  # End
    assert pixels_of(browser, "before", 0.9) == [200, 0, 0]
    divider.send_keys("\ue011")  # Home
    assert pixels_of(browser, "before", 0.1) == [0, 0, 200]
    browser.find_element("css selector", "input[aria-label='compare red.png']").click()
    assert not element(browser, "pair").is_displayed()


def press(browser, key: str) -> None:
    """A key, to whatever has the focus; a file input would take what is sent to it for a path."""
    keys = ("keyDown", "keyUp")
    actions = [{"type": kind, "value": key} for kind in keys]
    browser.execute("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})


def test_everything_is_reached_by_the_tabulator_and_the_focus_stays_and_shows(browser, shown):
    browser.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        press(browser, "\ue004")  # Tab
        found = browser.execute_script(
            "const e = document.activeElement, label = e.closest('label') || e;"
            "return [e.id || e.dataset.focus || e.dataset.sort || e.textContent.trim(), e === document.body,"
            " [e, label].some((each) => getComputedStyle(each).outlineStyle !== 'none')]"
        )
        if found[1]:
            break
        assert found[2], f"nothing shows that {found[0]} has the focus"
        reached.append(found[0])
    wanted = ["files", "folder", "heat", "csv", "json", "clear", "name", "score", "spread", "tick 0", "name 0", "API"]
    assert [name for name in wanted if name not in reached] == []
    assert [name for name in reached if name in wanted[:6]] == wanted[:6]  # in the order of reading
    name = browser.find_element("css selector", "[data-focus='name 2']")
    name.send_keys("\ue007")  # Enter
    until(lambda: element(browser, "chosen-name").text == "c.png")
    assert browser.execute_script("return document.activeElement.dataset.focus") == "name 2"


def test_a_folder_is_chosen_or_dropped_and_only_its_images_are_taken(browser, address, tmp_path):
    folder = tmp_path / "holiday"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.JPG", ".hidden.png", "below/.also.png"):
        Image.fromarray(noise(64, 64)).save(folder / name, format="PNG")
    (folder / "notes.txt").write_text("no image")
    browser.get(address)
    until(lambda: "higher is better" in element(browser, "model").text)
    element(browser, "folder").send_keys(str(folder))
    until(lambda: len(texts := texts_of(browser)) == 2 and not any("waiting" in text for text in texts))
    chosen = sorted(row.find_element("css selector", "td.name").text for row in rows_of(browser))
    assert chosen == ["holiday/a.png", "holiday/below/b.JPG"]
    element(browser, "clear").click()
    place = element(browser, "drop").rect
    event = {"x": place["x"] + 20, "y": place["y"] + 20}
    event["data"] = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **event})
    until(lambda: len(texts := texts_of(browser)) == 2 and not any("waiting" in text for text in texts))
    assert sorted(row.find_element("css selector", "td.name").text for row in rows_of(browser)) == chosen
