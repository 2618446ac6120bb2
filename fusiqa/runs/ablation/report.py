"""The report of an ablation, from its run folders: tables, figures, and what is significant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.config import TrainConfig
from fusiqa.explain.plots.runs import difference_bars, seed_bars, validation_curves
from fusiqa.explain.weights import effective_scales, weights_array
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.progress import Say
from fusiqa.runs.ablation.questions import SHARED, Question, Run
from fusiqa.runs.folder import PREDICTIONS_FILE, TEST_FILE, flat, read_json, read_record, read_run_table
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.stats.comparisons import compare_over_seeds
from fusiqa.stats.intervals import mean_interval
from fusiqa.training.fit import HISTORY_FILE

REPORT_FILE = "report.md"
DIFFERENCES_FILE, DIFFERENCES_FIGURE = "differences.csv", "differences.png"
REPORT_FILES = (REPORT_FILE, "table.csv", "table.tex", "runs.csv", "srcc.png", "training.png", "differences.*")
MEASURES = {"srcc": "SRCC", "plcc": "PLCC", "val_srcc": "validation SRCC"}


def write_report(
    folder: Path, question: Question, runs: Sequence[Run], missing: Mapping[str, str], *, say: Say
) -> None:
    """Report on the finished runs; `missing` has why each other one is not there."""
    if not runs:
        return
    order = list(question.variants)
    runs = sorted(runs, key=lambda run: (order.index(run.variant), run.seed))
    histories = [(run.variant, read_run_table(run.folder / HISTORY_FILE)) for run in runs]
    results = pd.DataFrame([run_result(run) for run in runs])
    summary, conditions = summarise_variants(results), describe_conditions([run.folder for run in runs])
    designs = list(results["variant"].unique())
    by_seed = {name: results.pivot(index="seed", columns="variant", values=name)[designs] for name in MEASURES}
    tested = compare_over_seeds(by_seed["srcc"], question.reference)
    validated = compare_over_seeds(by_seed["val_srcc"], question.reference, metric=MEASURES["val_srcc"])
    shown = to_markdown(format_summary(summary))
    verdicts = tested["verdict"].tolist(), validated["verdict"].tolist()
    page = report_page(question, results, shown, conditions, *verdicts, missing)
    write_csv(results, folder / "runs.csv")
    write_csv(summary, folder / "table.csv")
    write_text(folder / "table.tex", to_latex(summary, conditions))
    seed_bars(summary, results, folder / "srcc.png")
    validation_curves(histories, folder / "training.png")
    if len(tested):
        others = validated[["difference", "low", "high", "p_value", "p_holm"]].add_prefix("val_")
        table = pd.concat([tested.drop(columns="verdict"), others], axis=1)
        write_csv(table, folder / DIFFERENCES_FILE)
        difference_bars(table, reference=question.reference, path=folder / DIFFERENCES_FIGURE)
    else:  # an earlier report with more variants may have left some
        for name in (DIFFERENCES_FILE, DIFFERENCES_FIGURE):
            (folder / name).unlink(missing_ok=True)
    write_text(folder / REPORT_FILE, page)
    say("\n".join([shown, *verdicts[0], f"report: {folder / REPORT_FILE}"]))


def run_result(run: Run) -> dict[str, object]:
    test, predictions = read_json(run.folder / TEST_FILE), read_run_table(run.folder / PREDICTIONS_FILE)
    weighed = predictions[SCALE_COLUMNS[0]].notna().all()
    return {
        "variant": run.variant,
        "seed": run.seed,
        **{name: test[name]["value"] for name in ("srcc", "plcc")},
        "val_srcc": test["validation_srcc"],
        **{f"srcc_{name}": each["srcc"]["value"] for name, each in test.get("sets", {}).items()},
        **{name: test[name] for name in ("parameters", "seconds_per_epoch")},
        "effective_scales": float(effective_scales(weights_array(predictions)).mean()) if weighed else math.nan,
        "backbone": test.get("backbone", "fine-tuned"),
        "epochs": test["epochs"],
    }


def summarise_variants(results: pd.DataFrame) -> pd.DataFrame:
    """One row a variant: of each measure the mean, `_sd` and 95 % interval over seeds, NaN with one; median time."""
    variants = results.groupby("variant", sort=False)
    table = variants.agg(backbone=("backbone", "first"), seeds=("seed", "size"))
    for measure in MEASURES:
        found = pd.DataFrame({name: mean_interval(values)._asdict() for name, values in variants[measure]}).T
        for end, column in {"": "mean", "_low": "low", "_high": "high", "_sd": "sd"}.items():
            table[measure + end] = found[column]
    how = {"parameters": "first", "seconds_per_epoch": "median", "effective_scales": "mean"}
    return table.join(variants.agg(how)).reset_index()


OF_RESULTS = {"split_file", "split_seed", "validation_fraction", "score_range", "lower_is_better", "skip_broken"}
COVERED = (SHARED - OF_RESULTS) | {"backbone", "backbone_args", "backbone_weights", "freeze_backbone", "lr"}
COVERED |= {"head_lr_ratio", "dropout", "drop_path", "epochs", "batch_size", "crop_size", "crops_per_image"}
COVERED |= {"precision", "fusion", "attention_fusion", "multiscale"}
"""Settings that `conditions_of` states, that no result depends on, or that distinguish the variants."""
PLACES = ("computed on", "commit")  # where a report may have several, each is listed
DIFFERS = "differs by variant"


def conditions_of(record: Mapping[str, Any]) -> dict[str, object]:
    """The conditions of a run, by its own config.json."""
    settings, resolved, provenance = record["settings"], record["resolved"], record["provenance"]
    frozen = resolved["backbone"] == "frozen"
    return {
        "data": " + ".join([data] if isinstance(data := settings["dataset"], str) else data),
        "backbone": settings["backbone"],
        "its arguments": " ".join(settings["backbone_args"]),
        "its weights": Path(settings["backbone_weights"]).name,
        "trained": "the heads alone, on a frozen backbone" if frozen else "the whole network (fine-tuned backbone)",
        "learning rates": f"{resolved['lr_backbone']:g} (backbone), {resolved['lr_head']:g} (all else)",
        "dropout": resolved["dropout"],
        "drop path": resolved["drop_path"],
        "epochs": settings["epochs"],
        "batch": settings["batch_size"],
        "resize": resolved["resize"],
        "crops": f"{settings['crop_size']} pixels",
        "crops an image and epoch": settings["crops_per_image"],
        "precision": resolved["precision"],
        "computed on": provenance.get("device", "unknown"),
        "commit": provenance.get("commit") or "unknown",
    }


def describe_conditions(runs: Sequence[Path]) -> str:
    """The conditions of the runs, from their records, because variants edit settings."""

    def words(value: object) -> str:  # weighing has several parts
        return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)

    records, default = [read_record(run) for run in runs], flat(TrainConfig().to_json())
    table = pd.DataFrame([conditions_of(record) for record in records]).astype(str)
    for name in [name for name in default if name not in COVERED]:
        given = [words(record["settings"][name]) for record in records]
        if set(given) != {words(default[name])}:
            table[f"--{name}"] = given
    values = {name: sorted(table[name].unique()) for name in table}
    found = {name: " and ".join(v) if len(v) == 1 or name in PLACES else DIFFERS for name, v in values.items()}
    return "; ".join(f"{name}: {value}" for name, value in found.items() if value)


def format_summary(summary: pd.DataFrame) -> pd.DataFrame:
    """The table for reading, in the columns of the published experiments: method, SRCC, PLCC, parameters, time."""
    table: dict[str, Any] = {"method": summary["variant"]}
    for measure, heading in MEASURES.items():
        pairs = zip(summary[measure], summary[f"{measure}_sd"], strict=True)
        table[heading] = [f"{mean:.4f}" if math.isnan(sd) else f"{mean:.4f} \u00b1 {sd:.4f}" for mean, sd in pairs]
    table["parameters"] = [f"{count / 1e6:.2f} M" for count in summary["parameters"]]
    table["time per epoch"] = [f"{seconds:,.1f} s" for seconds in summary["seconds_per_epoch"]]
    table["effective scales"] = ["" if math.isnan(n) else f"{n:.2f}" for n in summary["effective_scales"]]
    return pd.DataFrame(table | {"backbone": summary["backbone"], "seeds": summary["seeds"].astype(str)})


ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u00b1": r"$\pm$"}
LATEX = str.maketrans(ESCAPED | {character: f"\\{character}" for character in "&%$#_{}"})


def to_latex(summary: pd.DataFrame, conditions: str) -> str:
    """The table for reading in LaTeX, with booktabs."""
    counts = sorted({summary["seeds"].min(), summary["seeds"].max()})
    over = f"Mean and standard deviation over {' to '.join(map(str, counts))} seeds"
    table = format_summary(summary)
    table = table.rename(columns=lambda name: name.translate(LATEX)).map(lambda cell: cell.translate(LATEX))
    caption = f"{conditions}. {'One seed each' if counts == [1] else over}".translate(LATEX)
    styled = table.style.hide(axis="index")
    return styled.to_latex(column_format="lrrrrrrlr", hrules=True, position_float="centering", caption=caption)


TABLE_NOTES = """\
SRCC and PLCC: mean and standard deviation over seeds, on the test split; validation SRCC: of the best epoch, which it
chose. Effective scales: exp(entropy) of an image's scale weights, 1 to 4, mean over images and seeds. Time per epoch:
median over the runs, while the machine may have been busy with other work."""
MISSING_NOTES = """\
Rows of the table may cover different seeds; the verdicts compare the seeds that both variants have finished. Excluding
failed runs biases the result upwards."""
TEST_NOTES = """\
Intervals are over seeds, on one split: they cover another training, not other images. The test is a paired t-test; p is
corrected by Holm's method for the number of variants that are compared with the reference."""
NO_REFERENCE = "The reference has not been run yet: there is no comparison"


