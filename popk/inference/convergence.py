"""The gate: may the numbers of this posterior be believed?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from popk.inference.diagnostics import Diagnostics
from popk.inference.posterior import Posterior
from popk.population.model import Model

RHAT = 1.01
"""Rank-normalised split R-hat; Vehtari et al., Bayesian Analysis 2021;16:667-718."""
NESTED_RHAT = 1.01
"""Nested R-hat, for which its authors keep the customary bound; Margossian et al., Bayesian
Analysis 2024, arXiv 2110.13017, sec. 5."""
BFMI = 0.3
"""Energy Bayesian fraction of missing information; Betancourt, arXiv 1604.00695."""


@dataclass(frozen=True)
class Check:
    """One named check with its value and threshold.

    Attributes
    ----------
    name
        What was checked.
    value, threshold
        The worst value found and the bound that it must keep.
    passed
        Whether it does.
    worst
        The parameter or chain with that value.
    meaning
        What a failure means and what to do.
    source
        Where the threshold comes from.
    """

    name: str
    value: float
    threshold: str
    passed: bool
    worst: str
    meaning: str
    source: str


def gate(
    posterior: Posterior, found: Diagnostics, ess: float, ignore: Iterable[str] = ()
) -> tuple[Check, ...]:
    """Check a posterior: R-hat, bulk and tail ESS of every quantity, divergences, E-BFMI.

    Parameters
    ----------
    posterior, found
        The draws and their diagnostics.
    ess
        Effective sample size that every quantity must reach. 400 is the least at which R-hat
        and the ESS itself are reliable (Vehtari et al. 2021, sec. 4).
    ignore
        Quantities that are constants of the data.
    """
    keep = np.array([name not in set(ignore) for name in found.names])
    names = np.array(found.names)[keep]

    def worst(values: np.ndarray, largest: bool) -> tuple[float, str]:
        values = values[keep]
        # A NaN is the worst of all: a draw that is no finite number, or stuck chains
        bad = np.where(np.isnan(values), np.inf if largest else -np.inf, values)
        i = int(np.argmax(bad) if largest else np.argmin(bad))
        return float(values[i]), str(names[i])

    rhat, rhat_of = worst(found.rhat, True)
    bulk, bulk_of = worst(found.ess_bulk, False)
    tail, tail_of = worst(found.ess_tail, False)
    divergences = int(np.sum(posterior.stats["diverging"]))
    energies = bfmi(posterior.stats["energy"])
    weakest = int(np.argmin(np.nan_to_num(energies, nan=-np.inf)))
    nested = ()
    margossian = "Margossian et al., Bayesian Analysis 2024, arXiv 2110.13017"
    if found.nested is not None:
        value, of = worst(found.nested, True)
        nested = (
            Check(
                "nested R-hat", value, f"< {NESTED_RHAT}", value < NESTED_RHAT, of,
                "groups of chains from different starting points disagree: run longer, or look "
                "whether the model has two explanations", margossian,
            ),
        )  # fmt: skip
    vehtari = "Vehtari et al., Bayesian Analysis 2021;16:667-718"
    betancourt = "Betancourt, arXiv 1701.02434 and 1604.00695"
    return (
        Check(
            "R-hat", rhat, f"< {RHAT}", rhat < RHAT, rhat_of,
            "the chains disagree: run longer, or look whether the model has two explanations",
            vehtari,
        ),
        *nested,
        Check(
            "ESS bulk", bulk, f">= {ess:g}", bulk >= ess, bulk_of,
            "too few effective draws for means and medians: raise draws in [sampler]", vehtari,
        ),
        Check(
            "ESS tail", tail, f">= {ess:g}", tail >= ess, tail_of,
            "too few effective draws for intervals: raise draws in [sampler]", vehtari,
        ),
        Check(
            "divergences", float(divergences), "= 0", divergences == 0, "all chains",
            "part of the posterior was not reached: raise target_accept, or simplify the model",
            betancourt,
        ),
        Check(
            "E-BFMI", float(energies[weakest]), f">= {BFMI}", bool(energies[weakest] >= BFMI),
            f"chain {weakest + 1}",
            "the chains move slowly between energies: a heavy-tailed or funnel-shaped posterior",
            betancourt,
        ),
    )  # fmt: skip


def constants(model: Model, subjects: int) -> tuple[str, ...]:
    """Names of individual values that are the same in every draw: nothing in them is estimated."""
    estimated = set(model.population_names)
    found = []
    for name, parameter in model.spec.parameters.items():
        effects = [e for e in model.spec.covariates if e.parameter == name]
        own = {f"TV{name}", *(name for e in effects for name in e.coefficients)}
        if parameter.variability is None and not own & estimated:
            found += [f"{name}[{i + 1}]" for i in range(subjects)]
    return tuple(found)


def bfmi(energy: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, " chain"]:
    """Energy Bayesian fraction of missing information of each chain (Betancourt 2016, eq. 1)."""
    change = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return change / np.var(energy, axis=1)
