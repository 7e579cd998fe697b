"""One infant's dose for the terminal and as files. Computes nothing."""

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from popk.report.numbers import unit
from popk.report.simulated import FOR_RESEARCH
from popk.report.terminal import SYNTHETIC

if TYPE_CHECKING:
    from popk.analysis.dosing.patient import PatientDose

WORDS = {
    "CL": "CL",
    "CL_scaled": "CL, scaled",
    "V": "V",
    "V_scaled": "V, scaled",
    "half_life": "half-life",
    "Css_present": "Css at the present rate",
    "rate_for_target": "rate for the target",
    "rate_for_target_absolute": "... as the pump runs",
    "rate_recommended": "rate that most probably reaches it",
    "rate_recommended_absolute": "... as the pump runs",
    "Css_recommended": "Css at that rate",
}


def patient(found: "PatientDose") -> list[RenderableType]:
    """What is known of the patient, quantity by quantity, and how it was found."""
    table = Table(
        title=f"ID {escape(found.id)}, with what {escape(found.name)} knows of others",
        title_justify="left", box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for i, column in enumerate(("", "unit", "median", "90 % interval", "P(Css in the window)")):
        table.add_column(column, justify="left" if i < 2 else "right")
    for name, row in found.summary.to_dict("index").items():
        certain = row["q5"] == row["q95"]
        inside = row["probability"]
        table.add_row(
            WORDS.get(str(name), str(name)), unit(str(row["unit"])), f"{row['median']:.4g}",
            "" if certain else f"{row['q5']:.4g} to {row['q95']:.4g}",
            "" if inside != inside else f"{inside:.2f}",
        )  # fmt: skip
    return [*([SYNTHETIC] if found.synthetic else []), table, *_how(found), FOR_RESEARCH]


def _how(found: "PatientDose") -> list[str]:
    lines = []
    if found.goal is not None and found.goal.window is not None:
        low, high = found.goal.window
        lines.append(f"target: Css of {low:g} to {high:g} {found.units['Css']}")
    elif found.goal is not None:
        lines.append(f"target: Css of {found.goal.middle:g} {found.units['Css']}")
    if found.present is not None:
        present = found.present
        lines.append(
            f"present rate: {present.value:.4g} {unit(present.unit)} "
            f"({present.absolute:.4g} {unit(present.absolute_unit)})"
        )
    return [*lines, how(found)]


def how(found: "PatientDose") -> str:
    """By which method, and how far it may be relied on."""
    own = found.posterior
    match own.method:
        case "importance":
            return (
                f"by importance resampling of the fit's draws: Pareto k {own.k:.2f} (below 0.7: "
                f"reliable), {own.ess:.0f} effective draws"
            )
        case "refit":
            return f"by a fit of everyone's data with this patient's: {own.why}"
        case "population":
            return f"from the population alone: {own.why}"


def of_patient(found: "PatientDose") -> dict[str, str]:
    """The tables as CSV, by file name."""
    head = ("# SYNTHETIC DATA behind the model's estimates\n" if found.synthetic else "") + (
        f"# {FOR_RESEARCH}\n" + "".join(f"# {line}\n" for line in _how(found))
    )
    units = found.course.attrs["units"]
    told = f"{head}# TIME {units['TIME']}, concentrations {units['concentration']}\n"
    return {
        "summary.csv": f"{head}# ID {' '.join(found.id.split())}\n" + found.summary.to_csv(),
        "course.csv": told + found.course.to_csv(index=False),
        "samples.csv": told + found.samples.to_csv(index=False),
    }


def record(found: "PatientDose", summary: dict[str, Any]) -> dict[str, Any]:
    """For JSON; `summary` is the table as rows by name."""
    return {
        "id": found.id,
        "fit": found.name,
        "synthetic": found.synthetic,
        "note": FOR_RESEARCH,
        "method": found.posterior.method,
        "why": found.posterior.why,
        "pareto_k": found.posterior.k,
        "effective_draws": found.posterior.ess,
        "target": None if found.goal is None else found.goal._asdict(),
        "present_rate": None if found.present is None else found.present._asdict(),
        "recommended_rate": None if found.recommended is None else found.recommended._asdict(),
        "summary": summary,
    }
