"""Goodness of fit: observations against predictions, residuals, NPDE."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import beta, norm

from popk.report.plots.style import (
    DOUBLE,
    GREY,
    INK,
    PALE,
    WARM,
    beneath,
    canvas,
    logarithmic,
    narrow,
    plain,
    points,
    styled,
    with_unit,
)

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.asked import Analyses
    from popk.analysis.checking.checks import Checks

BEYOND = 2.0
"""How far below the least value that was measured or predicted of one an axis goes."""


@styled
def predictions(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure:
    """DV against PRED and IPRED, on logarithmic axes where all values allow them."""
    table = checks.observations
    across = 1 if narrow(width) else 2
    height = 0.5 + (width / across if across == 2 else 2.0 * 0.85 * width)
    figure = canvas(width, height, "observations against predictions", checks.synthetic)
    censored = table["censored"].to_numpy(bool)
    held = table[["DV", "PRED", "IPRED"]].to_numpy(float)
    positive = bool((held > 0).all())
    # A prediction of next to nothing for a censored row would leave no room for all others
    ends = _ends(held, censored) if positive else (float(held.min()), float(held.max()))
    both = figure.subplots(2 // across, across, sharey=True, squeeze=False).ravel()
    unit = checks.concentration_unit
    for axes, column, words in zip(
        both, ("PRED", "IPRED"), ("population prediction", "individual prediction"), strict=True
    ):
        x, y = table[column].to_numpy(float), table["DV"].to_numpy(float)
        plain(axes, with_unit(f"{column}, {words}", unit), with_unit("DV", unit))
        axes.set_box_aspect(1.0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        if positive:
            logarithmic(axes.xaxis)
            logarithmic(axes.yaxis)
        axes.plot(ends, ends, color=INK, linewidth=0.8, label="equal")
        far = x < ends[0]
        points(axes, x[~far], y[~far], censored[~far],
               labels=("measured", "censored, at its limit"))  # fmt: skip
        if far.any():
            axes.plot(np.full(far.sum(), ends[0]), y[far], "<", color="none", markeredgecolor=WARM,
                      markersize=5, clip_on=False, zorder=4,
                      label="censored, prediction further left")  # fmt: skip
        if across == 2 and axes is both[1]:
            axes.set_ylabel("")
    beneath(figure)
    return figure


def _ends(held: np.ndarray, censored: np.ndarray) -> tuple[float, float]:
    """The range of both axes: of what was measured, its predictions, and all limits."""
    measured = held[~censored] if (~censored).any() else held
    low = min(float(measured.min()), float(held[:, 0].min()))
    return low / (BEYOND if censored.any() else 1.15), float(held.max()) * 1.15


@styled
def residuals(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure:
    """IWRES and NPDE against time, time after dose and PRED."""
    table = checks.observations
    words = "residuals; shaded: ± 1.96 SD; line and bars: mean ± SD in bins"
    small = narrow(width)
    figure = canvas(width, 6.2 if small else 4.4, words, checks.synthetic)
    if small:
        grid = figure.subplots(3, 2, sharey="col", sharex=False).T
    else:
        grid = figure.subplots(2, 3, sharey="row", sharex="col")
    binned = checks.npde.binned
    time, unit = checks.time_unit, checks.concentration_unit
    columns = {
        "TIME": ("time", with_unit("time", time)),
        "TAD": ("time after dose", with_unit("time after dose", time)),
        "PRED": ("PRED", with_unit("PRED", unit)),
    }
    for row, kind in enumerate(("IWRES", "NPDE")):
        for axes, (column, (axis, label)) in zip(grid[row], columns.items(), strict=True):
            _residual(axes, table, column, kind)
            if kind == "NPDE" and len(binned):
                own: Any = binned[binned["axis"] == axis]
                axes.errorbar(
                    own["middle"], own["mean"], yerr=np.nan_to_num(own["sd"].to_numpy(float)),
                    color=INK, marker="s", markersize=3, linewidth=1.0, capsize=2, zorder=5,
                )  # fmt: skip
            plain(axes, label if row == 1 or small else "",
                  f"{kind} (SD)" if column == "TIME" or small else "")  # fmt: skip
    beneath(figure)
    return figure


def _residual(axes: Axes, table: "pd.DataFrame", column: str, kind: str) -> None:
    censored = table["censored"].to_numpy(bool)
    x, y = table[column].to_numpy(float), table[kind].to_numpy(float)
    axes.axhspan(-1.96, 1.96, color=PALE, zorder=0)
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    # A censored row has no IWRES
    points(axes, x, y, censored if kind == "NPDE" else np.zeros_like(censored),
           labels=("measured", "censored"), size=9.0)  # fmt: skip
    if column == "PRED" and (x > 0).all() and x.max() > 20 * x.min():
        logarithmic(axes.xaxis)


@styled
def npde(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure:
    """Histogram and QQ plot of NPDE, with what their tests say."""
    values = np.sort(checks.observations["NPDE"].to_numpy(float))
    n, found = len(values), checks.npde
    p = found.whole
    title = (
        f"NPDE: mean {found.mean:+.2f} (p {p.mean:.2g}), SD {found.sd:.2f} (p {p.variance:.2g}), "
        f"normal (p {p.shape:.2g}), together p {p.together:.2g}"
    )
    small = narrow(width)
    figure = canvas(width, 5.6 if small else 3.5, title, checks.synthetic)
    left, right = figure.subplots(2, 1) if small else figure.subplots(1, 2)
    edges = np.linspace(-4, 4, int(np.clip(np.sqrt(n) * 1.5, 8, 32)) + 1)
    clipped = np.clip(values, -4, 4)
    left.hist(clipped, edges, density=True, color=PALE, edgecolor=GREY, linewidth=0.6)
    x = np.linspace(-4, 4, 200)
    left.plot(x, norm.pdf(x), color=INK, linewidth=1.5, label="standard normal")
    plain(left, "NPDE (SD)", "density")
    i = np.arange(1, n + 1)
    expected = norm.ppf((i - 0.5) / n)
    low, high = (norm.ppf(beta.ppf(q, i, n + 1 - i)) for q in (0.025, 0.975))
    right.fill_between(expected, low, high, color=PALE, linewidth=0,
                       label="95 % of samples, point by point")  # fmt: skip
    right.plot(expected, expected, color=INK, linewidth=0.8)
    censored = checks.observations["censored"].to_numpy(bool)
    order = np.argsort(checks.observations["NPDE"].to_numpy(float))
    late = censored[order]
    points(right, expected, values, late, labels=("measured", "censored"))
    plain(right, "quantile of the standard normal (SD)", "NPDE (SD)")
    beneath(figure)
    return figure
