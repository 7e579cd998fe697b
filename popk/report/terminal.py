"""Tables for the terminal. Computes nothing: every number comes from an analysis table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from popk.report.described import (
    covariate_facts,
    data_facts,
    evidence,
    objective_parts,
    paper_intervals,
)
from popk.report.numbers import between, number, percent
from popk.spec.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.covariates.covariate_tests import CovariateTests
    from popk.analysis.covariates.search import Search
    from popk.analysis.summary import PaperLine
    from popk.data.overview import CovariateOverview, Overview
    from popk.inference.convergence import Check

SYNTHETIC = "SYNTHETIC DATA: simulated, no row describes a real patient"


def problems(found: Sequence[Problem], most: int = 50) -> RenderableType:
    """Problems one below the other; errors first, the number that is not shown at the end."""
    ordered = sorted(found, key=lambda problem: problem.severity == "warning")
    lines = [_problem(problem) for problem in ordered[:most]]
    if len(ordered) > most:
        lines.append(Text(f"... and {len(ordered) - most} more; --json lists all", style="dim"))
    return Group(*lines)


def _problem(problem: Problem) -> Text:
    place = ", ".join(
        part
        for part in (
            problem.file,
            "" if problem.line is None else f"line {problem.line}",
            "" if problem.subject is None else f"ID {problem.subject}",
            problem.key or "",
        )
        if part
    )
    style = "bold red" if problem.severity == "error" else "bold yellow"
    return Text.assemble(
        (problem.severity, style),
        f" {place}\n" if place else "\n",
        ("  found    ", "dim"), f"{problem.found}\n",
        ("  expected ", "dim"), f"{problem.expected}\n",
        ("  cure     ", "dim"), problem.cure,
    )  # fmt: skip


def overview(data: "Overview") -> RenderableType:
    """What a data set holds."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for name, value in data_facts(data).items():
        table.add_row(name, escape(value))
    return Group(table, *([_covariates(data.covariates)] if data.covariates else []))


def _covariates(covariates: Iterable["CovariateOverview"]) -> Table:
    table = _table("covariate", "unit", "baseline: median (range) or counts", "missing", "note")
    for c in covariates:
        table.add_row(*map(escape, covariate_facts(c)))
    return table


def verdict(checks: Sequence["Check"]) -> RenderableType:
    """The checks, failures first."""
    failed = [check for check in checks if not check.passed]
    table = _table("check", "value", "threshold", "worst at", "")
    for check in sorted(checks, key=lambda c: c.passed):
        table.add_row(
            check.name,
            f"{check.value:.4g}",
            check.threshold,
            escape(check.worst),
            Text("passed", style="green") if check.passed else Text("FAILED", style="bold red"),
        )
    if not failed:
        return table
    advice = "\n".join(f"{check.name}: {check.meaning}" for check in failed)
    return Group(
        Panel(f"NOT CONVERGED: do not use these numbers.\n{escape(advice)}", border_style="red"),
        table,
    )


def parameters(table: "pd.DataFrame", synthetic: bool) -> RenderableType:
    """The population table, of a posterior or of maximum-likelihood estimates."""
    if "estimate" in table:
        return _estimates(table, synthetic)
    shown = _table(
        "parameter", "unit", "median", "mean", "SD", "90 % interval", "CV %", "shrinkage",
        "R-hat", "ESS bulk", "ESS tail", "contraction", "note",
        title="Population" + (f"  ({SYNTHETIC})" if synthetic else ""),
    )  # fmt: skip
    for name, row in table.iterrows():
        shown.add_row(
            escape(str(name)),
            escape(str(row["unit"])),
            *(number(row[key]) for key in ("median", "mean", "sd")),
            f"{number(row['q5'])} to {number(row['q95'])}",
            number(row["cv_percent"], 3),
            percent(row["shrinkage"]),
            f"{row['rhat']:.4f}",
            f"{row['ess_bulk']:.0f}",
            f"{row['ess_tail']:.0f}",
            f"{row['contraction']:.2f}",
            Text(str(row["note"]), style="yellow"),
        )
    return shown


def _estimates(table: "pd.DataFrame", synthetic: bool) -> RenderableType:
    shown = _table(
        "parameter", "unit", "estimate", "SE", "SE sandwich", "RSE %", "90 % confidence",
        "CV %", "shrinkage", "note",
        title="Population" + (f"  ({SYNTHETIC})" if synthetic else ""),
    )  # fmt: skip
    for name, row in table.iterrows():
        shown.add_row(
            escape(str(name)),
            escape(str(row["unit"])),
            *(number(row[key]) for key in ("estimate", "se", "se_sandwich")),
            number(row["rse_percent"], 3),
            f"{number(row['q5'])} to {number(row['q95'])}",
            number(row["cv_percent"], 3),
            percent(row["shrinkage"]),
            Text(str(row["note"]), style="yellow"),
        )
    return shown


def objective(found: "Mapping[str, float]") -> list[RenderableType]:
    """The objective function of a maximum-likelihood fit, and what is derived from it."""
    if not found:
        return []
    return ["", Text(", ".join(objective_parts(found)), style="bold")]


