"""The gate: may the numbers of this posterior be believed?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from popk.inference import effective
from popk.inference.posterior import Posterior
from popk.population.covariates import coefficient_names
from popk.population.model import Model

RHAT = 1.01
"""Rank-normalised split R-hat; Vehtari et al., Bayesian Analysis 2021;16:667-718."""
NESTED_RHAT = 1.01
"""Nested R-hat, for which its authors keep the customary bound; Margossian et al., Bayesian
Analysis 2024, arXiv 2110.13017, sec. 5."""
AT_ONCE = 2000
"""Quantities diagnosed at once, for bounded memory."""
SUPERCHAINS = 8
"""Groups of chains with one starting point each."""
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


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """R-hat and effective sample sizes by name and element, e.g. ``CL[3]`` for the third subject.

    Attributes
    ----------
    names
        One for each scalar quantity.
    rhat, ess_bulk, ess_tail
        [quantity] rank-normalised split R-hat, bulk ESS, and tail ESS (the smaller of the 5 %
        and 95 % quantiles').
    nested
        [quantity] nested R-hat; None where chains are too few for superchains.
    """

    names: tuple[str, ...]
    rhat: Float[np.ndarray, " quantity"]
    ess_bulk: Float[np.ndarray, " quantity"]
    ess_tail: Float[np.ndarray, " quantity"]
    nested: Float[np.ndarray, " quantity"] | None = None

    def of(self, name: str) -> tuple[float, float, float]:
        """R-hat, bulk ESS and tail ESS of one quantity."""
        i = self.names.index(name)
        return float(self.rhat[i]), float(self.ess_bulk[i]), float(self.ess_tail[i])


def diagnostics(draws: Mapping[str, Float[np.ndarray, "chain draw *shape"]]) -> Diagnostics:
    """R-hat and ESS of every scalar quantity among the draws."""
    names: list[str] = []
    columns = []
    for name, values in draws.items():
        flat = values.reshape(*values.shape[:2], -1)
        columns.append(flat)
        names += [name] if values.ndim == 2 else [f"{name}[{i + 1}]" for i in range(flat.shape[2])]
    whole = np.concatenate(columns, axis=2)
    parts = []
    for first in range(0, len(names), AT_ONCE):
        table = whole[..., first : first + AT_ONCE].astype(float)
        # Ranks would take an infinite draw for a large one
        table[np.isinf(table)] = np.nan
        ranked = effective.rank_based(table, superchains_of(table.shape[0]))
        parts.append((ranked.rhat, ranked.ess_bulk, effective.ess_tail(table), ranked.nested))
    rhat, bulk, tail, nested = zip(*parts, strict=True)
    return Diagnostics(
        tuple(names),
        np.concatenate(rhat),
        np.concatenate(bulk),
        np.concatenate(tail),
        None if nested[0] is None else np.concatenate(nested),
    )


def superchains_of(chains: int) -> int:
    """Superchains of so many chains: 8, where each can have two chains or more; else none."""
    return SUPERCHAINS if chains >= 2 * SUPERCHAINS and chains % SUPERCHAINS == 0 else 0


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
        own = {f"TV{name}", *(c for e in effects for c in coefficient_names(e))}
        if parameter.variability is None and not own & estimated:
            found += [f"{name}[{i + 1}]" for i in range(subjects)]
    return tuple(found)


def bfmi(energy: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, " chain"]:
    """Energy Bayesian fraction of missing information of each chain (Betancourt 2016, eq. 1)."""
    change = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return change / np.var(energy, axis=1)
