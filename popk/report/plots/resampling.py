"""Figures of a bootstrap, and of what becomes of a fit without each subject."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from popk.report.labels import short
from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    PALE,
    WARM,
    beneath,
    canvas,
    plain,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.resampling.bootstrap import Bootstrap
    from popk.analysis.resampling.influence import Influence

ACROSS, PANEL = 3, 1.65
"""Panels beside each other, and height of one in inches."""
BINS = 30
NAMED = 40
"""Most subjects that have their names on the axis."""
BOUND = 0.5
"""Shift in SDs from which a subject is named (see `popk.analysis.resampling.refit_verdicts`)."""


def of_bootstrap(found: "Bootstrap") -> dict[str, str]:
    """The figure as SVG, by file name."""
    return {f"{found.kind}.svg": svg(bootstrap(found))}


def of_influence(found: "Influence") -> dict[str, str]:
    """The figure as SVG, by file name."""
    return {"influence.svg": svg(influence(found))}


@styled
def bootstrap(found: "Bootstrap", width: float = DOUBLE) -> Figure:
    """By parameter: estimates of all replicates, what the fit says, and both 90 % intervals."""
    rows: dict[str, dict[str, Any]] = found.parameters.to_dict("index")  # pyright: ignore[reportAssignmentType]
    across = min(ACROSS, len(rows))
    down = -(-len(rows) // across)
    simulated = "; simulated data sets" if found.kind == "parametric" else ""
    title = f"{found.kind} bootstrap, {len(found.replicates)} replicates{simulated}; bars: 90 %"
    figure = canvas(width, 0.75 + PANEL * down, title, found.synthetic)
    panels = figure.subplots(down, across, squeeze=False)
    own = "normal, by the Hessian" if found.maximum else "posterior"
    for axes, (name, row) in zip(panels.flat, rows.items(), strict=False):
        estimates = found.replicates[name].to_numpy(float)
        _panel(axes, estimates, found.draws[name].to_numpy(float), row, own)
        plain(axes, with_unit(name, str(row["unit"])), "")
    for axes in panels.flat[len(rows) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("density")
    beneath(figure)
    return figure


def _panel(
    axes: Axes, estimates: np.ndarray, draws: np.ndarray, row: dict[str, Any], own: str
) -> None:
    estimates = estimates[np.isfinite(estimates)]
    # A long tail would leave the rest no room; what lies beyond is in the tables
    both = np.concatenate([estimates, draws])
    low, high = np.quantile(both, [0.003, 0.997])
    edges = np.linspace(low, high, BINS + 1)
    heights = []
    for values, style in (
        (estimates, {"color": PALE, "edgecolor": GREY, "linewidth": 0.4, "label": "bootstrap"}),
        (draws, {"histtype": "step", "color": DEEP, "linewidth": 1.2, "label": own}),
    ):
        height, _, _ = axes.hist(values, bins=edges, density=True, **style)
        heights.append(float(np.max(height)))
    top = max(heights)
    axes.axvline(row["estimate"], ymax=1 / 1.35, color=INK, linewidth=0.9, linestyle="--",
                 label="estimate of the fit")  # fmt: skip
    axes.hlines(1.22 * top, row["q5"], row["q95"], color=GREY, linewidth=2.2)
    axes.hlines(1.12 * top, row["fit_q5"], row["fit_q95"], color=DEEP, linewidth=2.2)
    axes.set_ylim(0.0, 1.35 * top)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4))


@styled
def influence(found: "Influence", width: float = DOUBLE) -> Figure:
    """By parameter: the shift without each subject, with two errors; and Cook's distance."""
    shifts, errors = found.shifts, found.errors
    ids = [short(str(who), 8) for who in shifts.index]
    across = 2
    down = math.ceil((len(found.names) + 1) / across)
    what = "SE" if found.maximum else "posterior SD"
    title = (
        f"without each subject: shift in {what} (bars: ± 2 Monte Carlo errors; grey: within "
        f"{BOUND:g})"
    )
    figure = canvas(width, 1.0 + 1.3 * down, title, found.synthetic)
    panels = figure.subplots(down, across, sharex=True, squeeze=False)
    place = np.arange(len(ids))
    most = max(1.15 * float((shifts.abs() + 2 * errors).to_numpy(float).max()), 0.8)
    for axes, name in zip(panels.flat, found.names, strict=False):
        values = shifts[name].to_numpy(float)
        error = errors[name].to_numpy(float)
        axes.axhspan(-BOUND, BOUND, color=PALE, linewidth=0, zorder=0)
        axes.axhline(0.0, color=GREY, linewidth=0.6)
        axes.vlines(place, values - 2 * error, values + 2 * error, color=DEEP, linewidth=0.9)
        far = np.abs(values) - 2 * error > BOUND
        axes.plot(place[~far], values[~far], "o", color=DEEP, markersize=2.6)
        axes.plot(place[far], values[far], "D", color=WARM, markersize=4.0)
        for i in np.flatnonzero(far):
            axes.annotate(ids[i], (place[i], values[i]), xytext=(4, 0), textcoords="offset points",
                          fontsize=6.5, va="center", parse_math=False)  # fmt: skip
        plain(axes, "", "")
        axes.set_ylim(-most, most)
        axes.set_xlim(-1.0, len(ids) + 0.04 * len(ids))  # room for the last one's name
        axes.set_title(name, loc="left", fontsize=7.5, pad=2, parse_math=False)
    last = panels.flat[len(found.names)]
    last.bar(place, found.subjects["cook"].to_numpy(float), color=GREY, width=0.6)
    plain(last, "", "")
    last.set_title("Cook's distance", loc="left", fontsize=7.5, pad=2)
    for axes in panels.flat[len(found.names) + 1 :]:
        axes.set_visible(False)
    _named(panels, ids, len(found.names) + 1)
    return figure


def _named(panels: np.ndarray, ids: list[str], count: int) -> None:
    """The subjects below the lowest panel of each column."""
    down, across = panels.shape
    for column in range(across):
        lowest = max(row for row in range(down) if row * across + column < count)
        axes = panels[lowest, column]
        if len(ids) <= NAMED:
            axes.set_xticks(np.arange(len(ids)), ids, rotation=90, fontsize=6, parse_math=False)
            axes.set_xlabel("subject left out (ID)")
        else:
            axes.set_xticks([])
            axes.set_xlabel(f"{len(ids)} subjects, in the order of the data")
        axes.tick_params(axis="x", labelbottom=True)
