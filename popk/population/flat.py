"""The posterior as a function of one vector of unconstrained numbers."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from popk.pk.dosing import NumericArray
from popk.population.events import Events
from popk.population.model import Model, Values
from popk.population.parameters import Centring, median
from popk.spec.priors import Exponential, HalfNormal


class FlatDensity(NamedTuple):
    """The posterior as a function of one vector of unconstrained numbers.

    The vector holds the population's numbers and then, subject by subject, each subject's own:
    given the former the latter are independent, which samplers and metrics use.

    Attributes
    ----------
    population, individual
        Length of the population part, and numbers of each subject.
    start
        The centre of the priors, with all etas zero.
    log_density
        (vector, events, centring) -> log posterior density up to a constant, Jacobian included.
    with_gradient
        The same, and its gradient.
    constrain
        (vector, events, centring) -> every named value of the model, derived ones included.
    flat, named
        From NumPyro's unconstrained values of the sample sites by name to the vector, and back.
    """

    population: int
    individual: int
    start: Float[Array, " d"]
    log_density: Callable[..., Float[Array, ""]]
    with_gradient: Callable[..., tuple[Float[Array, ""], Float[Array, " d"]]]
    constrain: Callable[..., dict[str, Array]]
    flat: Callable[[Values], Float[Array, " d"]]
    named: Callable[[Float[Array, " d"]], dict[str, Array]]


class Centre(NamedTuple):
    """Where a density is flattened from: NumPyro's unconstrained values by name, and the vector."""

    values: dict[str, NumericArray]
    vector: Float[NumericArray, " d"]


def flatten(
    model: Model,
    events: Events,
    centring: Centring | None = None,
    centre: Centre | None = None,
) -> FlatDensity:
    """Write a model's posterior as a flat log density, for samplers and optimisers.

    `events` gives the shapes; the functions returned take events and centring as arguments, with
    `centring` as their default. An SD whose prior is not zero at zero is bent (see `bent`).
    """
    bends = _bends(model)
    middle = jax.jit(partial(_centre, model))(events, centring) if centre is None else centre
    own = tuple(name for name in middle.values if name.startswith("x_"))
    shared, unravel = ravel_pytree({k: v for k, v in middle.values.items() if k not in own})
    split = shared.size

    def apart(vector: Array) -> Apart:
        individual = vector[split:].reshape(-1, max(len(own), 1))
        return Apart(unravel(vector[:split]), [individual[:, i] for i in range(len(own))])

    def straightened(parts: Apart) -> dict[str, Array]:
        values = {k: bent(v) + bends[k] if k in bends else v for k, v in parts.shared.items()}
        return {**values, **dict(zip(own, parts.individual, strict=True))}

    def named(vector: Array) -> dict[str, Array]:
        return straightened(apart(vector))

    def of_parts(parts: Apart, events: Events, centring: Centring | None) -> Array:
        energy = potential_energy(model, (events, centring), {}, straightened(parts))
        stretched = sum((log_stretch(parts.shared[name]) for name in bends), jnp.zeros(()))
        return stretched - jnp.asarray(energy)

    def log_posterior(vector: Array, events: Events, centring: Centring | None = centring) -> Array:
        return of_parts(apart(vector), events, centring)

    def with_gradient(
        vector: Array, events: Events, centring: Centring | None = centring
    ) -> tuple[Array, Array]:
        # By parts: the slope of taking a vector apart would be a sum of as many padded vectors,
        # and what they are padded from would be computed again for each of their numbers
        value, slopes = jax.value_and_grad(of_parts)(apart(vector), events, centring)
        slopes = jax.lax.optimization_barrier(slopes)
        shared, _ = ravel_pytree(slopes.shared)
        each = jnp.stack(slopes.individual, axis=1).ravel() if own else jnp.zeros(0, shared.dtype)
        return value, jnp.concatenate([shared, each])

    def constrain(
        vector: Array, events: Events, centring: Centring | None = centring
    ) -> dict[str, Array]:
        return constrain_fn(model, (events, centring), {}, named(vector), return_deterministic=True)

    return FlatDensity(
        split,
        len(own),
        jnp.asarray(middle.vector),
        log_posterior,
        with_gradient,
        constrain,
        partial(_vector, bends),
        named,
    )


