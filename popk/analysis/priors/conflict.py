"""What the data say of a parameter without its prior, and how improbable the prior finds that."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpyro.distributions import LKJCholesky
from scipy.optimize import minimize
from scipy.special import betaincinv, ndtr

from popk.analysis.predictive import cholesky_factors
from popk.inference.maximum import Likelihood
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.spec.priors import Prior, is_positive

PLACES = np.linspace(-7.5, 7.5, 1501)
"""Standard normal quantiles at whose probabilities those of a prior stand for it."""
FAINT = 0.01
"""Power of the priors in `data_alone`."""
OPEN = 3.0
"""Standard errors above this many SDs of the prior: the data leave the parameter open."""
STEP = 1e-3
"""Of the differences that make a slope, in unconstrained coordinates; ten times of a curvature."""
SLOPE = 3e-3
"""Of the log likelihood by each coordinate, below which the search for its maximum ends."""
NOWHERE = 1e10
"""Stands for -log of a likelihood that cannot be computed."""


def conflict_p(estimate: float, error: float, prior: Float[np.ndarray, " place"]) -> float:
    """Tail probability of an estimate under what the prior predicts of it.

    Parameters
    ----------
    estimate, error
        An estimate that owes nothing to the prior and its standard error, on a scale on which it
        is near to normal.
    prior
        The prior's quantiles on the same scale at the probabilities ``ndtr(PLACES)``.

    Returns
    -------
    float
        2 min(P, 1 - P) with P = P(T <= estimate), T = theta + error * normal, theta from the
        prior (Evans & Moshonov 2006, sec. 2). With a normal prior it is that of
        z = (prior mean - estimate)/sqrt(prior variance + error²). NaN without a finite error.
    """
    if not (math.isfinite(estimate) and math.isfinite(error) and error > 0):
        return math.nan
    z = (estimate - prior) / error
    weights = np.exp(-0.5 * PLACES**2)
    # Either tail by itself: 1 - P would lose a small one
    tails = (float(ndtr(side) @ weights / weights.sum()) for side in (z, -z))
    return min(1.0, 2.0 * min(tails))


class DataAlone(NamedTuple):
    """What the data say of a parameter nearly without its prior.

    value, error
        Estimate and standard error on the scale on which it is near to normal; NaN where the
        data say nothing.
    back
        From that scale to the parameter's own.
    """

    value: float
    error: float
    back: Callable[[float], float]


def data_alone(
    own: Likelihood, start: Mapping[str, np.ndarray], power: float = FAINT
) -> dict[str, DataAlone]:
    """Maximum of the likelihood times all population priors to the power of `power`.

    A faint prior hardly moves what the data determine, and gives what they leave open a finite
    error, so that one parameter about which nothing is known does not spoil the others (maximum
    likelihood alone would have no curvature there).

    Parameters
    ----------
    own
        The marginal likelihood.
    start
        Population values and correlations from which the search starts.
    """
    model, of = own.model, own.coordinates
    names = (*model.population_names, *model.correlation_names)
    with jax.enable_x64(True):
        prior = jax.jit(lambda vector: _log_prior(model, of.values(vector)))
    modes: list[np.ndarray | None] = [None]

    def misfit(vector: np.ndarray) -> float:
        found = own(vector, modes[0], scores=False)
        if not np.isfinite(found.log_likelihood).all():
            # The modes of the point before may lie too far away
            found = own(vector, scores=False)
        modes[0] = found.x if np.isfinite(found.x).all() else None
        with jax.enable_x64(True):
            density = float(prior(jnp.asarray(vector)))
        value = found.log_likelihood.sum() + power * density
        return -float(value) if np.isfinite(value) else NOWHERE

    # Differences: the program for exact slopes takes longer to compile than all this to run
    def slope(vector: np.ndarray, step: float = STEP) -> np.ndarray:
        steps = step * np.eye(vector.size)
        return np.array([misfit(vector + h) - misfit(vector - h) for h in steps]) / (2.0 * step)

    centre = {name: start[name] for name in model.population_names}
    if model.correlation_names:
        one = {name: np.asarray(value)[None] for name, value in start.items()}
        centre["correlation_cholesky"] = cholesky_factors(model, one)[0]
    top = minimize(misfit, own.vector(centre), jac=slope, method="BFGS", options={"gtol": SLOPE}).x
    steps = 10.0 * STEP * np.eye(top.size)
    curvature = np.array([slope(top + h) - slope(top - h) for h in steps]) / (20.0 * STEP)
    values, slopes = own.natural(top)
    try:
        covariance = slopes @ np.linalg.inv((curvature + curvature.T) / 2.0) @ slopes.T
    except np.linalg.LinAlgError:
        covariance = np.full((len(names), len(names)), np.nan)
    variance = np.diag(covariance)
    errors = np.sqrt(np.where(variance > 0, variance, np.nan))
    return {
        name: _on_normal_scale(model, name, float(value), float(error))
        for name, value, error in zip(names, values, errors, strict=True)
    }


def _log_prior(model: Model, values: Mapping[str, jax.Array]) -> jax.Array:
    """Log density of the population priors, of positive parameters by their logarithm."""
    priors, total = model.population_priors(), jnp.zeros(())
    for name in model.population_names:
        prior, value = priors[name], values[name]
        total = total + distribution(prior).log_prob(value)
        total = total + (jnp.log(value) if is_positive(prior) else 0.0)
    if model.correlation_names and model.spec.correlation is not None:
        factor = values["correlation_cholesky"]
        site = LKJCholesky(factor.shape[-1], model.spec.correlation.concentration)
        total = total + site.log_prob(factor)
    return total


def _on_normal_scale(model: Model, name: str, value: float, error: float) -> DataAlone:
    match _scale(model, name):
        case "log":
            found = DataAlone(math.log(value), error / value, math.exp)
        case "atanh":
            found = DataAlone(math.atanh(value), error / (1.0 - value**2), math.tanh)
        case _:
            found = DataAlone(value, error, float)
    # The faint prior's own width is what is left where the data say nothing
    low, high = on_scale(model, name, ndtr(np.array([-1.0, 1.0])))
    wide = found.error > OPEN * (high - low) / 2.0
    return found._replace(value=math.nan, error=math.nan) if wide else found


def _scale(model: Model, name: str) -> str:
    if name in model.correlation_names:
        return "atanh"
    return "log" if is_positive(model.population_priors()[name]) else "natural"


def on_scale(
    model: Model, name: str, p: Float[np.ndarray, " place"]
) -> Float[np.ndarray, " place"]:
    """Quantiles of the prior on the scale on which the estimate is near to normal."""
    to = {"log": np.log, "atanh": np.arctanh, "natural": np.asarray}[_scale(model, name)]
    return to(prior_quantiles(model, name, p))


def prior_quantiles(
    model: Model, name: str, p: Float[np.ndarray, " place"]
) -> Float[np.ndarray, " place"]:
    """Quantiles of a prior on its own scale."""
    if name in model.correlation_names:
        correlation = model.spec.correlation
        assert correlation is not None
        # A correlation under LKJ(c) among k etas is 2 Beta(a, a) - 1 with a = c + k/2 - 1
        a = correlation.concentration + len(correlation.parameters) / 2 - 1.0
        return 2.0 * betaincinv(a, a, p) - 1.0
    prior: Prior = model.population_priors()[name]
    with jax.enable_x64(True):
        return np.asarray(distribution(prior).icdf(jnp.asarray(p)))