def report_page(
    question: Question, results: pd.DataFrame, table: str, conditions: str,
    on_test: Sequence[str], on_validation: Sequence[str], missing: Mapping[str, str],
) -> str:  # fmt: skip
    """report.md."""

    def bullets(lines: Iterable[str]) -> str:
        return "\n".join(f"- {line}" for line in lines)

    seeds = f"seeds: {results['seed'].min()} to {results['seed'].max()}"
    blocks = [f"# {question.text}", f"{conditions[0].upper()}{conditions[1:]}; {seeds}."]
    blocks += ["The epoch is chosen on validation; each run has read the test split once.", table, TABLE_NOTES]
    if missing:
        absent = bullets(f"{name}: {' '.join(reason.split())}" for name, reason in missing.items())
        blocks += ["## Not in this report", absent, MISSING_NOTES]
    blocks += ["## Verdict", bullets(f"{line}." for line in on_test or [NO_REFERENCE]), TEST_NOTES]
    if on_validation:
        blocks += ["On validation, by which a variant is to be chosen:", bullets(f"{line}." for line in on_validation)]
    blocks += ["![Test SRCC by variant](srcc.png)", *["![Paired differences](differences.png)"] * bool(on_test)]
    return "\n\n".join([*blocks, "![Validation SRCC by epoch](training.png)"]) + "\n"
