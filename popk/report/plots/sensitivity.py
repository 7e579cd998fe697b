"""Figures of prior sensitivity and of sampling times."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from popk.report.plots.style import SYNTHETIC, svg

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

KINDS: tuple[tuple[str, str, str, str, str, str, Any, float], ...] = (
    ("prior", "prior_median", "prior_q5", "prior_q95", "s", "white", (0, (4, 2)), 0.26),
    ("data alone", "data", "data_q5", "data_q95", "^", "0.6", (0, (1, 1)), 0.0),
    ("posterior", "median", "q5", "q95", "o", "black", "-", -0.26),
)
"""Word, columns, marker, its filling, line style, place above the middle of the row."""
STYLES = (("C0", "o", "-"), ("C1", "s", "--"), ("C2", "^", ":"), ("C3", "D", "-."))
REACH = 1.6
"""How far the axis goes, in half widths of the prior's interval; beyond stands an arrow."""


def of_sensitivity(table: "pd.DataFrame", synthetic: bool = False) -> Figure:
    """Prior, data and posterior of each parameter, with the sensitivities in figures.

    The 90 % intervals are drawn in units of the prior's: its 5 % and 95 % quantiles are at -1 and 1
    (of a parameter that cannot be negative, on the log scale), so that all share one axis.

    Parameters
    ----------
    table
        From `popk.analysis.priors.sensitivity.sensitivity`.
    """
    figure = Figure(figsize=(9.0, 1.9 + 0.62 * len(table)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(-1.0, 1.0, color="0.94", zorder=0)
    rows: dict[str, Row] = table.to_dict("index")  # pyright: ignore[reportAssignmentType]
    for place, row in enumerate(rows.values()):
        for _, middle, low, high, marker, filling, line, above in KINDS:
            ends = [_placed(row, row[column]) for column in (low, middle, high)]
            if not all(end == end for end in ends):
                continue
            y = -place + above
            shown = [max(-REACH, min(REACH, end)) for end in ends]
            axes.plot([shown[0], shown[2]], [y, y], color="black", linestyle=line, linewidth=1.4)
            if abs(ends[1]) <= REACH:
                axes.plot(ends[1], y, marker, color="black", markerfacecolor=filling, markersize=6)
            else:
                arrow = "<" if ends[1] < 0 else ">"
                axes.plot(shown[1], y, arrow, color="black", markerfacecolor=filling, markersize=8)
        said = f"prior {row['prior']:.2f}   likelihood {row['likelihood']:.2f}"
        if row["conflict_p"] == row["conflict_p"]:
            said += f"   p {_p(row['conflict_p'])}"
        if row["diagnosis"]:
            said += f"\n{row['diagnosis']}"
        axes.annotate(
            said, (1.02, -place), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    axes.set_yticks(
        [-float(i) for i in range(len(table))], [_label(row, name) for name, row in rows.items()]
    )
    axes.set_ylim(-len(table) + 0.4, 0.6)
    axes.set_xlim(-REACH * 1.04, REACH * 1.04)
    axes.set_xticks([-1.0, 0.0, 1.0], ["prior\n5 %", "middle of the\nprior's 90 %", "prior\n95 %"])
    handles = [
        Line2D([], [], color="black", marker=m, markerfacecolor=f, linestyle=s, label=word)
        for word, *_, m, f, s, _ in KINDS
    ]
    figure.legend(
        handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False,
        handlelength=3.5,
    )  # fmt: skip
    if synthetic:
        axes.set_title(SYNTHETIC, loc="left", fontsize=9)
    axes.set_xlabel("90 % intervals, in units of the prior's")
    axes.annotate(
        "sensitivity to prior and\nlikelihood; p of their conflict",
        (1.02, 0.0), xycoords="axes fraction", xytext=(0, -8), textcoords="offset points",
        va="top", fontsize=8, color="0.3",
    )  # fmt: skip
    return figure


def of_information(table: "pd.DataFrame", time_unit: str, synthetic: bool = False) -> Figure:
    """Expected SD of each log typical value after one more sample of everyone, by its time.

    Parameters
    ----------
    table
        From `popk.analysis.priors.information.information`.
    time_unit
        Of its times.
    """
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    names = [column.removeprefix("sd_") for column in table if str(column).startswith("sd_")]
    last = "the end of the infusion" if table.attrs.get("infusion", True) else "the last dose"
    grid = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(1, 2))
    for column, (reference, words) in enumerate((("start", "the start of dosing"), ("end", last))):
        rows = table[table["reference"] == reference]
        # The plateau has no shape to show: the axis ends where the other one does
        rows = rows[rows["time"] <= table.loc[table["reference"] == "end", "time"].max() * 1.001]
        above, below = grid[0, column], grid[1, column]
        above.plot(rows["time"], rows["concentration"], color="black", linewidth=1.2)
        for name, (colour, marker, line) in zip(names, STYLES, strict=False):
            below.plot(
                rows["time"], rows[f"sd_{name}"], color=colour, linestyle=line, marker=marker,
                markevery=max(1, len(rows) // 12), markersize=4, label=f"log TV{name}",
            )  # fmt: skip
            below.axhline(table.attrs["sd"][name], color=colour, linestyle=line, linewidth=0.6)
        below.set_xlabel(f"time after {words} ({time_unit})")
        below.set_ylim(bottom=0.0)
    unit = table.attrs.get("concentration_unit", "")
    grid[0, 0].set_ylabel(f"typical C\n({unit})" if unit else "typical C")
    grid[1, 0].set_ylabel("expected posterior SD\n(log scale)")
    grid[1, 1].legend(fontsize=8, frameon=False)
    title = "One more sample of each subject (thin lines: without it)"
    figure.suptitle(f"{SYNTHETIC}: {title}" if synthetic else title, fontsize=9)
    return figure


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
