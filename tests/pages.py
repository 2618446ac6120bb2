"""README and docs as tests read them: their blocks, code spans, commands, sections and tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
NETWORK = ROOT / "docs" / "network.md"
DATA = ROOT / "docs" / "data.md"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_spans(page: Path) -> list[str]:
    """What stands between single backticks, formulas ($`...`$) left out; a span may go over two lines."""
    text = re.sub(r"\$`[^`]*`\$", "", prose(page))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(page: Path) -> list[str]:
    """Every command line of a page: all lines of its bash blocks, and commands with arguments within the text."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    spans = [span for span in code_spans(page) if re.match(r"(python|fusiqa|make) ", span)]
    return [line.strip() for line in lines + spans if line.strip()]


def section(page: Path, name: str) -> str:
    """What stands between <!-- name --> and <!-- /name -->."""
    found = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1, f"{page.name} has {len(found)} sections <!-- {name} -->"
    return found[0]


def table(page: Path, name: str) -> list[dict[str, str]]:
    """The rows of the table in a section, by column."""
    header, rule, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section(page, name).splitlines()
    ]
    assert all(re.fullmatch(r":?-+:?", cell) for cell in rule)
    return [dict(zip(header, row, strict=True)) for row in rows]


def integer(cell: str) -> int:
    return int(cell.replace(",", ""))


def cases(found) -> list:
    """(page, item) pairs as test cases, each once, with readable names."""
    pairs = dict.fromkeys((page, item) for page in PAGES for item in found(page))
    return [pytest.param(page, item, id=f"{page.name}: {item}") for page, item in pairs]
