"""The house as a test: imports go down and never in a circle, and each heavy library has one home."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fusiqa

ROOT = Path(fusiqa.__file__).parents[1]
FILES = sorted((ROOT / "fusiqa").rglob("*.py"))
PROGRAMS = sorted(ROOT.glob("*.py"))
# From the top down; a file may import what stands in a later row, and its own package.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("runs",),
    ("explain", "training"),
    ("models", "data"),
    ("scoring",),
    ("stats",),
    ("config",),
    ("hub", "io", "progress", "machine", "errors"),
)
BRIDGES = {
    ("fusiqa/scoring/torch.py", "models"),
}
"""The file of `scoring` that runs networks by torch."""
HEIGHT = {part: len(LAYERS) - row for row, parts in enumerate(LAYERS) for part in parts}
HOMES = {
    "timm": "fusiqa/models/",
    "lightning": "fusiqa/training/",
    "matplotlib": "fusiqa/explain/plots/",
    "fastapi": "fusiqa/scoring/web/",
    "uvicorn": "fusiqa/scoring/web/",
}


def imports(source: str) -> list[str]:
    """Dotted names that a file imports, at its top or inside its functions, but not for type checkers alone."""
    tree = ast.parse(source)
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: list[str] = []
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def violations(path: str, source: str) -> list[str]:
    """What a file may not import, as "path: name"; paths start at the root, such as fusiqa/scoring/image.py."""
    part = path.removeprefix("fusiqa/").partition("/")[0].removesuffix(".py")
    wrong = []
    for name in imports(source):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        foreign = package in HOMES and not path.startswith(HOMES[package])
        upward = package == "fusiqa" and target in HEIGHT and part != target and HEIGHT[target] >= HEIGHT[part]
        bridge = (path, target) in BRIDGES
        if foreign or (upward and not bridge and not within_the_base(part, target)) or not package:
            wrong.append(f"{path}: {name}")
    return wrong


def within_the_base(part: str, target: str) -> bool:
    """The modules of the last row are no packages; they may use each other, as Python's own order allows."""
    return HEIGHT[part] == HEIGHT[target] == 1


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_file_has_its_place():
    parts = {relative(path).removeprefix("fusiqa/").partition("/")[0].removesuffix(".py") for path in FILES}
    assert parts - {"__init__"} == set(HEIGHT)


@pytest.mark.parametrize("path", [path for path in FILES if relative(path) != "fusiqa/__init__.py"], ids=relative)
def test_imports_go_down_and_heavy_libraries_stay_at_home(path):
    assert violations(relative(path), path.read_text(encoding="utf-8")) == []


def test_every_heavy_library_is_used_in_its_home():
    """Else the rule would guard an empty house."""
    for library, home in HOMES.items():
        inside = [path for path in FILES if relative(path).startswith(home)]
        assert any(
            name.partition(".")[0] == library for path in inside for name in imports(path.read_text(encoding="utf-8"))
        )


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fusiqa/models/fusion.py", "from fusiqa.training.recipe import Recipe"),
        ("fusiqa/scoring/image.py", "import fusiqa.models.fusion"),
        ("fusiqa/scoring/image.py", "def read():\n    from fusiqa.models import fusion"),
        ("fusiqa/training/fit.py", "from fusiqa.runs.train import train"),
        ("fusiqa/training/fit.py", "from fusiqa.explain import plots"),
        ("fusiqa/explain/weights.py", "from fusiqa.runs.compare import compare_runs"),
        ("fusiqa/runs/train.py", "from fusiqa.cli import main"),
        ("fusiqa/stats/metrics.py", "from fusiqa.data.ratings import Ratings"),
        ("fusiqa/data/loader.py", "from ..models import fusion"),
        ("fusiqa/data/loader.py", "from . import photo"),
        ("fusiqa/training/recipe.py", "import timm"),
        ("fusiqa/runs/train.py", "from lightning.pytorch.utilities import rank_zero_only"),
        ("fusiqa/explain/weights.py", "import matplotlib.figure"),
    ],
)
def test_the_rule_sees_what_breaks_it(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fusiqa/models/fusion.py", "from fusiqa.config import ModelConfig\nfrom fusiqa.models.backbone import Maps"),
        ("fusiqa/training/fit.py", "from fusiqa.models.backbone import to_unit_range\nimport lightning"),
        ("fusiqa/stats/metrics.py", "from fusiqa.stats.intervals import bootstrap_interval"),
        ("fusiqa/runs/provenance.py", "import fusiqa"),
        ("fusiqa/scoring/image.py", "if TYPE_CHECKING:\n    from fusiqa.models.backbone import to_unit_range"),
    ],
)
def test_the_rule_allows_what_goes_down(path, source):
    assert violations(path, source) == []


@pytest.mark.parametrize("path", FILES + PROGRAMS, ids=relative)
def test_a_file_says_what_it_is(path):
    source = path.read_text(encoding="utf-8")
    assert len((ast.get_docstring(ast.parse(source)) or "").split()) >= 3


def module_of(path: Path) -> str:
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def module_graph() -> dict[str, set[str]]:
    """The modules of the package that each module imports, at its top or inside its functions."""
    modules = {module_of(path): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        names = imports(path.read_text(encoding="utf-8"))
        found = {name if name in modules else name.rpartition(".")[0] for name in names if name.startswith("fusiqa")}
        graph[module] = {name for name in found if name in modules and name not in (module, "fusiqa")}
    return graph


def public_names(path: Path) -> set[str]:
    """What a module defines at its top, for others to use."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in names if not name.startswith("_") and name != "logger"}


def test_one_name_is_one_thing():
    """A name that two modules define, with two meanings, is found twice by everybody who looks for it."""
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for name in public_names(path):
            homes.setdefault(name, []).append(relative(path))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
    assert homes["Scorer"] == ["fusiqa/scoring/scorer.py"]


def test_no_files_import_each_other_in_a_circle():
    TopologicalSorter(module_graph()).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("statement", ["import fusiqa", "import fusiqa.cli"])
def test_the_command_line_waits_for_no_heavy_library(statement):
    """`fusiqa --help` is to answer at once; the libraries are imported by the command that needs them."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fusiqa" in loaded
    assert loaded & {"torch", "timm", "lightning", "matplotlib", "pandas", "scipy", "PIL"} == set()
