"""Hamiltonian Monte Carlo of many chains of many trials in lockstep, as one compiled program.

A program runs a number of transitions of every chain. Step size, metric, trajectory lengths and
the data are arguments: warm-up, sampling and evaluating gradients are the same program, compiled
once. What adapts them stands outside, in NumPy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from popk.inference.arrow import Arrow, adjoint, forward
from popk.pk.dosing import NumericArray
from popk.population.events import Events
from popk.population.flat import FlatDensity
from popk.population.parameters import Known

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


class Schedule(NamedTuple):
    """What a run of the program does.

    Attributes
    ----------
    leaps
        Leapfrog steps of a trajectory.
    stretch
        [draw] by which the step size is multiplied in each transition.
    count
        Transitions, at most as many as `stretch` has.
    blocks
        Blocks of trials that are run; those behind are left as they are.
    """

    leaps: Int[NumericArray, ""]
    stretch: Float[NumericArray, " draw"]
    count: Int[NumericArray, ""]
    blocks: Int[NumericArray, ""]


Program = Callable[..., tuple[Chains, Trace]]


def program(flat: FlatDensity, events: Events, own: Sequence[bool], block: int) -> Program:
    """Compile-once transitions; jit is the caller's.

    Parameters
    ----------
    flat
        The density.
    events
        For their structure.
    own
        Of each leaf of the events, whether it has an axis of trials.
    block
        Trials that are computed side by side; one block after the other, so that what a block
        works on stays in the processor's cache.

    Returns
    -------
    Callable
        (chains, keys [trial], leaves of the events, centring, arrow, step_size [trial], schedule)
        to the chains after the transitions, and the trace.
    """
    tree = jax.tree.structure(events)

    def log_density(vector: Array, leaves: Sequence[Array], centring: Known) -> Array:
        return flat.log_density(vector, jax.tree.unflatten(tree, leaves), centring)

    axes = tuple(0 if has else None for has in own)
    each = jax.vmap(jax.value_and_grad(log_density), (0, None, None))
    evaluate = jax.vmap(each, (0, axes, 0))
    onward, back = jax.vmap(forward), jax.vmap(adjoint)

    def run_block(
        chains: Chains,
        keys: Key[Array, " trial"],
        leaves: Sequence[Array],
        centring: Known,
        arrow: Arrow,
        step_size: Float[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        width, dtype = chains.vector.shape[1], chains.vector.dtype

        def transition(i: Int[Array, ""], state: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            chains, trace = state
            key_u, key_accept = jnp.moveaxis(
                jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i)))(keys), 1, 0
            )
            shape = chains.vector.shape[1:]
            u = jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(key_u)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (width,), dtype))(key_accept)
            eps = schedule.stretch[i] * step_size[:, None, None]

            def leapfrog(_: Int[Array, ""], state: tuple) -> tuple:
                vector, _, _, white, u = state
                u = u + 0.5 * eps * white
                vector = vector + eps * onward(arrow, u)
                log_density, gradient = evaluate(vector, leaves, centring)
                white = back(arrow, gradient)
                return vector, log_density, gradient, white, u + 0.5 * eps * white

            first = (*chains, back(arrow, chains.gradient), u)
            last = jax.lax.fori_loop(0, schedule.leaps, leapfrog, first)
            vector, log_density, gradient, _, u_end = last
            before = 0.5 * jnp.sum(u * u, axis=2) - chains.log_density
            # Kinetic energies by their difference: each is of the order of the dimension
            gained = 0.5 * jnp.sum((u_end - u) * (u_end + u), axis=2)
            error = gained - (log_density - chains.log_density)
            error = jnp.where(jnp.isfinite(error), error, jnp.inf)
            # From a point whose density is not known yet (-inf) every move is taken
            error = jnp.where(jnp.isneginf(chains.log_density), -jnp.inf, error)
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

        empty = _empty(chains, schedule.stretch.shape[0])
        return jax.lax.fori_loop(0, schedule.count, transition, (chains, empty))

    def run(
        chains: Chains,
        keys: Key[Array, " trial"],
        leaves: Sequence[Array],
        centring: Known,
        arrow: Arrow,
        step_size: Float[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        if chains.vector.shape[0] == block:
            return run_block(chains, keys, leaves, centring, arrow, step_size, schedule)

        def cut(tree: Any, i: Array) -> Any:
            return jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, i * block, block, axis=0), tree
            )

        def one(i: Int[Array, ""], out: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            here = tuple(cut(a, i) if has else a for a, has in zip(leaves, own, strict=True))
            end, trace = run_block(
                cut(chains, i), cut(keys, i), here, cut(centring, i), cut(arrow, i),
                cut(step_size, i), schedule,
            )  # fmt: skip
            ends, traces = out
            return (
                jax.tree.map(lambda a, b: _put(a, b, i * block, 0), ends, end),
                jax.tree.map(lambda a, b: _put(a, b, i * block, 1), traces, trace),
            )

        empty = _empty(chains, schedule.stretch.shape[0])
        return jax.lax.fori_loop(0, schedule.blocks, one, (chains, empty))

    return run


def _put(whole: Array, part: Array, first: Array, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=axis)


def _empty(chains: Chains, longest: int) -> Trace:
    return jax.tree.map(
        lambda like: jnp.zeros((longest, *like.shape), like.dtype),
        Trace(*chains[:2], chains[1], chains[1], chains[1] > 0),
    )
