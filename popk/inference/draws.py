"""From unconstrained vectors to named draws and to the log likelihood of each observation."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popk.population.events import Events
from popk.population.model import FlatDensity, Model

AT_ONCE = 256
"""Draws that are computed side by side: bounds the memory for many subjects."""


def collect(
    model: Model, events: Events, flat: FlatDensity, vectors: Float[np.ndarray, "chain draw d"]
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "chain draw observation"]]:
    """Named values of every draw, and the log likelihood of every observation.

    Returns
    -------
    dict
        Name to [chain, draw, ...], sampler's own variables ``x_...`` left out.
    Array
        [chain, draw, observation], observations by subject in file order.
    """
    chains, count, size = vectors.shape

    def one(vector: Array, events: Events) -> tuple[dict[str, Array], Float[Array, "subject step"]]:
        values = flat.constrain(vector, events)
        log_c = model.predict(values, events).log_concentration
        return values, model.observation(log_c, values, events).log_prob(events.dv)

    @jax.jit
    def every(vectors: Array, events: Events) -> tuple[dict[str, Array], Array]:
        return jax.lax.map(lambda v: one(v, events), vectors, batch_size=AT_ONCE)

    values, log_likelihood = every(jnp.asarray(vectors).reshape(-1, size), events)
    rows = np.asarray(events.observed)
    return (
        {
            name: np.asarray(value).reshape(chains, count, *value.shape[1:])
            for name, value in values.items()
            if not name.startswith("x_") and name != "correlation_cholesky"
        },
        np.asarray(log_likelihood)[:, rows].reshape(chains, count, -1),
    )
