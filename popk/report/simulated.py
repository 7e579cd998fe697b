"""A simulation, and doses for a target, for the terminal and as files. Computes nothing."""

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from popk.report.numbers import unit
from popk.report.terminal import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.dosing.attainment import Attainment
    from popk.analysis.simulation.simulation import Simulation

FOR_RESEARCH = "for research: this is no advice on the treatment of anyone"
SHOWN = ("Css", "AUC", "t90")


def simulation(found: "Simulation") -> list[RenderableType]:
    """Css, AUC and time to steady state by regimen and age group."""
    columns = [q for q in (*SHOWN, *_thresholds(found)) if _has(found, q)]
    table = _table(
        "regimen", "age", "n", title=f"{found.name}: simulated, values from the {found.of}"
    )
    for column in columns:
        own = unit(found.units[column])
        table.add_column(f"{column} ({own})\nmedian (90 % range)", justify="right")
    if "Css" in columns:
        table.add_column("Css\nmean ± SD", justify="right")
    for regimen, group in dict.fromkeys(key[:2] for key in found.summary.index):
        row = [_of(found.summary, regimen, group, q) for q in columns]
        cells = [_range(values) for values in row]
        if "Css" in columns:
            css = _of(found.summary, regimen, group, "Css")
            cells.append("" if css is None else f"{css['mean']:.0f} ± {css['sd']:.0f}")
        first = next((values for values in row if values is not None), None)
        count = "" if first is None else f"{first['n']:.0f}"
        table.add_row(escape(regimen), escape(group), count, *cells)
    on = ", ".join(name for name, value in found.switches.items() if value) or "nothing"
    return [
        *([SYNTHETIC] if found.synthetic else []),
        table,
        f"subjects: {found.about}; varied: {on}",
        "Css is rate/CL of the infusion that lasts longest; t90 the time to 90 % of a new steady "
        "state; AUC over the times of the output",
    ]


def of_simulation(found: "Simulation", *, subjects: bool) -> dict[str, str]:
    """The tables as CSV, by file name; the subjects only where they are wanted as text."""
    head = _note(found.synthetic) + f"# {found.about}; values from the {found.of}\n"
    units = ", ".join(f"{name} {unit}" for name, unit in found.units.items() if unit)
    files = {
        "summary.csv": head + found.summary.to_csv(),
        "bands.csv": f"{head}# TIME h, concentrations {found.units['Css']}; quantiles over "
        "subjects; measured: with residual error\n" + found.bands.to_csv(index=False),
    }
    if subjects:
        files["subjects.csv"] = f"{head}# {units}\n" + found.subjects.to_csv()
    return files


def attainment(found: "Attainment") -> list[RenderableType]:
    """The best dose on each basis and by age, and what the doses asked for do."""
    low, high = found.window
    window = f"Css of {low:g} to {high:g} {found.unit}"
    best = _table(
        "dose", "age", "best", "90 % interval", "probability", "90 % interval", "below", "above",
        title=f"{found.name}: the dose that most probably gives a {window}",
    )  # fmt: skip
    for (basis, group), row in _rows(found.best):
        best.add_row(
            unit(basis), escape(group), f"{row['dose']:.3g}",
            f"{row['dose_q5']:.3g} to {row['dose_q95']:.3g}", f"{row['probability']:.2f}",
            f"{row['probability_q5']:.2f} to {row['probability_q95']:.2f}",
            f"{row['below']:.2f}", f"{row['above']:.2f}",
        )  # fmt: skip
    parts: list[RenderableType] = [*([SYNTHETIC] if found.synthetic else []), best]
    if len(found.asked):
        asked = _table("dose", "age", "probability", "90 % interval", "below", "above",
                       title=f"probability of a {window}")  # fmt: skip
        for (dose, group), row in _rows(found.asked):
            asked.add_row(
                unit(dose), escape(group), f"{row['probability']:.2f}",
                f"{row['q5']:.2f} to {row['q95']:.2f}", f"{row['below']:.2f}",
                f"{row['above']:.2f}",
            )  # fmt: skip
        parts += ["", asked]
    return [
        *parts,
        f"subjects: {found.about}; intervals: what is not known of the population's parameters",
        FOR_RESEARCH,
    ]


def of_attainment(found: "Attainment") -> dict[str, str]:
    """The tables as CSV, by file name."""
    head = (
        _note(found.synthetic) + f"# {FOR_RESEARCH}\n# Css {found.window[0]:g} to "
        f"{found.window[1]:g} {found.unit}; {found.about}\n"
    )
    return {
        "best.csv": head + found.best.to_csv(),
        "asked.csv": head + found.asked.to_csv(),
        "curves.csv": head + found.curves.to_csv(index=False),
    }


def _thresholds(found: "Simulation") -> list[str]:
    return [name for name in found.units if name.startswith(("above ", "below "))]


def _has(found: "Simulation", quantity: str) -> bool:
    return quantity in found.summary.index.get_level_values("quantity")


def _of(table: "pd.DataFrame", *key: str) -> dict[str, Any] | None:
    found: Any = table.loc[key] if key in table.index else None
    return None if found is None else found.to_dict()


def _rows(table: "pd.DataFrame") -> list[tuple[Any, dict[str, Any]]]:
    return list(table.to_dict("index").items())


def _range(values: dict[str, Any] | None) -> str:
    if values is None:
        return ""
    middle, low, high = (_number(values[name]) for name in ("median", "q5", "q95"))
    return f"{middle} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _note(synthetic: bool) -> str:
    return "# SYNTHETIC DATA behind the model's estimates\n" if synthetic else ""


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 else "right")
    return table
