"""The figures of benchmarks.simulation as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    "competitor",
    "subjects",
    "first call, caches empty, s",
    "first call, caches filled, s",
    "second call, s",
    "million subjects x times per s",
    "seconds / popk float64's",
    "peak memory, GB",
)
WHAT = {
    "popk float64": "popk, whole call, float64",
    "popk float32": "popk, whole call, float32",
    "NumPy superposition": "NumPy, concentrations alone, superposition",
    "NumPy stepwise": "NumPy, concentrations alone, from one time to the next",
    "NumPy measured": "NumPy, superposition, residual error and AUC",
    "SciPy solve_ivp": "SciPy `solve_ivp` (LSODA)",
    "SciPy odeint": "SciPy `odeint`",
    "deSolve lsoda": "R's deSolve (`lsoda`)",
}
LEFT_OUT = """\
popk's whole call: infants by the WHO standards (sex, age, length, weight, BSA), a draw of the
posterior and etas for each, doses from BSA, concentrations, residual error, Css, exact AUC, t90,
quantiles over time of the first 20,000 infants, the table of all, summaries by age group. It uses
all cores; all others one. A first call compiles or loads its program; reading the fit is not timed,
but is part of the peak memory{loaded}.
NumPy is given CL, V and BSA and makes concentrations in chunks, each thrown away; infants,
population values, etas and tables are left out, and so is all else that its line does not name.
The ODE solvers make concentrations alone, subject by subject, right-hand sides in Python or R,
started anew at each change of rate, to 1e-8; measured on {few} subjects and **extrapolated**."""


def report(result: Mapping[str, Any]) -> str:
    """All tables, with what they were measured on."""
    rows = [row for own in result["regimens"].values() for row in own]
    loaded = max((row["loaded_MB"] for row in rows if "loaded_MB" in row), default=None)
    few = max((row["extrapolated_from"] for row in rows if "extrapolated_from" in row), default=0)
    deviations = result["deviations"]
    lines = [
        "# Simulation beside NumPy, SciPy and R's deSolve",
        "",
        f"`{result['command']}`, {result['machine']} (all cores do {result['cores_worth']} times "
        f"the work of one); {result['versions']}{_r(rows)}. Medians of {result['repeats']} runs "
        "(second calls of popk: of twice as many).",
        "",
        f"Concentrations of SYNTHETIC virtual infants at {result['times']} times over 28 days and "
        "the day after; the same CL, V and BSA for all.",
        "",
        LEFT_OUT.format(loaded=f" ({loaded / 1000:.2f} GB)" if loaded else "", few=few),
    ]
    for regimen, own in result["regimens"].items():
        lines += ["", f"## {regimen}", "", *_table(own, result["times"])]
    lines += [
        "",
        "## Agreement",
        "",
        "Largest deviation between concentrations, relative to the concentration, or to "
        f"{result['least_concentration']:g} pg/mL where it is lower:",
        "",
        "| | largest deviation |",
        "|---|---|",
        *(f"| {who} | {value:.1e} |" for who, value in deviations.items()),
    ]
    return "\n".join([*lines, ""])


def _table(rows: Sequence[Mapping[str, Any]], times: int) -> list[str]:
    own = {row["subjects"]: row["seconds"] for row in rows if row["who"] == "popk float64"}
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        name = WHAT[row["who"]]
        if "missing" in row:
            lines.append(f"| {name} | not measured: {row['missing']}" + " |" * (len(COLUMNS) - 1))
            continue
        few = row.get("extrapolated_from")
        cells = [
            name,
            f"{row['subjects']:,}" + (f" (extrapolated from {few})" if few else ""),
            *(f"{row[key]:.3g}" if key in row else "" for key in ("first_empty", "first_filled")),
            _seconds(row["seconds"]),
            f"{row['subjects'] * times / row['seconds'] / 1e6:.3g}",
            f"{row['seconds'] / own[row['subjects']]:.3g}",
            f"{row['peak_MB'] / 1000:.2f}" if "peak_MB" in row else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _r(rows: Sequence[Mapping[str, Any]]) -> str:
    found = {row["version"] for row in rows if "version" in row}
    return f", {', '.join(sorted(found))}" if found else ""
