"""Simulated regimens, doses for a target, one infant's dose."""

from typing import TYPE_CHECKING, Any

import altair as alt

from popk.report.charts.chart import (
    Chart,
    chart,
    kinds,
    layered,
    named,
    observed_rows,
    plain,
    rows,
    source,
    told,
)
from popk.report.charts.theme import colour
from popk.report.labels import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from popk.analysis.gathered import Gathered
    from popk.analysis.gathered_dosing import Patient

HOURS_A_DAY = 24.0
POINTS = 100
DASHES = [[1, 0], [6, 4], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2]]
SAMPLE, BEYOND = "sample", "sample beyond a limit"


def simulation(own: "Gathered") -> "Iterator[Chart]":
    """One chart a regimen: median, middle half and 90 % band over time; all medians together."""
    found = own.simulation
    if found is None:
        return
    unit = own.concentration_unit
    bands: Any = found.bands.assign(day=found.bands["TIME"] / HOURS_A_DAY)
    names = [str(name) for name in dict.fromkeys(bands["regimen"])]
    top = float(bands["q95"].max())
    for number, name in enumerate(names, start=1):
        own_bands = bands[bands["regimen"] == name]
        yield _regimen(own, own_bands, number, name, top)
    if len(names) > 1:
        yield _medians(own, bands, names, unit)


def _regimen(own: "Gathered", bands: "pd.DataFrame", number: int, name: str, top: float) -> Chart:
    unit = own.concentration_unit
    words = with_unit("concentration", unit)
    axis: Any = alt.Scale(domain=[0, plain(1.05 * top)])
    x: Any = alt.X("day:Q", title="time (day)")

    def field(low: str, high: str, opacity: float) -> Any:
        return source("bands").mark_area(color=colour("sky"), opacity=opacity, aria=False).encode(
            x=x, y=alt.Y(f"{low}:Q", title=words, scale=axis), y2=f"{high}:Q")  # fmt: skip

    layers = [
        field("q5", "q95", 0.35),
        field("q25", "q75", 0.7),
        source("bands").mark_line(color=colour("deep"), aria=False).encode(x=x, y="median:Q"),
        source("bands").mark_rule(opacity=0, strokeWidth=6, aria=False).encode(
            x=x, tooltip=[told("day", "time (day)"), told("median", with_unit("median", unit)),
                          told("q5", with_unit("5 %", unit)),
                          told("q95", with_unit("95 %", unit))]),
    ]  # fmt: skip
    return chart(
        f"simulation-{number}", "simulation", name,
        "Simulated concentrations: median, middle half and 90 % of subjects over time.",
        layered(layers, 220),
        {"bands": rows(bands, ["day", "q5", "q25", "median", "q75", "q95"])},
        synthetic=own.synthetic, narrow=True,
    )  # fmt: skip


def _medians(own: "Gathered", bands: "pd.DataFrame", names: list[str], unit: str) -> Chart:
    roles = [colour(("ink", "deep", "warm", "sky")[i % 4]) for i in range(len(names))]
    lines = source("bands").mark_line(aria=False).encode(
        x=alt.X("day:Q", title="time (day)"),
        y=alt.Y("median:Q", title=with_unit("median concentration", unit)),
        color=alt.Color("regimen:N", scale=alt.Scale(domain=names, range=roles),
                        legend=alt.Legend(title=None, columns=3)),
        strokeDash=alt.StrokeDash("regimen:N", scale=alt.Scale(
            domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))])),
        tooltip=[named("regimen", "regimen"), told("day", "time (day)"),
                 told("median", with_unit("median", unit))],
    )  # fmt: skip
    return chart(
        "simulation-medians", "simulation", "Median concentration by regimen",
        "The median of all subjects over time, one line a regimen.", layered([lines]),
        {"bands": rows(bands, ["regimen", "day", "median"])}, synthetic=own.synthetic,
    )  # fmt: skip


