"""Figures of covariate tests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from popk.report.plots.style import SYNTHETIC, svg

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.covariates.covariate_tests import CovariateTests


def forest(
    single: "pd.DataFrame",
    joint: "pd.DataFrame",
    no_effect: tuple[float, float],
    synthetic: bool = False,
) -> Figure:
    """Ratios with their 90 % (thick) and 95 % (thin) intervals, tested singly and jointly.

    Parameters
    ----------
    single, joint
        Tables with ``contrast``, ``parameter``, ``ratio`` and the quantiles, one candidate a row.
    no_effect
        Ratios taken for no effect: the band.
    """
    several = len(single) > 1
    height = 1.2 + (0.75 if several else 0.5) * len(single)
    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(*no_effect, color="0.9", zorder=0)
    axes.axvline(1.0, color="0.5", linewidth=0.8, zorder=1)
    places, labels = [], []
    for i, name in enumerate(single.index):
        rows = [(single.loc[name], "C0", 0.0)]
        if several:
            rows.append((joint.loc[name], "C1", 0.28))
        for row, colour, below in rows:
            y = -i - below
            axes.plot([row["q2_5"], row["q97_5"]], [y, y], color=colour, linewidth=1.2)
            axes.plot([row["q5"], row["q95"]], [y, y], color=colour, linewidth=3.5)
            axes.plot([row["ratio"]], [y], "o", color=colour, markersize=6)
        row = single.loc[name]
        places.append(-i - (0.14 if several else 0.0))
        labels.append(f"{row['parameter']}: {row['contrast']}")
        axes.annotate(
            f"{row['ratio']:.2f} ({row['q5']:.2f}-{row['q95']:.2f})\n{row['verdict']}",
            (1.01, places[-1]),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    axes.set_yticks(places, labels)
    axes.set_ylim(-len(single) + 0.4, 0.6)
    axes.set_xscale("log")
    ticks = [t for t in (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0) if _within(t, axes.get_xlim())]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    words = "singly (blue), all together (orange); " if several else ""
    axes.set_xlabel(f"ratio, median with 90 % and 95 % intervals; {words}band: no effect")
    if synthetic:
        axes.set_title(SYNTHETIC, loc="left", fontsize=9)
    return figure


def evidence(curves: "Mapping[str, pd.DataFrame]", synthetic: bool = False) -> Figure:
    """Bayes factors against each effect, by the SD of its prior."""
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    for name, curve in curves.items():
        axes.plot(curve["prior_sd"], curve["BF01"], "o-", markersize=3, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("prior SD of the effect (log scale)")
    axes.set_ylabel("BF01: above 1 against an effect")
    axes.legend(fontsize=8)
    if synthetic:
        axes.set_title(SYNTHETIC, loc="left", fontsize=9)
    return figure


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def of_covariates(found: "CovariateTests") -> dict[str, str]:
    """The figures of covariate tests, as files."""
    files = {
        "covariates.svg": svg(forest(found.table, found.joint, found.no_effect, found.synthetic))
    }
    if found.curves:
        files["bayes_factors.svg"] = svg(evidence(found.curves, found.synthetic))
    return files
