"""How well a model predicts what it has not seen: an observation, or a whole subject.

Expected log predictive densities by Pareto-smoothed importance sampling (Vehtari, Gelman, Gabry,
Stat Comput 2017;27:1413-32). For a subject left out the likelihood has its etas integrated out
(adaptive quadrature): given them no draw knows a subject that was not in the data, and the
importance weights of a whole subject would have no variance.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from popk.data.dataset import Dataset, of_subjects
from popk.inference.conditional import STUCK
from popk.inference.maximum import Likelihood
from popk.population.model import Model
from popk.spec.fit import Sampler as SamplerSpec
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit
from popk.study.maximum import prepare_likelihood

UNRELIABLE = 0.7
"""Pareto k above which importance sampling is not relied on (ibid., sec. 2.1)."""
FEW = 0.05
"""Share of the draws in which a unit's likelihood may be missing."""
DRAWS = 500
"""Draws for which the likelihood of subjects is computed."""
NODES = 5


class Predictive(NamedTuple):
    """Log predictive densities of units left out one by one.

    Attributes
    ----------
    elpd
        [unit] of each observation or subject.
    k
        [unit] Pareto k; NaN where the model was fitted again without the unit.
    refitted
        Units for which that was done.
    """

    elpd: Float[np.ndarray, " unit"]
    k: Float[np.ndarray, " unit"]
    refitted: Int[np.ndarray, " refit"]

    @property
    def total(self) -> float:
        """Sum over the units."""
        return float(self.elpd.sum())

    @property
    def unreliable(self) -> int:
        """Units whose Pareto k says that their density is not known."""
        return int(np.sum(self.k > UNRELIABLE))


class Difference(NamedTuple):
    """The sum of `elpd` of one model less that of another, and its standard error."""

    difference: float
    error: float


def difference(first: Predictive, second: Predictive) -> Difference:
    """By how much the first model predicts better; the error is over units."""
    each = first.elpd - second.elpd
    return Difference(float(each.sum()), float(np.sqrt(each.size * each.var(ddof=1))))


def over_observations(fit: Fit) -> Predictive:
    """Leave one observation out."""
    log_likelihood = fit.samples.log_likelihood
    flat = log_likelihood.reshape(-1, log_likelihood.shape[-1])
    return smoothed(flat)


def over_subjects(
    fit: Fit,
    *,
    refit: bool = True,
    watch: Callable[[str], None] | None = None,
) -> Predictive:
    """Leave one subject out; fitted again without it where importance sampling is not reliable."""
    found = smoothed(subject_likelihood(fit, fit.data))
    again = np.flatnonzero(found.k > UNRELIABLE) if refit else np.zeros(0, dtype=int)
    elpd, k = found.elpd.copy(), found.k.copy()
    for i in again.tolist():
        if watch is not None:
            watch(f"{fit.name or 'fit'} without ID {fit.data.ids[i]}")
        elpd[i] = without(fit, i)
        k[i] = np.nan
    return Predictive(elpd, k, again)


def without(fit: Fit, subject: int) -> float:
    """Log predictive density of a subject, by a fit of all others."""
    others = np.delete(np.arange(fit.data.subjects), subject)
    settings = SamplerSpec(seed=fit.provenance.seed)
    rest = run_fit(fit.model, of_subjects(fit.data, others), settings)
    density = subject_likelihood(rest, of_subjects(fit.data, np.array([subject])))
    known = density[np.isfinite(density)]
    return float(logsumexp(known) - np.log(known.size)) if known.size else float("nan")


def subject_likelihood(fit: Fit, data: Dataset) -> Float[np.ndarray, "draw subject"]:
    """Log likelihood of each subject's data in draws of the population, etas integrated out."""
    settings = SamplerSpec(method="agq", nodes=NODES)
    with jax.enable_x64(True):
        own = prepare_likelihood(fit.model, data, settings).likelihood
    return in_draws(own, fit.samples.draws)


def in_draws(
    own: Likelihood, draws: Mapping[str, Float[np.ndarray, "*draw"]], most: int = DRAWS
) -> Float[np.ndarray, "draw subject"]:
    """The subjects' marginal log likelihoods in draws of the population, evenly chosen ones.

    NaN in a draw in which a subject's mode was not found from either of two starts.
    """
    names = (*own.model.population_names, *own.model.correlation_names)
    count = draws[names[0]].size
    chosen = np.linspace(0, count - 1, min(most, count)).astype(int)
    flat = {name: draws[name].reshape(count)[chosen] for name in names}
    if own.model.correlation_names:
        flat["correlation_cholesky"] = cholesky_factors(own.model, flat)
    x = None
    rows = []
    for vector in own.vectors(flat):
        found = own(vector, x, scores=False)
        if not (np.isfinite(found.log_likelihood).all() and (found.left < STUCK).all()):
            # The modes of the draw before may lie too far away
            found = own(vector, scores=False)
        x = found.x if np.isfinite(found.x).all() else None
        # Where a subject has no mode in this draw, what is said of the others is not safe either
        known = np.isfinite(found.log_likelihood).all() and (found.left < STUCK).all()
        rows.append(found.log_likelihood if known else np.full_like(found.log_likelihood, np.nan))
    return np.stack(rows)


def cholesky_factors(
    model: Model, draws: Mapping[str, Float[np.ndarray, " draw"]]
) -> Float[np.ndarray, "draw k k"]:
    """The factors of the etas' correlations."""
    correlation = model.spec.correlation
    assert correlation is not None
    block = [n for n in model.spec.parameters if n in correlation.parameters]
    count = len(next(iter(draws.values())))
    matrix = np.tile(np.eye(len(block)), (count, 1, 1))
    for i, a in enumerate(block):
        for j in range(i + 1, len(block)):
            matrix[:, i, j] = matrix[:, j, i] = draws[f"correlation_{a}_{block[j]}"]
    return np.linalg.cholesky(matrix)


def smoothed(log_likelihood: Float[np.ndarray, "draw unit"]) -> Predictive:
    """Importance sampling from the whole posterior to that without each unit.

    Of a unit whose likelihood was not found in a few draws (`FEW`), the others are used; beyond
    that its density is NaN.
    """
    import arviz

    known = np.isfinite(log_likelihood)
    whole = known.all(axis=0)
    elpd, k = (np.full(log_likelihood.shape[1], np.nan) for _ in range(2))

    def put(units: np.ndarray, density: np.ndarray) -> None:
        log_weight, own = arviz.psislw(-density.T.copy())
        elpd[units] = logsumexp(np.asarray(log_weight) + density.T, axis=1)
        k[units] = own

    if whole.any():
        put(np.flatnonzero(whole), log_likelihood[:, whole])
    for unit in np.flatnonzero(~whole & (known.mean(axis=0) >= 1.0 - FEW)):
        put(np.array([unit]), log_likelihood[known[:, unit], unit][:, None])
    return Predictive(elpd, k, np.zeros(0, dtype=int))
