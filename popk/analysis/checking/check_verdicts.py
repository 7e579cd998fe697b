"""What each check of a fit says, in a sentence, with its threshold and source."""

import math
from typing import Any

import numpy as np
import pandas as pd

from popk.analysis.checking.etas import SHRUNKEN, Etas
from popk.analysis.checking.outliers import LIKELY, Outliers
from popk.analysis.checking.paper_check import PaperCheck
from popk.analysis.checking.residuals import NpdeTests
from popk.analysis.checking.variability import BETTER, BY_ERRORS, better
from popk.analysis.checking.vpc import Limits, Vpc
from popk.analysis.predictive import UNRELIABLE
from popk.analysis.verdict import (
    FAILED,
    IMPOSSIBLE,
    LOOK,
    P_THRESHOLD,
    PASSED,
    SUSPECT,
    Outcome,
    Verdict,
    by_p,
)
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

FEWEST = 3
"""Measured observations below which there is nothing to compare with a prediction."""
NPDE = "Brendel et al., Pharm Res 2006;23:2036-49; J Pharmacokinet Pharmacodyn 2010;37:49-65"
ENVELOPE = "global envelope test, Myllymäki et al., J R Stat Soc B 2017;79:381-404"
NAN = float("nan")


def converged(fit: Fit | MaximumFit) -> Verdict:
    """Whether the posterior, or the search for the maximum, may be believed at all."""
    failed = [c.name for c in fit.checks if not c.passed]
    return Verdict(
        "convergence",
        FAILED if failed else PASSED,
        float(len(failed)),
        "every check of the fit",
        f"failed: {', '.join(failed)}; nothing below is to be believed before the fit converges"
        if failed
        else "all checks of the fit hold",
        "",
        "see popk summary",
    )


def npde(found: NpdeTests, measured: int) -> list[Verdict]:
    """Mean and spread, shape, and trends of NPDE.

    The three tests of the whole are made as one: each p is multiplied by three.
    """
    whole = found.whole
    amount = min(1.0, 3.0 * min(whole.mean, whole.variance))
    possible = measured >= FEWEST and not math.isnan(amount)
    level = f"mean {found.mean:+.2f} (0 expected), SD {found.sd:.2f} (1 expected)"
    return [
        _by_p(
            "NPDE, mean and spread",
            amount if possible else NAN,
            f"{level}: predictions are as high and spread as the data",
            f"{level}: {_amount(found)}",
            "npde",
            f"t and chi-square tests, Bonferroni over the three; {NPDE}",
        ),
        _by_p(
            "NPDE, shape",
            min(1.0, 3.0 * whole.shape) if possible else NAN,
            "the distribution is normal",
            "tails or skewness that the model does not have; look at the single points in the "
            "QQ plot, and at the residual error and the variability",
            "npde",
            f"Shapiro-Wilk, Bonferroni over the three; {NPDE}",
        ),
        _by_p(
            "NPDE, along time, time after dose and PRED",
            found.trend_p if possible else NAN,
            "no bin of any axis has a mean or spread of its own",
            f"a trend along {_worst_axis(found)}: the structure, its time course or the residual "
            "error is wrong there",
            "residuals",
            "chi-square of means and variances in bins, Holm over axes; " + NPDE,
        ),
    ]


def _amount(found: NpdeTests) -> str:
    low = found.whole.mean <= found.whole.variance
    if low:
        return f"predictions are too {'low' if found.mean > 0 else 'high'} on the whole"
    return f"the model predicts too {'little' if found.sd > 1 else 'much'} spread"


def _worst_axis(found: NpdeTests) -> str:
    known = found.along["p_holm"].dropna()
    return str(known.idxmin()) if len(known) else "none"


