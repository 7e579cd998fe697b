"""Figures of prior sensitivity and of sampling times."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from popk.report.plots.style import (
    COLOURS,
    DOUBLE,
    GREY,
    INK,
    LINES,
    MARKERS,
    beneath,
    canvas,
    narrow,
    plain,
    styled,
    svg,
)

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

KINDS: tuple[tuple[str, str, str, str, str, str, Any, float], ...] = (
    ("prior", "prior_median", "prior_q5", "prior_q95", "s", "white", (0, (4, 2)), 0.26),
    ("data alone", "data", "data_q5", "data_q95", "^", "0.6", (0, (1, 1)), 0.0),
    ("posterior", "median", "q5", "q95", "o", "black", "-", -0.26),
)
"""Word, columns, marker, its filling, line style, place above the middle of the row."""
REACH = 1.6
"""How far the axis goes, in half widths of the prior's interval; beyond stands an arrow."""


@styled
def of_sensitivity(table: "pd.DataFrame", synthetic: bool = False, width: float = DOUBLE) -> Figure:
    """Prior, data and posterior of each parameter, with the sensitivities in figures.

    The 90 % intervals are drawn in units of the prior's: its 5 % and 95 % quantiles are at -1 and 1
    (of a parameter that cannot be negative, on the log scale), so that all share one axis.

    Parameters
    ----------
    table
        From `popk.analysis.priors.sensitivity.sensitivity`.
    """
    small = narrow(width)
    figure = canvas(width, 1.6 + (0.62 if small else 0.5) * len(table),
                    "prior, data and posterior: 90 % intervals", synthetic)  # fmt: skip
    axes = plain(figure.add_subplot(), "", "")
    axes.axvspan(-1.0, 1.0, color="0.94", zorder=0)
    rows: dict[str, Row] = table.to_dict("index")  # pyright: ignore[reportAssignmentType]
    for place, row in enumerate(rows.values()):
        for _, middle, low, high, marker, filling, line, above in KINDS:
            ends = [_placed(row, row[column]) for column in (low, middle, high)]
            if not all(end == end for end in ends):
                continue
            y = -place + above
            shown = [max(-REACH, min(REACH, end)) for end in ends]
            axes.plot([shown[0], shown[2]], [y, y], color="black", linestyle=line, linewidth=1.2)
            if abs(ends[1]) <= REACH:
                axes.plot(ends[1], y, marker, color="black", markerfacecolor=filling, markersize=5)
            else:
                arrow = "<" if ends[1] < 0 else ">"
                axes.plot(shown[1], y, arrow, color="black", markerfacecolor=filling, markersize=7)
        p = f"{_p(row['conflict_p'])}" if row["conflict_p"] == row["conflict_p"] else "-"
        said = f"{row['prior']:.2f}   {row['likelihood']:.2f}   {p}"
        if row["diagnosis"]:
            said += f"\n{row['diagnosis']}"
        axes.annotate(
            said, (1.02, -place), xycoords=("axes fraction", "data"), va="center", fontsize=7
        )
    axes.set_yticks(
        [-float(i) for i in range(len(table))], [_label(row, name) for name, row in rows.items()]
    )
    axes.set_ylim(-len(table) + 0.4, 0.6)
    axes.set_xlim(-REACH * 1.04, REACH * 1.04)
    if small:
        axes.set_xticks([-1.0, 1.0], ["5 %", "95 %"])
    else:
        words = ["prior\n5 %", "middle of the\nprior's 90 %", "prior\n95 %"]
        axes.set_xticks([-1.0, 0.0, 1.0], words)
    handles = [
        Line2D([], [], color="black", marker=m, markerfacecolor=f, linestyle=s, label=word)
        for word, *_, m, f, s, _ in KINDS
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=7, frameon=False,
        handlelength=3.5,
    )  # fmt: skip
    axes.set_xlabel("of the prior" if small else "in units of the prior's 90 % interval")
    axes.annotate(
        "sensitivity to\nprior, likelihood;\np of their conflict",
        (1.02, 0.0), xycoords="axes fraction", xytext=(0, -4), textcoords="offset points",
        va="top", fontsize=7, color="0.3",
    )  # fmt: skip
    return figure