def target(own: "Gathered") -> "Iterator[Chart]":
    """Probability that Css lies in the window, by dose, one chart a basis."""
    found = own.target
    if found is None:
        return
    for number, basis in enumerate(dict.fromkeys(found.curves["basis"]), start=1):
        curves: Any = found.curves[found.curves["basis"] == basis]
        groups = [str(g) for g in dict.fromkeys(curves["group"])]
        # Some hundred points draw the same line as all four hundred
        each = max(1, len(curves) // len(groups) // POINTS)
        curves = curves[curves.groupby("group", sort=False, observed=True).cumcount() % each == 0]
        roles = [colour(("ink", "deep", "warm", "sky")[i % 4]) for i in range(len(groups))]
        words = with_unit("dose", str(basis))
        layers = [
            source("everyone").mark_area(color=colour("pale"), opacity=0.7, aria=False)
            .encode(x=alt.X("dose:Q", title=words), y="q5:Q", y2="q95:Q"),
            source("curves").mark_line(aria=False).encode(
                x=alt.X("dose:Q", title=words),
                y=alt.Y("probability:Q", title="probability", scale=alt.Scale(domain=[0, 1])),
                color=alt.Color("group:N", scale=alt.Scale(domain=groups, range=roles),
                                legend=alt.Legend(title=None, columns=2)),
                strokeDash=alt.StrokeDash("group:N", scale=alt.Scale(
                    domain=groups, range=[DASHES[i % len(DASHES)] for i in range(len(groups))])),
                tooltip=[named("group", "age"), told("dose", words, ".3~g"),
                         told("probability", "probability", ".3~f")]),
        ]  # fmt: skip
        yield chart(
            f"target-{number}", "simulation", f"Css in {found.window} by dose ({basis})",
            "Probability that Css lies in the window; field: 90 % interval for everyone. "
            "For research, not advice.",
            layered(layers, 220),
            {
                "everyone": rows(curves[curves["group"] == groups[0]], ["dose", "q5", "q95"]),
                "curves": rows(curves, ["group", "dose", "probability"]),
            },
            synthetic=own.synthetic, narrow=True,
        )  # fmt: skip


def patients(own: "Gathered") -> "Iterator[Chart]":
    """The course of each patient at its present regimen, with its samples."""
    for number, patient in enumerate(own.patients, start=1):
        yield _patient(own, patient, number)


def _patient(own: "Gathered", patient: "Patient", number: int) -> Chart:
    unit, time = patient.concentration_unit, with_unit("time", patient.time_unit)
    words = with_unit("concentration", unit)
    x: Any = alt.X("TIME:Q", title=time)

    def field(low: str, high: str, role: str) -> Any:
        return source("course").mark_area(color=colour(role), opacity=0.6, aria=False).encode(
            x=x, y=alt.Y(f"{low}:Q", title=words), y2=f"{high}:Q")  # fmt: skip

    layers = [
        field("measured_q5", "measured_q95", "pale"),
        field("q5", "q95", "sky"),
        source("course").mark_line(color=colour("deep"), aria=False).encode(x=x, y="median:Q"),
        source("course").mark_rule(opacity=0, strokeWidth=6, aria=False).encode(
            x=x, tooltip=[told("TIME", time), told("median", with_unit("median", unit)),
                          told("q5", with_unit("5 %", unit)),
                          told("q95", with_unit("95 %", unit))]),
        source("samples").mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y="DV:Q", **kinds(patient.samples, SAMPLE, BEYOND),
            tooltip=[told("TIME", time), told("DV", with_unit("DV", unit)), named("kind", "row")]),
    ]  # fmt: skip
    samples = []
    if patient.samples is not None:
        samples = observed_rows(patient.samples, ["TIME", "DV"])
        for row in samples:
            row["kind"] = SAMPLE if row["kind"] == "measured" else BEYOND
    return chart(
        f"dose-{number}", "dose", f"ID {patient.id}",
        "Concentration at the present regimen: median, 90 % band (blue) and 90 % of measured "
        "values (grey); points: samples. For research, not advice.",
        layered(layers, 260),
        {
            "course": rows(patient.course, ["TIME", "median", "q5", "q95", "measured_q5",
                                            "measured_q95"]),
            "samples": samples,
        },
        synthetic=own.synthetic,
    )  # fmt: skip
