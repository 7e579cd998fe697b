"""Figures of power: by true ratio and number of infants, and when a sample tells most."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from popk.report.plots.style import (
    COLOURS,
    DOUBLE,
    GREY,
    INK,
    LINES,
    MARKERS,
    PALE,
    WARM,
    canvas,
    plain,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.power.overview import Overview
    from popk.analysis.power.plans import Plans

HEADING = "SYNTHETIC TRIALS"
PANELS = {
    "excludes_90": "90 % interval excludes 1",
    "relevant": "verdict: relevant effect",
    "not_relevant": "verdict: no relevant effect",
    "unknown": "verdict: cannot tell",
}
TESTS = {"lr": "likelihood ratio, p < 0.05", "bayes_factor": "BF01 < 1/3"}
"""Beside them, one in each row, where the likelihood-ratio test was made."""


def of_power(found: "Overview") -> dict[str, str]:
    """The figures as SVG, by file name."""
    figures = {"power": power(found), "width": width(found)}
    return {f"{name}.svg": svg(figure) for name, figure in figures.items() if figure is not None}


@styled
def power(found: "Overview") -> Figure:
    """Shares of trials by true ratio, a line for each number of infants, with two errors."""
    own = found.power
    rows = np.array(list(PANELS)).reshape(2, 2)
    if np.isfinite(own.cells["lr"].to_numpy(float)).any():
        rows = np.column_stack([rows, list(TESTS)])
    figure = canvas(DOUBLE, 5.4, f"{own.effect}: {own.label}; {HEADING}")
    panels = figure.subplots(*rows.shape, sharex=True, sharey=True)
    titles = PANELS | TESTS
    for axes, name in zip(panels.flat, rows.flat, strict=True):
        for i, infants in enumerate(own.infants):
            cells = own.cells.xs(infants, level="infants").sort_index()
            ratio = cells.index.to_numpy(float)
            share, error = (cells[c].to_numpy(float) for c in (name, f"{name}_error"))
            style = {"color": COLOURS[i % 4], "linestyle": LINES[i % 8]}
            axes.plot(ratio, share, marker=MARKERS[i % 8], markersize=3.5, linewidth=1.2,
                      label=f"{infants} infants" if axes is panels[0, 0] else None,
                      **style)  # fmt: skip
            axes.fill_between(ratio, np.clip(share - 2 * error, 0, 1),
                              np.clip(share + 2 * error, 0, 1), color=PALE, linewidth=0,
                              zorder=0)  # fmt: skip
        axes.axvline(1.0, color=GREY, linewidth=0.7, linestyle=":")
        axes.axvspan(*own.no_effect, facecolor="none", edgecolor="0.8", hatch="..", linewidth=0,
                     zorder=-1)  # fmt: skip
        axes.set_title(titles[str(name)])
        axes.set_ylim(0, 1)
        plain(axes, "", "")
        _by_ratio(axes, own.ratios)
    for axes in panels[1]:
        axes.set_xlabel("true ratio\n(dotted field: taken for no effect)", fontsize=8)
    figure.supylabel("share of trials (band: ± 2 Monte Carlo errors)", fontsize=8)
    figure.legend(loc="outside lower center", ncols=min(len(own.infants), 6), fontsize=8,
                  frameon=False)  # fmt: skip
    return figure


@styled
def width(found: "Overview") -> Figure | None:
    """Width of the interval by number of infants, beside what is expected; None of one size."""
    own = found.power
    if len(own.infants) < 2:
        return None
    figure = canvas(5.0, 3.3, f"90 % interval of the ratio; {HEADING}")
    axes = plain(figure.subplots(), "infants", "upper over lower bound")
    ratio = min(own.ratios, key=lambda r: abs(np.log(r)))
    cells = own.cells.xs(ratio, level="ratio").sort_index()
    infants = cells.index.to_numpy(float)
    middle, error = (cells[c].to_numpy(float) for c in ("width", "width_error"))
    axes.errorbar(infants, np.exp(middle), np.exp(middle) * 2 * error, color=INK, marker="o",
                  markersize=4, linewidth=1.2, capsize=2,
                  label=f"simulated, true ratio {ratio:g}")  # fmt: skip
    if len(found.precision):
        by_fim = found.precision.xs(ratio, level="ratio").sort_index()
        axes.plot(by_fim.index.to_numpy(float), np.exp(by_fim["expected_width"].to_numpy(float)),
                  color=WARM, linestyle="--", marker="s", markersize=4, linewidth=1.2,
                  label="expected by the Fisher information")  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=1)
    axes.legend(fontsize=8, frameon=False)
    return figure


def of_plans(found: "Plans") -> dict[str, str]:
    """The figure as SVG, by file name."""
    return {"times.svg": svg(times(found))}


@styled
def times(found: "Plans") -> Figure:
    """What one further sample of each infant would add, by its time, for each parameter."""
    table = found.times
    names = [str(c).removeprefix("information_") for c in table if "information_" in str(c)]
    references = [r for r in ("start", "end") if r in set(table["reference"])]
    figure = canvas(
        min(3.8 * len(references) + 0.6, DOUBLE), 3.2, f"one further sample: {found.model}"
    )
    panels = figure.subplots(1, len(references), squeeze=False, sharey=True)[0]
    for axes, reference in zip(panels, references, strict=True):
        own = table[(table["reference"] == reference) & (table["time"] > 0)]
        for i, name in enumerate(names):
            axes.plot(own["time"], own[f"information_{name}"], color=COLOURS[i % 4],
                      linestyle=LINES[i % 8], marker=MARKERS[i % 8], markersize=3, linewidth=1.2,
                      label=f"of {name}" if axes is panels[0] else None)  # fmt: skip
        plain(axes, with_unit(f"time after the {reference} of dosing", table.attrs["unit"]), "")
        axes.set_ylim(bottom=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("information on log TV")
    figure.legend(loc="outside lower center", ncols=max(len(names), 1), fontsize=8, frameon=False)
    return figure


def _by_ratio(axes: Axes, ratios: tuple[float, ...]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(ratios, [f"{r:g}" for r in ratios], fontsize=8, rotation=45)
    axes.minorticks_off()
