"""Hamiltonian Monte Carlo of many chains of many trials in lockstep, as one compiled program.

A program runs a number of transitions of every chain. Step size, metric, trajectory lengths and
the data are arguments: warm-up, sampling and evaluating gradients are the same program, compiled
once. What adapts them stands outside, in NumPy.

Trajectories are integrated by palindromic splitting steps of two gradients (Blanes, Casas,
Sanz-Serna, SIAM J Sci Comput 2014;36:A1556-80), with the coefficient for which a step of this
length keeps the energy of a standard normal: what remains is the error from where the posterior,
in the coordinates that it is sampled in, is not one. A quarter turn then takes two steps or three.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

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
    stretch
        [draw] by which the step size is multiplied in each transition.
    count
        Transitions, at most as many as `stretch` has.
    blocks
        Blocks of trials that are run; those behind are left as they are.
    """

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
        (chains, data of the random keys [trial, 2], leaves of the events, centring, arrow,
        step_size [trial], gradients [trial] of a trajectory, two to a step, schedule) to the
        chains after the transitions, and the trace.
    """
    tree = jax.tree.structure(events)

    def density(vector: Array, leaves: Sequence[Array], centring: Known) -> tuple[Array, Array]:
        return flat.with_gradient(vector, jax.tree.unflatten(tree, leaves), centring)

    axes = tuple(0 if has else None for has in own)
    each = jax.vmap(density, (0, None, None))
    evaluate = jax.vmap(each, (0, axes, 0))
    onward, back = jax.vmap(forward), jax.vmap(adjoint)

    def run_block(
        chains: Chains,
        keys: UInt32[Array, "trial 2"],
        leaves: Sequence[Array],
        centring: Known,
        arrow: Arrow,
        step_size: Float[Array, " trial"],
        gradients: Int[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        width, dtype = chains.vector.shape[1], chains.vector.dtype
        own = jax.random.wrap_key_data(keys)

        def transition(i: Int[Array, ""], state: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            chains, trace = state
            key_u, key_accept = jnp.moveaxis(
                jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i)))(own), 1, 0
            )
            shape = chains.vector.shape[1:]
            u = jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(key_u)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (width,), dtype))(key_accept)
            eps = (schedule.stretch[i] * step_size)[:, None, None]
            outer = kick(eps)

            def substep(j: Int[Array, ""], state: tuple) -> tuple:
                vector, _, _, white, u = state
                inner = jnp.where(j % 2 == 1, 1.0 - 2.0 * outer, 2.0 * outer)
                # A trial with fewer gradients than others of its block stands still after them
                goes = j < gradients[:, None, None]
                u = u + jnp.where(goes, jnp.where(j == 0, outer, inner) * eps, 0.0) * white
                vector = vector + jnp.where(goes, 0.5 * eps, 0.0) * onward(arrow, u)
                log_density, gradient = evaluate(vector, leaves, centring)
                return vector, log_density, gradient, back(arrow, gradient), u

            first = (*chains, back(arrow, chains.gradient), u)
            last = jax.lax.fori_loop(0, jnp.max(gradients), substep, first)
            vector, log_density, gradient, white, u_end = last
            u_end = u_end + outer * eps * white
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
        keys: UInt32[Array, "trial 2"],
        leaves: Sequence[Array],
        centring: Known,
        arrow: Arrow,
        step_size: Float[Array, " trial"],
        gradients: Int[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        if chains.vector.shape[0] == block:
            return run_block(chains, keys, leaves, centring, arrow, step_size, gradients, schedule)

        def cut(tree: Any, i: Array) -> Any:
            return jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, i * block, block, axis=0), tree
            )

        def one(i: Int[Array, ""], out: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            here = tuple(cut(a, i) if has else a for a, has in zip(leaves, own, strict=True))
            end, trace = run_block(
                cut(chains, i), cut(keys, i), here, cut(centring, i), cut(arrow, i),
                cut(step_size, i), cut(gradients, i), schedule,
            )  # fmt: skip
            ends, traces = out
            return (
                jax.tree.map(lambda a, b: _put(a, b, i * block, 0), ends, end),
                jax.tree.map(lambda a, b: _put(a, b, i * block, 1), traces, trace),
            )

        empty = _empty(chains, schedule.stretch.shape[0])
        return jax.lax.fori_loop(0, schedule.blocks, one, (chains, empty))

    return run


def kick(step: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The outer coefficient b of a two-gradient step (b, 1/2, 1-2b, 1/2, b) of this length.

    The step is then a rotation for a standard normal: 2 h² b³ - (4 + h²) b² + 6 b - 1 = 0, by
    Newton's method from its value for short steps, (3 - sqrt 5)/4.
    """
    square = step * step
    b = jnp.full_like(step, 0.19098300562505255)
    for _ in range(4):
        value = ((2.0 * square * b - (4.0 + square)) * b + 6.0) * b - 1.0
        slope = (6.0 * square * b - 2.0 * (4.0 + square)) * b + 6.0
        b = b - value / slope
    return b


def _put(whole: Array, part: Array, first: Array, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=axis)


def _empty(chains: Chains, longest: int) -> Trace:
    return jax.tree.map(
        lambda like: jnp.zeros((longest, *like.shape), like.dtype),
        Trace(*chains[:2], chains[1], chains[1], chains[1] > 0),
    )
