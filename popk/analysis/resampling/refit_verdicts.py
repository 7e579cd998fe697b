"""What a bootstrap and what leaving subjects out say of a fit, as verdicts."""

from popk.analysis.covariates.effects import NOT_RELEVANT, RELEVANT
from popk.analysis.resampling.bootstrap import Bootstrap
from popk.analysis.resampling.influence import Influence
from popk.analysis.verdict import FAILED, LOOK, PASSED, Outcome, Verdict

NARROW, WIDE = 0.8, 1.25
"""Bootstrap standard error over the fit's own SD: what lies between is taken for the same."""
BIAS = 0.25
"""Bias in standard errors that may be ignored (Efron & Tibshirani 1993, sec. 10.3)."""
MOVED, HANGS = 0.5, 1.0
"""A shift in SDs that is named, and one by which a conclusion hangs on one subject."""
MOST_MISSED = 0.05
"""Share of refits without convergence above which a table is not to be used."""
ERRORS = 2.0
"""Monte Carlo standard errors that a figure must lie beyond its bound."""
EFRON = "Efron & Tibshirani, An Introduction to the Bootstrap, 1993"
COOK = "Cook, Technometrics 1977;19:15-8; the bounds are custom"


def of_bootstrap(found: Bootstrap) -> list[Verdict]:
    """Whether the fit's widths are those of repeated sampling, bias, and the refits themselves."""
    return [_widths(found), _bias(found), _refits(found.missed, len(found.replicates))]


def of_influence(found: Influence) -> list[Verdict]:
    """Who moves what, whether a verdict on a covariate hangs on one subject, and the refits."""
    verdicts = [_moved(found)]
    if len(found.verdicts.columns):
        verdicts.append(_effects(found))
    return [*verdicts, _refits(found.missed, len(found.subjects))]


def movers(found: Influence, bound: float = MOVED) -> list[tuple[str, str, float, float]]:
    """ID, parameter, shift and error where a shift lies beyond the bound; the largest first."""
    shifts, errors = found.shifts.to_numpy(float), found.errors.to_numpy(float)
    out = [
        (str(who), name, float(shifts[i, j]), float(errors[i, j]))
        for i, who in enumerate(found.subjects.index)
        for j, name in enumerate(found.names)
    ]
    beyond = [row for row in out if abs(row[2]) - ERRORS * row[3] > bound]
    return sorted(beyond, key=lambda row: -abs(row[2]))


def changes(found: Influence) -> list[tuple[str, str, str]]:
    """ID, effect and the verdict without the subject, where it is another than the fit's."""
    return [
        (str(who), effect, str(word))
        for effect, whole in found.whole.items()
        for who, word in zip(found.verdicts.index, found.verdicts[effect], strict=True)
        if str(word) != whole
    ]


def _widths(found: Bootstrap) -> Verdict:
    table = found.parameters
    ratio, error = table["ratio"].to_numpy(float), table["ratio_error"].to_numpy(float)
    low = [str(n) for n, r, e in zip(table.index, ratio, error, strict=True)
           if r + ERRORS * e < NARROW]  # fmt: skip
    high = [str(n) for n, r, e in zip(table.index, ratio, error, strict=True)
            if r - ERRORS * e > WIDE]  # fmt: skip
    own = "standard errors by the Hessian" if found.maximum else "posterior SDs"
    meaning = f"bootstrap standard errors are {ratio.min():.2f} to {ratio.max():.2f} of the {own}"
    if high:
        meaning += f"; the fit is surer than repeated studies would be of {', '.join(high)}"
    if low:
        meaning += f"; the fit is less sure than repeated studies would be of {', '.join(low)}"
        meaning += "" if found.maximum else " (an estimate that is drawn to its prior varies less)"
    return Verdict(
        "widths", LOOK if low or high else PASSED,
        float(max(ratio, key=lambda r: abs(r - 1.0))),
        f"{NARROW:g} to {WIDE:g}, beyond {ERRORS:g} Monte Carlo errors", meaning, found.kind, EFRON,
    )  # fmt: skip


def _bias(found: Bootstrap) -> Verdict:
    table = found.parameters
    share = table["bias"].to_numpy(float) / table["se"].to_numpy(float)
    error = table["bias_error"].to_numpy(float) / table["se"].to_numpy(float)
    named = [str(n) for n, b, e in zip(table.index, share, error, strict=True)
             if abs(b) - ERRORS * e > BIAS]  # fmt: skip
    worst = int(abs(share).argmax())
    meaning = f"largest bias {share[worst]:+.2f} standard errors, of {table.index[worst]}"
    if named:
        meaning += f"; beyond {BIAS:g}: {', '.join(named)}"
    return Verdict(
        "bias", LOOK if named else PASSED, float(share[worst]),
        f"within {BIAS:g} standard errors", meaning, found.kind, f"{EFRON}, sec. 10.3",
    )  # fmt: skip


def _moved(found: Influence) -> Verdict:
    rows = movers(found)
    shifts = found.shifts.abs()
    largest = float(shifts.to_numpy(float).max())
    outcome: Outcome = FAILED if movers(found, HANGS) else LOOK if rows else PASSED
    if rows:
        said = [f"{name} by {shift:+.2f} ± {error:.2f} SD without ID {who}"
                for who, name, shift, error in rows[:5]]  # fmt: skip
        more = f", and {len(rows) - 5} more" if len(rows) > 5 else ""
        meaning = f"{'; '.join(said)}{more}"
    else:
        row, column = divmod(int(shifts.to_numpy(float).argmax()), len(found.names))
        who, name = found.subjects.index[row], found.names[column]
        meaning = f"largest shift {largest:.2f} SD, of {name} without ID {who}"
    return Verdict(
        "one subject", outcome, largest,
        f"{MOVED:g} SD beyond {ERRORS:g} Monte Carlo errors; failed above {HANGS:g}",
        meaning, "influence", COOK,
    )  # fmt: skip


def _effects(found: Influence) -> Verdict:
    rows = changes(found)
    opposite = {RELEVANT, NOT_RELEVANT}
    turned = [row for row in rows if {row[2], found.whole[row[1]]} == opposite]
    if rows:
        said = [f'without ID {who} that of {effect} is "{word}"' for who, effect, word in rows[:5]]
        more = f", and {len(rows) - 5} more" if len(rows) > 5 else ""
        meaning = f"{'; '.join(said)}{more}"
    else:
        said = [f'that of {effect} stays "{word}"' for effect, word in found.whole.items()]
        meaning = f"whoever is left out, {'; '.join(said)}"
    return Verdict(
        "covariate verdicts", FAILED if turned else LOOK if rows else PASSED, float(len(rows)),
        "none changes; failed where one turns round", meaning, "influence",
        "popk covariates: 90 % interval against the range of no effect",
    )  # fmt: skip


def _refits(missed: int, count: int) -> Verdict:
    share = missed / count
    return Verdict(
        "convergence of the refits",
        PASSED if not missed else LOOK if share <= MOST_MISSED else FAILED, share,
        f"0; failed above {MOST_MISSED:g}",
        f"{missed} of {count} did not converge; they are counted in every table", "replicates",
        "Vehtari et al., Bayesian Analysis 2021;16:667-718",
    )  # fmt: skip
