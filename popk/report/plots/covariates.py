"""Figures of covariate tests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from popk.report.plots.style import (
    COLOURS,
    DEEP,
    DOUBLE,
    GREY,
    LINES,
    MARKERS,
    PALE,
    WARM,
    beneath,
    canvas,
    logarithmic,
    narrow,
    plain,
    styled,
    svg,
)

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.covariates.covariate_tests import CovariateTests


@styled
def forest(
    single: "pd.DataFrame",
    joint: "pd.DataFrame",
    no_effect: tuple[float, float],
    synthetic: bool = False,
    width: float = DOUBLE,
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
    small = narrow(width)
    height = 1.35 + (0.7 if several or small else 0.5) * len(single)
    low, high = no_effect
    words = f"ratio: median, 90 % (thick) and 95 % intervals; shaded: no effect ({low:g}-{high:g})"
    figure = canvas(width, height, words, synthetic)
    axes = plain(figure.add_subplot(), "ratio of the parameter", "")
    axes.axvspan(low, high, color=PALE, linewidth=0, zorder=0)
    axes.axvline(1.0, color=GREY, linewidth=0.8, zorder=1)
    places, labels = [], []
    for i, name in enumerate(single.index):
        rows = [(single.loc[name], DEEP, "o", DEEP, 0.0, "tested singly")]
        if several:
            rows.append((joint.loc[name], WARM, "s", "white", 0.28, "all together"))
        for row, colour, marker, filling, below, how in rows:
            y = -i - below
            axes.plot([row["q2_5"], row["q97_5"]], [y, y], color=colour, linewidth=1.0)
            axes.plot([row["q5"], row["q95"]], [y, y], color=colour, linewidth=3.0,
                      solid_capstyle="butt")  # fmt: skip
            axes.plot([row["ratio"]], [y], marker, color=colour, markerfacecolor=filling,
                      markersize=5.5, label=how if several else None)  # fmt: skip
        row = single.loc[name]
        places.append(-i - (0.14 if several else 0.0))
        labels.append(f"{row['parameter']}: {row['contrast']}")
        axes.annotate(
            f"{row['ratio']:.2f} ({row['q5']:.2f}-{row['q95']:.2f})\n{row['verdict']}",
            (1.01, places[-1]),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
        )
    axes.set_yticks(places, [_folded(label, small) for label in labels], parse_math=False)
    axes.set_ylim(-len(single) + 0.4, 0.6)
    axes.set_xscale("log")
    axes.set_xlim(min(0.97 * low, axes.get_xlim()[0]), max(1.03 * high, axes.get_xlim()[1]))
    left, right = axes.get_xlim()
    coarse = small and right > 2.0 * left
    among = (0.25, 0.5, 1.0, 2.0, 4.0) if coarse else (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)
    ticks = [t for t in among if _within(t, axes.get_xlim())]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    beneath(figure)
    return figure


@styled
def evidence(
    curves: "Mapping[str, pd.DataFrame]", synthetic: bool = False, width: float = DOUBLE
) -> Figure:
    """Bayes factors against each effect, by the SD of its prior."""
    figure = canvas(width, 3.2, "evidence against an effect, by the width of its prior", synthetic)
    axes = figure.add_subplot()
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(curve["prior_sd"], curve["BF01"], color=COLOURS[(i + 1) % 4],
                  linestyle=LINES[i % 8], marker=MARKERS[i % 8], markersize=3,
                  label=name)  # fmt: skip
    plain(axes, "prior SD of the effect (log scale)", "BF01: above 1 against an effect")
    logarithmic(axes.xaxis)
    logarithmic(axes.yaxis)
    beneath(figure)
    return figure


def _folded(label: str, small: bool) -> str:
    """A label of two halves, one under the other where there is no room."""
    return label.replace(": ", ":\n", 1) if small else label


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
