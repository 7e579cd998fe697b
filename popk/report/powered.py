"""Power and sampling plans for the terminal and as files. Computes nothing."""

import json
import math
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.power.overview import Overview
    from popk.analysis.power.plans import Plans

TRIALS = "SYNTHETIC TRIALS: simulated, each fitted through its convergence gate"
FOR_AN_EFFECT = ("excludes_90", "excludes_95", "below_90", "above_90", "bayes_factor", "lr",
                 "wilcoxon", "spearman", "relevant")  # fmt: skip
"""Criteria that speak for an effect."""
LIKELIHOOD = (
    "likelihood ratio: FOCEI, by the chi-square distribution; searches that have not ended, which "
    "reject nothing: {}"
)
OPEN = 1000.0
"""RSE in percent above which a plan leaves a parameter open."""
SHOWN = {
    "excludes_90": "90 % interval excludes 1",
    "relevant": "relevant effect",
    "not_relevant": "no relevant effect",
    "unknown": "cannot tell",
    "bayes_factor": "BF01 < 1/3",
    "lr": "likelihood ratio p < 0.05",
    "wilcoxon": "Wilcoxon p < 0.05",
    "spearman": "Spearman p < 0.05",
    "coverage": "coverage (90 %)",
}


def power(found: "Overview") -> list[RenderableType]:
    """Every cell, the smallest numbers of infants, assurance, and what it means."""
    own = found.power
    title = f"{own.effect}: {own.label} (%, ± Monte Carlo standard error)"
    said = {name: words for name, words in SHOWN.items() if _known(found, name)}
    columns = ("infants", "true ratio", *said.values(), "interval, fold", "missed gate")
    table = _table(*columns, title=title)
    for (infants, ratio), row in _rows(own.cells):
        table.add_row(
            f"{infants}{_split(found, infants)}", f"{ratio:g}",
            *(_share(row, name) for name in said), f"{math.exp(row['width']):.2f}",
            f"{row['missed']:.0f}" + (f" (+{row['refitted']:.0f})" if row["refitted"] else ""),
        )  # fmt: skip
    parts: list[RenderableType] = [TRIALS, table]
    if len(found.smallest):
        parts += ["", _smallest(found)]
    if len(found.assurance):
        parts += ["", _assurance(found)]
    if len(found.precision):
        parts += ["", _precision(found)]
    return [
        *parts,
        "",
        found.conclusion,
        f"{own.seconds:.0f} s; missed gate: trials without a converged posterior, counted in every "
        "share (+ those fitted again on their own); interval: upper over lower bound",
        *([LIKELIHOOD.format(own.cells["lr_left"].sum())] if _known(found, "lr") else []),
        *own.notes,
        *found.assurance.attrs.get("notes", ()),
    ]


def of_power(found: "Overview") -> dict[str, str]:
    """The tables as CSV and the record as JSON, by file name."""
    head = f"# {TRIALS}\n"
    tables = {
        "cells": found.power.cells,
        "smallest": found.smallest,
        "assurance": found.assurance,
        "precision": found.precision,
    }
    files = {f"{n}.csv": head + t.to_csv() for n, t in tables.items() if len(t)}
    text = json.dumps(record(found), indent=2, ensure_ascii=False, default=float)
    return files | {"power.json": text + "\n"}


def record(found: "Overview") -> dict[str, Any]:
    """For JSON."""
    own = found.power
    return {
        "synthetic_trials": True,
        "synthetic_truth": own.synthetic,
        "model": own.model,
        "effect": own.effect,
        "compares": own.label,
        "plan": own.plan.model_dump(mode="json"),
        "truth": {name: float(value) for name, value in own.truth.items()},
        "no_effect": list(own.no_effect),
        "groups": {str(n): list(counts) for n, counts in own.groups.items()},
        "seed": own.seed,
        "key": own.key,
        "seconds": own.seconds,
        "criterion": found.criterion,
        "at": found.at,
        "cells": _flat(own.cells),
        "smallest": _flat(found.smallest),
        "assurance": _flat(found.assurance),
        "precision": _flat(found.precision),
        "conclusion": found.conclusion,
        "notes": list(own.notes),
    }


