"""Checks of a fit for the terminal, and as files. Computes nothing."""

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from popk.report.terminal import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from popk.analysis.checking.checks import Checks
    from popk.analysis.verdict import Verdict

DRAWN = "%.6g"
"""Digits of what is only drawn."""
STYLES = {"passed": "green", "look here": "bold yellow", "failed": "bold red",
          "not possible": "dim"}  # fmt: skip


def verdicts(found: "Iterable[Verdict]", synthetic: bool = False) -> RenderableType:
    """One verdict a row, with what decided it."""
    table = Table(title="verdicts", title_justify="left", caption=SYNTHETIC if synthetic else None,
                  caption_justify="left", box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for column in ("", "check", "value", "passed if", "what was found", "figure"):
        table.add_column(column, overflow="fold")
    for own in found:
        value = "" if own.value != own.value else f"{own.value:.3g}"
        table.add_row(
            Text(own.outcome, STYLES[own.outcome]), Text(own.check), value, Text(own.threshold),
            Text(own.meaning), Text(own.figure),
        )  # fmt: skip
    return table


def summary(found: "Iterable[Verdict]") -> str:
    """How many checks ended how, in one line."""
    outcomes = [own.outcome for own in found]
    parts = [f"{outcomes.count(o)} {o}" for o in STYLES if outcomes.count(o)]
    return "checks: " + ", ".join(parts)


def kinds(table: "pd.DataFrame") -> RenderableType | None:
    """Kinds of variability side by side; None where they were not compared."""
    if table.empty:
        return None
    out = Table(title="variability between subjects, other things equal", title_justify="left",
                box=None, padding=(0, 2, 0, 0))  # fmt: skip
    omegas = [str(c) for c in table if str(c).startswith("omega_")]
    for column in ("", "elpd", "difference", "standard error", "Pareto k > 0.7", *omegas):
        out.add_column(column, justify="left" if not column else "right")
    for kind, row in table.to_dict("index").items():
        own = kind == table.attrs["own"]
        mark = " (the fit's)" if own else "" if row["converged"] else " (not converged)"
        out.add_row(
            f"{kind}{mark}", f"{row['elpd']:.1f}", "" if own else f"{row['difference']:+.1f}",
            "" if own else f"{row['error']:.1f}", f"{row['unreliable']:.0f}",
            *(f"{row[name]:.3f}" for name in omegas),
        )  # fmt: skip
    return out


def of_checks(checks: "Checks") -> dict[str, str]:
    """The tables as CSV, by file name."""
    note = "# SYNTHETIC DATA\n" if checks.synthetic else ""
    units = f"# time {checks.time_unit}, concentrations {checks.concentration_unit}\n"
    tables = {
        "verdicts": checks.table,
        "npde_bins": checks.npde.binned.set_index("axis"),
        "vpc": checks.vpc.table.set_index("bin") if len(checks.vpc.table) else checks.vpc.table,
        "pcvpc": checks.pcvpc.table.set_index("bin")
        if len(checks.pcvpc.table)
        else checks.pcvpc.table,
        "limits": checks.limits.table.set_index("side")
        if len(checks.limits.table)
        else checks.limits.table,
        "etas": checks.etas.values,
        "eta_tests": checks.etas.tests.set_index("parameter"),
        "outlying_subjects": checks.outliers.subjects,
        "outlying_points": checks.outliers.points.set_index("ID"),
        "variability": checks.variability,
        "prior_sensitivity": checks.sensitivity,
        "sampling_times": checks.information,
    }
    if checks.paper is not None:
        tables["sample_figures"] = checks.paper.table
    return {
        "observations.csv": of_observations(checks.observations, note + units),
        **{
            f"{name}.csv": note + units + table.to_csv()
            for name, table in tables.items()
            if not table.empty
        },
        **_drawn(checks, note + units),
    }


def of_observations(observations: "pd.DataFrame", head: str = "") -> str:
    """Observations with their predictions as CSV, under the lines of `head`."""
    return head + observations.set_index("ID").to_csv()


def _drawn(checks: "Checks", head: str) -> dict[str, str]:
    """What figures draw beside the tables: curves, points, replicated figures."""
    ids = [str(who) for who in checks.etas.values.index]
    tables = {"profiles": checks.profiles.set_index("ID")}
    for name, found in (("vpc_points", checks.vpc), ("pcvpc_points", checks.pcvpc)):
        who = [ids[i] for i in found.points["subject"]]
        tables[name] = found.points.drop(columns="subject").assign(ID=who).set_index("ID")
    files = {n: head + t.to_csv(float_format=DRAWN) for n, t in tables.items() if not t.empty}
    if checks.paper is not None:
        columns = checks.paper.replicates
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(f"{v:.4g}" for v in row) for row in rows)]
        files["sample_replicates"] = head + "\n".join([*lines, ""])
    return {f"{name}.csv": text for name, text in files.items()}
