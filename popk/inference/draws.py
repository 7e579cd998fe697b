"""From unconstrained vectors to named draws and to the log likelihood of each observation."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popk.inference.programs import compiled
from popk.population.events import Events
from popk.population.flat import FlatDensity
from popk.population.model import Model
from popk.population.parameters import Centring

AT_ONCE, FEWEST = 800, 16
"""Vectors that are computed side by side, at most and at least: one compiled shape."""
WORKED_ON = 150_000
"""Observations of all these vectors: what is worked on stays in the processor's cache."""

Collect = Callable[
    [Float[np.ndarray, "chain draw d"], Events, Centring],
    tuple[dict[str, np.ndarray], Float[np.ndarray, "chain draw observation"]],
]


def collector(model: Model, flat: FlatDensity, key: Hashable = None) -> Collect:
    """A function from vectors to named values and log likelihoods, compiled at its first call.

    It takes ([chain, draw, d], events, centring) and returns every named value, [chain, draw, ...]
    (the sampler's own variables ``x_...`` left out), and the log likelihood
    [chain, draw, observation], observations by subject in the order of their rows. With a `key`,
    which says what it depends on, the program is looked for among those that are stored.
    """

    def one(
        vector: Array, events: Events, centring: Centring
    ) -> tuple[dict[str, Array], Float[Array, "*row"]]:
        values = flat.constrain(vector, events, centring)
        log_c = model.predict(values, events).log_concentration
        named = {
            name: value
            for name, value in values.items()
            if not name.startswith("x_") and name != "correlation_cholesky"
        }
        return named, model.observation(log_c, values, events).log_prob(events.dv)

    every = jax.vmap(one, (0, None, None))
    block: Callable[..., Any] | None = jax.jit(every) if key is None else None

    def collect(
        vectors: np.ndarray, events: Events, centring: Centring
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        nonlocal block
        chains, count, size = vectors.shape
        data = jax.tree.map(jnp.asarray, (events, centring))
        rows = vectors.reshape(-1, size)
        observed = np.asarray(events.observed)
        at_once = max(FEWEST, min(AT_ONCE, WORKED_ON // max(observed.size, 1)))
        pieces = []
        for first in range(0, len(rows), at_once):
            piece = rows[first : first + at_once]
            short = at_once - len(piece)
            padded = np.concatenate([piece, np.repeat(piece[:1], short, axis=0)])
            arguments = (jnp.asarray(padded), *data)
            if block is None:
                block = compiled(key, every, arguments)
            values, log_likelihood = block(*arguments)
            values = {name: np.asarray(v)[: len(piece)] for name, v in values.items()}
            pieces.append((values, np.asarray(log_likelihood)[: len(piece), observed]))
        values, log_likelihood = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
        return (
            {name: v.reshape(chains, count, *v.shape[1:]) for name, v in values.items()},
            log_likelihood.reshape(chains, count, -1),
        )

    return collect
