"""Figure of one infant's dose: its course at the present regimen, and Css by rate."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.report.plots.dosing import RESEARCH
from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    PALE,
    SKY,
    WARM,
    canvas,
    plain,
    points,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.dosing.patient import PatientDose

POINTS = 200


def of_patient(found: "PatientDose") -> dict[str, str]:
    """The figure as SVG, by file name."""
    return {"dose.svg": svg(patient(found))}


@styled
def patient(found: "PatientDose") -> Figure:
    """Left the course with its samples, right Css by rate with the target, if there is any."""
    panels = 2 if found.present is not None else 1
    heading = f"ID {found.id}; {RESEARCH}"
    figure = canvas(DOUBLE if panels == 2 else 4.8, 3.5, heading, found.synthetic)
    left, *right = figure.subplots(1, panels, squeeze=False)[0]
    _course(left, found)
    for axes in right:
        _rates(axes, found)
    figure.legend(loc="outside lower center", ncols=4, fontsize=7.5, frameon=False)
    return figure


def _course(axes: Axes, found: "PatientDose") -> None:
    table, units = found.course, found.course.attrs["units"]
    time = np.asarray(table["TIME"], float)
    axes.fill_between(time, table["measured_q5"], table["measured_q95"], color=PALE, linewidth=0,
                      label="90 % of measured values")  # fmt: skip
    axes.fill_between(time, table["q5"], table["q95"], color=SKY, alpha=0.7, linewidth=0,
                      label="concentration, 90 %")  # fmt: skip
    axes.plot(time, table["median"], color=DEEP, linewidth=1.3, label="median")
    if len(found.samples):
        points(
            axes, found.samples["TIME"], found.samples["DV"], found.samples["censored"], size=26,
            colour=INK, labels=("sample", "sample beyond a limit"),
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    plain(
        axes, with_unit("time", units["TIME"]), with_unit("concentration", units["concentration"])
    )


def _rates(axes: Axes, found: "PatientDose") -> None:
    present = found.present
    assert present is not None
    per = np.quantile(np.asarray(found.draws["Css"]) / present.value, [0.05, 0.5, 0.95])
    most = 2.0 * max(present.value, 0.0 if found.recommended is None else found.recommended.value)
    rate = np.linspace(0.0, most, POINTS)
    axes.fill_between(rate, per[0] * rate, per[2] * rate, color=SKY, alpha=0.7, linewidth=0)
    axes.plot(rate, per[1] * rate, color=DEEP, linewidth=1.3)
    axes.axvline(present.value, color=GREY, linewidth=1.0, linestyle="--", label="present rate")
    if found.goal is not None:
        if found.goal.window is not None:
            axes.axhspan(*found.goal.window, facecolor="none", edgecolor=WARM, hatch="//",
                         linewidth=0.8, alpha=0.5, label="target")  # fmt: skip
        else:
            axes.axhline(found.goal.middle, color=WARM, linewidth=1.0, linestyle=":",
                         label="target")  # fmt: skip
    if found.recommended is not None:
        axes.axvline(found.recommended.value, color=INK, linewidth=1.2, label="rate for the target")
    axes.set_xlim(0, most)
    axes.set_ylim(bottom=0)
    plain(axes, with_unit("rate", present.unit), with_unit("Css", found.units["Css"]))
