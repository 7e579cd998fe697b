"""Figures of a simulation: bands over time, regimens side by side, Css by age group."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    SKY,
    WARM,
    canvas,
    plain,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.simulation.simulation import Simulation

HATCHES = ("", "//", "..", "xx", "\\\\", "++")
LINES = ("-", "--", "-.", ":")
COLOURS = (DEEP, WARM, INK, SKY)
COLUMNS = 3
HOURS_A_DAY = 24.0


def of_simulation(found: "Simulation") -> dict[str, str]:
    """The figures as SVG, by file name."""
    figures = {
        "profiles": profiles(found),
        "medians": medians(found),
        "css_by_age": css_by_age(found),
        "exposure": exposure(found),
    }
    return {f"{name}.svg": svg(figure) for name, figure in figures.items() if figure is not None}


@styled
def profiles(found: "Simulation") -> Figure:
    """Median, middle half and 90 % band of the concentration over time, a panel for a regimen."""
    names = _regimens(found)
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = canvas(
        DOUBLE, 0.9 + 2.3 * rows,
        f"concentration: median, 50 % and 90 % bands; {_varied(found)}", found.synthetic,
    )  # fmt: skip
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, name in zip(panels.flat, names, strict=False):
        own = found.bands[found.bands["regimen"] == name]
        day = np.asarray(own["TIME"], float) / HOURS_A_DAY
        axes.fill_between(day, own["q5"], own["q95"], color=SKY, alpha=0.35, linewidth=0)
        axes.fill_between(day, own["q25"], own["q75"], color=SKY, alpha=0.8, linewidth=0)
        axes.plot(day, own["median"], color=DEEP, linewidth=1.3)
        if "measured_q5" in own:
            for edge in ("measured_q5", "measured_q95"):
                axes.plot(day, own[edge], color=GREY, linewidth=0.8, linestyle=":")
        axes.set_title(name, parse_math=False)
        axes.set_ylim(bottom=0)
        plain(axes, "", "").tick_params(labelbottom=True)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel(
        "time (day)"
        + ("; dotted: 90 % of measured values" if "measured_q5" in found.bands else ""),
        fontsize=8,
    )
    figure.supylabel(with_unit("concentration", found.units["Css"]), fontsize=8)
    return figure


@styled
def medians(found: "Simulation") -> Figure | None:
    """The medians of all regimens in one picture; None of a single regimen."""
    names = _regimens(found)
    if len(names) < 2:
        return None
    figure = canvas(DOUBLE, 3.3, "median concentration by regimen", found.synthetic)
    axes = plain(figure.subplots(), "time (day)", with_unit("concentration", found.units["Css"]))
    for i, name in enumerate(names):
        own = found.bands[found.bands["regimen"] == name]
        axes.plot(
            np.asarray(own["TIME"], float) / HOURS_A_DAY, own["median"], label=name,
            color=COLOURS[i % len(COLOURS)], linestyle=LINES[i % len(LINES)], linewidth=1.3,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=min(len(names), 4), fontsize=8, frameon=False)
    return figure


@styled
def css_by_age(found: "Simulation") -> Figure | None:
    """Css by age group and regimen: median, middle half and 90 % range; None without Css."""
    if "Css" not in found.summary.index.get_level_values("quantity"):
        return None
    own = found.subjects
    groups = _groups(own)
    names = [name for name in _regimens(found) if own.loc[name, "Css"].notna().any()]
    figure = canvas(
        DOUBLE, 3.3,
        "Css by age: median, middle half, 90 % range", found.synthetic,
    )  # fmt: skip
    axes = plain(figure.subplots(), "age", with_unit("Css", found.units["Css"]))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        part = own.loc[name]
        places = np.arange(len(groups)) + (i - (len(names) - 1) / 2) * width
        for place, group in zip(places, groups, strict=True):
            values = np.asarray(part["Css"], float)
            chosen = values[_of_group(part, group)]
            if not len(chosen):
                continue
            low, first, middle, third, high = np.quantile(chosen, [0.05, 0.25, 0.5, 0.75, 0.95])
            axes.plot([place, place], [low, high], color=INK, linewidth=0.9, zorder=1)
            axes.bar(
                place, third - first, 0.8 * width, first, facecolor=SKY if i % 2 == 0 else "0.8",
                edgecolor=INK, linewidth=0.7, hatch=HATCHES[i % len(HATCHES)], zorder=2,
                label=name if group == groups[0] else None,
            )  # fmt: skip
            axes.plot(
                [place - 0.4 * width, place + 0.4 * width], [middle, middle], color=INK,
                linewidth=1.8, zorder=3,
            )  # fmt: skip
    axes.set_xticks(np.arange(len(groups)), [g.replace(" to ", "-") for g in groups], fontsize=8)
    axes.set_ylim(bottom=0)
    if len(names) > 1:
        figure.legend(loc="outside lower center", ncols=min(len(names), 4), fontsize=8,
                      frameon=False)  # fmt: skip
    return figure


@styled
def exposure(found: "Simulation") -> Figure | None:
    """AUC and time above or below each threshold, by regimen; None of a single regimen."""
    names = _regimens(found)
    if len(names) < 2:
        return None
    quantities = ["AUC", *(q for q in found.units if str(q).startswith(("above ", "below ")))]
    table = found.summary.xs("all", level="group")
    figure = canvas(
        DOUBLE, 1.1 + 0.3 * len(names),
        "exposure by regimen: median and 90 % range", found.synthetic,
    )  # fmt: skip
    panels = figure.subplots(1, len(quantities), squeeze=False, sharey=True)
    for axes, quantity in zip(panels.flat, quantities, strict=True):
        for i, name in enumerate(names):
            if (name, quantity) not in table.index:
                continue
            low, middle, high = (float(table.loc[(name, quantity), q]) for q in
                                 ("q5", "median", "q95"))  # fmt: skip
            axes.plot([low, high], [i, i], color=DEEP, linewidth=1.6)
            axes.plot(middle, i, "o", color=INK, markersize=5)
        plain(axes, with_unit(quantity, found.units[quantity]), "")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _regimens(found: "Simulation") -> list[str]:
    return [str(name) for name in dict.fromkeys(found.bands["regimen"])]


def _groups(table: "pd.DataFrame") -> list[str]:
    """Age groups that anyone is in, youngest first; everyone where there is no age."""
    present = set(map(str, table["group"].unique()))
    dtype = table["group"].dtype
    ordered = [str(name) for name in getattr(dtype, "categories", present)]
    return [name for name in ordered if name in present]


def _of_group(table: "pd.DataFrame", group: str) -> np.ndarray:
    return table["group"].astype(str).to_numpy() == group


def _varied(found: "Simulation") -> str:
    words = {
        "uncertainty": "uncertain parameters", "variability": "variability between subjects",
        "residual": "residual error",
    }  # fmt: skip
    on = [text for name, text in words.items() if found.switches[name]]
    return "with " + ", ".join(on) if on else "typical subjects"
