"""Tables and files of a calibration. Computes nothing: its numbers come from analysis tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from popk.report import checked
from popk.report.terminal import SYNTHETIC

if TYPE_CHECKING:
    from popk.analysis.calibration.calibration import Calibration
    from popk.analysis.verdict import Verdict


WORST_FIRST = ("failed", "look here", "not possible", "passed")


def shown(found: "Calibration", verdicts: Sequence["Verdict"]) -> list[RenderableType]:
    """Verdicts first, then parameters and individuals."""
    return [
        Text(heading(found), style="bold"),
        checked.verdicts(sorted(verdicts, key=lambda own: WORST_FIRST.index(own.outcome))),
        "",
        _parameters(found),
        "",
        *([_individuals(found)] if len(found.individuals) else []),
        *(Text(note, style="dim") for note in notes(found)),
    ]


def heading(found: "Calibration") -> str:
    """What was calibrated, in a line; all concentrations are simulated."""
    at = (
        "each from its own draw of the priors"
        if found.truth is None
        else "from " + ", ".join(f"{name} {value:.4g}" for name, value in found.truth.items())
    )
    limit = "no assay limit" if found.below is None else f"assay limit {found.below:g}"
    return f"{found.model}: {found.replicates} simulated trials {at}; {limit}"


def notes(found: "Calibration") -> list[str]:
    """How the tables are to be read."""
    lines = [
        "bias and RMSE: of posterior medians, in the parameter's unit and in percent of the truth; "
        "± Monte Carlo standard error; coverage: of 90 % intervals",
        *([f"Css: at {found.css}"] if found.css else []),
    ]
    if found.truth is None:
        lines.append(
            f"ranks of one parameter deviate by {found.bound:.2f} SD or more once in twenty times"
        )
    return lines


def files(
    found: "Calibration",
    verdicts: Sequence["Verdict"],
    about: Mapping[str, Any],
) -> dict[str, str]:
    """ranks.csv (with what became of each trial), coverage.csv and calibration.json."""
    note = f"# {SYNTHETIC}\n# {heading(found)}\n"
    units = ", ".join(f"{name} {unit}" for name, unit in found.units.items())
    own = found.parameters.rename_axis("ID").assign(quantity="population").reset_index()
    rows = [own.to_dict("records"), found.individuals.reset_index().to_dict("records")]
    table: list[dict[str, Any]] = [row for part in rows for row in part]
    columns = ["quantity", "ID", *(c for c in own.columns if c not in ("quantity", "ID"))]
    lines = [",".join(columns)]
    lines += [",".join(_cell(row.get(column)) for column in columns) for row in table]
    return {
        "ranks.csv": note + found.ranks.join(found.trials).to_csv(),
        "coverage.csv": f"{note}# {units}\n" + "\n".join([*lines, ""]),
        "calibration.json": json.dumps(record(found, verdicts, about), indent=2) + "\n",
    }


def record(
    found: "Calibration", verdicts: Sequence["Verdict"], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything but the ranks themselves, as JSON has it: what is no number is null."""
    method, rhat, ess = (found.trials[name].tolist() for name in ("method", "rhat", "ess"))
    whole = {
        "synthetic": True,
        "model": found.model,
        **about,
        "replicates": found.replicates,
        "truth": None if found.truth is None else dict(found.truth),
        "below": found.below,
        "seconds": round(found.seconds, 2),
        "missed_the_gate": found.missed,
        "fitted_alone": method.count("alone"),
        "fitted_by_nuts": method.count("nuts"),
        "largest_rhat": max(rhat),
        "least_ess": min(ess),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "deviation_exceeded_once_in_twenty": found.bound,
        "parameters": _rows(found.parameters),
        "individuals": {
            str(name): _rows(own.droplevel(0)) for name, own in found.individuals.groupby(level=0)
        },
        "overall": _rows(found.overall),
        "units": dict(found.units),
        "css": found.css,
    }
    return json.loads(json.dumps(whole), parse_constant=lambda _: None)


def _rows(table: Any) -> dict[str, Any]:
    return json.loads(table.to_json(orient="index") or "{}")


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _parameters(found: "Calibration") -> Table:
    from_priors = "p" in found.parameters
    ranked = ("deviation (SD)", "p", "p (Holm)") if from_priors else ()
    table = _table(
        "parameter", "truth" if found.truth else "truth, mean", "bias", "RMSE", "bias %", "RMSE %",
        "coverage %", *ranked, title=f"Population  ({SYNTHETIC})",
    )  # fmt: skip
    rows: dict[str, dict[str, Any]] = found.parameters.to_dict("index")
    for name, row in rows.items():
        table.add_row(
            escape(str(name)),
            f"{row['truth']:.4g}",
            f"{row['bias']:.3g} ± {row['bias_error']:.1g}",
            f"{row['rmse']:.3g} ± {row['rmse_error']:.1g}",
            _percent(row["bias_percent"]),
            _percent(row["rmse_percent"]),
            _coverage(row),
            *((f"{row['deviation']:.2f}", f"{row['p']:.3g}", f"{row['p_holm']:.3g}")
              if from_priors else ()),
        )  # fmt: skip
    return table


def _individuals(found: "Calibration") -> Table:
    names = list(found.units)
    heads = [f"{name} {what}" for name in names for what in ("bias %", "RMSE %", "coverage %")]
    table = _table("ID", *map(escape, heads), title=f"Individuals  ({SYNTHETIC})")
    rows: dict[Any, dict[str, Any]] = found.individuals.to_dict("index")
    for who in dict.fromkeys(own for _, own in rows):
        cells = []
        for name in names:
            row = rows[name, who]
            cells += [_percent(row["bias_percent"]), _percent(row["rmse_percent"]), _coverage(row)]
        table.add_row(escape(str(who)), *cells)
    overall: dict[str, dict[str, Any]] = found.overall.to_dict("index")
    table.add_row("all", *(cell for name in names for cell in ("", "", _coverage(overall[name]))))
    return table


def _coverage(row: Mapping[str, Any]) -> str:
    return f"{100 * row['coverage']:.1f} ± {100 * row['coverage_error']:.1f}"


def _percent(value: float) -> str:
    return "-" if value != value else f"{value:.1f}"


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
