"""Goodness of fit: observations against predictions, residuals, NPDE."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import beta, norm

from popk.report.plots.style import GREY, INK, PALE, canvas, plain, points, with_unit

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.checking.checks import Checks


def predictions(checks: "Checks") -> Figure:
    """DV against PRED and IPRED, on logarithmic axes where all values allow them."""
    table = checks.observations
    figure = canvas(8.0, 4.0, "observations against predictions", checks.synthetic)
    censored = table["censored"].to_numpy(bool)
    positive = bool((table[["DV", "PRED", "IPRED"]].to_numpy(float) > 0).all())
    both = figure.subplots(1, 2, sharey=True)
    for axes, column, words in zip(
        both, ("PRED", "IPRED"), ("population prediction", "individual prediction"), strict=True
    ):
        x, y = table[column].to_numpy(float), table["DV"].to_numpy(float)
        points(axes, x, y, censored, labels=("measured", "censored, at its limit"))
        if positive:
            axes.set_xscale("log")
            axes.set_yscale("log")
        ends = [np.nanmin([x.min(), y.min()]), np.nanmax([x.max(), y.max()])]
        axes.plot(ends, ends, color=INK, linewidth=0.8, label="equal")
        unit = checks.concentration_unit
        plain(axes, with_unit(f"{column}, {words}", unit), with_unit("DV", unit))
    both[1].set_ylabel("")
    both[0].legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def residuals(checks: "Checks") -> Figure:
    """IWRES and NPDE against time, time after dose and PRED."""
    table = checks.observations
    figure = canvas(10.0, 5.6, "residuals; line and bars: mean ± SD in bins", checks.synthetic)
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
                    color=INK, marker="s", markersize=4, linewidth=1.2, capsize=2,
                )  # fmt: skip
            plain(axes, label if row == 1 else "", f"{kind} (SD)" if column == "TIME" else "")
    return figure


def _residual(axes: Axes, table: "pd.DataFrame", column: str, kind: str) -> None:
    censored = table["censored"].to_numpy(bool)
    x, y = table[column].to_numpy(float), table[kind].to_numpy(float)
    axes.axhspan(-1.96, 1.96, color=PALE, zorder=0)
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    # A censored row has no IWRES
    points(axes, x, y, censored if kind == "NPDE" else np.zeros_like(censored))
    if column == "PRED" and (x > 0).all() and x.max() > 20 * x.min():
        axes.set_xscale("log")


def npde(checks: "Checks") -> Figure:
    """Histogram and QQ plot of NPDE, with what their tests say."""
    values = np.sort(checks.observations["NPDE"].to_numpy(float))
    n, found = len(values), checks.npde
    p = found.whole
    title = (
        f"NPDE: mean {found.mean:+.2f} (p {p.mean:.2g}), SD {found.sd:.2f} (p {p.variance:.2g}), "
        f"normal (p {p.shape:.2g}), together p {p.together:.2g}"
    )
    figure = canvas(8.0, 4.0, title, checks.synthetic)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-4, 4, int(np.clip(np.sqrt(n) * 1.5, 8, 32)) + 1)
    clipped = np.clip(values, -4, 4)
    left.hist(clipped, edges, density=True, color=PALE, edgecolor=GREY, linewidth=0.6)
    x = np.linspace(-4, 4, 200)
    left.plot(x, norm.pdf(x), color=INK, linewidth=1.5, label="standard normal")
    left.legend(fontsize=8, frameon=False, loc="upper left")
    left.set_ylim(0, max(0.55, 1.15 * left.get_ylim()[1]))
    plain(left, "NPDE (SD)", "density")
    i = np.arange(1, n + 1)
    expected = norm.ppf((i - 0.5) / n)
    low, high = (norm.ppf(beta.ppf(q, i, n + 1 - i)) for q in (0.025, 0.975))
    right.fill_between(expected, low, high, color=PALE, label="95 % of samples, point by point")
    right.plot(expected, expected, color=INK, linewidth=0.8)
    censored = checks.observations["censored"].to_numpy(bool)
    order = np.argsort(checks.observations["NPDE"].to_numpy(float))
    late = censored[order]
    points(right, expected, values, late, labels=("measured", "censored"))
    right.legend(fontsize=8, frameon=False, loc="upper left")
    plain(right, "quantile of the standard normal", "NPDE (SD)")
    return figure
