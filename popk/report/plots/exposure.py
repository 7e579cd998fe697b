"""Each subject's CL and Css with their intervals, in order."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from popk.report.labels import short
from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    canvas,
    narrow,
    plain,
    styled,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.asked import Analyses

ROW, NAMED = 0.125, 60
"""Inches for a subject that has its name on the axis, and most subjects that have."""
HIGHEST = 8.6
SHOWN = {
    "CL_scaled": "CL", "CL": "CL", "Css_nominal": "Css at the nominal dose",
    "Css_actual": "Css at the own rate", "V_scaled": "V", "V": "V",
}  # fmt: skip
"""Columns of `popk.individuals` by preference; two that mean different things are shown."""


@styled
def exposure(own: "Analyses", width: float = DOUBLE) -> Figure:
    """CL and Css (V where there is none) of each subject: median and 90 % interval, by CL."""
    table: Any = own.individuals
    units: dict[str, str] = table.attrs["units"]
    columns = chosen(units)
    count = len(table)
    order = np.argsort(table[columns[0]].to_numpy(float))
    height = min(HIGHEST, 1.3 + ROW * max(count, 8))
    figure = canvas(width, height, "each subject: median and 90 % interval; line: median of all",
                    own.synthetic)  # fmt: skip
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    place = np.arange(count)
    for axes, name in zip(panels, columns, strict=True):
        middle, low, high = (
            table[c].to_numpy(float)[order] for c in (name, f"{name}_q5", f"{name}_q95")
        )
        axes.axvline(float(np.median(middle)), color=GREY, linewidth=0.8, linestyle="--")
        axes.hlines(place, low, high, color=DEEP, linewidth=1.0)
        axes.plot(middle, place, "o", color=INK, markersize=3)
        words = with_unit(SHOWN[name], units[name])
        if narrow(width):
            words = words.replace(" at ", "\nat ", 1).replace(" (", "\n(")
        plain(axes, words, "")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(left=0)
    names = [short(str(who)) for who in table.index[order]]
    if count <= NAMED:
        panels[0].set_yticks(place, names, fontsize=6.5, parse_math=False)
    else:
        panels[0].set_yticks([])
    panels[0].set_ylabel("subject (ID), by CL" if count <= NAMED else f"{count} subjects, by CL")
    panels[0].set_ylim(-0.8, count - 0.2)
    return figure


def chosen(units: "dict[str, str]") -> list[str]:
    """CL, scaled where it can be, and Css; V where there are no infusions."""
    cl = "CL_scaled" if "CL_scaled" in units else "CL"
    css = [name for name in ("Css_nominal", "Css_actual") if name in units]
    return [cl, css[0] if css else "V_scaled" if "V_scaled" in units else "V"]
