"""The posterior of one new subject, given a fit of others and its own samples.

Given the population's parameters theta the subject and the population's data are independent, so
that the posterior of a fit to both is p(theta | data) p(eta | theta) p(y | theta, eta), up to a
constant. Draws of theta are the fit's; with each the subject's own numbers are proposed and weighed
(`popk.inference.one_subject`). The weights are smoothed and judged by a Pareto distribution
(Vehtari, Simpson, Gelman, Yao, Gabry, J Mach Learn Res 2024;25(72):1-58), then the draws are
resampled by them (Rubin, J Am Stat Assoc 1987;82:543-6).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float, Int

from popk.analysis.checking.replicates import population_draws
from popk.analysis.predictive import UNRELIABLE
from popk.data.dataset import Dataset
from popk.data.patient import beside
from popk.inference.one_subject import PRIOR_SHARE, Weighed, weighed
from popk.population.events import arrange
from popk.population.subjects import varied
from popk.spec.fit import Sampler as SamplerSpec
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit

Method = Literal["importance", "refit", "population"]

DRAWS = 4000
"""Draws of the population, evenly spaced; where the fit has fewer they are used repeatedly."""
LEAST_ESS = 400.0
"""Effective draws below which the weights are not relied on: as many as a fit must have."""


@dataclass(frozen=True, eq=False)
class OnePosterior:
    """Equally likely draws of one subject and of the population, given the data of both.

    Attributes
    ----------
    values
        Name to [draw, ...] values of the model's population sites and of the subject's etas.
    parameters
        CL, V to [draw], in the parameters' own units.
    method
        "importance": the fit's draws, weighed and resampled. "refit": the model was fitted again,
        to the population's data and the subject's. "population": the subject has no samples, and
        is drawn from the population.
    why
        The reason, in words.
    k
        Pareto k of the weights; above 0.7 they are not relied on. NaN without samples.
    ess
        Effective draws behind the subject's parameters.
    refit
        The fit of "refit"; else None.
    """

    values: Mapping[str, Float[np.ndarray, "draw ..."]]
    parameters: Mapping[str, Float[np.ndarray, " draw"]]
    method: Method
    why: str
    k: float
    ess: float
    refit: Fit | None = None


class Smoothed(NamedTuple):
    """Weights that sum to one, and how far they may be relied on."""

    weight: Float[np.ndarray, " draw"]
    k: float

    @property
    def ess(self) -> float:
        """Kish's effective number of draws, 1 / sum of squares."""
        return 1.0 / float(np.square(self.weight).sum())


def one_posterior(
    fit: Fit,
    subject: Dataset,
    *,
    seed: int | None = None,
    draws: int = DRAWS,
    worst_k: float = UNRELIABLE,
    least_ess: float = LEAST_ESS,
    watch: Callable[[str], None] | None = None,
) -> OnePosterior:
    """The posterior of one subject that is not among a fit's data.

    Parameters
    ----------
    fit
        The population.
    subject
        One subject in the units of `fit.data`, whose covariates do not change; censored records
        count by their intervals.
    seed
        The fit's by default.
    draws
        How many.
    worst_k, least_ess
        The model is fitted again, to all data, where Pareto k of the weights is higher or their
        effective number lower.
    watch
        Called with a line of text before the model is fitted again.

    Raises
    ------
    popk.PopkError
        If the subject lacks a covariate, or the model leaves one of its samples no probability.
    """
    seed = fit.provenance.seed if seed is None else seed
    sites = population_draws(fit, draws)
    share = PRIOR_SHARE if subject.observed.any() else 1.0
    with jax.enable_x64(True):
        drawn = weighed(fit.model, arrange(fit.model.spec, subject)[0], sites, seed, share)
    if not subject.observed.any():
        usable = np.flatnonzero(np.isfinite(drawn.log_weight))
        why = "no samples: drawn from the population"
        return _chosen(sites, drawn, usable, "population", why, math.nan, usable.size)
    weights = smoothed(drawn.log_weight)
    why = _unreliable(weights, worst_k, least_ess)
    if why:
        return _refitted(fit, subject, f"fitted again: {why}", weights.k, draws, watch)
    own = resampled(np.random.default_rng([seed, 5]), weights.weight, drawn.parameters["CL"])
    why = f"Pareto k {weights.k:.2f} of the weights, {weights.ess:.0f} effective draws"
    return _chosen(sites, drawn, own, "importance", why, weights.k, weights.ess)


