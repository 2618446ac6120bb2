"""What finished runs of several designs come to: a table, paired differences, and the same as LaTeX. No files."""

from __future__ import annotations

import math

import pandas as pd

from fusiqa.stats.comparisons import holm, paired_over_seeds, seeds_needed, verdict_over_seeds
from fusiqa.stats.intervals import Mean, mean_interval

RESULT_COLUMNS = (
    "variant", "seed", "srcc", "plcc", "val_srcc", "parameters", "seconds_per_epoch", "effective_scales", "backbone",
    "epochs",
)  # fmt: skip
LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
MEASURES = ("srcc", "plcc", "val_srcc")


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """One row a design, in the order of the runs: means over seeds, with 95 % intervals of the mean.

    Args:
        results: one row a run, with RESULT_COLUMNS.

    Returns:
        variant, backbone, seeds, and for srcc, plcc and val_srcc the mean, `_sd`, `_low`, `_high` (NaN with one seed);
        parameters, seconds_per_epoch (median), effective_scales (mean; NaN for designs that do not weigh).
    """
    rows = []
    for variant, part in results.groupby("variant", sort=False):
        row: dict[str, object] = {"variant": variant, "backbone": part["backbone"].iloc[0], "seeds": len(part)}
        for measure in MEASURES:
            found = mean_interval(part[measure])
            row |= {measure: found.mean, f"{measure}_sd": found.sd}
            row |= {f"{measure}_low": found.low, f"{measure}_high": found.high}
        row |= {
            "parameters": int(part["parameters"].iloc[0]),
            "seconds_per_epoch": float(part["seconds_per_epoch"].median()),
            "effective_scales": float(part["effective_scales"].mean()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def differences(results: pd.DataFrame, *, reference: str, measure: str = "srcc") -> dict[str, Mean]:
    """Each other design against the reference, paired over the seeds that both have finished."""
    table = results.pivot(index="seed", columns="variant", values=measure)
    found = {}
    for variant in dict.fromkeys(results["variant"]):
        both = table[[reference, variant]].dropna() if variant != reference else None
        if both is not None and len(both):
            found[str(variant)] = paired_over_seeds(both[variant], both[reference])
    return found


def difference_table(found: dict[str, Mean], validation: dict[str, Mean]) -> pd.DataFrame:
    """One row a design: how its test SRCC differs from the reference's, and, after `val_`, its validation SRCC.

    Args:
        found: differences of the test SRCC.
        validation: of the validation SRCC of each run's best epoch.

    Returns:
        variant, difference, low, high, p_value, p_holm (corrected for the number of designs), seeds, seeds_needed (to
        tell a difference of this size among so many designs),
        val_difference, val_low, val_high, val_p_value, val_p_holm.
    """
    table = pd.DataFrame({"variant": list(found)})
    for prefix, each in (("", found), ("val_", validation)):
        rows = [each[variant] for variant in found]
        table[f"{prefix}difference"] = [row.mean for row in rows]
        table[f"{prefix}low"] = [row.low for row in rows]
        table[f"{prefix}high"] = [row.high for row in rows]
        table[f"{prefix}p_value"] = [row.p_value for row in rows]
        table[f"{prefix}p_holm"] = holm([row.p_value for row in rows])
        if not prefix:
            table["seeds"] = [row.n for row in rows]
            comparisons = compared(found)
            table["seeds_needed"] = [seeds_needed(row.effect, comparisons=comparisons) for row in rows]
    return table


def verdicts(found: dict[str, Mean], *, reference: str, metric: str = "SRCC") -> list[str]:
    """What may be said of each design, in words."""
    corrected = holm([each.p_value for each in found.values()])
    comparisons = compared(found)
    return [
        verdict_over_seeds(variant, reference, each, metric=metric, comparisons=comparisons, corrected=p)
        for (variant, each), p in zip(found.items(), corrected, strict=True)
    ]


def compared(found: dict[str, Mean]) -> int:
    """How many designs are compared with the reference over seeds enough for a test; at least 1."""
    return max(1, sum(each.n > 1 for each in found.values()))


def readable(summary: pd.DataFrame) -> pd.DataFrame:
    """The table for reading, in the columns of the published experiments: method, SRCC, PLCC, parameters, time."""
    return pd.DataFrame(
        {
            "method": summary["variant"],
            "SRCC": [_cell(row, "srcc") for _, row in summary.iterrows()],
            "PLCC": [_cell(row, "plcc") for _, row in summary.iterrows()],
            "validation SRCC": [_cell(row, "val_srcc") for _, row in summary.iterrows()],
            "parameters": [f"{count / 1e6:.2f} M" for count in summary["parameters"]],
            "time per epoch": [f"{seconds:,.1f} s" for seconds in summary["seconds_per_epoch"]],
            "scales in effect": ["" if math.isnan(n) else f"{n:.2f}" for n in summary["effective_scales"]],
            "backbone": summary["backbone"],
            "seeds": [str(seeds) for seeds in summary["seeds"]],
        }
    )


def to_latex(summary: pd.DataFrame, *, caption: str) -> str:
    """The readable table in LaTeX, with booktabs."""
    table = readable(summary)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(caption)}}}",
        rf"  \begin{{tabular}}{{l{'r' * 6}lr}}",
        r"    \toprule",
        "    " + " & ".join(_escaped(column) for column in table.columns) + r" \\",
        r"    \midrule",
        *("    " + " & ".join(_latex(cell) for cell in row) + r" \\" for row in table.itertuples(index=False)),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(row: pd.Series, measure: str) -> str:
    """Mean and standard deviation over seeds; the mean alone with one."""
    sd = row[f"{measure}_sd"]
    return f"{row[measure]:.4f}" if math.isnan(sd) else f"{row[measure]:.4f} \u00b1 {sd:.4f}"


def _latex(cell: object) -> str:
    return _escaped(str(cell)).replace("\u00b1", r"$\pm$")


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
