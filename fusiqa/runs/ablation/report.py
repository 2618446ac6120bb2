"""The report of an ablation, from its run folders: tables, figures, and what is significant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fusiqa.config import TrainConfig
from fusiqa.explain.plots.runs import difference_bars, seed_bars, validation_curves
from fusiqa.explain.weights import effective_scales, weights_array
from fusiqa.io import to_markdown, write_csv, write_text
from fusiqa.runs.ablation.questions import SHARED, Question
from fusiqa.runs.folder import PREDICTIONS_FILE, TEST_FILE, Say, flat, read_json, read_record, read_table
from fusiqa.stats.comparisons import holm, paired_over_seeds, seeds_needed, verdict_over_seeds
from fusiqa.stats.intervals import Estimate, Mean, mean_interval
from fusiqa.training.history import HISTORY_FILE
from fusiqa.training.predict import SCALE_COLUMNS

REPORT_FILE = "report.md"
DIFFERENCES_FILE, DIFFERENCES_FIGURE = "differences.csv", "differences.png"
MEASURES = ("srcc", "plcc", "val_srcc")
FinishedRun = tuple[str, int, Path]
"""Variant, seed, folder."""


def write_report(
    folder: Path, question: Question, runs: Sequence[FinishedRun], missing: Mapping[str, str], *, say: Say
) -> None:
    """Write report.md, table.csv, table.tex, runs.csv, differences.csv and three figures, of what is finished.

    `missing` has the reason why each other run is not there, by its name.
    """
    if not runs:
        return
    order = {variant.name: place for place, variant in enumerate(question.variants)}
    runs = sorted(runs, key=lambda run: (order[run[0]], run[1]))
    results = pd.DataFrame([run_result(*run) for run in runs])
    summary, conditions = summarise_variants(results), describe_conditions([run for _, _, run in runs])
    write_csv(results, folder / "runs.csv")
    write_csv(summary, folder / "table.csv")
    write_text(folder / "table.tex", to_latex(summary, caption=f"{conditions}. {over_seeds(results)}"))
    seed_bars(summary, results, folder / "srcc.png")
    validation_curves([(name, read_table(run / HISTORY_FILE)) for name, _, run in runs], folder / "training.png")
    tested = differences(results, reference=question.reference, measure="srcc")
    validated = differences(results, reference=question.reference, measure="val_srcc")
    if tested:
        table = difference_table(tested, validated)
        write_csv(table, folder / DIFFERENCES_FILE)
        difference_bars(table, reference=question.reference, path=folder / DIFFERENCES_FIGURE)
    else:  # those of an earlier, wider report would stand beside a table that they are not of
        for name in (DIFFERENCES_FILE, DIFFERENCES_FIGURE):
            (folder / name).unlink(missing_ok=True)
    on_test = verdicts(tested, reference=question.reference, metric="SRCC")
    on_validation = verdicts(validated, reference=question.reference, metric="validation SRCC")
    page = report_page(question, results, summary, conditions, on_test, on_validation, missing)
    write_text(folder / REPORT_FILE, page)
    say("\n".join([to_markdown(format_summary(summary)), *on_test, f"report: {folder / REPORT_FILE}"]))


# --- results of runs, of variants, and their differences -------------------------------------------------------------


def run_result(variant: str, seed: int, folder: Path) -> dict[str, object]:
    """The figures of one run, a row of runs.csv."""
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
        "effective_scales": float(effective_scales(weights_array(predictions)).mean()) if weighed else math.nan,
        "backbone": test.get("backbone", "fine-tuned"),
        "epochs": test["epochs"],
    }


def summarise_variants(results: pd.DataFrame) -> pd.DataFrame:
    """One row a variant: of each measure the mean, `_sd` and 95 % interval over seeds, NaN with one; median time."""
    rows = []
    for variant, part in results.groupby("variant", sort=False):
        row: dict[str, object] = {"variant": variant, "backbone": part["backbone"].iloc[0], "seeds": len(part)}
        for measure in MEASURES:
            found = mean_interval(part[measure])
            row |= Estimate(found.mean, found.low, found.high).columns(measure) | {f"{measure}_sd": found.sd}
        row |= {
            "parameters": int(part["parameters"].iloc[0]),
            "seconds_per_epoch": float(part["seconds_per_epoch"].median()),
            "effective_scales": float(part["effective_scales"].mean()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def differences(results: pd.DataFrame, *, reference: str, measure: str) -> dict[str, Mean]:
    """Each other variant minus the reference, paired over the seeds that both have finished; empty without it."""
    table = results.pivot(index="seed", columns="variant", values=measure)
    found = {}
    for variant in dict.fromkeys(results["variant"]):
        both = table[[reference, variant]].dropna() if reference in table and variant != reference else None
        if both is not None and len(both):
            found[str(variant)] = paired_over_seeds(both[variant], both[reference])
    return found


def difference_table(tested: dict[str, Mean], validated: dict[str, Mean]) -> pd.DataFrame:
    """One row a variant: how its test SRCC differs from the reference's, and, after `val_`, its validation SRCC."""

    def columns(found: dict[str, Mean], prefix: str) -> dict[str, list[Any]]:
        rows = [found[variant] for variant in tested]
        values = {
            "difference": [row.mean for row in rows],
            "low": [row.low for row in rows],
            "high": [row.high for row in rows],
            "p_value": [row.p_value for row in rows],
            "p_holm": holm([row.p_value for row in rows]),
        }
        return {prefix + name: value for name, value in values.items()}

    family = comparisons(tested)
    seeds = {
        "seeds": [row.n for row in tested.values()],
        "seeds_needed": [seeds_needed(row.effect, comparisons=family) for row in tested.values()],
    }
    return pd.DataFrame({"variant": list(tested)} | columns(tested, "") | seeds | columns(validated, "val_"))


