"""Normalised prediction distribution errors.

Every observation is ranked among replicates that were simulated from the model on the same design,
after both have been decorrelated within the subject by the replicates' mean and covariance (Brendel
et al., Pharm Res 2006;23:2036-49; Comets, Brendel, Mentre, Comput Methods Programs Biomed
2008;90:154-66). If the model is right they are standard normal.

A censored row is first given a value drawn from what the model says of it: the subject's numbers
from their distribution given all of the subject's data, its own interval among them, then the value
inside the interval. Where the model is right such values are distributed as the ones that the
assay did not report, together with the measured ones; drawing each from its own margin
(Nguyen, Comets, Mentre, J Pharmacokinet Pharmacodyn 2012;39:499-518) loses how they correlate.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2, norm, shapiro, truncnorm, ttest_1samp

from popk.inference.conditional import back_solved, subject_modes
from popk.inference.laplace import importance_nodes
from popk.inference.programs import kept
from popk.population.events import Events
from popk.population.model import Model, Values
from popk.population.simulated import replicating
from popk.population.subjects import per_subject, shares
from popk.spec.residual import ERRORS

REPLICATES = 5000
"""With 1,000 the tails are so coarse that tests of the shape depend on the seed."""
PROPOSALS = 400
"""Points among which a subject's numbers are chosen where one of its rows is censored."""


class Normality(NamedTuple):
    """Two-sided p of what npde should be: mean 0, variance 1, normal; and of all three together.

    The mean by a t test, the variance by the chi-square distribution, the shape by Shapiro and
    Wilk; ``together`` is three times the smallest (Bonferroni; Brendel et al., J Pharmacokinet
    Pharmacodyn 2010;37:49-65).
    """

    mean: float
    variance: float
    shape: float
    together: float


def npde(
    key: jax.Array,
    model: Model,
    events: Events,
    population: Mapping[str, Float[np.ndarray, "..."]],
    count: int = REPLICATES,
) -> Float[np.ndarray, " observation"]:
    """Of every observation, in the order of the events' observed rows.

    Parameters
    ----------
    key
        Random key of the replicates and of what censored rows are given.
    model, events
        The model; events from `arrange`, condensed or not.
    population
        Values of the model's sample sites for the population.
    count
        Replicates.
    """
    key_simulate, key_impute = jax.random.split(key)
    same = {k: jnp.broadcast_to(v, (count, *np.shape(v))) for k, v in population.items()}
    simulate = _kept(model, "replicates", lambda: replicating(model))
    replicates = np.asarray(simulate(jax.random.split(key_simulate, count), same, events))
    simulated = replicates[:, np.asarray(events.observed)]
    dv = np.asarray(events.dv, float)
    if np.any(events.censored):
        dv = imputed(key_impute, model, events, population)
    measured = dv[np.asarray(events.observed)]
    if ERRORS[model.spec.residual.error].logarithmic:
        simulated, measured = np.log(simulated), np.log(measured)
    subject = subject_of_rows(events)[np.asarray(events.observed)]
    found = np.empty(len(measured))
    for i in np.unique(subject):
        own = subject == i
        found[own] = _ranked(simulated[:, own], measured[own])
    return found


def normality(values: Float[np.ndarray, " observation"]) -> Normality:
    """Whether npde are standard normal; NaN where there are fewer than three."""
    n = len(values)
    if n < 3:
        return Normality(*(float("nan"),) * 4)
    square = float((n - 1) * values.var(ddof=1))
    tail = 2.0 * min(chi2.cdf(square, n - 1), chi2.sf(square, n - 1))
    mean: Any = ttest_1samp(values, 0.0)
    p = (float(mean.pvalue), min(float(tail), 1.0), float(shapiro(values)[1]))
    return Normality(*p, min(3.0 * min(p), 1.0))


