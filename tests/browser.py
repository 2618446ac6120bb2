"""Headless Chromium, and axe-core in it; what is missing skips the tests that need it."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET = ("background-networking", "component-update", "sync")  # else it would look for hosts elsewhere
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += [*(f"--disable-{each}" for each in QUIET), "--window-size=1180,1150"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHECK = """
const [rules, done] = arguments;
axe.run(document, {runOnly: {type: "tag", values: rules}}).then(({violations, passes}) => done([passes.length,
  violations.map(({id, nodes}) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`)]));
"""
WIDTHS, SCHEMES = (390, 820, 1280), ("light", "dark")


def opened(downloads: Path) -> Iterator:
    """A window, closed at the end; skips without Chromium, its driver or selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield window
    finally:
        window.quit()


def until(condition: Callable, seconds: float = 60):
    """What a condition gives once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def views(browser) -> Iterator[str]:
    """The page at three widths, in light and in dark."""
    for scheme in SCHEMES:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for width in WIDTHS:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            yield f"{scheme}, {width} pixels"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def faults(browser) -> list[str]:
    """What axe-core finds against WCAG A and AA, and what does not fit into the window, in every view."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --prefix build/axe axe-core")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = []
    for view in views(browser):
        passed, violations = browser.execute_async_script(CHECK, RULES)
        assert passed > 20
        if browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth"):
            violations.append("wider than the window")
        found += [f"{view}: {each}" for each in violations]
    return found


def severe(browser) -> list[str]:
    """What the browser's console complains of."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
