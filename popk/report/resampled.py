"""Bootstraps and influence for the terminal and as files. Computes nothing."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from popk.report import checked
from popk.report.numbers import between, number
from popk.report.terminal import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.resampling.bootstrap import Bootstrap
    from popk.analysis.resampling.influence import Influence
    from popk.analysis.verdict import Verdict

SIMULATED = "SYNTHETIC DATA SETS: simulated from the fit's own estimates"
MOST_SHOWN = 12
"""Subjects in the table of the terminal, those with the largest distance."""


def bootstrap(found: "Bootstrap", verdicts: Sequence["Verdict"]) -> list[RenderableType]:
    """Verdicts first, then one parameter a row."""
    own = "SE" if found.maximum else "posterior SD"
    table = _table(
        "parameter", "unit", "estimate", "bias", "bootstrap SE", own, "ratio",
        "90 % percentile", "95 % percentile", "fit's 90 %",
        title=heading(found), caption=_caption(found),
    )  # fmt: skip
    for name, row in _rows(found.parameters):
        table.add_row(
            escape(str(name)), escape(str(row["unit"])), number(row["estimate"]),
            f"{row['bias']:+.2g} ± {row['bias_error']:.1g}",
            f"{number(row['se'], 3)} ± {row['se_error']:.1g}", number(row["fit_sd"], 3),
            f"{row['ratio']:.2f} ± {row['ratio_error']:.2f}",
            between(row["q5"], row["q95"]), between(row["q2_5"], row["q97_5"]),
            between(row["fit_q5"], row["fit_q95"]),
        )  # fmt: skip
    return [
        checked.verdicts(verdicts),
        "",
        table,
        *(Text(note, style="dim") for note in (READ, *found.notes)),
    ]


READ = (
    "bias: mean over replicates less the fit's estimate; ± Monte Carlo standard error; errors of "
    "the intervals' ends are in the CSV file"
)


def heading(found: "Bootstrap") -> str:
    """What was done, in a line."""
    how = "subjects drawn again" if found.kind == "case" else "simulated"
    strata = ", ".join(f"{name}: {size}" for name, size in found.strata.items())
    limits = [f"{word} {value:g}" for word, value in zip(("below", "above"), found.limits,
              strict=True) if value is not None]  # fmt: skip
    parts = [
        f"{found.kind} bootstrap of {found.name or found.model}: {len(found.replicates)} data sets,"
        f" {how}",
        f"within strata ({strata})" if strata else "",
        f"assay limits {', '.join(limits)}" if limits else "",
    ]
    return "; ".join(part for part in parts if part)


def influence(found: "Influence", verdicts: Sequence["Verdict"]) -> list[RenderableType]:
    """Verdicts first, then the subjects with the largest distance."""
    own = found.subjects.sort_values("cook", ascending=False)
    table = _table(
        "ID left out", "observations", *(f"{escape(name)}" for name in found.names), "Cook",
        "covariance ratio", "Pareto k",
        title=f"{found.name or found.model} without each of {len(own)} subjects: shifts in "
        f"{'SE' if found.maximum else 'posterior SD'}",
        caption=SYNTHETIC if found.synthetic else None,
    )  # fmt: skip
    for who, row in _rows(own)[:MOST_SHOWN]:
        table.add_row(
            escape(str(who)), str(row["observations"]),
            *(f"{row[f'shift_{name}']:+.2f}" for name in found.names),
            number(row["cook"], 3), number(row["covariance_ratio"], 3), number(row["pareto_k"], 2),
        )  # fmt: skip
    rest = len(own) - MOST_SHOWN
    error = float(found.errors.to_numpy(float).max())
    notes = [
        f"Monte Carlo standard error of a shift: at most {error:.2f}" if error else "",
        f"and {rest} more with smaller distances, in the CSV file" if rest > 0 else "",
    ]
    return [checked.verdicts(verdicts), "", table,
            *(Text(note, style="dim") for note in notes if note)]  # fmt: skip


def of_bootstrap(found: "Bootstrap", verdicts: Sequence["Verdict"]) -> dict[str, str]:
    """Tables as CSV and the record as JSON, by file name."""
    head = _head(found.synthetic) + (f"# {SIMULATED}\n" if found.kind == "parametric" else "")
    head += f"# {heading(found)}\n"
    table = found.parameters
    units = ", ".join(f"{name} {row['unit']}" for name, row in _rows(table) if row["unit"])
    return {
        f"{found.kind}.csv": head + table.to_csv(),
        f"{found.kind}_replicates.csv": f"{head}# {units}\n" + found.replicates.to_csv(),
        f"{found.kind}.json": _json(record(found, verdicts)),
    }


def of_influence(found: "Influence", verdicts: Sequence["Verdict"]) -> dict[str, str]:
    """The table as CSV and the record as JSON, by file name."""
    own = ", ".join(
        f"{name} {row['mean']:.5g} (SD {row['sd']:.3g}) {row['unit']}".rstrip()
        for name, row in _rows(found.own)
    )
    words = found.verdicts.add_prefix("verdict_")
    table = found.subjects.join(found.means.add_prefix("mean_")).join(words)
    head = f"{_head(found.synthetic)}# shifts in SDs of the whole fit: {own}\n"
    return {"influence.csv": head + table.to_csv(), "influence.json": _json(
        influence_record(found, verdicts))}  # fmt: skip


def record(found: "Bootstrap", verdicts: Sequence["Verdict"]) -> dict[str, Any]:
    """For JSON; all but the replicates."""
    return {
        "synthetic": found.synthetic,
        "synthetic_replicates": found.kind == "parametric",
        "name": found.name,
        "model": found.model,
        "method": found.method,
        "kind": found.kind,
        "replicates": len(found.replicates),
        "missed_the_gate": found.missed,
        "fitted_again": found.refitted,
        "stratified_by": found.stratified_by,
        "strata": dict(found.strata),
        "limits": found.limits._asdict(),
        "seed": found.seed,
        "key": found.key,
        "seconds": found.seconds,
        "verdicts": [asdict(own) for own in verdicts],
        "parameters": _flat(found.parameters),
        "notes": list(found.notes),
    }


def influence_record(found: "Influence", verdicts: Sequence["Verdict"]) -> dict[str, Any]:
    """For JSON."""
    return {
        "synthetic": found.synthetic,
        "name": found.name,
        "model": found.model,
        "method": found.method,
        "seed": found.seed,
        "key": found.key,
        "seconds": found.seconds,
        "missed_the_gate": found.missed,
        "verdicts": [asdict(own) for own in verdicts],
        "whole": _flat(found.own),
        "subjects": _flat(found.subjects),
        "covariate_verdicts": {"whole": dict(found.whole), "without": _flat(found.verdicts)},
    }


def _caption(found: "Bootstrap") -> str | None:
    parts = [SYNTHETIC if found.synthetic else "", SIMULATED if found.kind == "parametric" else ""]
    return "; ".join(part for part in parts if part) or None


def _head(synthetic: bool) -> str:
    return "# SYNTHETIC DATA\n" if synthetic else ""


def _json(whole: dict[str, Any]) -> str:
    # JSON has no NaN and no infinity: null
    finite = json.loads(json.dumps(whole, default=float), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2, ensure_ascii=False) + "\n"


def _flat(table: "pd.DataFrame") -> list[dict[str, Any]]:
    text = table.reset_index().to_json(orient="records") if len(table) else "[]"
    return json.loads(text or "[]")


def _rows(table: "pd.DataFrame") -> list[tuple[Any, dict[str, Any]]]:
    return list(table.to_dict("index").items())


def _table(*columns: str, title: str, caption: str | None) -> Table:
    table = Table(title=escape(title), title_justify="left", caption=caption,
                  caption_justify="left", box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
