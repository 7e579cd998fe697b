"""Hamiltonian Monte Carlo of many chains of many trials in lockstep, as one compiled program.

A program runs a number of transitions of every chain. Step size, metric, trajectory lengths and
the data are arguments: warm-up, sampling and evaluating gradients are the same program, compiled
once. What adapts them stands outside, in NumPy.

Trajectories are integrated by palindromic splitting steps of two gradients (Blanes, Casas,
Sanz-Serna, SIAM J Sci Comput 2014;36:A1556-80), with the coefficient for which a step of this
length keeps the energy of a standard normal: what remains is the error from where the posterior,
in the coordinates that it is sampled in, is not one. A quarter turn then takes two steps or three.

A trajectory that diverges is tried again with steps a fraction as long: delayed rejection (Modi,
Barnett, Carpenter, Bayesian Analysis 2024;19:815-42) with divergence as the reason. Its end may be
accepted only if the way back could have been tried like this too, that is if the trajectory from
there, with the first steps and the momentum turned round, diverges. With a the probability that the
first trajectory is accepted, from here and from there, the second's is (Green and Mira,
Biometrika 2001;88:1035-53)

    min(1, exp(-energy error) (1 - a_there) [diverges there] / (1 - a_here)).

So a wall in one corner of the posterior does not shorten the steps everywhere.
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
FINER = 4
"""By how much steps are shorter in the second try of a trajectory that has diverged."""


class Chains(NamedTuple):
    """Where the chains are."""

    vector: Float[NumericArray, "trial chain d"]
    log_density: Float[NumericArray, "trial chain"]
    gradient: Float[NumericArray, "trial chain d"]


class Trace(NamedTuple):
    """What each transition gave; rows beyond `count` are zero.

    `acceptance` is that of the first trajectory; `diverging` says that the last one diverged;
    `gradients` is the number that were computed.
    """

    vector: Float[NumericArray, "draw trial chain d"]
    log_density: Float[NumericArray, "draw trial chain"]
    energy: Float[NumericArray, "draw trial chain"]
    acceptance: Float[NumericArray, "draw trial chain"]
    diverging: Bool[NumericArray, "draw trial chain"]
    gradients: Int[NumericArray, "draw trial chain"]


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


class _Tries(NamedTuple):
    """The trajectories of a transition: the first, the finer one, the one back from its end."""

    tried: Int[Array, ""]
    start: Chains
    u: Float[Array, "trial chain d"]
    end: Chains
    log_accept: Float[Array, "trial chain"]
    acceptance: Float[Array, "trial chain"]
    moves: Bool[Array, "trial chain"]
    again: Bool[Array, "trial chain"]
    diverging: Bool[Array, "trial chain"]
    gradients: Int[Array, " trial"]


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
        step_size [trial], gradients [trial] of a trajectory, two to a step, retries [trial],
        whether a trajectory that diverges is tried again with shorter steps, schedule) to the
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
        retries: Bool[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        width, dtype = chains.vector.shape[1], chains.vector.dtype
        own = jax.random.wrap_key_data(keys)

        def trajectory(
            chains: Chains,
            u: Float[Array, "trial chain d"],
            eps: Float[Array, "trial 1 1"],
            gradients: Int[Array, " trial"],
        ) -> tuple[Chains, Float[Array, "trial chain d"], Float[Array, "trial chain"]]:
            """Where a trajectory ends, the momentum there, and the error of the energy."""
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
            # Kinetic energies by their difference: each is of the order of the dimension
            gained = 0.5 * jnp.sum((u_end - u) * (u_end + u), axis=2)
            error = gained - (log_density - chains.log_density)
            error = jnp.where(jnp.isfinite(error), error, jnp.inf)
            # From a point whose density is not known yet (-inf) every move is taken
            error = jnp.where(jnp.isneginf(chains.log_density), -jnp.inf, error)
            return Chains(vector, log_density, gradient), u_end, error

        def transition(i: Int[Array, ""], state: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            chains, trace = state
            key_u, key_accept = jnp.moveaxis(
                jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i)))(own), 1, 0
            )
            shape = chains.vector.shape[1:]
            u = jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(key_u)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (2, width), dtype))(key_accept)
            eps = (schedule.stretch[i] * step_size)[:, None, None]
            before = 0.5 * jnp.sum(u * u, axis=2) - chains.log_density
            nothing = jnp.zeros(before.shape, bool)
            tries = _Tries(
                jnp.int32(0), chains, u, chains, before, before, nothing, nothing, nothing,
                jnp.zeros_like(gradients),
            )  # fmt: skip

            def unsettled(tries: _Tries) -> Array:
                return (tries.tried == 0) | ((tries.tried < 3) & jnp.any(tries.again))

            def one_try(tries: _Tries) -> _Tries:
                first, finer = tries.tried == 0, tries.tried == 1
                size = jnp.where(finer, eps / FINER, eps)
                count = jnp.where(finer, FINER * gradients, gradients)
                end, u_end, error = trajectory(tries.start, tries.u, size, count)
                diverges = error > DIVERGENT
                accepts = jnp.log(uniform[:, 0]) < -error
                again = jnp.where(first, diverges & ~accepts & retries[:, None], tries.again)
                chosen = first | (finer & again)
                # What is known of the second's probability: from here, and from its end
                refused = jnp.log1p(-jnp.exp(-jnp.maximum(error, DIVERGENT)))
                back_again = jnp.where(diverges, refused, -jnp.inf)
                log_accept = jnp.where(
                    first, -refused, tries.log_accept + jnp.where(finer, -error, back_again)
                )
                second = ~first & ~finer & again & (jnp.log(uniform[:, 1]) < log_accept)
                return _Tries(
                    tries.tried + 1,
                    _picked(first, tries.start, end),
                    jnp.where(first, tries.u, -u_end),
                    _picked(chosen, end, tries.end),
                    log_accept,
                    jnp.where(first, jnp.exp(-jnp.maximum(error, 0.0)), tries.acceptance),
                    jnp.where(first, accepts, tries.moves | second),
                    again,
                    jnp.where(chosen, diverges, tries.diverging),
                    tries.gradients + count,
                )

            tries = jax.lax.while_loop(unsettled, one_try, tries)
            moved = _picked(tries.moves, tries.end, chains)
            row = Trace(
                moved.vector,
                moved.log_density,
                before,
                tries.acceptance,
                tries.diverging,
                jnp.broadcast_to(tries.gradients[:, None], before.shape),
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
        retries: Bool[Array, " trial"],
        schedule: Schedule,
    ) -> tuple[Chains, Trace]:
        if chains.vector.shape[0] == block:
            return run_block(
                chains, keys, leaves, centring, arrow, step_size, gradients, retries, schedule
            )

        def cut(tree: Any, i: Array) -> Any:
            return jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, i * block, block, axis=0), tree
            )

        def one(i: Int[Array, ""], out: tuple[Chains, Trace]) -> tuple[Chains, Trace]:
            here = tuple(cut(a, i) if has else a for a, has in zip(leaves, own, strict=True))
            end, trace = run_block(
                cut(chains, i), cut(keys, i), here, cut(centring, i), cut(arrow, i),
                cut(step_size, i), cut(gradients, i), cut(retries, i), schedule,
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


def _picked(first: Bool[Array, "*where"], yes: Chains, no: Chains) -> Chains:
    """One or the other; `first` is for all, or [trial, chain]."""
    return Chains(
        jnp.where(first[..., None] if first.ndim else first, yes.vector, no.vector),
        jnp.where(first, yes.log_density, no.log_density),
        jnp.where(first[..., None] if first.ndim else first, yes.gradient, no.gradient),
    )


def _put(whole: Array, part: Array, first: Array, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=axis)


def _empty(chains: Chains, longest: int) -> Trace:
    return jax.tree.map(
        lambda like: jnp.zeros((longest, *like.shape), like.dtype),
        Trace(*chains[:2], chains[1], chains[1], chains[1] > 0, jnp.int32(chains[1])),
    )
