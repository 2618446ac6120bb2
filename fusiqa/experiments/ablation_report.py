"""The report of an ablation, from its run folders: tables, figures and a verdict in words. It trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fusiqa.analysis.plots import difference_bars, seed_bars, validation_curves
from fusiqa.analysis.scale_weights import effective_scales, weights_of
from fusiqa.config import AblateConfig
from fusiqa.evaluation.ablation import (
    RESULT_COLUMNS,
    difference_table,
    differences,
    readable,
    summarise,
    to_latex,
    verdicts,
)
from fusiqa.evaluation.compare import to_markdown, write_csv
from fusiqa.evaluation.predict import SCALE_COLUMNS
from fusiqa.experiments.notices import Say
from fusiqa.experiments.presets import Preset
from fusiqa.experiments.run_folder import PREDICTIONS_FILE, TEST_FILE, read_json
from fusiqa.experiments.tables import read_table
from fusiqa.files import write_text
from fusiqa.training.history import HISTORY_FILE

REPORT_FILE = "report.md"
FinishedRun = tuple[str, int, Path]


def write_report(folder: Path, config: AblateConfig, preset: Preset, runs: Sequence[FinishedRun], *, say: Say) -> None:
    """Write report.md, table.csv, table.tex, runs.csv, differences.csv and three figures, of what is finished.

    Args:
        folder: of the ablation.
        config: its settings.
        preset: its question.
        runs: variant, seed and folder of each finished run.
        say: receives the verdict.
    """
    if not runs:
        return
    results = pd.DataFrame([result(*run) for run in runs], columns=list(RESULT_COLUMNS))
    order = {variant.name: place for place, variant in enumerate(preset.variants)}
    results = results.assign(place=results["variant"].map(order)).sort_values(["place", "seed"]).drop(columns="place")
    summary = summarise(results)
    write_csv(results, folder / "runs.csv")
    write_csv(summary, folder / "table.csv")
    write_text(folder / "table.tex", to_latex(summary, caption=caption(config, results)))
    seed_bars(summary, results, folder / "srcc.png")
    validation_curves([(name, read_table(run / HISTORY_FILE)) for name, _, run in runs], folder / "training.png")
    found = differences(results, reference=preset.reference) if preset.reference in set(results["variant"]) else {}
    validation = differences(results, reference=preset.reference, measure="val_srcc") if found else {}
    if found:
        table = difference_table(found, validation)
        write_csv(table, folder / "differences.csv")
        difference_bars(table, reference=preset.reference, path=folder / "differences.png")
    said = verdicts(found, reference=preset.reference)
    chosen_by = verdicts(validation, reference=preset.reference, metric="validation SRCC")
    text = report(config, preset, results, summary, said, chosen_by)
    write_text(folder / REPORT_FILE, text)
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
        "effective_scales": float(effective_scales(weights_of(predictions)).mean()) if weighed else float("nan"),
        "backbone": test.get("backbone", "fine-tuned"),
        "epochs": test["epochs"],
    }


def caption(config: AblateConfig, results: pd.DataFrame) -> str:
    backbone = "frozen" if config.base.freeze_backbone else "fine-tuned"
    seeds = results.groupby("variant").size()
    return (
        f"{config.base.dataset}, {config.base.backbone} ({backbone}), {config.base.epochs} epochs, "
        f"mean and standard deviation over {seeds.min()} seeds"
    )


def report(
    config: AblateConfig,
    preset: Preset,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    said: Sequence[str],
    chosen_by: Sequence[str],
) -> str:
    """The page in Markdown."""
    backbone = "frozen: the heads alone were trained" if config.base.freeze_backbone else "fine-tuned"
    figures = ["![Test SRCC by design](srcc.png)", "![Validation SRCC by epoch](training.png)"]
    if said:
        figures.insert(1, "![Paired differences](differences.png)")
    lines = [
        f"# {preset.question}",
        "",
        f"Data: {config.base.dataset}. Backbone: {config.base.backbone}, {backbone}. {config.base.epochs} epochs, "
        f"batch {config.base.batch_size}, {config.base.crops_per_image} crops a photograph and epoch; seeds "
        f"{results['seed'].min()} to {results['seed'].max()}. The epoch is chosen on validation; each run has read the "
        "test split once.",
        "",
        to_markdown(readable(summary)),
        "",
        "SRCC and PLCC: mean and standard deviation over seeds, on the test split; validation SRCC: of the best epoch, "
        "which it chose. Scales in effect: exp(entropy) of an image's scale weights, 1 to 4, mean over images and "
        "seeds.",
        "",
        "## Verdict",
        "",
        *(f"- {line}." for line in said or ["The reference has not been run yet: nothing is compared"]),
        "",
        "The interval is over seeds, on one split: it covers another training, not other photographs. The test is "
        "Student's paired t-test, its p corrected by Holm for the number of designs compared with the reference.",
        "",
        *(("On validation, by which a design is to be chosen:", "") if chosen_by else ()),
        *(f"- {line}." for line in chosen_by),
        *(("",) if chosen_by else ()),
        *(line for figure in figures for line in (figure, "")),
    ]
    return "\n".join(lines)
