"""Bootstraps and influence of single subjects, from their records."""

from collections.abc import Iterator, Mapping
from typing import Any

from popk.report.page.blocks import (
    Block,
    Cell,
    Column,
    Prose,
    Shown,
    figure,
    fixed,
    interval,
    outcome,
    word,
)
from popk.report.resampled import READ, SIMULATED

KINDS = {"case": "subjects drawn again", "parametric": "simulated from the fit's estimates"}
MOST = 200
"""Subjects in the table of influence, those with the largest distance."""


def bootstrap(record: Mapping[str, Any]) -> Iterator[Block]:
    """Verdicts, then one parameter a row."""
    yield verdicts(record.get("verdicts", ()))
    columns = (
        Column("Parameter", numeric=False), Column("Unit", numeric=False), Column("Estimate"),
        Column("Bias", told="± Monte Carlo standard error"), Column("Bootstrap SE"),
        Column("Fit's SD"), Column("Ratio"), Column("90 % percentile"), Column("Fit's 90 %"),
    )  # fmt: skip
    rows = tuple(
        (
            word(row["parameter"], "strong"), word(row["unit"]), figure(row["estimate"]),
            _with_error(row, "bias"), _with_error(row, "se"), figure(row["fit_sd"], 3),
            fixed(row["ratio"], 2), _interval(row["q5"], row["q95"]),
            _interval(row["fit_q5"], row["fit_q95"]),
        )
        for row in record.get("parameters", ())
    )  # fmt: skip
    how = KINDS.get(str(record.get("kind")), "")
    title = f"{record.get('kind')} bootstrap: {record.get('replicates')} data sets, {how}"
    yield Shown(title, columns, rows)
    simulated = (f"{SIMULATED}.",) if record.get("synthetic_replicates") else ()
    notes = tuple(map(str, record.get("notes", ())))
    yield Prose((*simulated, f"{READ}.", *notes), "dim")


def influence(record: Mapping[str, Any]) -> Iterator[Block]:
    """Verdicts, then the subjects without whom most changes."""
    yield verdicts(record.get("verdicts", ()))
    subjects = sorted(record.get("subjects", ()), key=lambda row: -(row.get("cook") or 0.0))
    names = [str(row["parameter"]) for row in record.get("whole", ()) if "parameter" in row]
    columns = (
        Column("ID left out", numeric=False), Column("Observations"),
        *(Column(name, told="shift in SDs of the whole fit") for name in names),
        Column("Cook", told="Cook's distance"), Column("Covariance ratio"), Column("Pareto k"),
    )  # fmt: skip
    rows = tuple(
        (
            word(row.get("ID"), "strong"), fixed(row.get("observations"), 0),
            *(fixed(row.get(f"shift_{name}"), 2) for name in names), figure(row.get("cook"), 3),
            figure(row.get("covariance_ratio"), 3), fixed(row.get("pareto_k"), 2),
        )
        for row in subjects[:MOST]
    )  # fmt: skip
    yield Shown("The fit without each subject: shifts in SDs of the whole fit", columns, rows,
                tools=True, name="influence-table")  # fmt: skip


def verdicts(found: Any) -> Shown:
    """What checks ended with, from a record."""
    columns = (
        Column("Check", numeric=False), Column("Outcome", numeric=False),
        Column("What was found", numeric=False), Column("Passed if", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (word(v["check"], "strong"), outcome(v["outcome"]), word(v["meaning"]),
         word(v["threshold"], "dim", under=str(v.get("source", ""))))
        for v in found
    )  # fmt: skip
    return Shown("Verdicts", columns, rows)


def _with_error(row: Mapping[str, Any], name: str) -> Cell:
    own, error = figure(row.get(name), 2), row.get(f"{name}_error")
    return own if error is None else own._replace(text=f"{own.text} ± {error:.1g}")


def _interval(low: Any, high: Any) -> Cell:
    return word("-") if low is None or high is None else interval(low, high, 3)
