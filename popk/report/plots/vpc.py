"""Visual predictive checks, and observations beyond the assay's limits, over time."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    PALE,
    SKY,
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
    from collections.abc import Sequence

    import pandas as pd

    from popk.analysis.asked import Analyses
    from popk.analysis.checking.checks import Checks
    from popk.analysis.checking.vpc import Vpc


@styled
def vpc(checks: "Checks | Analyses", found: "Vpc", width: float = DOUBLE) -> Figure:
    """Observed quantiles over time on the replicates' bands."""
    table = found.table
    kind = "prediction-corrected VPC" if found.corrected else "VPC"
    small = narrow(width)
    figure = canvas(width, 3.9 if small else 4.2, f"{kind}, all bins together p {found.p:.2g}",
                    checks.synthetic)  # fmt: skip
    axes = figure.add_subplot()
    if table.empty:
        return figure
    levels = sorted(table["quantile"].unique())
    bands(axes, table)
    observed(axes, table)
    scattered(axes, found)
    wide = table.groupby("bin").first()
    edges = np.r_[wide["start"], wide["end"].iloc[-1]]
    axes.plot(
        edges, np.full(len(edges), 0.0), "|", color=GREY, transform=axes.get_xaxis_transform()
    )
    outer = f"{100 * levels[0]:.0f}, 50 and {100 * levels[-1]:.0f} %"
    number = f"{len(wide)} bins (ticks) of {wide['n'].min()} to {wide['n'].max()} observations"
    note = "" if small else f"; {outer} quantiles in {number}"
    words = "DV, corrected to the bin's prediction" if found.corrected else "DV"
    words = "corrected DV" if found.corrected and small else words
    plain(axes, with_unit("time", checks.time_unit) + note,
          with_unit(words, checks.concentration_unit))  # fmt: skip
    beneath(figure, 3)
    return figure


def bands(
    axes: Axes, table: "pd.DataFrame", *, fills: tuple[str, str] = (PALE, SKY), of: str = ""
) -> None:
    """Boxes with 90 % of the simulated quantiles, outer and median; `of` ends their names."""
    outer, middle = fills
    for level in sorted(table["quantile"].unique()):
        own: Any = table[table["quantile"] == level]
        _boxes(axes, own, middle if level == 0.5 else outer)
    axes.plot([], [], color=middle, linewidth=8, alpha=0.6, label=f"90 % of simulated medians{of}")
    axes.plot([], [], color=outer, linewidth=8, label=f"90 % of simulated outer quantiles{of}")


def observed(axes: Axes, table: "pd.DataFrame") -> None:
    """Lines through the observed quantiles; those outside the simultaneous band are ringed."""
    for level in sorted(table["quantile"].unique()):
        own: Any = table[table["quantile"] == level]
        x, y = own["time"].to_numpy(float), own["observed"].to_numpy(float)
        words = "median" if level == 0.5 else "outer quantiles"
        axes.plot(
            x, y, "-" if level == 0.5 else "--", color=INK, linewidth=1.3,
            marker="s" if level == 0.5 else "D", markersize=3,
            label=f"observed {words}" if level >= 0.5 else None,
        )  # fmt: skip
        out = own["outside"].to_numpy(bool)
        axes.plot(
            x[out], y[out], "o", color="none", markeredgecolor=INK, markersize=10,
            label="outside the simultaneous 95 % band" if out.any() else None,
        )  # fmt: skip


def scattered(axes: Axes, found: "Vpc", others: "Sequence[pd.DataFrame]" = ()) -> None:
    """The observations, and an axis that holds them; what lies below it stands at its edge."""
    table, own = found.table, found.points
    censored = own["censored"].to_numpy(bool)
    value = own["value"].to_numpy(float)
    held = np.r_[value[~censored], table["observed"], table["low"], table["high"]]
    held = np.concatenate(
        [held, *(more[["low", "high"]].to_numpy(float).ravel() for more in others)]
    )
    ends = [float(held.min()), float(held.max())]
    positive = ends[0] > 0
    if positive:
        ends = [ends[0] / 1.15, ends[1] * 1.15]
    axes.set_ylim(*ends)
    if positive:
        logarithmic(axes.yaxis)
    hidden = np.where(censored, np.clip(value, ends[0], ends[1]), value)
    points(
        axes, own["time"], hidden, censored, size=6.0,
        labels=("observation", "censored, at a value drawn for it"),
    )  # fmt: skip


def _boxes(axes: Axes, own: Any, colour: str) -> None:
    """The replicates' bands, each as wide as its bin, or a little where that is a point."""
    for _, row in own.iterrows():
        axes.fill_between(
            span_of(own, row), row["low"], row["high"],
            color=colour, alpha=0.6, linewidth=0, zorder=0,
        )  # fmt: skip


def span_of(table: Any, row: Any) -> tuple[float, float]:
    """From where to where a bin is drawn: a bin that is a point in time has a little width."""
    span = max(float(table["end"].max() - table["start"].min()), 1e-9)
    width = max(row["end"] - row["start"], 0.012 * span)
    middle = 0.5 * (row["start"] + row["end"])
    return middle - width / 2, middle + width / 2


@styled
def limits(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure | None:
    """Fractions below and above the assay's limits; None where nothing is censored."""
    table = checks.limits.table
    if table.empty:
        return None
    sides = list(table["side"].unique())
    p = f"observations beyond the assay's limits, all bins together p {checks.limits.p:.2g}"
    figure = canvas(width, 1.0 + 1.9 * len(sides), p, checks.synthetic)
    panels = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    for axes, side in zip(panels, sides, strict=True):
        own = table[table["side"] == side]
        _boxes(axes, own, SKY)
        axes.plot([], [], color=SKY, linewidth=8, alpha=0.6, label="90 % of simulated data")
        axes.plot(own["time"], own["median"], "_", color=DEEP, markersize=12,
                  label="median of simulated data")  # fmt: skip
        axes.plot(
            own["time"], own["observed"], "-s", color=INK, markersize=4, linewidth=1.0,
            label="observed",
        )  # fmt: skip
        listed = ", ".join(f"{limit:g}" for limit in checks.limits.limits[side])
        plain(axes, "", f"fraction {side}\n{listed} {checks.concentration_unit}")
        axes.set_ylim(-0.03, max(0.3, 1.15 * float(own[["observed", "high"]].max(axis=None))))
    panels[-1].set_xlabel(with_unit("time", checks.time_unit))
    beneath(figure, 3)
    return figure
