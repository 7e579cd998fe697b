"""Figures of a calibration: ranks of the truth, coverage of each subject's intervals."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binom

from popk.report.plots.style import SYNTHETIC, plain, styled, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from popk.analysis.calibration.calibration import Calibration

PANELS = 4
"""Panels beside each other."""
MOST_LABELS = 30
"""Subjects up to which every one has its label."""


def of_calibration(found: "Calibration") -> dict[str, str]:
    """The figures of a calibration, as files; ranks only where they must be uniform."""
    files = {}
    if found.truth is None:
        p: dict[str, float] = found.parameters["p_holm"].to_dict()
        files["ranks.svg"] = svg(rank_plot(found.curves, p))
    if len(found.individuals):
        values: dict[Any, float] = found.individuals["coverage"].to_dict()
        ids = list(dict.fromkeys(str(who) for _, who in values))
        coverage = {n: np.array([values[n, who] for who in ids]) for n in found.units}
        files["coverage.svg"] = svg(coverage_plot(ids, coverage, found.replicates))
    return files


@styled
def rank_plot(curves: "pd.DataFrame", p: "Mapping[str, float]") -> Figure:
    """ECDF of the ranks of the true values less the uniform one, with the simultaneous 95 % band.

    Parameters
    ----------
    curves
        Index: probability; ``band``, its half-width, and a column for each parameter.
    p
        Of each parameter, corrected for their number.
    """
    names = [str(name) for name in curves.columns if name != "band"]
    across = min(PANELS, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(0.7 + 2.3 * across, 0.9 + 1.9 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    z, band = curves.index.to_numpy(float), curves["band"].to_numpy()
    # The band has no width at the ends, where an ECDF is 0 and 1
    ends, closed = np.r_[0.0, z, 1.0], np.r_[0.0, band, 0.0]
    for axes, name in zip(panels, names, strict=False):
        axes.fill_between(ends, -closed, closed, color="0.85", linewidth=0)
        axes.axhline(0.0, color="0.5", linewidth=0.8)
        curve = np.r_[0.0, curves[name].to_numpy(), 0.0]
        axes.plot(ends, curve, color="black", linewidth=1.2)
        outside = np.where(np.abs(curve) > closed, curve, np.nan)
        # Thick as well as coloured: seen in grey too
        axes.plot(ends, outside, color="#D55E00", linewidth=4.0, solid_capstyle="butt", zorder=1)
        axes.set_title(f"{name}  (p {p[name]:.2g})", fontsize=8, loc="left")
        plain(axes, "", "")
        axes.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[max(len(names) - across, 0) : len(names)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("rank of the true value among posterior draws", fontsize=9)
    figure.supylabel("ECDF less uniform", fontsize=9)
    figure.suptitle(f"{SYNTHETIC}; band: simultaneous 95 %", fontsize=9, x=0.01, ha="left")
    return figure


@styled
def coverage_plot(
    ids: "Sequence[str]",
    coverage: "Mapping[str, np.ndarray]",
    replicates: int,
    nominal: float = 0.9,
) -> Figure:
    """Coverage of each subject's intervals, with what chance makes of the nominal one.

    Parameters
    ----------
    ids, coverage
        The subjects, and of each quantity their coverages. A quantity that covers as another one
        does in every subject (Css = rate/CL as CL) shares its panel.
    replicates
        Trials that the coverages are shares of.
    nominal
        What they should be.
    """
    panels: dict[str, np.ndarray] = {}
    for name, values in coverage.items():
        same = [title for title, own in panels.items() if np.array_equal(own, values)]
        if same:
            panels = {f"{t} and {name}" if t == same[0] else t: own for t, own in panels.items()}
        else:
            panels[name] = values
    count = len(ids)
    width = min(11.0, max(5.0, 1.2 + 0.24 * count))
    figure = Figure(figsize=(width, 0.9 + 2.0 * len(panels)), layout="constrained")
    place = np.arange(count)
    every = max(1, math.ceil(count / MOST_LABELS))
    wide = tuple(binom.ppf([0.025, 0.975], replicates, nominal) / replicates)
    # Bonferroni: all subjects of a panel together
    tail = 0.025 / count
    whole = tuple(binom.ppf([tail, 1.0 - tail], replicates, nominal) / replicates)
    rows = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, values) in zip(rows, panels.items(), strict=True):
        axes.axhspan(*whole, color="0.92", linewidth=0)
        axes.axhspan(*wide, color="0.8", linewidth=0)
        axes.axhline(nominal, color="0.4", linewidth=0.8)
        outside = (values < whole[0]) | (values > whole[1])
        axes.plot(place[~outside], values[~outside], "o", color="black", markersize=4)
        axes.plot(place[outside], values[outside], "D", color="#D55E00", markersize=7,
                  markeredgecolor="black")  # fmt: skip
        axes.set_title(title, fontsize=9, loc="left")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        plain(axes, "", "")
        axes.set_xlim(-0.7, count - 0.3)
    labels = [who if len(who) <= 12 else f"…{who[-11:]}" for who in ids]
    turned = max(map(len, labels)) > 3
    rows[-1].set_xticks(place[::every], labels[::every], rotation=90 if turned else 0)
    rows[-1].set_xlabel("subject (ID)", fontsize=9)
    figure.supylabel("coverage of 90 % intervals, %", fontsize=9)
    words = "band: 95 % of what chance gives; light: all subjects together"
    figure.suptitle(f"{SYNTHETIC}; {words}", fontsize=9, x=0.01, ha="left")
    return figure
