"""Tables for the terminal. Computes nothing: every number comes from an analysis table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from popk.spec.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.covariates.covariate_tests import CovariateTests
    from popk.analysis.covariates.search import Search
    from popk.analysis.summary import PaperLine
    from popk.data.overview import CovariateOverview, Overview, Span
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
    time, concentration = _unit(data.time_unit), _unit(data.concentration_unit)
    facts = {
        "file": data.source,
        "subjects": f"{data.subjects}",
        "rows": f"{data.records}" + (f", {data.resets} of them resets" if data.resets else ""),
        "doses": f"{data.doses} ({data.dose_records} rows: {data.boluses} boluses, "
        f"{data.infusions} infusions), amounts in {_unit(data.amount_unit)}",
        "observations": f"{data.observations}; {_span(data.observations_per_subject)} a subject",
        "censored": f"{data.below} below a limit, {data.above} above, {data.interval} between two",
        "times": f"{_span(data.time)} {time}",
        "measured DV": "none" if data.dv is None else f"{_span(data.dv)} {concentration}",
        "covariates between rows": "next observation carried backward (nocb)"
        if data.interpolation == "nocb"
        else "last observation carried forward (locf)",
        "columns not used": ", ".join(data.ignored) or "none",
    }
    for name, value in facts.items():
        table.add_row(name, escape(value))
    return Group(table, *([_covariates(data.covariates)] if data.covariates else []))


def _covariates(covariates: Iterable["CovariateOverview"]) -> Table:
    table = _table("covariate", "unit", "baseline: median (range) or counts", "missing", "note")
    for c in covariates:
        values = (
            ", ".join(f"{level}: {n}" for level, n in c.counts.items())
            if c.baseline is None
            else _span(c.baseline)
        )
        note = "; ".join(
            part
            for part in (
                "changes over time" if c.varies else "",
                "" if c.derived is None else f"derived: {c.derived}",
            )
            if part
        )
        table.add_row(*map(escape, (c.name, c.unit or "-", values, str(c.missing), note)))
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
            *(_number(row[key]) for key in ("median", "mean", "sd")),
            f"{_number(row['q5'])} to {_number(row['q95'])}",
            _number(row["cv_percent"], 3),
            _percent(row["shrinkage"]),
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
            *(_number(row[key]) for key in ("estimate", "se", "se_sandwich")),
            _number(row["rse_percent"], 3),
            f"{_number(row['q5'])} to {_number(row['q95'])}",
            _number(row["cv_percent"], 3),
            _percent(row["shrinkage"]),
            Text(str(row["note"]), style="yellow"),
        )
    return shown


def objective(found: "Mapping[str, float]") -> list[RenderableType]:
    """The objective function of a maximum-likelihood fit, and what is derived from it."""
    if not found:
        return []
    error = found["OFV Monte Carlo error"]
    parts = [
        f"OFV {found['OFV']:.3f}" + (f" (Monte Carlo error {error:.2g})" if error else ""),
        f"-2 log L {found['-2 log L']:.3f}",
        f"AIC {found['AIC']:.2f}",
        f"BIC {found['BIC']:.2f}",
        f"condition number {found['condition number']:.3g}"
        + (" (above 1000: ill-conditioned)" if found["condition number"] > 1000 else ""),
    ]
    return ["", Text(", ".join(parts), style="bold")]


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
                f"{_number(row[n], 3)} ({_number(row[f'{n}_q5'], 3)}-{_number(row[f'{n}_q95'], 3)})"
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
                _number(row["ratio"], 3),
                f"{_number(row['q5'], 3)} to {_number(row['q95'], 3)}",
                f"{_number(row['q2_5'], 3)} to {_number(row['q97_5'], 3)}",
                f"{row['direction']:.3f}",
                f"{row['inside']:.3f}",
                Text(str(row["verdict"]), style="bold"),
            )
    tests = _table("candidate", "test", "value", "error", "p", "")
    for name, row in found.table.iterrows():
        own = escape(str(name))
        tests.add_row(
            own, "Bayes factor BF01 (Savage-Dickey)", _number(row["BF01"], 3),
            _number(row["BF01_error"], 2), "", escape(str(row["evidence"])),
        )  # fmt: skip
        tests.add_row(
            own, "elpd with less without, observations", f"{row['loo']:.2f}",
            f"{row['loo_error']:.2f}", "",
            f"{row['loo_unreliable']:.0f} with Pareto k above 0.7",
        )  # fmt: skip
        tests.add_row(
            own, "elpd with less without, subjects", f"{row['loso']:.2f}",
            f"{row['loso_error']:.2f}", "", f"{row['loso_refitted']:.0f} left out by another fit",
        )  # fmt: skip
        tests.add_row(
            own, f"likelihood ratio, delta OFV ({row['df']:.0f} df)", f"{row['dOFV']:.3f}", "",
            _number(row["p"], 3), "",
        )  # fmt: skip
        low, high = _number(row["classical_q2_5"], 3), _number(row["classical_q97_5"], 3)
        interval = "" if low == "-" else f"95 % {low} to {high}"
        tests.add_row(
            own, escape(str(row["classical"])), _number(row["classical_value"], 3), "",
            _number(row["classical_p"], 3), interval,
        )  # fmt: skip
    if found.joint_test is not None:
        test = found.joint_test
        tests.add_row(
            "all together", f"likelihood ratio, delta OFV ({test.df} df)", f"{test.change:.3f}",
            "", _number(test.p, 3), "",
        )  # fmt: skip
    notes = [Text(note, style="yellow") for note in found.notes]
    return [ratios, Text(f"Rule: {found.rule}", style="dim"), "", tests, *notes]


def search(found: "Search") -> list[RenderableType]:
    """What a stepwise search ends with beside the full model, then every step."""
    test = found.joint
    rules = (
        f"forward: p < {found.forward:g} enters; backward: p >= {found.backward:g} leaves; "
        f"all candidates together: delta OFV {test.change:.3f} ({test.df} df), "
        f"p {_number(test.p, 3)}"
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
            _number(row["ratio"], 3),
            _between(row["q5"], row["q95"]),
            _number(row["full_ratio"], 3),
            _between(row["full_q5"], row["full_q95"]),
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
            _number(row["p"], 3) if word else "",
            _number(row["ratio"], 3),
            _between(row["q5"], row["q95"]),
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
            values = (_number(row[quantity]) for quantity in quantities)
            table.add_row(str(row["step"]), escape(row["effects"] or "none"), *values)
    return table


def paper_line(line: "PaperLine") -> RenderableType:
    """The line that a paper prints, with the intervals of its figures."""
    of = line.intervals
    detail = (
        f"90 % intervals: Css mean {of['css_mean'][0]:.0f}-{of['css_mean'][1]:.0f}, "
        f"SD {of['css_sd'][0]:.0f}-{of['css_sd'][1]:.0f} {line.css_unit}; "
        f"CL median {of['cl_median'][0]:.2f}-{of['cl_median'][1]:.2f}, "
        f"lowest {of['cl_minimum'][0]:.2f}-{of['cl_minimum'][1]:.2f}, "
        f"highest {of['cl_maximum'][0]:.2f}-{of['cl_maximum'][1]:.2f} {line.cl_unit}"
    )
    return Group(Text(str(line), style="bold"), Text(detail, style="dim"))


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 or not column else "right")
    return table


def _unit(unit: str | None) -> str:
    return unit or "no declared unit (the model's is taken)"


def _span(span: "Span") -> str:
    if span.minimum == span.maximum:
        return _number(span.minimum)
    return f"{_number(span.median)} ({_number(span.minimum)}-{_number(span.maximum)})"


def _number(value: Any, digits: int = 4) -> str:
    """Significant digits without trailing exponents for the sizes that occur."""
    number = float(value)
    if number != number:
        return "-"
    if number == 0 or 1e-4 <= abs(number) < 10**digits:
        return f"{number:.{digits}g}"
    return f"{number:,.0f}" if 1 <= abs(number) < 1e9 else f"{number:.{digits - 1}e}"


def _between(low: Any, high: Any) -> str:
    """An interval; a dash where there is none."""
    found = _number(low, 3), _number(high, 3)
    return "-" if found == ("-", "-") else f"{found[0]} to {found[1]}"


def _percent(value: Any) -> str:
    number = float(value)
    return "-" if number != number else f"{100 * number:.0f} %"