def vpc(found: Vpc, measured: int, time: str) -> Verdict:
    """All bins and quantiles together."""
    name = "prediction-corrected VPC" if found.corrected else "VPC"
    out: Any = found.table[found.table["outside"]] if len(found.table) else found.table
    places = [
        f"{100 * row['quantile']:.0f} % quantile too "
        f"{'high' if row['observed'] > row['band_high'] else 'low'} "
        f"at {row['start']:g} to {row['end']:g} {time}"
        for row in _rows(out)
    ]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    where = "; ".join(places[:3]) + more or "no single quantile leaves the band"
    return _by_p(
        name,
        found.p if measured >= FEWEST else NAN,
        "observed quantiles in every bin are like those of simulated data",
        f"observed: {where}",
        "pcvpc" if found.corrected else "vpc",
        ENVELOPE
        + ("; Bergstrand et al., AAPS J 2011;13:143-51" if found.corrected else "; Holford 2005"),
    )


def limits(found: Limits) -> Verdict | None:
    """Fractions beyond the assay's limits; None where no row is censored."""
    if found.table.empty:
        return None
    out: Any = found.table[found.table["outside"]]
    places = ", ".join(f"{r['side']} at {r['start']:g} to {r['end']:g}" for r in _rows(out))
    return _by_p(
        "fractions beyond the assay's limits",
        found.p,
        "as many observations are censored, in every bin, as in simulated data",
        f"more or fewer are censored than in simulated data ({places or 'taken together'})",
        "limits",
        ENVELOPE,
    )


def paper(found: PaperCheck | None) -> Verdict | None:
    """Css and CL as a paper prints them; None without steady states."""
    if found is None:
        return None
    p = found.table["p"].to_numpy(float)
    worst = str(found.table.index[int(p.argmin())])
    row: Any = found.table.loc[worst]
    told = f"{worst} {row['observed']:.3g} {row['unit']}, 90 % of replicates {row['low']:.3g} to " \
        f"{row['high']:.3g}"  # fmt: skip
    return _by_p(
        "Css and CL of the sample",
        min(1.0, float(p.min()) * len(p)),
        f"mean, SD, median and range are like those of simulated studies (most extreme: {told})",
        f"{told}: the model does not give such a sample",
        "sample_figures",
        "posterior predictive check, Bonferroni; Gelman et al., Bayesian Data Analysis 3, ch. 6",
    )


def eta_trends(found: Etas) -> Verdict:
    """Etas against covariates; never more than a hint."""
    known = found.tests.dropna(subset=["p_holm"])
    p = known["p_holm"].to_numpy(float)
    worst: Any = known.iloc[int(p.argmin())] if len(p) else None
    value = float(p.min()) if len(p) else NAN
    outcome: Outcome = IMPOSSIBLE if not len(p) else LOOK if value < SUSPECT else PASSED
    return Verdict(
        "etas against covariates",
        outcome,
        value,
        f"p ≥ {SUSPECT:g} (Holm)",
        "too few subjects, or no covariate that varies"
        if worst is None
        else "no eta goes with a covariate"
        if outcome == PASSED
        else f"eta of {worst['parameter']} goes with {worst['covariate']}: test it as a "
        "candidate (popk covariates)",
        "etas",
        "Spearman and Kruskal-Wallis tests of individual estimates",
    )


def shrinkage(found: Etas) -> Verdict:
    """How far individual estimates fall back to the population."""
    known = {n: s for n, s in found.shrinkage.items() if not math.isnan(s)}
    high = {n: s for n, s in known.items() if s >= SHRUNKEN}
    outcome: Outcome = IMPOSSIBLE if not known else LOOK if high else PASSED
    listed = ", ".join(f"{n} {100 * s:.0f} %" for n, s in (high or known).items())
    return Verdict(
        "shrinkage",
        outcome,
        max(known.values(), default=NAN),
        f"below {100 * SHRUNKEN:.0f} %",
        "one subject, or nothing that varies"
        if not known
        else f"{listed}: plots of these individual estimates show less than there is; "
        "judge by NPDE and VPC"
        if high
        else listed,
        "etas",
        "Savic & Karlsson, AAPS J 2009;11:558-69",
    )


