"""What a warm-up learns: centring, metric, starting points, step size. All trials at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erfcinv

from popk.inference.arrow import Arrow, Precision, eliminate
from popk.inference.lockstep import Chains, Trace
from popk.inference.mode import Mode
from popk.population.parameters import Known

QUARTER_TURN = 0.5 * np.pi
"""Length of a trajectory: at its end the whitened normal is independent of its beginning."""
MOST_STEPS = 16
SHORTER = 0.6
"""After divergences the step size is cut by this factor."""
CANDIDATES = 3
"""Starting points are chosen among this many times their number."""


class Tuning(NamedTuple):
    """Step size of each trial, and integrator steps of its trajectories."""

    step_size: Float[np.ndarray, " trial"]
    steps: Int[np.ndarray, " trial"]

    @staticmethod
    def first(size: int, trials: int = 1) -> "Tuning":
        """Steps that suit a standard normal of this dimension, a little short."""
        steps = int(np.ceil(QUARTER_TURN / (3.0 * size**-0.25)))
        return Tuning(
            np.full(trials, 0.75 * QUARTER_TURN / steps), np.full(trials, steps, dtype=np.int32)
        )


def retuned(tuning: Tuning, acceptance: np.ndarray, target: float) -> Tuning:
    """Step sizes that accept as many as wished for.

    The acceptance is erfc(c eps⁴) where the energy error goes with eps⁴ (for leapfrog it is
    eps²: Beskos et al., Bernoulli 2013;19:1501-34): one mean acceptance gives c. Trajectories
    keep a quarter turn.

    Parameters
    ----------
    tuning
        What was used.
    acceptance
        [draw, trial, chain] what it gave.
    target
        Mean acceptance wished for.
    """
    # The median chain: one that does not move yet says nothing about the step
    mean = np.clip(np.median(np.nan_to_num(acceptance).mean(axis=0), axis=1), 0.01, 0.995)
    change = (erfcinv(target) / erfcinv(mean)) ** 0.25
    return _quarter_turns(tuning.step_size * np.clip(change, 0.3, 2.0))


def _quarter_turns(step_size: Float[np.ndarray, " trial"]) -> Tuning:
    """As many steps as a quarter turn takes, a little shorter so that they fit."""
    steps = np.clip(np.ceil(QUARTER_TURN / step_size), 1, MOST_STEPS).astype(np.int32)
    return Tuning(np.minimum(step_size, QUARTER_TURN / steps), steps)


def shortened(tuning: Tuning, diverged: Bool[np.ndarray, " trial"]) -> Tuning:
    """Smaller steps where a trial has diverged: its steps were too long."""
    shorter = _quarter_turns(SHORTER * tuning.step_size)
    return Tuning(
        np.where(diverged, shorter.step_size, tuning.step_size),
        np.where(diverged, shorter.steps, tuning.steps).astype(np.int32),
    )


def known_at(
    mode: Mode,
    values: Mapping[str, np.ndarray],
    log_scale: Mapping[str, np.ndarray],
    names: Mapping[str, int],
) -> Known:
    """What each subject's data know of its log parameters, from the curvature at the mode.

    There non-centred numbers x = eta/omega have the curvature 1 + omega I omega, and their
    likelihood has the slope x: that of a normal with precision I and score I theta + x/omega.

    Parameters
    ----------
    mode
        Of non-centred numbers.
    values
        Named values there, [trial, subject] or [trial].
    log_scale
        Parameter to [trial, subject] log of its scale.
    names
        Parameter to its place among a subject's numbers.
    """
    trials, subjects = mode.precision.subject.shape[:2]
    sigma = np.zeros(trials) if "sigma" not in values else values["sigma"]
    if not names:
        return Known(np.zeros((trials, subjects, 0, 0)), np.zeros((trials, subjects, 0)), sigma)
    order = list(names.values())
    omega = np.stack([values[f"omega_{name}"] for name in names], axis=-1)[:, None]
    excess = mode.precision.subject[..., order, :][..., order] - np.eye(len(order))
    least, axes = np.linalg.eigh(0.5 * (excess + np.swapaxes(excess, -1, -2)))
    excess = (axes * np.maximum(least, 0.0)[..., None, :]) @ np.swapaxes(axes, -1, -2)
    information = excess / (omega[..., :, None] * omega[..., None, :])
    theta = np.stack([np.log(values[name]) - log_scale[name] for name in names], axis=-1)
    eta = np.stack([values[f"eta_{name}"] for name in names], axis=-1)
    # A slope where there is no curvature is not that of a normal
    slope = np.where(np.einsum("...ii->...i", excess) > 1e-6, eta / omega**2, 0.0)
    score = np.einsum("...ij,...j->...i", information, theta) + slope
    return Known(information, score, np.broadcast_to(sigma, trials))


def laplace_arrow(mode: Mode, precision: Precision) -> Arrow:
    """Population covariance from the mode search, the subjects' from the final centring."""
    population = np.linalg.cholesky(mode.covariance)
    parts = eliminate(precision)
    return Arrow(
        population,
        np.einsum("...nkp,...pq->...nkq", parts.response, population, optimize=True),
        np.linalg.cholesky(parts.covariance),
    )


def dispersed(
    rngs: Sequence[np.random.Generator],
    log_density: Callable[[np.ndarray], np.ndarray],
    centre: Float[np.ndarray, "trial d"],
    arrow: Arrow,
    count: int,
    copies: int = 1,
) -> Float[np.ndarray, "trial chain d"]:
    """Starting points from the normal approximation, those left out where it is far too wide.

    Among several times as many candidates the worst are dropped: the tails of the approximation
    where the posterior has none, from which a chain would not come back in a short warm-up. So many
    `copies` of each follow one another: chains of a superchain share their starting point.
    """
    distinct = count // copies
    size = centre.shape[1]
    subjects, k, p = arrow.cross.shape[-3:]
    standard = np.stack([rng.standard_normal((CANDIDATES * distinct, size)) for rng in rngs])
    shared = standard[..., :p]
    own = standard[..., p:].reshape(*standard.shape[:2], subjects, k)
    each = np.einsum("bnkp,bcp->bcnk", arrow.cross, shared, optimize=True)
    each += np.einsum("bnkl,bcnl->bcnk", arrow.subject, own, optimize=True)
    moved = np.einsum("bpq,bcq->bcp", arrow.population, shared, optimize=True)
    points = centre[:, None] + np.concatenate([moved, each.reshape(*own.shape[:2], -1)], axis=2)
    weight = log_density(points) + 0.5 * np.sum(standard**2, axis=2)
    best = np.argsort(-np.nan_to_num(weight, nan=-np.inf, neginf=-np.inf), axis=1)[:, :distinct]
    return np.repeat(np.take_along_axis(points, best[..., None], axis=1), copies, axis=1)


def revived(rngs: Sequence[np.random.Generator], chains: Chains, trace: Trace) -> Chains:
    """Chains that did not move put where others are; in the warm-up only."""
    moved = np.asarray(trace.acceptance).mean(axis=0) > 0.1
    place = np.tile(np.arange(moved.shape[1]), (moved.shape[0], 1))
    for trial, (rng, alive) in enumerate(zip(rngs, moved, strict=True)):
        if alive.any() and not alive.all():
            place[trial, ~alive] = rng.choice(np.flatnonzero(alive), (~alive).sum())
    return Chains(
        np.take_along_axis(chains.vector, place[..., None], axis=1),
        np.take_along_axis(chains.log_density, place, axis=1),
        np.take_along_axis(chains.gradient, place[..., None], axis=1),
    )
