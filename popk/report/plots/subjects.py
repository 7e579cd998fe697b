"""Figures with a place for each subject: individual fits, etas, outliers; and Css and CL."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from popk.report.plots.style import (
    DEEP,
    GREY,
    INK,
    PALE,
    SKY,
    WARM,
    canvas,
    plain,
    points,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.checking.checks import Checks

ROWS, COLUMNS = 4, 4
NAMED = 30
"""Most subjects that have their names on an axis."""


def individuals(checks: "Checks") -> list[Figure]:
    """Each subject's samples on its own and the population's band, sixteen subjects a page."""
    table, curves = checks.observations, checks.profiles
    ids = list(dict.fromkeys(curves["ID"]))
    pages = []
    for first in range(0, len(ids), ROWS * COLUMNS):
        own = ids[first : first + ROWS * COLUMNS]
        columns = min(COLUMNS, len(own))
        rows = -(-len(own) // columns)
        figure = canvas(
            2.6 * max(columns, 3), 0.9 + 2.1 * rows,
            "individual (blue line, 90 % band) and population (grey, 90 % band) concentrations",
            checks.synthetic,
        )  # fmt: skip
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, who in zip(panels.flat, own, strict=False):
            _individual(axes, curves[curves["ID"] == who], table[table["ID"] == who], who)
        for axes in panels.flat[len(own) :]:
            axes.set_visible(False)
        figure.supxlabel(with_unit("time", checks.time_unit), fontsize=9)
        figure.supylabel(with_unit("concentration", checks.concentration_unit), fontsize=9)
        pages.append(figure)
    return pages


def _individual(axes, curve, samples, who: str) -> None:
    x = curve["TIME"].to_numpy(float)
    axes.fill_between(x, curve["population_low"], curve["population_high"], color=PALE, linewidth=0)
    axes.plot(x, curve["population"], color=GREY, linewidth=0.8, linestyle="--")
    axes.fill_between(
        x, curve["individual_low"], curve["individual_high"], color=SKY, alpha=0.6, linewidth=0
    )
    axes.plot(x, curve["individual"], color=DEEP, linewidth=1.1)
    censored = samples["censored"].to_numpy(bool)
    points(axes, samples["TIME"], samples["DV"], censored, colour=INK)
    axes.set_title(f"ID {who}", fontsize=8, pad=2, parse_math=False)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def etas(checks: "Checks") -> Figure | None:
    """Each eta against each covariate at baseline; None without either."""
    found = checks.etas
    tests = found.tests
    names = list(dict.fromkeys(tests["parameter"]))
    covariates = list(dict.fromkeys(tests["covariate"]))
    if not names or not covariates:
        return None
    shrunk = ", ".join(f"{n} {100 * s:.0f} %" for n, s in found.shrinkage.items() if s == s)
    figure = canvas(
        max(2.1 * len(covariates), 5.0), 0.8 + 2.1 * len(names),
        f"etas against covariates; shrinkage: {shrunk}", checks.synthetic,
    )  # fmt: skip
    panels = figure.subplots(len(names), len(covariates), squeeze=False, sharey="row")
    for i, name in enumerate(names):
        for j, covariate in enumerate(covariates):
            axes = panels[i, j]
            x, y = found.values[covariate], found.values[name].to_numpy(float)
            axes.axhline(0.0, color=GREY, linewidth=0.8)
            words = x.astype(str) if x.dtype == object else x
            points(axes, words, y, np.zeros(len(y), dtype=bool))
            row = tests[(tests["parameter"] == name) & (tests["covariate"] == covariate)].iloc[0]
            p = row["p_holm"]
            told = "" if p != p else f"p {p:.2g}" if row["rho"] != row["rho"] else (
                f"ρ {row['rho']:.2f}, p {p:.2g}")  # fmt: skip
            axes.set_title(told, fontsize=8, pad=2)
            plain(axes, with_unit(covariate, found.units.get(covariate, "")) if i == len(names) - 1
                  else "", f"eta of {name} (log scale)" if j == 0 else "")  # fmt: skip
            axes.tick_params(labelsize=8)
    return figure


def outliers(checks: "Checks") -> Figure:
    """How far out each subject lies, and how much the fit hangs on it."""
    found = checks.outliers
    table = found.subjects
    names = [str(c).removeprefix("z_") for c in table if str(c).startswith("z_")]
    hangs = bool(table["pareto_k"].notna().any())
    figure = canvas(max(6.0, min(0.26 * len(table), 11.0)), 4.6 if hangs else 3.0,
                    "subjects far out (upper) and on which the fit hangs (lower)" if hangs
                    else "subjects far out", checks.synthetic)  # fmt: skip
    panels = figure.subplots(2 if hangs else 1, 1, sharex=True, squeeze=False)[:, 0]
    place = np.arange(len(table))
    upper = panels[0]
    upper.axhspan(-found.subject_bound, found.subject_bound, color=PALE, zorder=0)
    upper.axhline(0.0, color=GREY, linewidth=0.8)
    for name, marker, colour in zip(names, ("o", "^", "s", "D"), (DEEP, WARM, INK, GREY),
                                    strict=False):  # fmt: skip
        upper.plot(place, table[f"z_{name}"], marker, color=colour, markersize=4.5, label=name)
    plain(upper, "", "eta (SD of the population)")
    upper.legend(fontsize=8, frameon=False, ncols=len(names) or 1, loc="lower left")
    if hangs:
        panels[1].axhline(0.7, color=INK, linewidth=0.8, linestyle="--")
        panels[1].plot(place, table["pareto_k"], "o", color=INK, markersize=4)
        plain(panels[1], "", "Pareto k, subject left out")
    last = panels[-1]
    last.set_xlabel("ID")
    # With many subjects only those that stand out have their names
    far = set(found.named_subjects) | set(found.influential[0])
    shown = [i for i, who in enumerate(table.index) if len(table) <= NAMED or str(who) in far]
    last.set_xticks(shown, [str(table.index[i]) for i in shown], rotation=90, fontsize=7,
                    parse_math=False)  # fmt: skip
    return figure


def sample_figures(checks: "Checks") -> Figure | None:
    """Css and CL of the sample among those of replicates; None without steady states."""
    found = checks.paper
    if found is None:
        return None
    rows = found.table
    figure = canvas(
        2.3 * len(rows), 2.9,
        f"{found.subjects} subjects at steady state: observed (line) and simulated samples",
        checks.synthetic,
    )  # fmt: skip
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(rows))), rows.index, strict=True):
        values = found.replicates[name]
        top = np.quantile(values, 0.995)
        axes.hist(values[values <= top], 30, color=PALE, edgecolor=GREY, linewidth=0.5)
        axes.axvline(rows.loc[name, "observed"], color=WARM, linewidth=2.2)
        axes.set_title(f"p {rows.loc[name, 'p']:.2g}", fontsize=8, pad=2)
        axes.set_yticks([])
        plain(axes, with_unit(name, str(rows.loc[name, "unit"])), "")
        axes.tick_params(labelsize=8)
    return figure