def outlying(found: Outliers) -> list[Verdict]:
    """Subjects and points that lie far out, and those on which the fit hangs."""
    subjects, points = found.named_subjects, found.named_points
    heavy, _ = found.influential
    named = dict.fromkeys([*subjects, *heavy])
    told = "; ".join(f"ID {who}: {_of_subject(found, who)}" for who in list(named)[:5])
    more = f"; and {len(named) - 5} more" if len(named) > 5 else ""
    listed = "; ".join(
        f"ID {row['ID']} at {row['TIME']:g} (line {row['line']}), {row['z']:+.1f} SD"
        for row in _rows(points.head(5))
    )
    rest = f"; and {len(points) - 5} more" if len(points) > 5 else ""
    columns = [c for c in found.subjects if str(c).startswith("probability_")]
    highest = float(found.subjects[columns].to_numpy(float).max()) if columns else NAN
    chaloner = "Chaloner & Brant, Biometrika 1988;75:651-9"
    return [
        Verdict(
            "outlying subjects",
            LOOK if named else PASSED,
            highest,
            f"probability ≤ {LIKELY:g} of an eta beyond {found.subject_bound:.1f} SD, "
            f"and Pareto k ≤ {UNRELIABLE:g}",
            told + more if named else "no subject lies far out, the fit hangs on none",
            "outliers",
            f"{chaloner}; Vehtari et al., Stat Comput 2017;27:1413-32",
        ),
        Verdict(
            "outlying points",
            LOOK if len(points) else PASSED,
            float(np.nanmax(np.r_[-np.inf, found.points["probability"].to_numpy(float)])),
            f"probability ≤ {LIKELY:g} of a residual beyond {found.point_bound:.1f} SD",
            listed + rest if len(points) else "no point lies far out",
            "outliers",
            chaloner,
        ),
    ]


def _of_subject(found: Outliers, who: str) -> str:
    row: Any = found.subjects.loc[who]
    names = [str(c).removeprefix("z_") for c in found.subjects if str(c).startswith("z_")]
    name = max(names, key=lambda n: abs(row[f"z_{n}"]))
    k = row["pareto_k"]
    hangs = "" if math.isnan(k) else f", Pareto k {k:.2f}"
    return (
        f"{name} {row[f'z_{name}']:+.1f} SD, outlying with probability "
        f"{row[f'probability_{name}']:.2f}{hangs}"
    )


def variability(table: pd.DataFrame) -> Verdict | None:
    """Whether another kind of variability predicts better; None where not compared."""
    if table.empty:
        return None
    own = table.attrs["own"]
    found = better(table)
    others: Any = table[table.index != own]
    told = ", ".join(
        f"{row['variability']} {row['difference']:+.1f} ± {row['error']:.1f}"
        if math.isfinite(row["difference"])
        else f"{row['variability']} not known"
        for row in _rows(others.reset_index())
    )
    return Verdict(
        "kind of variability",
        LOOK if found else PASSED,
        float(np.nanmax(np.r_[-np.inf, others["difference"].to_numpy(float)])),
        f"none better by more than {BETTER:g} and {BY_ERRORS:g} standard errors",
        f"elpd against {own}: {told}"
        + (f"; {' and '.join(found)} predicts new subjects better" if found else ""),
        "variability",
        "leave-one-subject-out; Sivula et al., arXiv 2008.10296",
    )


def _by_p(check: str, p: float, good: str, bad: str, figure: str, source: str) -> Verdict:
    outcome = by_p(p)
    told = {PASSED: good, IMPOSSIBLE: "too few measured observations to tell"}.get(outcome, bad)
    return Verdict(check, outcome, p, P_THRESHOLD, told, figure, source)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(row) for _, row in table.iterrows()]
