"""Each subject's share of the joint density, read off the one NumPyro model.

Given the population values subjects are independent. A subject's own numbers are the standardised
deviations ``x``, of which its etas are made; their prior is standard normal (or Student-t).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.distributions import biject_to

from popk.pk.dosing import NumericArray
from popk.population.condensed import Rows
from popk.population.events import Events
from popk.population.flat import prior_centre
from popk.population.model import Model, Values
from popk.population.residual import NormalScale


class Shares(NamedTuple):
    """What the model says of every subject, for given population values and own numbers.

    Attributes
    ----------
    log_prior
        [subject] log density of the subject's numbers.
    row_log_likelihood
        [...row] log likelihood of each row, zero where there is no observation.
    scale
        On which the rows' observations are normal: mean and log SD.
    iwres
        [...row] by how many SDs a measured row lies above its prediction.
    etas, parameters
        By parameter, [subject]; time-varying parameters as they are at the first record.
    """

    log_prior: Float[Array, " subject"]
    row_log_likelihood: Float[Array, "*row"]
    scale: NormalScale
    iwres: Float[Array, "*row"]
    etas: dict[str, Float[Array, " subject"]]
    parameters: dict[str, Float[Array, " subject"]]


class Coordinates(NamedTuple):
    """The population values as one vector of unconstrained numbers.

    Attributes
    ----------
    start
        [p] at the centre of the priors.
    values
        From the vector to the values of the model's sample sites.
    vector
        From values to the vector; what is not given stays at the start.
    """

    start: Float[np.ndarray, " p"]
    values: Callable[[Float[Array, " p"]], dict[str, Array]]
    vector: Callable[[Mapping[str, NumericArray | float]], Float[Array, " p"]]


def varied(model: Model) -> tuple[str, ...]:
    """Parameters with variability between subjects, in the order of a subject's numbers."""
    return tuple(n for n, p in model.spec.parameters.items() if p.variability is not None)


def shares(
    model: Model, events: Events, population: Values, x: Float[Array, "subject k"]
) -> Shares:
    """The subjects' shares of the joint density.

    Parameters
    ----------
    population
        Values of the model's sample sites for the population.
    x
        Standardised deviations, parameters in the order of `varied`.
    """
    names = varied(model)
    sites = {**population, **{f"x_{name}": x[:, j] for j, name in enumerate(names)}}
    trace = numpyro.handlers.trace(numpyro.handlers.substitute(model, data=dict(sites))).get_trace(
        events
    )
    prior = jnp.zeros(events.subjects, x.dtype)
    for name in names:
        site: Any = trace[f"x_{name}"]
        prior = prior + site["fn"].log_prob(site["value"])
    observed: Any = trace["DV"]["fn"]
    dv, scale = trace["DV"]["value"], observed.base_dist.scale
    if scale.logarithmic:
        dv = jnp.log(jnp.where(dv > 0, dv, 1.0))
    return Shares(
        prior,
        observed.log_prob(trace["DV"]["value"]),
        scale,
        scale.standardised(dv),
        {name: trace[f"eta_{name}"]["value"] for name in names},
        {name: trace[name]["value"] for name in model.spec.parameters},
    )


def per_subject(values: Float[Array, "*row"], events: Events) -> Float[Array, " subject"]:
    """The sum over each subject's rows."""
    if isinstance(events.steps, Rows):
        return events.steps.per_subject(values, events.subjects)
    return values.sum(axis=1)


def coordinates(model: Model, events: Events) -> Coordinates:
    """Unconstrained coordinates of the population values.

    They respect where a prior allows values at all (a uniform one's bounds are bounds here); the
    densities of the priors and the volumes of the transformations are left out.
    """

    def supports() -> Mapping[str, Any]:
        seeded = numpyro.handlers.seed(model, jax.random.key(0))
        trace = numpyro.handlers.trace(seeded).get_trace(events)
        return {
            name: biject_to(site["fn"].support)
            for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"] and not name.startswith("x_")
        }

    transforms = supports()
    centre = prior_centre(model, events)
    start = {name: jnp.asarray(centre[name]) for name in transforms}
    vector, unravel = ravel_pytree(start)

    def values(vector: Float[Array, " p"]) -> dict[str, Array]:
        return {name: transforms[name](value) for name, value in unravel(vector).items()}

    def back(given: Mapping[str, NumericArray | float]) -> Float[Array, " p"]:
        own = {
            name: jnp.asarray(transforms[name].inv(jnp.asarray(given[name])), value.dtype)
            if name in given
            else value
            for name, value in start.items()
        }
        return ravel_pytree(own)[0]

    return Coordinates(np.asarray(vector), values, back)


def natural(model: Model, of: Coordinates, vector: Float[Array, " p"]) -> Float[Array, " quantity"]:
    """The estimated population parameters, then the correlations, as tables show them."""
    values = of.values(vector)
    found = [values[name] for name in model.population_names]
    names = model.correlation_names
    if names:
        factor = values["correlation_cholesky"]
        matrix = factor @ factor.T
        size = matrix.shape[0]
        found += [matrix[i, j] for i in range(size) for j in range(i + 1, size)]
    return jnp.stack(found)


def natural_names(model: Model) -> tuple[str, ...]:
    """Names of what `natural` returns."""
    return (*model.population_names, *model.correlation_names)
