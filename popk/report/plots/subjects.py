"""Figures with a place for each subject: individual fits, etas, outliers; and Css and CL."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from popk.report.labels import short
from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    GREY,
    INK,
    PALE,
    SKY,
    WARM,
    beneath,
    canvas,
    narrow,
    plain,
    points,
    styled,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from popk.analysis.asked import Analyses
    from popk.analysis.checking.checks import Checks

ROWS, COLUMNS = 5, 4
NAMED = 30
"""Most subjects that have their names on an axis."""


@styled
def individuals(checks: "Checks | Analyses", width: float = DOUBLE) -> list[Figure]:
    """Each subject's samples on its own and the population's band, twenty subjects a page."""
    table, curves = checks.observations, checks.profiles
    ids = list(dict.fromkeys(curves["ID"]))
    across = 2 if narrow(width) else COLUMNS
    pages = []
    for first in range(0, len(ids), ROWS * across):
        own = ids[first : first + ROWS * across]
        columns = min(across, len(own))
        rows = -(-len(own) // columns)
        figure = canvas(width, 0.9 + 1.55 * rows, "individual and population concentrations",
                        checks.synthetic)  # fmt: skip
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, who in zip(panels.flat, own, strict=False):
            _individual(axes, curves[curves["ID"] == who], table[table["ID"] == who], who)
        for axes in panels.flat[len(own) :]:
            axes.set_visible(False)
        # Not the figure's own label: a legend below all panels would stand on it
        for axes in panels.flat[max(len(own) - columns, 0) : len(own)]:
            axes.set_xlabel(with_unit("time", checks.time_unit))
        figure.supylabel(with_unit("concentration", checks.concentration_unit), fontsize=8)
        beneath(figure, 3)
        pages.append(figure)
    return pages


def _individual(axes: "Axes", curve, samples, who: str) -> None:
    x = curve["TIME"].to_numpy(float)
    axes.fill_between(x, curve["population_low"], curve["population_high"], color=PALE,
                      linewidth=0, label="population, 90 % band")  # fmt: skip
    axes.plot(x, curve["population"], color=GREY, linewidth=0.8, linestyle="--",
              label="population, median")  # fmt: skip
    axes.fill_between(x, curve["individual_low"], curve["individual_high"], color=SKY, alpha=0.6,
                      linewidth=0, label="individual, 90 % band")  # fmt: skip
    axes.plot(x, curve["individual"], color=DEEP, linewidth=1.1, label="individual, median")
    censored = samples["censored"].to_numpy(bool)
    points(axes, samples["TIME"], samples["DV"], censored, colour=INK, size=10.0,
           labels=("observation", "censored, at its limit"))  # fmt: skip
    axes.set_title(f"ID {who}", fontsize=7.5, pad=2, parse_math=False)
    axes.set_ylim(bottom=0)
    plain(axes, "", "")


@styled
def etas(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure | None:
    """Each eta against each covariate at baseline; None without either."""
    found = checks.etas
    tests = found.tests
    names = list(dict.fromkeys(tests["parameter"]))
    covariates = list(dict.fromkeys(tests["covariate"]))
    if not names or not covariates:
        return None
    shrunk = ", ".join(f"{n} {100 * s:.0f} %" for n, s in found.shrinkage.items() if s == s)
    across = min(len(covariates), 2 if narrow(width) else max(COLUMNS, min(len(covariates), 5)))
    folded = -(-len(covariates) // across)  # rows of one parameter
    figure = canvas(
        width, 0.8 + 1.7 * len(names) * folded,
        f"etas against covariates; shrinkage: {shrunk}", checks.synthetic,
    )  # fmt: skip
    panels = figure.subplots(len(names) * folded, across, squeeze=False, sharey="row")
    for axes in panels.flat:
        axes.set_visible(False)
    for i, name in enumerate(names):
        for j, covariate in enumerate(covariates):
            axes = panels[i * folded + j // across, j % across]
            axes.set_visible(True)
            x, y = found.values[covariate], found.values[name].to_numpy(float)
            axes.axhline(0.0, color=GREY, linewidth=0.8)
            words = x.astype(str) if x.dtype == object else x
            points(axes, words, y, np.zeros(len(y), dtype=bool))
            row = tests[(tests["parameter"] == name) & (tests["covariate"] == covariate)].iloc[0]
            p = row["p_holm"]
            told = "" if p != p else f"p {p:.2g}" if row["rho"] != row["rho"] else (
                f"ρ {row['rho']:.2f}, p {p:.2g}")  # fmt: skip
            axes.set_title(told, fontsize=7, pad=3)
            last = i == len(names) - 1 or folded > 1
            plain(axes, with_unit(covariate, found.units.get(covariate, "")) if last else "",
                  f"eta of {name}\n(log scale)" if j % across == 0 else "")  # fmt: skip
            axes.margins(0.08)
            _codes(axes, words)
    return figure


def _codes(axes: "Axes", values) -> None:
    """A covariate of a few codes, or levels, has a tick for each and room beside them."""
    codes = list(dict.fromkeys(values))
    if isinstance(codes[0], str):
        axes.set_xticks(range(len(codes)), [short(code) for code in codes], parse_math=False)
    elif len(codes) <= 3 and all(float(code).is_integer() for code in codes):
        axes.set_xticks(codes, [f"{code:g}" for code in codes])
    else:
        return
    axes.margins(x=0.3)


@styled
def outliers(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure:
    """How far out each subject lies, and how much the fit hangs on it."""
    found = checks.outliers
    table = found.subjects
    names = [str(c).removeprefix("z_") for c in table if str(c).startswith("z_")]
    hangs = bool(table["pareto_k"].notna().any())
    words = "subjects far out"
    words += " (upper) and on which the fit hangs (lower)" if hangs else ""
    figure = canvas(width, 4.2 if hangs else 2.8, words, checks.synthetic)
    panels = figure.subplots(2 if hangs else 1, 1, sharex=True, squeeze=False)[:, 0]
    place = np.arange(len(table))
    upper = panels[0]
    upper.axhspan(-found.subject_bound, found.subject_bound, color=PALE, zorder=0)
    upper.axhline(0.0, color=GREY, linewidth=0.8)
    for name, marker, colour in zip(names, ("o", "^", "s", "D"), (DEEP, WARM, INK, GREY),
                                    strict=False):  # fmt: skip
        upper.plot(place, table[f"z_{name}"], marker, color=colour, markersize=4, label=name)
    plain(upper, "", "eta (SD of the population)")
    upper.margins(y=0.1)
    if hangs:
        panels[1].axhline(0.7, color=INK, linewidth=0.8, linestyle="--")
        panels[1].plot(place, table["pareto_k"], "o", color=INK, markersize=4)
        plain(panels[1], "", "Pareto k, subject left out")
    last = panels[-1]
    last.set_xlabel("ID")
    # With many subjects only those that stand out have their names
    far = set(found.named_subjects) | set(found.influential[0])
    most = NAMED // 2 if narrow(width) else NAMED
    shown = [i for i, who in enumerate(table.index) if len(table) <= most or str(who) in far]
    last.set_xticks(shown, [short(str(table.index[i])) for i in shown], rotation=90, fontsize=7,
                    parse_math=False)  # fmt: skip
    beneath(figure)
    return figure


@styled
def sample_figures(checks: "Checks | Analyses", width: float = DOUBLE) -> Figure | None:
    """Css and CL of the sample among those of replicates; None without steady states."""
    found = checks.paper
    if found is None:
        return None
    rows = found.table
    across = min(len(rows), 2 if narrow(width) else 5)
    down = -(-len(rows) // across)
    figure = canvas(
        width, 0.8 + 1.6 * down,
        f"{found.subjects} subjects at steady state: observed (line) and simulated samples",
        checks.synthetic,
    )  # fmt: skip
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, rows.index, strict=False):
        values = found.replicates[name]
        top = np.quantile(values, 0.995)
        axes.hist(values[values <= top], 30, color=PALE, edgecolor=GREY, linewidth=0.5)
        axes.axvline(rows.loc[name, "observed"], color=WARM, linewidth=2.2)
        axes.set_title(f"p {rows.loc[name, 'p']:.2g}", fontsize=7, pad=2)
        axes.set_yticks([])
        plain(axes, with_unit(name, str(rows.loc[name, "unit"])), "")
        axes.set_ylim(top=1.12 * axes.get_ylim()[1])
        axes.xaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_ylabel("samples")
    return figure
