"""What README and docs point to: links, files, names beside equations, and the version."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from pages import (
    PAGES,
    ROOT,
    blocks,
    cases,
    code_spans,
    prose,
)

import fusiqa
from fusiqa.config import TrainConfig
from fusiqa.models import quality
from fusiqa.runs import folder
from fusiqa.training import fit


def links(page: Path) -> list[str]:
    """Targets of links and images that lie in the project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"https?://", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), cases(links))
def test_every_link_leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.is_file()
    if anchor:
        assert anchor in anchors(there)


def references(page: Path) -> list[str]:
    """Code spans such as `fusiqa/models/fusion.py::pool` or a file of the package."""
    return [span for span in code_spans(page) if re.fullmatch(r"(fusiqa|tests)/[\w/]+\.(py|csv)(::[\w.]+)?", span)]


def defined(path: Path) -> set[str]:
    """Names of a module: functions, classes, constants, and within classes methods and fields."""
    return names_in(ast.parse(path.read_text("utf-8")).body)


def names_in(body: list[ast.stmt], prefix: str = "") -> set[str]:
    names = set()
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                names |= {prefix + name} | names_in(node.body, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(prefix + name)
            case ast.Assign(targets=targets):
                names |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(("page", "reference"), cases(references))
def test_every_file_and_name_beside_an_equation_exists(page, reference):
    path, _, name = reference.partition("::")
    assert (ROOT / path).is_file()
    if name:
        assert name in defined(ROOT / path)


@pytest.mark.parametrize("name", ["network.md", "protocol.md"])
def test_every_equation_names_its_code(name):
    page = ROOT / "docs" / name
    text = page.read_text("utf-8")
    followers = re.findall(r"^```math\n(?:.*\n)*?```\n\n(.*)$", text, re.MULTILINE)
    assert len(followers) == len(blocks(page, "math")) >= 5
    assert [line for line in followers if not re.match(r"Code: `fusiqa/[\w/]+\.py::", line)] == []
    assert set(re.findall(r"[\w/]+\.py::[\w.]+", text)) <= set(references(page)), "not all of them are looked up"


def test_the_training_page_names_every_file_of_a_run():
    files = [
        value for module in (folder, quality, fit) for name, value in vars(module).items() if name.endswith("_FILE")
    ]
    assert len(set(files)) >= 9
    first_cells = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "train.md").read_text("utf-8"), re.MULTILINE)
    named = [file for cell in first_cells for file in re.findall(r"`([^`]+)`", cell)]
    assert sorted(set(files) - set(named)) == []


def test_the_parts_of_config_json_are_as_stated(tmp_path):
    folder.start_run(tmp_path, TrainConfig(), resolved={})
    stated = re.search(r"`config.json` has three parts: (.*?)\.\s", prose(ROOT / "docs" / "protocol.md"), re.DOTALL)
    written = json.loads((tmp_path / folder.CONFIG_FILE).read_text("utf-8"))
    assert set(re.findall(r"`(\w+)`", stated[1])) == set(written)
    assert set(written["settings"]) == {"data", "network", "optimiser", "run"}


def test_every_page_is_linked_from_the_index():
    index = ROOT / "docs" / "index.md"
    pages = {page.name for page in PAGES if page.parent == index.parent} - {index.name}
    assert pages <= set(links(index))


def test_the_version_is_one_everywhere():
    citation, changelog = ((ROOT / name).read_text("utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [fusiqa.__version__]
    assert re.findall(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)[0] == fusiqa.__version__
