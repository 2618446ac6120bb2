"""The tables of README and docs, held to the networks, settings, data sets and results that they are of."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch
from pages import (
    DATA,
    NETWORK,
    README,
    ROOT,
    blocks,
    integer,
    section,
    table,
)

from fusiqa.config import FUSIONS, ModelConfig, NetworkSettings, OptimiserSettings
from fusiqa.data import catalog, splits
from fusiqa.data.catalog import CATALOG
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.ratings import SPLITS
from fusiqa.data.synthetic import CONTENTS, LEVELS, SIZE, USED, mean_opinions, read_synthetic
from fusiqa.models.head import SIZES
from fusiqa.models.quality import QualityModel
from fusiqa.runs.ablation.questions import PRESETS
from fusiqa.training.recipe import choose_hyperparameters

SWIN_TINY = "swin_tiny_patch4_window7_224"


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
        "values generated for each image (not parameters)": sum(into * out + out for into, out in pairwise(SIZES)),
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


@pytest.mark.parametrize("row", table(ROOT / "docs" / "protocol.md", "defaults"), ids=str)
def test_the_default_rates_are_those_of_the_recipe(row):
    weights, _, frozen = row["weights"].partition(", ")
    assert frozen in ("", "frozen")
    network, is_frozen = NetworkSettings(row["backbone"], backbone_weights=weights), frozen == "frozen"
    chosen = choose_hyperparameters(network, OptimiserSettings(freeze_backbone=is_frozen))
    documented = [float(cell) for cell in list(row.values())[2:]]
    assert documented == pytest.approx(list(chosen), rel=1e-9)


def test_the_data_sets_are_those_of_the_catalog():
    known_sets = [
        {
            "name": known.name,
            "images": f"{known.images:,}",
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
    rows = table(ROOT / "docs" / "compare.md", "presets")
    assert {row["preset"].strip("`"): row["compared with"] for row in rows} == {
        name: preset.reference for name, preset in PRESETS.items()
    }
    fusions = next(row["variants"] for row in rows if row["preset"] == "`fusions`")
    assert fusions == ", ".join(PRESETS["fusions"].variants)


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
        catalog.read(str(tmp_path / "ratings.csv"), score_range=(1, 5)), validation_fraction=0.1, seed=0
    )
    assert len(ratings) == len(example.splitlines()) - 1 == 4
    assert set(ratings.table["split"]) == set(SPLITS)


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