@styled
def of_information(
    table: "pd.DataFrame", time_unit: str, synthetic: bool = False, width: float = DOUBLE
) -> Figure:
    """Expected SD of each log typical value after one more sample of everyone, by its time.

    Parameters
    ----------
    table
        From `popk.analysis.priors.information.information`.
    time_unit
        Of its times.
    """
    title = "one more sample of each subject; thin lines: without it"
    figure = canvas(width, 3.8, title, synthetic)
    names = [column.removeprefix("sd_") for column in table if str(column).startswith("sd_")]
    last = "the end of the infusion" if table.attrs.get("infusion", True) else "the last dose"
    grid = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(1, 2))
    for column, (reference, words) in enumerate((("start", "the start of dosing"), ("end", last))):
        rows = table[table["reference"] == reference]
        # The plateau has no shape to show: the axis ends where the other one does
        rows = rows[rows["time"] <= table.loc[table["reference"] == "end", "time"].max() * 1.001]
        above, below = grid[0, column], grid[1, column]
        above.plot(rows["time"], rows["concentration"], color="black", linewidth=1.2)
        for i, name in enumerate(names):
            colour, marker, line = COLOURS[(i + 1) % 4], MARKERS[i % 8], LINES[i % 8]
            below.plot(
                rows["time"], rows[f"sd_{name}"], color=colour, linestyle=line, marker=marker,
                markevery=max(1, len(rows) // 12), markersize=3.5, label=f"log TV{name}",
            )  # fmt: skip
            below.axhline(table.attrs["sd"][name], color=colour, linestyle=line, linewidth=0.6)
        plain(above, "", "")
        plain(below, f"time after {words} ({time_unit})", "")
        below.set_ylim(bottom=0.0)
        above.set_ylim(bottom=0.0)
    unit = table.attrs.get("concentration_unit", "")
    grid[0, 0].set_ylabel(f"typical C\n({unit})" if unit else "typical C")
    grid[1, 0].set_ylabel("expected posterior SD\n(log scale)")
    if narrow(width):
        grid[1, 0].set_xlabel(f"after the start ({time_unit})")
        grid[1, 1].set_xlabel(f"after the end ({time_unit})")
    beneath(figure, axes=grid[1, 0])
    return figure


@styled
def of_densities(table: "pd.DataFrame", synthetic: bool = False, width: float = DOUBLE) -> Figure:
    """Prior (dashed) and posterior (filled) density of each population parameter.

    Parameters
    ----------
    table
        From `popk.analysis.priors.densities.densities`.
    """
    names = list(dict.fromkeys(table["parameter"]))
    across = min(len(names), 2 if narrow(width) else 4)
    down = -(-len(names) // across)
    figure = canvas(width, 0.9 + 1.4 * down, "prior and posterior", synthetic)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, names, strict=False):
        own: Any = table[table["parameter"] == name]
        value, posterior = own["value"].to_numpy(float), own["posterior"].to_numpy(float)
        axes.fill_between(value, 0.0, posterior, color="0.8", linewidth=0)
        axes.plot(value, posterior, color=INK, linewidth=1.2, label="posterior")
        axes.plot(value, own["prior"], color=GREY, linewidth=1.2, linestyle="--", label="prior")
        plain(axes, _with_unit(name, str(own["unit"].iloc[0])), "")
        axes.set_yticks([])
        # A prior with a peak at zero would flatten everything else
        axes.set_ylim(0.0, 1.15 * float(max(posterior.max(), 1e-300)))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_ylabel("density")
    beneath(figure)
    return figure


def _with_unit(name: str, unit: str) -> str:
    return f"{name}\n({unit})" if unit else name


def to_files(
    sensitivity: "pd.DataFrame", information: "pd.DataFrame", time_unit: str, synthetic: bool
) -> dict[str, str]:
    """Both figures, as files."""
    return {
        "prior_sensitivity.svg": svg(of_sensitivity(sensitivity, synthetic)),
        "sampling_times.svg": svg(of_information(information, time_unit, synthetic)),
    }


def _label(row: Row, name: str) -> str:
    return f"{name}\n{row['median']:.2g} ({row['q5']:.2g} to {row['q95']:.2g})"


def _placed(row: Row, value: float) -> float:
    """Where a value stands with the prior's 5 % and 95 % quantiles at -1 and 1."""
    low, high = row["prior_q5"], row["prior_q95"]
    if low > 0:
        if not value > 0:
            return float("nan")
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (2.0 * value - low - high) / (high - low)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
