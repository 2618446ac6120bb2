"""The report of an ablation, from its run folders: tables, figures and a verdict in words. It trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.config import TrainConfig
from fusiqa.explain.plots import difference_bars, seed_bars, validation_curves
from fusiqa.explain.weights import effective_scales, weights_array
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.runs.notices import Say
from fusiqa.runs.presets import COMMON, Preset
from fusiqa.runs.run_folder import PREDICTIONS_FILE, TEST_FILE, flat, read_json, read_record
from fusiqa.runs.tables import read_table
from fusiqa.stats.ablation import (
    RESULT_COLUMNS,
    difference_table,
    differences,
    readable,
    summarise,
    to_latex,
    verdicts,
)
from fusiqa.training.history import HISTORY_FILE
from fusiqa.training.predict import SCALE_COLUMNS

REPORT_FILE = "report.md"
DIFFERENCES_FILE, DIFFERENCES_FIGURE = "differences.csv", "differences.png"
FinishedRun = tuple[str, int, Path]


def write_report(
    folder: Path, preset: Preset, runs: Sequence[FinishedRun], missing: Mapping[str, str], *, say: Say
) -> None:
    """Write report.md, table.csv, table.tex, runs.csv, differences.csv and three figures, of what is finished.

    Args:
        folder: of the ablation.
        preset: its question.
        runs: variant, seed and folder of each finished run.
        missing: why each other run is not there, by its name.
        say: receives the verdict.
    """
    if not runs:
        return
    results = pd.DataFrame([result(*run) for run in runs], columns=list(RESULT_COLUMNS))
    order = {variant.name: place for place, variant in enumerate(preset.variants)}
    results = results.assign(place=results["variant"].map(order)).sort_values(["place", "seed"]).drop(columns="place")
    summary, made_by = summarise(results), conditions([run for _, _, run in runs])
    write_csv(results, folder / "runs.csv")
    write_csv(summary, folder / "table.csv")
    write_text(folder / "table.tex", to_latex(summary, caption=f"{made_by}. {over_seeds(results)}"))
    seed_bars(summary, results, folder / "srcc.png")
    validation_curves([(name, read_table(run / HISTORY_FILE)) for name, _, run in runs], folder / "training.png")
    known = preset.reference in set(results["variant"])
    found = differences(results, reference=preset.reference) if known else {}
    validation = differences(results, reference=preset.reference, measure="val_srcc") if known else {}
    if found:
        table = difference_table(found, validation)
        write_csv(table, folder / DIFFERENCES_FILE)
        difference_bars(table, reference=preset.reference, path=folder / DIFFERENCES_FIGURE)
    else:  # those of an earlier, wider report would stand beside a table that they are not of
        for name in (DIFFERENCES_FILE, DIFFERENCES_FIGURE):
            (folder / name).unlink(missing_ok=True)
    said = verdicts(found, reference=preset.reference)
    chosen_by = verdicts(validation, reference=preset.reference, metric="validation SRCC")
    write_text(folder / REPORT_FILE, report(preset, results, summary, made_by, said, chosen_by, missing))
    say("\n".join([to_markdown(readable(summary)), *said, f"report: {folder / REPORT_FILE}"]))


def result(variant: str, seed: int, folder: Path) -> dict[str, object]:
    """What one run came to, a row of runs.csv."""
    test, predictions = read_json(folder / TEST_FILE), read_table(folder / PREDICTIONS_FILE)
    weighed = predictions[SCALE_COLUMNS[0]].notna().all()
    return {
        "variant": variant,
        "seed": seed,
        "srcc": test["srcc"]["value"],
        "plcc": test["plcc"]["value"],
        "val_srcc": test["validation_srcc"],
        "parameters": test["parameters"],
        "seconds_per_epoch": test["seconds_per_epoch"],
        "effective_scales": float(effective_scales(weights_array(predictions)).mean()) if weighed else float("nan"),
        "backbone": test.get("backbone", "fine-tuned"),
        "epochs": test["epochs"],
    }


Record = Mapping[str, Any]
"""The config.json of a run."""

TRAINED = {"frozen": "the heads alone, on a frozen backbone", "fine-tuned": "the whole network (fine-tuned backbone)"}
CONDITIONS: Mapping[str, Callable[[Record], object]] = {
    "data": lambda record: record["settings"]["dataset"],
    "backbone": lambda record: record["settings"]["backbone"],
    "its arguments": lambda record: " ".join(record["settings"].get("backbone_args") or ()),
    "its weights": lambda record: Path(record["settings"]["backbone_weights"]).name,
    "trained": lambda record: TRAINED[record["resolved"].get("backbone", "fine-tuned")],
    "learning rates": lambda record: (
        f"{record['resolved']['lr_backbone']:g} (backbone), {record['resolved']['lr_head']:g} (all else)"
    ),
    "dropout": lambda record: record["resolved"]["dropout"],
    "drop path": lambda record: record["resolved"]["drop_path"],
    "epochs": lambda record: record["settings"]["epochs"],
    "batch": lambda record: record["settings"]["batch_size"],
    "resize": lambda record: record["resolved"]["resize"],
    "crops": lambda record: f"{record['settings']['crop_size']} pixels",
    "crops an image and epoch": lambda record: record["settings"]["crops_per_image"],
    "precision": lambda record: record["resolved"]["precision"],
    "computed on": lambda record: record["provenance"]["device"],
    "commit": lambda record: record["provenance"]["commit"] or "unknown",
}
SAID = COMMON | frozenset(
    (
        *("backbone", "backbone_args", "backbone_weights", "freeze_backbone", "lr", "head_lr_ratio", "dropout"),
        *("drop_path", "epochs", "batch_size", "crop_size", "crops_per_image", "precision", "logger"),
        *("fusion", "attention_fusion", "multiscale"),
    )
)
"""Settings that CONDITIONS has, in what they came to, that no result depends on, or that tell the variants apart."""
PLACES = ("computed on", "commit")  # which a report may have several of, each worth knowing
DIFFERS = "differs by variant"


def conditions(runs: Sequence[Path]) -> str:
    """What the runs were made with, as their own records have it, not as the command says: variants may edit it."""
    records = [read_record(run) for run in runs]
    told = {}
    for name, read in CONDITIONS.items():
        values = sorted({str(read(record)) for record in records})
        told[name] = values[0] if len(values) == 1 else " and ".join(values) if name in PLACES else DIFFERS
    usual = flat(TrainConfig().to_json())
    for name in (name for name in usual if name not in SAID):
        given = {str(in_words(record["settings"].get(name, usual[name]))) for record in records}
        if given != {str(in_words(usual[name]))}:
            told[f"--{name}"] = given.pop() if len(given) == 1 else DIFFERS
    return "; ".join(f"{name}: {value}" for name, value in told.items() if value)


def in_words(value: object) -> object:
    """A setting for reading: of a group, each part by its name."""
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else value


def over_seeds(results: pd.DataFrame) -> str:
    """What the cells of the table are."""
    seeds = results.groupby("variant").size()
    if seeds.max() == 1:
        return "One seed each"
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return f"Mean and standard deviation over {count} seeds"


def not_there(missing: Mapping[str, str]) -> list[str]:
    """What the table lacks, and what that does to it."""
    if not missing:
        return []
    return [
        "## Not in this report",
        "",
        *(f"- {name}: {' '.join(words.split())}" for name, words in missing.items()),
        "",
        "The table has each design's own seeds, so its rows may be of different ones; the verdict compares the seeds "
        "that both designs have. Where runs failed, what is left flatters the design that fails.",
        "",
    ]


def report(
    preset: Preset,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    made_by: str,
    said: Sequence[str],
    chosen_by: Sequence[str],
    missing: Mapping[str, str],
) -> str:
    """The page in Markdown."""
    figures = ["![Test SRCC by design](srcc.png)", "![Validation SRCC by epoch](training.png)"]
    if said:
        figures.insert(1, "![Paired differences](differences.png)")
    lines = [
        f"# {preset.question}",
        "",
        f"{made_by[0].upper()}{made_by[1:]}; seeds: {results['seed'].min()} to {results['seed'].max()}. The epoch is "
        "chosen on validation; each run has read the test split once.",
        "",
        to_markdown(readable(summary)),
        "",
        "SRCC and PLCC: mean and standard deviation over seeds, on the test split; validation SRCC: of the best epoch, "
        "which it chose. Scales in effect: exp(entropy) of an image's scale weights, 1 to 4, mean over images and "
        "seeds. Time per epoch: median over the runs, beside whatever else had the machine.",
        "",
        *not_there(missing),
        "## Verdict",
        "",
        *(f"- {line}." for line in said or ["The reference has not been run yet: nothing is compared"]),
        "",
        "The interval is over seeds, on one split: it covers another training, not other images. The test is "
        "Student's paired t-test, its p corrected by Holm for the number of designs compared with the reference.",
        "",
        *(("On validation, by which a design is to be chosen:", "") if chosen_by else ()),
        *(f"- {line}." for line in chosen_by),
        *(("",) if chosen_by else ()),
        *(line for figure in figures for line in (figure, "")),
    ]
    return "\n".join(lines)
