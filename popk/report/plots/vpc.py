"""Visual predictive checks, and observations beyond the assay's limits, over time."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from popk.report.plots.style import DEEP, GREY, INK, PALE, SKY, canvas, plain, points, with_unit

if TYPE_CHECKING:
    from popk.analysis.checking.checks import Checks
    from popk.analysis.checking.vpc import Vpc


def vpc(checks: "Checks", found: "Vpc") -> Figure:
    """Observed quantiles over time on the replicates' bands."""
    table, own_points = found.table, found.points
    kind = "prediction-corrected VPC" if found.corrected else "VPC"
    figure = canvas(8.0, 4.8, f"{kind}, all bins together p {found.p:.2g}", checks.synthetic)
    axes = figure.add_subplot()
    if table.empty:
        return figure
    levels = sorted(table["quantile"].unique())
    styles = dict(zip(levels, ("--", "-", "--"), strict=True))
    fills = dict(zip(levels, (PALE, SKY, PALE), strict=True))
    wide = table.groupby("bin").first()
    for level in levels:
        own: Any = table[table["quantile"] == level]
        x = own["time"].to_numpy(float)
        words = "median" if level == 0.5 else "outer quantiles"
        _boxes(axes, own, fills[level])
        axes.plot(
            x, own["observed"], styles[level], color=INK, linewidth=1.4, marker="s", markersize=3.5,
            label=f"observed {words}" if level >= 0.5 else None,
        )  # fmt: skip
        out = own["outside"].to_numpy(bool)
        axes.plot(
            x[out], own["observed"].to_numpy(float)[out], "o", color="none",
            markeredgecolor=INK, markersize=11,
            label="outside the simultaneous 95 % band" if out.any() else None,
        )  # fmt: skip
    axes.plot([], [], color=SKY, linewidth=8, alpha=0.6, label="90 % of simulated medians")
    axes.plot([], [], color=PALE, linewidth=8, label="90 % of simulated outer quantiles")
    censored = own_points["censored"].to_numpy(bool)
    value = own_points["value"].to_numpy(float)
    held = np.r_[value[~censored], table["observed"], table["low"], table["high"]]
    ends = [held.min(), held.max()]
    if ends[0] > 0:
        axes.set_yscale("log")
        ends = [ends[0] / 1.15, ends[1] * 1.15]
    axes.set_ylim(*ends)
    hidden = np.where(censored, np.clip(value, *ends), value)
    points(
        axes, own_points["time"], hidden, censored, size=7.0,
        labels=("", "censored, at a value drawn for it"),
    )  # fmt: skip
    edges = np.r_[wide["start"], wide["end"].iloc[-1]]
    axes.plot(
        edges, np.full(len(edges), 0.0), "|", color=GREY, transform=axes.get_xaxis_transform()
    )
    unit = checks.concentration_unit
    words = "DV, corrected to the bin's prediction" if found.corrected else "DV"
    outer = f"{100 * levels[0]:.0f}, 50 and {100 * levels[-1]:.0f} %"
    number = f"{len(wide)} bins (ticks) of {wide['n'].min()} to {wide['n'].max()} observations"
    plain(axes, with_unit("time", checks.time_unit) + f"; {outer} quantiles in {number}",
          with_unit(words, unit))  # fmt: skip
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        list(once.values()), list(once), fontsize=7.5, frameon=False, loc="upper center",
        bbox_to_anchor=(0.5, -0.14), ncols=3,
    )  # fmt: skip
    return figure


def _boxes(axes, own, colour: str) -> None:
    """The replicates' bands, each as wide as its bin, or a little where that is a point."""
    span = max(float(own["end"].max() - own["start"].min()), 1e-9)
    for _, row in own.iterrows():
        width = max(row["end"] - row["start"], 0.012 * span)
        middle = 0.5 * (row["start"] + row["end"])
        axes.fill_between(
            [middle - width / 2, middle + width / 2], row["low"], row["high"],
            color=colour, alpha=0.6, linewidth=0, zorder=0,
        )  # fmt: skip


def limits(checks: "Checks") -> Figure | None:
    """Fractions below and above the assay's limits; None where nothing is censored."""
    table = checks.limits.table
    if table.empty:
        return None
    sides = list(table["side"].unique())
    p = f"observations beyond the assay's limits, all bins together p {checks.limits.p:.2g}"
    figure = canvas(8.0, 1.0 + 2.3 * len(sides), p, checks.synthetic)
    panels = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    for axes, side in zip(panels, sides, strict=True):
        own = table[table["side"] == side]
        _boxes(axes, own, SKY)
        axes.plot(own["time"], own["median"], "_", color=DEEP, markersize=12, label="simulated")
        axes.plot(
            own["time"], own["observed"], "-s", color=INK, markersize=4, linewidth=1.0,
            label="observed",
        )  # fmt: skip
        listed = ", ".join(f"{limit:g}" for limit in checks.limits.limits[side])
        plain(axes, "", f"fraction {side}\n{listed} {checks.concentration_unit}")
        axes.set_ylim(-0.03, max(0.3, 1.15 * float(own[["observed", "high"]].max(axis=None))))
    panels[0].legend(fontsize=8, frameon=False, loc="upper left")
    panels[-1].set_xlabel(with_unit("time", checks.time_unit) + "; boxes: 90 % of simulated data")
    return figure
