"""What a calibration says of simulation, likelihood and sampler together."""

import numpy as np

from popk.analysis.calibration.calibration import Calibration
from popk.analysis.verdict import FAILED, LOOK, P_THRESHOLD, PASSED, Outcome, Verdict, by_p, holm

MOST_MISSED = 0.02
"""Share of trials without a converged posterior above which a calibration fails: about as wide as
the band of a thousand replicates is at its ends (at 5 %)."""
SBC = "Talts et al., arXiv 1804.06788; Säilynoja et al., Stat Comput 2022;32:32"


def verdicts_of(found: Calibration) -> list[Verdict]:
    """What a calibration says of simulation, likelihood and sampler together.

    Each verdict takes all parameters together: a sound program fails one once in a thousand runs.
    With chosen population values intervals need not cover as often as they say, so coverage never
    fails there.
    """
    return [
        *([_of_ranks(found)] if found.truth is None else []),
        *_of_coverage(found),
        _gate(found),
    ]


def _of_ranks(found: Calibration) -> Verdict:
    table = found.parameters
    corrected = table["p_holm"].to_numpy(float)
    worst = int(np.argmin(corrected))
    p, value = float(corrected[worst]), float(table["deviation"].to_numpy()[worst])
    meaning = (
        f"largest deviation {value:.2f} SD, of {table.index[worst]}: p {p:.2g} after "
        f"Holm's correction for {len(table)} parameters"
    )
    if by_p(p) != PASSED:
        meaning += "; simulation, likelihood and sampler do not agree, or too few trials converged"
    return Verdict("ranks", by_p(p), p, P_THRESHOLD, meaning, "ranks", SBC)


def _of_coverage(found: Calibration) -> list[Verdict]:
    own = found.individuals
    apart = [name for name in found.units if name != "Css"]  # Css covers as CL
    rows = own[own.index.get_level_values("quantity").isin(apart)]
    whole = found.overall.loc[apart, "p"].to_numpy(float)
    families = {
        "coverage, population": (found.parameters, np.zeros(0)),
        "coverage, individuals": (rows, whole),
    }
    verdicts = []
    for check, (table, further) in families.items():
        if not len(table):
            continue
        coverage = table["coverage"].to_numpy(float)
        p = float(holm(np.r_[table["coverage_p"].to_numpy(float), further]).min())
        outcome: Outcome = by_p(p)
        meaning = (
            f"90 % intervals cover in {100 * coverage.min():.1f} to {100 * coverage.max():.1f} % "
            f"of the trials, {100 * coverage.mean():.1f} % on average"
        )
        if found.truth is not None:
            outcome = LOOK if outcome == FAILED else outcome
            meaning += "; at chosen population values they need not cover in 90 %"
        source = "exact binomial test, Holm's correction; SBC: Talts et al., arXiv 1804.06788"
        verdicts.append(Verdict(check, outcome, p, P_THRESHOLD, meaning, "coverage", source))
    return verdicts


def _gate(found: Calibration) -> Verdict:
    share = found.missed / found.replicates
    again = sum(method != "ensemble" for method in found.trials["method"])
    return Verdict(
        "convergence gate",
        PASSED if not share else LOOK if share <= MOST_MISSED else FAILED,
        share,
        f"0; failed above {MOST_MISSED:g}",
        f"{found.missed} of {found.replicates} trials did not converge ({again} were fitted again "
        "by another sampler); they are counted in every table",
        "trials",
        "Vehtari et al., Bayesian Analysis 2021;16:667-718",
    )
