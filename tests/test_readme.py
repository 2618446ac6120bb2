"""What README and docs say, held to the code: commands, links, names, flags, files and tables."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import tyro

import fusiqa
from fusiqa.cli import COMMANDS, PARSING
from fusiqa.config import FUSIONS, ModelConfig, TrainConfig
from fusiqa.config.data import DataConfig
from fusiqa.data import catalog, splits
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.facts import CATALOG
from fusiqa.data.ratings import SPLITS
from fusiqa.data.synthetic import CONTENTS, LEVELS, SIZE, USED, mean_opinions, read_synthetic
from fusiqa.experiments import run_folder
from fusiqa.experiments.presets import PRESETS
from fusiqa.models import checkpoint
from fusiqa.models.quality import QualityModel
from fusiqa.models.target import SIZES
from fusiqa.training import callbacks, history
from fusiqa.training.recipe import choose_rates, choose_regularisation

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = ("train_swin.py", "visualize_attention.py")
SWIN_TINY = "swin_tiny_patch4_window7_224"

REQUESTED = {
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4": {
        "epochs": 30, "batch_size": 4, "attention_fusion": False, "multiscale": True, "spaq": True,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion": {
        "epochs": 30, "batch_size": 4, "attention_fusion": True, "multiscale": True, "spaq": True,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --batch_size 4 --attention_fusion --patience 7 "
    "--lr_scheduler cosine --no_spaq": {
        "batch_size": 4, "attention_fusion": True, "patience": 7, "lr_scheduler": "cosine", "spaq": False,
    },
    "python train_swin.py --dataset koniq-10k --epochs 30 --no_multiscale --no_spaq": {
        "epochs": 30, "attention_fusion": False, "multiscale": False, "spaq": False,
    },
}  # fmt: skip


# --- reading Markdown ------------------------------------------------------------------------------------------------


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


# --- commands --------------------------------------------------------------------------------------------------------


def parsed(command: str) -> object | None:
    """The settings that a command line comes to, None for one that has none; AssertionError if it would not run."""
    match shlex.split(command):
        case ["python", script, *arguments] if script.startswith("benchmarks/"):
            source = (ROOT / script).read_text("utf-8")
            flags = {argument.removeprefix("--") for argument in arguments if argument.startswith("--")}
            assert flags <= set(re.findall(r"^    (\w+): ", source, re.MULTILINE))
            return None
        case ["python", script, *arguments]:
            assert script in SCRIPTS, f"no script {script}"
            name = re.findall(r'main_of\("(\w+)", "(.*)"\)', (ROOT / script).read_text("utf-8"))
            assert name[0][1] == script
            return settings(name[0][0], arguments)
        case ["fusiqa", name, *arguments]:
            return settings(name, arguments)
        case ["make", *targets]:
            there = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert targets
            assert set(targets) <= set(there), f"the Makefile has the targets {there}"
            return None
        case ["source", path]:
            venv = re.findall(r"^VENV := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert path == f"{venv[0]}/bin/activate"
            return None
    raise AssertionError(f"a command that no test knows how to check: {command}")


def settings(name: str, arguments: list[str]) -> object | None:
    assert name in COMMANDS, f"no command {name}; there are {', '.join(COMMANDS)}"
    try:
        return tyro.cli(COMMANDS[name][0], args=arguments, console_outputs=False, config=PARSING)
    except SystemExit as end:
        if end.code != 0:
            raise AssertionError(f"{name} refuses {arguments}") from end
        return None  # --help


def is_mention(command: str) -> bool:
    """`fusiqa attention` in a sentence is a name, not a command line."""
    return re.fullmatch(r"fusiqa \w+|fusiqa data \w+( NAME)?", command) is not None


@pytest.mark.parametrize(("page", "command"), cases(commands))
def test_every_command_is_one_that_runs(page, command):
    if is_mention(command):
        assert command.split()[1] in COMMANDS
    else:
        parsed(command)


@pytest.mark.parametrize("command", REQUESTED)
def test_the_requested_commands_stand_in_the_readme_and_mean_what_they_say(command):
    assert command in commands(README)
    config = parsed(command)
    assert isinstance(config, TrainConfig)
    assert {name: getattr(config, name) for name in REQUESTED[command]} == REQUESTED[command]
    assert config.dataset == "koniq-10k"


def test_the_readme_begins_with_the_two_commands():
    assert commands(README)[:2] == ["make demo", "make test"]


@pytest.mark.parametrize(
    "command",
    [
        "python train_swin.py --epoch 3",
        "python train_swin.py --epochs 0",
        "python train.py",
        "python benchmarks/data.py --colour 3",
        "fusiqa explain runs/first",
        "fusiqa attention",
        "make install",
        "source venv/bin/activate",
        "pip install fusiqa",
    ],
)
def test_a_command_that_would_not_run_is_found_out(command):
    with pytest.raises(AssertionError):
        parsed(command)


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_the_python_of_the_readme_runs(number):
    names: dict = {}
    exec(compile(blocks(README, "python")[number], README.name, "exec"), names)
    assert names["score"].shape == (2,)
    assert torch.allclose(names["scale_weights"].sum(dim=1), torch.ones(2))


def known_flags() -> set[str]:
    """Every flag of every command, without dashes at its start and in underscores."""
    configs = [config for config, _ in COMMANDS.values()]
    configs += [get_args(action)[0] for action in get_args(get_type_hints(DataConfig, include_extras=True)["action"])]
    hints = [hint for config in configs for hint in get_type_hints(config, include_extras=True).items()]
    names = {"help"}
    for name, hint in hints:
        aliases = [alias for extra in get_args(hint) for alias in getattr(extra, "aliases", None) or ()]
        spellings = {name, *(alias.lstrip("-").replace("-", "_") for alias in aliases)}
        is_switch = hint is bool or bool in get_args(hint)
        names |= spellings | ({f"no_{spelling}" for spelling in spellings} if is_switch else set())
    return names


def flags(page: Path) -> list[str]:
    return [flag for span in code_spans(page) for flag in re.findall(r"(?<![\w-])--[\w-]+", span)]


def test_every_flag_that_is_named_exists():
    named = {(page.name, flag) for page in PAGES for flag in flags(page)}
    known = known_flags()
    assert {("README.md", "--no_multiscale"), ("protocol.md", "--head_lr_ratio")} <= named
    assert sorted((page, flag) for page, flag in named if flag[2:].replace("-", "_") not in known) == []
    assert not {"epoch", "no_epochs", "attention"} & known


# --- links and names -------------------------------------------------------------------------------------------------


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


# --- the tables of docs/network.md -----------------------------------------------------------------------------------

NETWORK = ROOT / "docs" / "network.md"


def built(backbone: str, fusion: str) -> QualityModel:
    """The network without storage."""
    with torch.device("meta"):
        return QualityModel(ModelConfig(backbone=backbone, fusion=fusion)).eval()


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parameter_counts_are_those_of_the_built_networks():
    rows = table(NETWORK, "parameters")
    assert [row["backbone"].split("_")[1] for row in rows] == ["tiny", "small", "base"]
    for row in rows:
        documented = {fusion: integer(row[fusion]) for fusion in FUSIONS}
        assert documented == {fusion: parameters(built(row["backbone"], fusion)) for fusion in FUSIONS}


def test_the_parts_are_those_of_the_built_network():
    single, attention = built(SWIN_TINY, "single"), built(SWIN_TINY, "attention")
    chain = parameters(attention.hypernetwork.chain)
    counts = {
        "backbone": parameters(attention.pyramid),
        "local distortion vector": parameters(attention.distortion),
        "chain of 1x1 convolutions, single": parameters(single.hypernetwork.chain),
        "chain of 1x1 convolutions, concat and attention": chain,
        "scale attention": parameters(attention.fusion),
        "the rest of the hypernetwork": parameters(attention.hypernetwork) - chain,
        "numbers that it writes for each image (not parameters)": sum(
            into * out + out for into, out in pairwise(SIZES)
        ),
    }
    assert {row["part"]: integer(row["parameters"]) for row in table(NETWORK, "parts")} == counts


def test_the_share_of_the_attention_is_as_stated():
    share = 100 * parameters(built(SWIN_TINY, "attention").fusion) / parameters(built(SWIN_TINY, "concat"))
    for page in (NETWORK, ROOT / "docs" / "request.md"):
        assert f"{share:.2f} %" in page.read_text("utf-8")


def test_the_shapes_are_those_of_a_forward_pass():
    images = torch.empty(2, 3, 224, 224, device="meta")
    models = {fusion: built(SWIN_TINY, fusion) for fusion in FUSIONS}
    maps = models["attention"].pyramid(images)
    fused = {fusion: model.fusion(maps) for fusion, model in models.items()}
    weights = models["attention"].hypernetwork(fused["attention"].map)
    tensors = {
        **{f"f_{i}": m for i, m in enumerate(maps)},
        **{f"fused, {fusion}": fused[fusion].map for fusion in FUSIONS},
        "w": fused["attention"].scale_weights,
        "h": models["attention"].hypernetwork.chain(fused["attention"].map),
        "v": models["attention"].distortion(maps),
        **{f"W_{k}": matrix for k, matrix in enumerate(weights.matrices)},
        **{f"b_{k}": bias for k, bias in enumerate(weights.biases)},
        "score": torch.empty(2),
    }
    shapes = {name: str(tuple(tensor.shape)).replace(",)", ")").replace("(2", "(B") for name, tensor in tensors.items()}
    assert {row["tensor"]: row["shape"] for row in table(NETWORK, "shapes")} == shapes


# --- the tables of docs/protocol.md and docs/data.md -----------------------------------------------------------------

DATA = ROOT / "docs" / "data.md"


@pytest.mark.parametrize("row", table(ROOT / "docs" / "protocol.md", "defaults"), ids=str)
def test_the_default_rates_are_those_of_the_recipe(row):
    config = TrainConfig(backbone=row["backbone"], backbone_weights=row["weights"])
    rates, regularisation = choose_rates(config), choose_regularisation(config)
    documented = [float(cell) for cell in list(row.values())[2:]]
    assert documented == pytest.approx(
        [rates.backbone, rates.head, regularisation.dropout, regularisation.drop_path], rel=1e-9
    )


def test_the_data_sets_are_those_of_the_catalog():
    known_sets = [
        {
            "name": known.name,
            "photographs": f"{known.images:,}",
            "ratings": f"{known.score_range.low:g} to {known.score_range.high:g}",
            "split": known.official_split,
            "resize": known.resize,
            "licence": known.licence,
        }
        for known in CATALOG
    ]
    assert table(DATA, "datasets") == known_sets
    text = DATA.read_text("utf-8")
    for known in CATALOG:
        assert known.source in text
        assert known.citation.rpartition("doi:")[2] in text


def test_the_presets_are_those_of_the_ablations():
    rows = table(ROOT / "docs" / "ablation.md", "presets")
    assert {row["preset"].strip("`"): row["compared with"] for row in rows} == {
        name: preset.reference for name, preset in PRESETS.items()
    }
    fusions = next(row["variants"] for row in rows if row["preset"] == "`fusions`")
    assert fusions == ", ".join(variant.name for variant in PRESETS["fusions"].variants)


def test_the_distortions_are_those_of_the_synthetic_set():
    rows = [
        {
            "distortion": name,
            "parameter at levels 1 to 5": ", ".join(f"{value:g}" for value in DISTORTIONS[name].parameters),
            "label at levels 1 to 5": ", ".join(f"{mean_opinions()[name, level]:.2f}" for level in LEVELS),
        }
        for name in USED
    ]
    assert table(DATA, "distortions") == rows


def test_the_sizes_of_the_synthetic_set_are_as_stated():
    ratings, text = read_synthetic(), " ".join(DATA.read_text("utf-8").split())
    counts = [f"{len(ratings.part(split)):,}" for split in SPLITS]
    assert f"draws {CONTENTS} contents of {SIZE} x {SIZE} pixels" in text
    assert f"{len(ratings):,} images" in text
    assert "{} for training, {} for validation and {} for the test".format(*counts) in text
    pristine = ratings.table[ratings.table["image"].str.endswith("-pristine")]["mos"]
    assert f"mean shift by 0: {pristine.iloc[0]:.3f}" in text


def test_the_csv_of_the_docs_can_be_read(tmp_path):
    (example,) = blocks(DATA, "csv")
    (tmp_path / "ratings.csv").write_text(example, encoding="utf-8")
    ratings = splits.assign(
        catalog.read(str(tmp_path / "ratings.csv"), score_range=(1, 5)), validation_share=0.1, seed=0
    )
    assert len(ratings) == len(example.splitlines()) - 1 == 4
    assert set(ratings.table["split"]) == set(SPLITS)


# --- files, versions, results ----------------------------------------------------------------------------------------


def test_the_readme_names_every_file_of_a_run():
    files = [
        value
        for module in (run_folder, checkpoint, callbacks, history)
        for name, value in vars(module).items()
        if name.endswith("_FILE")
    ]
    assert len(set(files)) >= 9
    first_cells = re.findall(r"^\| (`.*?) \|", README.read_text("utf-8"), re.MULTILINE)
    named = [file for cell in first_cells for file in re.findall(r"`([^`]+)`", cell)]
    assert sorted(set(files) - set(named)) == []


def test_the_parts_of_config_json_are_as_stated(tmp_path):
    run_folder.write_config(tmp_path, TrainConfig(), resolved={}, provenance={})
    stated = re.search(r"`config.json` has three parts: (.*?)\.\s", prose(ROOT / "docs" / "protocol.md"), re.DOTALL)
    written = json.loads((tmp_path / run_folder.CONFIG_FILE).read_text("utf-8"))
    assert set(re.findall(r"`(\w+)`", stated[1])) == set(written)
    assert set(written["settings"]) == {field.name for field in dataclasses.fields(TrainConfig)}


def test_every_page_is_linked_from_the_index():
    index = ROOT / "docs" / "index.md"
    pages = {page.name for page in PAGES if page.parent == index.parent} - {index.name}
    assert pages <= set(links(index))


def test_the_version_is_one_everywhere():
    citation, changelog = ((ROOT / name).read_text("utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [fusiqa.__version__]
    assert re.findall(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)[0] == fusiqa.__version__


RESULT = {
    "test SRCC [95 % interval]": r"0\.\d{3,4} \[0\.\d{3,4}, 0\.\d{3,4}\]",
    "PLCC [95 % interval]": r"0\.\d{3,4} \[0\.\d{3,4}, 0\.\d{3,4}\]",
    "n": r"[\d,]+",
    "seed": r"\d+",
    "epochs": r"\d+",
    "commit": r"`?[0-9a-f]{7,40}`?",
}


def test_the_results_state_interval_size_seed_and_commit():
    rows = table(README, "results")
    header = section(README, "results").splitlines()[0]
    assert header == "| data | fusion | backbone | " + " | ".join(RESULT) + " |"
    wrong = [
        (row[column], column) for row in rows for column, form in RESULT.items() if not re.fullmatch(form, row[column])
    ]
    assert wrong == []
    assert {row["fusion"] for row in rows} <= set(FUSIONS)