def smoothed(log_weight: Float[np.ndarray, " draw"]) -> Smoothed:
    """Pareto-smoothed weights.

    NaN and -inf are weights of zero. Where fewer than `LEAST_ESS` are left k is infinite.
    """
    known = np.isfinite(log_weight)
    weight = np.zeros(log_weight.shape)
    if known.sum() < LEAST_ESS:
        return Smoothed(weight + 1.0 / weight.size, math.inf)
    logs = log_weight[known] - log_weight[known].max()
    stats: Any = array_stats
    try:
        # What this takes are log likelihoods of units left out: weights with the other sign
        logs, k = stats.psislw(-logs)
    except ValueError:  # the largest weights are all the same: they have no tail
        k = 0.0
    weight[known] = np.exp(logs - logs.max())
    return Smoothed(weight / weight.sum(), float(k))


def resampled(
    rng: np.random.Generator,
    weight: Float[np.ndarray, " draw"],
    along: Float[np.ndarray, " draw"],
) -> Int[np.ndarray, " draw"]:
    """As many draws, by their weights, in random order.

    Systematically, in the order of `along`: its quantiles are those of the weighted draws.
    """
    order = np.argsort(along)
    count = weight.size
    places = (np.arange(count) + rng.uniform()) / count
    reached = np.cumsum(weight[order])
    found = np.searchsorted(reached / reached[-1], places)
    return rng.permutation(order[np.minimum(found, count - 1)])


def _unreliable(weights: Smoothed, worst_k: float, least_ess: float) -> str:
    """Why weights are not relied on; empty where they are."""
    if not weights.k <= worst_k:
        return f"Pareto k of the weights is {weights.k:.2f}, above {worst_k:g}"
    if weights.ess < least_ess:
        return f"the weights leave {weights.ess:.0f} effective draws, fewer than {least_ess:g}"
    return ""


def _chosen(
    sites: Mapping[str, Float[np.ndarray, "draw ..."]],
    drawn: Weighed,
    own: Int[np.ndarray, " draw"],
    method: Method,
    why: str,
    k: float,
    ess: float,
) -> OnePosterior:
    """The posterior of these of the draws."""
    values = dict(sites) | {f"eta_{name}": eta for name, eta in drawn.etas.items()}
    return OnePosterior(
        {name: value[own] for name, value in values.items()},
        {name: value[own] for name, value in drawn.parameters.items()},
        method,
        why,
        k,
        float(ess),
    )


def _refitted(
    fit: Fit,
    subject: Dataset,
    why: str,
    k: float,
    draws: int,
    watch: Callable[[str], None] | None,
) -> OnePosterior:
    """The subject's draws from a fit of all data."""
    if watch is not None:
        watch(f"{fit.name or 'fit'} with ID {subject.ids[0]}")
    whole = beside(fit.data, subject)
    settings = SamplerSpec(seed=fit.provenance.seed)
    again = run_fit(fit.model, whole, settings, synthetic=fit.synthetic, name=fit.name)
    last = whole.subjects - 1
    flat = {name: np.concatenate(values) for name, values in again.samples.draws.items()}
    count = len(flat["CL"])
    own = np.linspace(0, count - 1, min(draws, count)).astype(int)
    sites = population_draws(again, len(own))
    etas = {f"eta_{n}": flat[f"eta_{n}"][own, last] for n in varied(fit.model)}
    parameters = {n: flat[n][own, last] for n in fit.model.spec.parameters}
    # A parameter that is fixed has no effective draws
    bulk = [again.diagnostics.of(f"{name}[{last + 1}]")[1] for name in parameters]
    if not again.converged:
        why += "; this fit has not converged, see its checks"
    return OnePosterior(sites | etas, parameters, "refit", why, k, float(np.nanmin(bulk)), again)