def individuals(table: "pd.DataFrame", synthetic: bool) -> RenderableType:
    """The individual table: median and 90 % interval of each quantity."""
    units: Mapping[str, str] = table.attrs["units"]
    shown = _table(
        "ID",
        *(f"{name.replace('_', ' ')}\n{escape(unit)}" for name, unit in units.items()),
        title="Individuals: median (90 % interval)" + (f"  ({SYNTHETIC})" if synthetic else ""),
    )
    for subject, row in table.iterrows():
        shown.add_row(
            escape(str(subject)),
            *(
                f"{number(row[n], 3)} ({number(row[f'{n}_q5'], 3)}-{number(row[f'{n}_q95'], 3)})"
                for n in units
            ),
        )
    return shown


def covariate_tests(found: "CovariateTests") -> list[RenderableType]:
    """Ratios and verdicts first, then every other test of each candidate."""
    ratios = _table(
        "candidate", "contrast", "ratio", "90 % interval", "95 % interval",
        "P(side of 1)", "P(no-effect range)", "verdict",
        title="Covariate effects" + (f"  ({SYNTHETIC})" if found.synthetic else ""),
    )  # fmt: skip
    for table, how in ((found.table, ""), (found.joint, " (all together)")):
        if how and len(found.joint) == 1:
            continue
        for name, row in table.iterrows():
            ratios.add_row(
                escape(f"{name}{how}"),
                escape(f"{row['parameter']}: {row['contrast']}"),
                number(row["ratio"], 3),
                f"{number(row['q5'], 3)} to {number(row['q95'], 3)}",
                f"{number(row['q2_5'], 3)} to {number(row['q97_5'], 3)}",
                f"{row['direction']:.3f}",
                f"{row['inside']:.3f}",
                Text(str(row["verdict"]), style="bold"),
            )
    tests = _table("candidate", "test", "value", "error", "p", "")
    for name, row in found.table.iterrows():
        for cells in evidence(dict(row)):
            tests.add_row(escape(str(name)), *map(escape, cells))
    if found.joint_test is not None:
        test = found.joint_test
        tests.add_row(
            "all together", f"likelihood ratio, delta OFV ({test.df} df)", f"{test.change:.3f}",
            "", number(test.p, 3), "",
        )  # fmt: skip
    notes = [Text(note, style="yellow") for note in found.notes]
    return [ratios, Text(f"Rule: {found.rule}", style="dim"), "", tests, *notes]


def search(found: "Search") -> list[RenderableType]:
    """What a stepwise search ends with beside the full model, then every step."""
    test = found.joint
    rules = (
        f"forward: p < {found.forward:g} enters; backward: p >= {found.backward:g} leaves; "
        f"all candidates together: delta OFV {test.change:.3f} ({test.df} df), "
        f"p {number(test.p, 3)}"
    )
    notes = [Text(text, style="yellow") for text in found.notes]
    tried: list[dict[str, Any]] = found.tried.to_dict("records")
    effects = _selected(found)
    return [effects, Text(rules, style="dim"), *notes, "", _steps(tried), "", _path(tried)]


def _selected(found: "Search") -> Table:
    note = f"  ({SYNTHETIC})" if found.synthetic else ""
    table = _table(
        "candidate", "contrast", "selected", "ratio", "90 % confidence",
        "ratio, full model", "90 % confidence", "full model says",
        title="Covariate effects: after the search, and in the full model" + note,
    )  # fmt: skip
    rows: dict[str, dict[str, Any]] = found.effects.to_dict("index")
    for name, row in rows.items():
        table.add_row(
            escape(name),
            escape(f"{row['parameter']}: {row['contrast']}"),
            "yes" if row["selected"] else "no",
            number(row["ratio"], 3),
            between(row["q5"], row["q95"]),
            number(row["full_ratio"], 3),
            between(row["full_q5"], row["full_q95"]),
            Text(str(row["full_verdict"]), style="bold"),
        )
    return table


def _steps(tried: Sequence[Mapping[str, Any]]) -> Table:
    """Every model that was tried."""
    table = _table(
        "step", "direction", "candidate", "OFV", "delta OFV", "df", "p", "ratio",
        "90 % confidence", "", title="Steps",
    )  # fmt: skip
    for row in tried:
        word = {"start": "", "forward": "enters", "backward": "leaves"}[row["direction"]]
        table.add_row(
            str(row["step"]),
            row["direction"],
            escape(row["candidate"]),
            f"{row['OFV']:.3f}",
            f"{row['dOFV']:.3f}" if word else "",
            str(row["df"] or ""),
            number(row["p"], 3) if word else "",
            number(row["ratio"], 3),
            between(row["q5"], row["q95"]),
            Text((word if row["taken"] else "") if row["ended"] else "NOT ENDED", style="bold"),
        )
    return table


def _path(tried: Sequence[Mapping[str, Any]]) -> Table:
    """The estimates of each model on the way."""
    names = list(tried[0])
    quantities = [*names[names.index("ended") + 1 :]]
    table = _table("step", "effects", *map(escape, quantities), title="Estimates")
    for row in tried:
        if row["taken"]:
            values = (number(row[quantity]) for quantity in quantities)
            table.add_row(str(row["step"]), escape(row["effects"] or "none"), *values)
    return table


def paper_line(line: "PaperLine") -> RenderableType:
    """The line that a paper prints, with the intervals of its figures."""
    return Group(Text(str(line), style="bold"), Text(paper_intervals(line), style="dim"))


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 or not column else "right")
    return table