def verdicts(found: dict[str, Mean], *, reference: str, metric: str) -> list[str]:
    """The difference of each variant from the reference, in words."""
    corrected = holm([each.p_value for each in found.values()])
    return [
        verdict_over_seeds(variant, reference, each, metric=metric, comparisons=comparisons(found), corrected=p)
        for (variant, each), p in zip(found.items(), corrected, strict=True)
    ]


def comparisons(found: dict[str, Mean]) -> int:
    """How many variants are compared with the reference over enough seeds for a test; at least 1."""
    return max(1, sum(each.n > 1 for each in found.values()))


# --- the conditions of the runs --------------------------------------------------------------------------------------

TRAINED = {"frozen": "the heads alone, on a frozen backbone", "fine-tuned": "the whole network (fine-tuned backbone)"}
CONDITIONS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "data": lambda record: record["settings"]["dataset"],
    "backbone": lambda record: record["settings"]["backbone"],
    "its arguments": lambda record: " ".join(record["settings"]["backbone_args"]),
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
COVERED = SHARED | {
    *("backbone", "backbone_args", "backbone_weights", "freeze_backbone", "lr", "head_lr_ratio", "dropout"),
    *("drop_path", "epochs", "batch_size", "crop_size", "crops_per_image", "precision"),
    *("fusion", "attention_fusion", "multiscale"),
}
"""Settings that CONDITIONS has resolved, that no result depends on, or that tell the variants apart."""
PLACES = ("computed on", "commit")  # where a report may have several, each is listed
DIFFERS = "differs by variant"


def describe_conditions(runs: Sequence[Path]) -> str:
    """The conditions of the runs by their own records, for variants may edit what the command says."""
    records = [read_record(run) for run in runs]
    found = {}
    for name, read in CONDITIONS.items():
        values = sorted({str(read(record)) for record in records})
        found[name] = values[0] if len(values) == 1 else " and ".join(values) if name in PLACES else DIFFERS
    default = flat(TrainConfig().to_json())
    for name in (name for name in default if name not in COVERED):
        given = {_in_words(record["settings"][name]) for record in records}
        if given != {_in_words(default[name])}:
            found[f"--{name}"] = given.pop() if len(given) == 1 else DIFFERS
    return "; ".join(f"{name}: {value}" for name, value in found.items() if value)


