"""Likelihood-ratio tests of an effect in many trials at once.

With the effect and without it: two searches of each trial's marginal likelihood (FOCEI), that
without holding the coefficient at zero. Both begin at the trial's posterior, whose covariance is
the metric of their first steps. A search that has not ended is finished by itself.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.stats import chi2

from popk.analysis.covariates.candidates import without_effects
from popk.analysis.covariates.likelihood_ratio import likelihood_of
from popk.analysis.predictive import cholesky_factors
from popk.inference.maxima import Maxima, Searches, maxima, one_of
from popk.inference.maximum import Estimate, Likelihood, Settings, at, maximise
from popk.inference.programs import one_at_a_time
from popk.inference.trials import Trials
from popk.population.events import Events
from popk.population.model import Model
from popk.spec.relations import CovariateEffect

DRAWS = 200
"""Of each trial's posterior, from which its searches begin."""
NESTED = 1e-3
"""OFV by which a model may be worse than the one nested in it before a search is not believed."""


class Ratios(NamedTuple):
    """Likelihood-ratio tests.

    Attributes
    ----------
    change
        [trial] OFV with the effect less that without.
    p
        [trial] by the chi-square distribution of one degree of freedom; NaN where one of the two
        searches has not come to the highest likelihood.
    alone
        [trial] 1 where the searches were made again by themselves, else 0.
    """

    change: Float[np.ndarray, " trial"]
    p: Float[np.ndarray, " trial"]
    alone: Int[np.ndarray, " trial"]


def likelihood_ratios(
    model: Model, effect: CovariateEffect, fitted: Trials, events: Events
) -> Ratios:
    """Test an effect in every trial.

    Parameters
    ----------
    model
        With the effect.
    effect
        One of its effects, whose coefficient means none where it is zero.
    fitted
        The trials' posteriors.
    events
        What was fitted, an axis of trials first.
    """
    method: Any = likelihood_of(model.spec).method
    own = Likelihood(model, one_of(events, 0), Settings(method))
    count = len(fitted.draws)
    place, nothing = _held(own, effect)
    if not math.isfinite(nothing):  # the prior excludes that there is none
        return Ratios(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, dtype=int))
    found = maxima(own, events, _searches(_coordinates(own, fitted), place, nothing))
    highest, ended = found.log_likelihood.reshape(2, count), found.ended.reshape(2, count)
    # A model cannot be worse than one that is nested in it
    believed = ended & (highest[0] > highest[1] - 0.5 * NESTED)
    alone = ~believed.all(axis=0)
    for trial in np.flatnonzero(alone).tolist():
        with one_at_a_time():
            both = _alone(own, effect, one_of(events, trial), found, trial, count)
        highest[:, trial] = [estimate.log_likelihood for estimate in both]
        ended[:, trial] = [estimate.highest for estimate in both]
    change = -2.0 * (highest[0] - highest[1])
    p = chi2.sf(np.maximum(-change, 0.0), 1)
    return Ratios(change, np.where(ended.all(axis=0), p, np.nan), alone.astype(int))


def _held(own: Likelihood, effect: CovariateEffect) -> tuple[int, float]:
    """The coordinate of the coefficient, and where on it there is no effect."""

    def coefficient(vector: Array) -> Array:
        return own.coordinates.values(vector)[effect.name].sum()

    with jax.enable_x64(True):
        slope = jax.grad(coefficient)(jnp.asarray(own.coordinates.start))
    place = int(np.argmax(np.abs(slope)))
    return place, float(own.vector({effect.name: 0.0})[place])


def _coordinates(own: Likelihood, fitted: Trials) -> Float[np.ndarray, "trial draw p"]:
    """Draws of every trial as unconstrained coordinates."""
    chosen = []
    for draws in fitted.draws:
        flat = np.asarray(draws, float).reshape(-1, draws.shape[2])
        chosen.append(flat[np.linspace(0, len(flat) - 1, DRAWS).astype(int)])
    flat = np.concatenate(chosen)
    named = {name: flat[:, j] for j, name in enumerate(fitted.names)}
    sites = {name: named[name] for name in own.model.population_names}
    if own.model.correlation_names:
        sites["correlation_cholesky"] = cholesky_factors(own.model, named)
    return own.vectors(sites).reshape(len(chosen), DRAWS, -1)


def _searches(draws: Float[np.ndarray, "trial draw p"], place: int, nothing: float) -> Searches:
    """With the effect from the posterior's median; then without, from what it says there."""
    count, _, size = draws.shape
    middle = np.median(draws, axis=1)
    spread = np.stack([np.cov(own, rowvar=False).reshape(size, size) for own in draws])
    spread = spread + 1e-8 * np.eye(size)
    free = np.ones((2 * count, size), dtype=bool)
    free[count:, place] = False
    # Of a normal posterior given that there is no effect
    pull = spread[:, :, place] / spread[:, place, place, None]
    without = middle + pull * (nothing - middle[:, place, None])
    without[:, place] = nothing
    held = spread - pull[:, :, None] * spread[:, None, :, place]
    held[:, place, :] = held[:, :, place] = 0.0
    return Searches(
        np.tile(np.arange(count), 2),
        np.concatenate([middle, without]),
        np.concatenate([spread, held]),
        free,
    )


def _alone(
    own: Likelihood,
    effect: CovariateEffect,
    events: Events,
    found: Maxima,
    trial: int,
    count: int,
) -> tuple[Estimate, Estimate]:
    """The maxima of one trial's likelihood with and without the effect."""
    bare = Model(without_effects(own.model.spec, [effect]))
    terms = {name: value for name, value in events.terms.items() if name != effect.name}
    with jax.enable_x64(True):
        without = Likelihood(bare, replace(events, terms=terms), own.settings)
        values = own.coordinates.values(jnp.asarray(found.vector[count + trial]))
        lower = maximise(without, at(without.vector(jax.tree.map(np.asarray, values))))
        whole = Likelihood(own.model, events, own.settings)
        begin = found.vector[trial]
        if not lower.log_likelihood < found.log_likelihood[trial]:
            values = without.coordinates.values(jnp.asarray(lower.vector))
            begin = whole.vector({**jax.tree.map(np.asarray, values), effect.name: 0.0})
        return maximise(whole, at(begin)), lower
