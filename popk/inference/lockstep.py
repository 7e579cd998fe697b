"""Hamiltonian Monte Carlo of many chains of many trials in lockstep, as one compiled program.

A program runs a number of transitions of every chain. Step size, metric, trajectory lengths and
the data are arguments: warm-up, sampling and evaluating gradients are the same program, compiled
once. What adapts them stands outside, in NumPy.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from popk.inference.arrow import Arrow, adjoint, forward
from popk.pk.dosing import NumericArray
from popk.population.events import Events
from popk.population.model import FlatDensity, Values

DIVERGENT = 1000.0
"""Energy error above which a trajectory is called divergent (as in Stan and NumPyro)."""


class Chains(NamedTuple):
    """Where the chains are."""

    vector: Float[NumericArray, "trial chain d"]
    log_density: Float[NumericArray, "trial chain"]
    gradient: Float[NumericArray, "trial chain d"]


class Trace(NamedTuple):
    """What each transition gave; rows beyond `count` are zero."""

    vector: Float[NumericArray, "draw trial chain d"]
    log_density: Float[NumericArray, "draw trial chain"]
    energy: Float[NumericArray, "draw trial chain"]
    acceptance: Float[NumericArray, "draw trial chain"]
    diverging: Bool[NumericArray, "draw trial chain"]


Program = Callable[..., tuple[Chains, Trace]]


def program(flat: FlatDensity, longest: int) -> Program:
    """Compile-once transitions; jit is the caller's.

    The returned function takes (chains, keys [trial], events, centring, arrow, step_size [trial],
    leaps, stretch [longest], count) and returns the chains after `count` <= `longest`
    transitions of `leaps` leapfrog steps, of `stretch[i]` times the step size in the i-th, and
    the trace.
    """
    one = jax.value_and_grad(flat.log_density)
    evaluate = jax.vmap(jax.vmap(one, (0, None, None)), (0, 0, 0))

    def run(
        chains: Chains,
        keys: Key[Array, " trial"],
        events: Events,
        centring: Values,
        arrow: Arrow,
        step_size: Float[Array, " trial"],
        leaps: Int[Array, ""],
        stretch: Float[Array, " draw"],
        count: Int[Array, ""],
    ) -> tuple[Chains, Trace]:
        width = chains.vector.shape[1]
        onward = jax.vmap(forward)
        back = jax.vmap(adjoint)

        def transition(i: Int[Array, ""], state: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            chains, trace = state
            key_u, key_accept = jnp.moveaxis(
                jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i)))(keys), 1, 0
            )
            dtype = chains.vector.dtype
            shape = chains.vector.shape[1:]
            u = jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(key_u)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (width,), dtype))(key_accept)
            eps = stretch[i] * step_size[:, None, None]

            def leapfrog(_: Int[Array, ""], state: tuple) -> tuple:
                vector, _, _, white, u = state
                u = u + 0.5 * eps * white
                vector = vector + eps * onward(arrow, u)
                log_density, gradient = evaluate(vector, events, centring)
                white = back(arrow, gradient)
                return vector, log_density, gradient, white, u + 0.5 * eps * white

            first = (*chains, back(arrow, chains.gradient), u)
            vector, log_density, gradient, _, u_end = jax.lax.fori_loop(0, leaps, leapfrog, first)
            before = 0.5 * jnp.sum(u * u, axis=2) - chains.log_density
            after = 0.5 * jnp.sum(u_end * u_end, axis=2) - log_density
            error = jnp.where(jnp.isfinite(after), after - before, jnp.inf)
            # From a point whose density is not known yet (-inf) every move is taken
            error = jnp.where(jnp.isposinf(before), -jnp.inf, error)
            accept = jnp.log(uniform) < -error
            moved = Chains(
                jnp.where(accept[..., None], vector, chains.vector),
                jnp.where(accept, log_density, chains.log_density),
                jnp.where(accept[..., None], gradient, chains.gradient),
            )
            row = Trace(
                moved.vector,
                moved.log_density,
                before,
                jnp.minimum(1.0, jnp.exp(-jnp.maximum(error, 0.0))),
                error > DIVERGENT,
            )
            return moved, jax.tree.map(lambda all_, new: all_.at[i].set(new), trace, row)

        empty = jax.tree.map(
            lambda like: jnp.zeros((longest, *like.shape), like.dtype),
            Trace(*chains[:2], chains[1], chains[1], chains[1] > 0),
        )
        return jax.lax.fori_loop(0, count, transition, (chains, empty))

    return run