def imputed(
    key: jax.Array, model: Model, events: Events, population: Mapping[str, Float[np.ndarray, "..."]]
) -> Float[np.ndarray, "*row"]:
    """The events' concentrations, each censored row with one that the model would have there."""
    values = {name: jnp.asarray(value) for name, value in population.items()}
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    rng = np.random.default_rng(seed)
    x = _drawn(model, events, values, seed, rng)
    scale = _kept(model, "scale", lambda: _scale(model))
    mean, log_sd = (np.asarray(part) for part in scale(x, values, events))
    sd = np.broadcast_to(np.exp(log_sd), mean.shape)
    lower, upper = np.asarray(events.lower, float), np.asarray(events.upper, float)
    logarithmic = ERRORS[model.spec.residual.error].logarithmic
    if logarithmic:
        with np.errstate(divide="ignore"):
            lower, upper = np.log(np.maximum(lower, 0.0)), np.log(upper)
    censored = np.asarray(events.censored)
    low, high = ((bound - mean)[censored] / sd[censored] for bound in (lower, upper))
    z = truncnorm.rvs(low, high, size=low.shape, random_state=rng)
    value = mean[censored] + sd[censored] * z
    dv = np.asarray(events.dv, float).copy()
    dv[censored] = np.exp(value) if logarithmic else value
    return dv


def _drawn(
    model: Model, events: Events, values: Values, seed: int, rng: np.random.Generator
) -> Float[np.ndarray, "subject k"]:
    """Each subject's numbers, once, from their distribution given its data.

    By importance resampling around the mode (Rubin, J Am Stat Assoc 1987;82:543-6).
    """
    k = sum(1 for p in model.spec.parameters.values() if p.variability is not None)
    nodes = importance_nodes(seed, PROPOSALS, events.subjects, k)

    search = _kept(model, "proposals", lambda: _proposals(model, k))
    points, log_joint = search(jnp.asarray(nodes.z), values, events)
    log_weight = np.asarray(log_joint) + np.asarray(nodes.log_weight)
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    chosen = np.argmax(log_weight + rng.gumbel(size=log_weight.shape), axis=0)
    return np.asarray(points)[chosen, np.arange(events.subjects)]


def _kept(model: Model, what: str, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A function compiled once in this process for each model and each shape of its arguments."""
    return kept((model.spec.model_dump_json(), what, "npde"), lambda: jax.jit(make()))


def _scale(model: Model) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def of(x: jax.Array, values: Values, events: Events) -> tuple[jax.Array, jax.Array]:
        scale = shares(model, events, values, x).scale
        return scale.mean, scale.log_sd

    return of


def _proposals(model: Model, k: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Points around the subjects' modes, and the log joint density there."""

    def of(z: jax.Array, values: Values, events: Events) -> tuple[jax.Array, jax.Array]:
        def log_joint(x: jax.Array) -> jax.Array:
            share = shares(model, events, values, x)
            return share.log_prior + per_subject(share.row_log_likelihood, events)

        modes = subject_modes(log_joint, jnp.zeros((events.subjects, k)))
        points = modes.x + jax.vmap(back_solved, (None, 0))(modes.factor, z)
        return points, jax.lax.map(log_joint, points)

    return of


def subject_of_rows(events: Events) -> Int[np.ndarray, "*row"]:
    """The subject that each row belongs to, by its place."""
    if np.ndim(events.observed) == 2:
        return np.broadcast_to(np.arange(events.subjects)[:, None], events.observed.shape)
    return np.concatenate([np.asarray(own.subject) for own in events.steps.subject])


def _ranked(
    simulated: Float[np.ndarray, "replicate observation"], own: Float[np.ndarray, " observation"]
) -> Float[np.ndarray, " observation"]:
    """One subject's ranks among its replicates, as normal scores.

    Mean and covariance are those of the replicates and the observations together: under the model
    these are then interchangeable, and every rank is equally likely. With the replicates' alone
    the observations, which have no part in them, would seem further out.
    """
    whole = np.vstack([simulated, own])
    lower = np.linalg.cholesky(np.atleast_2d(np.cov(whole, rowvar=False)))
    white = np.linalg.solve(lower, (whole - whole.mean(axis=0)).T)
    below = (white[:, :-1] < white[:, -1:]).sum(axis=1)
    return norm.ppf((below + 0.5) / len(whole))