def _in_words(value: object) -> str:
    """A setting for reading: of a group, each part by its name."""
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)


# --- for reading -----------------------------------------------------------------------------------------------------


def format_summary(summary: pd.DataFrame) -> pd.DataFrame:
    """The table for reading, in the columns of the published experiments: method, SRCC, PLCC, parameters, time."""

    def cells(measure: str) -> list[str]:
        pairs = zip(summary[measure], summary[f"{measure}_sd"], strict=True)
        return [f"{mean:.4f}" if math.isnan(sd) else f"{mean:.4f} \u00b1 {sd:.4f}" for mean, sd in pairs]

    return pd.DataFrame(
        {
            "method": summary["variant"],
            "SRCC": cells("srcc"),
            "PLCC": cells("plcc"),
            "validation SRCC": cells("val_srcc"),
            "parameters": [f"{count / 1e6:.2f} M" for count in summary["parameters"]],
            "time per epoch": [f"{seconds:,.1f} s" for seconds in summary["seconds_per_epoch"]],
            "scales in effect": ["" if math.isnan(n) else f"{n:.2f}" for n in summary["effective_scales"]],
            "backbone": summary["backbone"],
            "seeds": summary["seeds"].astype(str),
        }
    )


LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u00b1": r"$\pm$"}
)


def to_latex(summary: pd.DataFrame, *, caption: str) -> str:
    """The table for reading in LaTeX, with booktabs."""
    table = format_summary(summary)
    table = table.rename(columns=lambda name: name.translate(LATEX)).map(lambda cell: cell.translate(LATEX))
    return table.style.hide(axis="index").to_latex(
        caption=caption.translate(LATEX), column_format="lrrrrrrlr", hrules=True, position_float="centering"
    )


def over_seeds(results: pd.DataFrame) -> str:
    """What the cells of the table are."""
    seeds = results.groupby("variant").size()
    if seeds.max() == 1:
        return "One seed each"
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return f"Mean and standard deviation over {count} seeds"


def report_page(
    question: Question,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    conditions: str,
    on_test: Sequence[str],
    on_validation: Sequence[str],
    missing: Mapping[str, str],
) -> str:
    """The report in Markdown."""
    absent = f"""## Not in this report

{_bullets(f"{name}: {' '.join(reason.split())}" for name, reason in missing.items())}

Rows of the table may cover different seeds; the verdicts compare the seeds that both variants have finished. Excluding
failed runs biases the result upwards.

"""
    validation = f"""On validation, by which a variant is to be chosen:

{_bullets(f"{line}." for line in on_validation)}

"""
    return f"""# {question.text}

{conditions[0].upper()}{conditions[1:]}; seeds: {results["seed"].min()} to {results["seed"].max()}.

The epoch is chosen on validation; each run has read the test split once.

{to_markdown(format_summary(summary))}

SRCC and PLCC: mean and standard deviation over seeds, on the test split; validation SRCC: of the best epoch, which it
chose. Scales in effect: exp(entropy) of an image's scale weights, 1 to 4, mean over images and seeds. Time per epoch:
median over the runs, next to whatever else the machine computed.

{absent if missing else ""}## Verdict

{_bullets(f"{line}." for line in on_test or ["The reference has not been run yet: there is no comparison"])}

Intervals are over seeds, on one split: they cover another training, not other images. The test is a paired t-test; p is
corrected by Holm's method for the number of variants that are compared with the reference.

{validation if on_validation else ""}![Test SRCC by variant](srcc.png)

{"![Paired differences](differences.png)" + chr(10) * 2 if on_test else ""}![Validation SRCC by epoch](training.png)
"""


def _bullets(lines) -> str:
    return "\n".join(f"- {line}" for line in lines)