def plans(found: "Plans") -> list[RenderableType]:
    """Plans side by side, the first one's errors, and when to sample."""
    table = _table("plan", "samples", "SE log ratio", "posterior SD", "interval, fold",
                   "efficiency", title="expected by plan")  # fmt: skip
    for name, row in _rows(found.compared):
        table.add_row(
            escape(str(name)), f"{row['samples']:.0f}", _number(row.get("se_log_ratio")),
            _number(row.get("sd_log_ratio")), _number(row.get("fold_width")),
            f"{row['efficiency']:.2f}",
        )  # fmt: skip
    errors = _table("parameter", "value", "SE", "RSE %", "posterior SD",
                    title=f"expected of the first plan: {found.model}")  # fmt: skip
    for name, row in _rows(found.errors):
        positive = str(name).startswith(("TV", "omega_", "sigma"))
        left_open = positive and not row["rse_percent"] < OPEN
        se = ("left open", "") if left_open else (_number(row["se"]), _number(row["rse_percent"]))
        errors.add_row(escape(str(name)), f"{row['value']:.4g}", *se, _number(row["posterior_sd"]))
    words = [
        f"a further sample tells most of {name}: {text}" if text
        else f"no further sample tells much more of {name}"
        for name, text in found.words.items()
    ]  # fmt: skip
    return [table, "", errors, *(["", _needed(found)] if len(found.needed) else []), "", *words,
            "first-order Fisher information: an approximation, widths too small by up to a tenth "
            "below 40 infants; popk power simulates"]  # fmt: skip


def of_plans(found: "Plans") -> dict[str, str]:
    """The tables as CSV, by file name."""
    tables = {"plans": found.compared, "errors": found.errors}
    if len(found.needed):
        tables["needed"] = found.needed
    files = {f"{name}.csv": table.to_csv() for name, table in tables.items()}
    return files | {"times.csv": found.times.to_csv(index=False)}


def _needed(found: "Plans") -> Table:
    table = _table("plan", *found.goals.values(), title="expected smallest number of infants")
    for plan, row in _rows(found.needed):
        table.add_row(escape(str(plan)), *(f"{row[name]:.0f}" for name in found.goals))
    return table


def _smallest(found: "Overview") -> Table:
    what = f"{found.criterion} at {found.at:g}"
    table = _table("true ratio", "infants", "with one Monte Carlo error",
                   title=f"smallest number of infants for {what}")  # fmt: skip
    for ratio, row in _rows(found.smallest):
        if ratio == 1.0 and found.criterion in FOR_AN_EFFECT:
            continue  # there is nothing to be found
        spread = "" if row["low"] != row["low"] else f"{row['low']:.0f} to {_end(row['high'])}"
        table.add_row(f"{ratio:g}", str(row["words"]), spread)
    return table


def _assurance(found: "Overview") -> Table:
    names = [str(c) for c in found.assurance if not str(c).endswith("_error")]
    words = {"prior": "over the prior", "posterior": "over the posterior",
             "same_side": "a second trial on the same side", "relevant": "relevant effect",
             "not_relevant": "no relevant effect", "unknown": "cannot tell"}  # fmt: skip
    table = _table("infants", *(words.get(n, n) for n in names),
                   title=f"assurance: {found.criterion}, averaged (%)")  # fmt: skip
    for infants, row in _rows(found.assurance):
        table.add_row(str(infants), *(_share(row, name) for name in names))
    return table


def _precision(found: "Overview") -> Table:
    table = _table("infants", "true ratio", "interval, fold", "expected", "power", "expected",
                   title="simulated, and expected by the Fisher information")  # fmt: skip
    for (infants, ratio), row in _rows(found.precision):
        table.add_row(
            str(infants), f"{ratio:g}", f"{math.exp(row['width']):.2f}",
            f"{math.exp(row['expected_width']):.2f}", _share(row, "power"),
            f"{100 * row['expected_power']:.0f}",
        )  # fmt: skip
    return table


def _known(found: "Overview", criterion: str) -> bool:
    return bool(found.power.cells[criterion].notna().any())


def _split(found: "Overview", infants: int) -> str:
    own = found.power.groups.get(infants)
    return "" if own is None else f" ({own[0]} + {own[1]})"


def _share(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if value != value:
        return "-"
    error = row.get(f"{name}_error")
    return f"{100 * value:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _end(value: float) -> str:
    return "more" if value != value else f"{value:.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3g}"


def _rows(table: "pd.DataFrame") -> list[tuple[Any, dict[str, Any]]]:
    return list(table.to_dict("index").items())


def _flat(table: "pd.DataFrame") -> list[dict[str, Any]]:
    text = table.reset_index().to_json(orient="records") if len(table) else "[]"
    return json.loads(text or "[]")


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
