"""A comparison of fits for the terminal, as JSON and as files. Computes nothing."""

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from popk.report.labels import SYNTHETIC

if TYPE_CHECKING:
    from popk.analysis.comparison import Comparison

SHORT = 12
"""Digits of a hash that are shown."""


def comparison(found: "Comparison") -> list[RenderableType]:
    """What to mind first, then models, parameters, predictive accuracy, objective functions."""
    parts: list[RenderableType] = [SYNTHETIC] if found.synthetic else []
    parts += [Text(note, style="bold yellow") for note in found.notes]
    parts += [_fits(found), "", *_changes(found), "", _parameters(found)]
    if len(found.prediction):
        parts += ["", _prediction(found)]
    if len(found.objective):
        parts += ["", _objective(found)]
    if len(found.vpcs) > 1:
        p = ", ".join(f"{name} {own.p:.2g}" for name, own in found.vpcs.items())
        parts += ["", Text(f"VPC, p of all bins together: {p}")]
    return parts


def _fits(found: "Comparison") -> RenderableType:
    table = _table("fit", "kind", "converged", "subjects", "observations", "data", "model",
                   title="fits")  # fmt: skip
    for name, row in found.fits.to_dict("index").items():
        converged = Text("yes") if row["converged"] else Text(f"no: {row['failed']}", "bold red")
        table.add_row(
            escape(str(name)), f"{row['kind']} ({row['method']})", converged,
            str(row["subjects"]), str(row["observations"]),
            f"{row['data'][:SHORT]}{'' if row['same_data'] else ' (other)'}",
            str(row["model"])[:SHORT],
        )  # fmt: skip
    return table


def _changes(found: "Comparison") -> list[RenderableType]:
    parts: list[RenderableType] = []
    for name, lines in found.changes.items():
        parts.append(Text(f"model, from {found.names[0]} to {name}"))
        parts += [Text(f"  {line}") for line in lines or ("the same",)]
    return parts


def _parameters(found: "Comparison") -> RenderableType:
    columns = [c for name in found.names for c in
               (name, *(() if name == found.names[0] else ("difference, SDs",)))]  # fmt: skip
    table = _table("parameter", "unit", *map(escape, columns),
                   title="parameters: median or estimate (90 % interval)")  # fmt: skip
    for parameter, row in found.parameters.to_dict("index").items():
        cells = []
        for name in found.names:
            cells.append(
                f"{_number(row[name])} ({_number(row[f'{name}_q5'])} to "
                f"{_number(row[f'{name}_q95'])})" if row[name] == row[name] else "-"
            )  # fmt: skip
            if name != found.names[0]:
                sds = row[f"{name}_sds"]
                cells.append("-" if sds != sds else f"{sds:+.2f}")
        table.add_row(escape(str(parameter)), escape(str(row["unit"])), *cells)
    return table


def _prediction(found: "Comparison") -> RenderableType:
    table = _table("fit", "left out", "elpd", "difference", "standard error", "Pareto k > 0.7",
                   title="predictive accuracy (higher is better)")  # fmt: skip
    for i, (name, row) in enumerate(found.prediction.to_dict("index").items()):
        for key, words in (("loso", "subjects"), ("loo", "observations")):
            own = i == 0
            table.add_row(
                escape(str(name)), words, f"{row[key]:.1f}",
                "" if own else f"{row[f'{key}_difference']:+.1f}",
                "" if own else f"{row[f'{key}_error']:.1f}", f"{row[f'{key}_unreliable']:.0f}",
            )  # fmt: skip
    return table


def _objective(found: "Comparison") -> RenderableType:
    table = _table("fit", "method", "parameters", "OFV", "dOFV", "AIC", "dAIC", "BIC",
                   "condition number", title="objective functions (lower is better)")  # fmt: skip
    for name, row in found.objective.to_dict("index").items():
        table.add_row(
            escape(str(name)), str(row["method"]), f"{row['parameters']:.0f}",
            f"{row['OFV']:.3f}", _signed(row["dOFV"]), f"{row['AIC']:.2f}", _signed(row["dAIC"]),
            f"{row['BIC']:.2f}", f"{row['condition number']:.3g}",
        )  # fmt: skip
    return table


def record(found: "Comparison") -> dict[str, Any]:
    """The comparison as JSON has it."""
    return {
        "fits": list(found.names),
        "synthetic": found.synthetic,
        "notes": list(found.notes),
        "about": _rows(found.fits),
        "parameters": _rows(found.parameters),
        "prediction": _rows(found.prediction),
        "objective": _rows(found.objective),
        "changes": {name: list(lines) for name, lines in found.changes.items()},
        "diffs": found.diffs,
        "vpc_p": {name: own.p for name, own in found.vpcs.items()},
    }


def of_comparison(found: "Comparison") -> dict[str, str]:
    """Tables as CSV, the models' differences as text and as diffs, by file name."""
    note = f"# {SYNTHETIC}\n" if found.synthetic else ""
    tables = {"fits": found.fits, "parameters": found.parameters, "prediction": found.prediction,
              "objective": found.objective}  # fmt: skip
    files = {f"{name}.csv": note + table.to_csv() for name, table in tables.items() if len(table)}
    told = [*found.notes, *(() if not found.notes else ("",))]
    for i, (name, lines) in enumerate(found.changes.items(), start=1):
        told += [f"{found.names[0]} → {name}", *(f"  {line}" for line in lines or ("the same",))]
        if found.diffs[name]:
            files[f"model_{i}.diff"] = found.diffs[name] + "\n"
    files["changes.txt"] = "\n".join([*told, ""])
    return files


def _rows(table: Any) -> dict[str, Any]:
    return {str(name): _plain(row) for name, row in table.to_dict("index").items()}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.item() if hasattr(v, "item") else v for k, v in row.items()}


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.4g}"


def _signed(value: float) -> str:
    return "" if value != value else f"{value:+.3f}"


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 else "right", overflow="fold")
    return table