def centre_of(model: Model, events: Events, centring: Centring | None = None) -> Centre:
    """The centre of the priors, as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.jit(partial(_centre, model))(events, centring))


def _centre(model: Model, events: Events, centring: Centring | None) -> Centre:
    values = prior_centre(model, events, centring)
    return Centre(dict(values), _vector(_bends(model), values))


def _bends(model: Model) -> dict[str, float]:
    """Of the SDs that are bent, the log of the prior's median."""
    priors = model.population_priors()
    return {
        name: math.log(median(prior))
        for name, prior in priors.items()
        if isinstance(prior, HalfNormal | Exponential)
    }


def _vector(bends: Mapping[str, float], values: Values) -> Float[Array, " d"]:
    """From unconstrained values by name to the vector."""
    own = [name for name in values if name.startswith("x_")]
    values = {k: unbent(v - bends[k]) if k in bends else v for k, v in values.items()}
    shared, _ = ravel_pytree({k: v for k, v in values.items() if k not in own})
    each = [jnp.asarray(values[name]) for name in own]
    individual = jnp.stack(each, axis=1).ravel() if each else jnp.zeros(0)
    return jnp.concatenate([shared, individual.astype(shared.dtype)])


class Apart(NamedTuple):
    """The numbers of a vector: the population's by name, and each kind of the subjects'."""

    shared: dict[str, Array]
    individual: list[Float[Array, " subject"]]


def bent(v: Float[Array, ""]) -> Float[Array, ""]:
    """From the number that is sampled to the log of an SD: v - log(1 + exp(-v))² / 2.

    An SD that the data leave open down to zero has a flat density there, hence a long exponential
    tail on the log scale, which trajectories of one length cross slowly. In v the tail is that of
    a normal; far above zero v is the logarithm.
    """
    return v - 0.5 * jax.nn.softplus(-v) ** 2


def log_stretch(v: Float[Array, ""]) -> Float[Array, ""]:
    """Log of the slope of `bent`."""
    return jnp.log1p(jax.nn.softplus(-v) * jax.nn.sigmoid(-v))


def unbent(log_sd: Float[Array, ""]) -> Float[Array, ""]:
    """The inverse of `bent`, by Newton's method from below, where it cannot overshoot."""
    v = jnp.where(log_sd < 0, -jnp.sqrt(-2.0 * jnp.minimum(log_sd, 0.0)) - 1.0, log_sd - 0.5)
    for _ in range(6):
        v = v - (bent(v) - log_sd) / jnp.exp(log_stretch(v))
    return v


def prior_centre(model: Model, events: Events, centring: Centring | None = None) -> Values:
    """Unconstrained values of all sample sites at the medians of the priors and etas of zero."""
    priors = model.population_priors()

    def centre(site: dict[str, Any]) -> Array | None:
        if site["type"] != "sample" or site["is_observed"]:
            return None
        prior: Any = site["fn"]
        if site["name"] in priors:
            middle = jnp.asarray(median(priors[site["name"]]))
            if isinstance(prior, dist.TwoSidedTruncatedDistribution):
                low, high = jnp.asarray(prior.low), jnp.asarray(prior.high)
                margin = 0.01 * (high - low)
                middle = jnp.clip(middle, low + margin, high - margin)
            return middle
        # A Student-t with one degree of freedom or less has a centre but no mean
        return jnp.asarray(prior.loc if isinstance(prior, dist.StudentT) else prior.mean)

    def correlated(site: dict[str, Any]) -> Array | None:
        if site["name"] == "correlation_cholesky" and site["type"] == "sample":
            return jnp.eye(site["fn"].dimension)
        return centre(site)

    seeded = numpyro.handlers.seed(model, jax.random.key(0))
    trace = numpyro.handlers.trace(
        numpyro.handlers.substitute(seeded, substitute_fn=correlated)
    ).get_trace(events, centring)
    values = {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    return unconstrain_fn(model, (events, centring), {}, values)
