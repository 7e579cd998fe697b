"""Figures of doses: how probable a target is by dose, and one infant's course."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    INK,
    PALE,
    SKY,
    WARM,
    canvas,
    plain,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.dosing.attainment import Attainment

LINES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
RESEARCH = "for research, not advice"


def of_attainment(found: "Attainment") -> dict[str, str]:
    """The figure as SVG, by file name."""
    return {"attainment.svg": svg(attainment(found))}


@styled
def attainment(found: "Attainment") -> Figure:
    """Probability of a Css in the window by dose: everyone with a band, and each age group."""
    bases = list(dict.fromkeys(found.curves["basis"]))
    low, high = found.window
    figure = canvas(
        min(3.4 * len(bases) + 0.4, DOUBLE), 3.4,
        f"probability that Css lies in {low:g} to {high:g} {found.unit}; {RESEARCH}",
        found.synthetic,
    )  # fmt: skip
    panels = figure.subplots(1, len(bases), squeeze=False, sharey=True)
    for axes, basis in zip(panels.flat, bases, strict=True):
        own = found.curves[found.curves["basis"] == basis]
        groups = list(dict.fromkeys(own["group"]))
        for i, group in enumerate(groups):
            curve = own[own["group"] == group]
            everyone = i == 0
            if everyone:
                axes.fill_between(
                    curve["dose"], curve["q5"], curve["q95"], color=PALE, linewidth=0, zorder=0
                )
            axes.plot(
                curve["dose"], curve["probability"], linestyle=LINES[i % len(LINES)],
                color=INK if everyone else (DEEP, WARM, SKY)[i % 3],
                linewidth=1.8 if everyone else 1.0,
                label=group if axes is panels[0, 0] else None,
            )  # fmt: skip
        best = found.best.loc[(basis, groups[0])]
        axes.axvline(float(best["dose"]), color=INK, linewidth=0.7, linestyle=":")
        axes.text(
            float(best["dose"]), 1.01, f"{float(best['dose']):.3g}", fontsize=8, ha="center",
            va="bottom",
        )  # fmt: skip
        plain(axes, with_unit("dose", basis), "")
        axes.set_ylim(0, 1)
        axes.set_xlim(0, float(np.quantile(own["dose"], 0.85)))
    panels[0, 0].set_ylabel("probability")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure
