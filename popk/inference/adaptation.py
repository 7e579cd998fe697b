"""What a warm-up learns: centring, metric, starting points, step size. All trials at once."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import erfcinv

from popk.inference.arrow import Arrow, Precision, eliminate
from popk.inference.lockstep import Chains, Trace
from popk.inference.mode import Mode
from popk.population.model import FlatDensity

QUARTER_TURN = 0.5 * np.pi
"""Length of a trajectory: at its end the whitened normal is independent of its beginning."""
MOST_LEAPS = 32
CANDIDATES = 3
"""Starting points are chosen among this many times their number."""


class Tuning(NamedTuple):
    """Step size of each trial, and leapfrog steps of a trajectory, the same for all."""

    step_size: Float[np.ndarray, " trial"]
    leaps: int

    @staticmethod
    def first(size: int, trials: int = 1) -> "Tuning":
        """The step size that suits a standard normal of this dimension, a little short."""
        step = 0.9 * size**-0.25
        return Tuning(np.full(trials, step), int(np.ceil(QUARTER_TURN / step)))


def retuned(tuning: Tuning, acceptance: np.ndarray, target: float) -> Tuning:
    """Step sizes that accept as many as wished for.

    For a normal the acceptance is erfc(c eps²) (Beskos et al., Bernoulli 2013;19:1501-34): one
    mean acceptance gives c. Trajectories keep a quarter turn.

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
    change = np.sqrt(erfcinv(target) / erfcinv(mean))
    step = tuning.step_size * np.clip(change, 0.3, 1.7)
    leaps = int(np.clip(np.ceil(QUARTER_TURN / np.median(step)), 1, MOST_LEAPS))
    return Tuning(np.minimum(step, QUARTER_TURN / leaps), leaps)


def centring_from(
    mode: Mode, names: Mapping[str, object], flat: FlatDensity
) -> dict[str, Float[np.ndarray, "trial subject"]]:
    """Centring weights from the curvature of non-centred numbers at the mode.

    There the curvature of a subject's number is 1 + I omega², with I what its data know of the
    parameter; w = I omega² / (1 + I omega²) (Papaspiliopoulos et al. 2007). It is taken at an
    omega two posterior SDs below the mode: where omega is small the funnel is narrow.
    """
    curvature = np.einsum("...kk->...k", mode.precision.subject)
    schur = np.linalg.inv(eliminate(mode.precision).schur)
    spread = np.sqrt(np.einsum("...pp->...p", schur))
    order = list(flat.named(flat.start))
    shared = [name for name in order if not name.startswith("x_")]
    own = [name for name in order if name.startswith("x_")]
    weights = {}
    for name in names:
        known = np.maximum(curvature[..., own.index(f"x_{name}")] - 1.0, 0.0)
        omega = f"omega_{name}"
        if omega in shared:
            down = np.exp(-4.0 * np.minimum(spread[..., shared.index(omega)], 1.0))
            known = known * down[:, None]
        weights[name] = known / (1.0 + known)
    return weights


def laplace_arrow(mode: Mode, precision: Precision) -> Arrow:
    """Population covariance from the mode search, the subjects' from the final centring."""
    population = np.linalg.cholesky(np.linalg.inv(eliminate(mode.precision).schur))
    parts = eliminate(precision)
    return Arrow(
        population,
        np.einsum("...nkp,...pq->...nkq", parts.response, population, optimize=True),
        np.linalg.cholesky(parts.covariance),
    )


def dispersed(
    rng: np.random.Generator,
    log_density: Callable[[np.ndarray], np.ndarray],
    centre: Float[np.ndarray, "trial d"],
    arrow: Arrow,
    count: int,
) -> Float[np.ndarray, "trial chain d"]:
    """Starting points from the normal approximation, those left out where it is far too wide.

    Among several times as many candidates the worst are dropped: the tails of the approximation
    where the posterior has none, from which a chain would not come back in a short warm-up.
    """
    trials, size = centre.shape
    subjects, k, p = arrow.cross.shape[-3:]
    standard = rng.standard_normal((trials, CANDIDATES * count, size))
    shared = standard[..., :p]
    own = standard[..., p:].reshape(trials, -1, subjects, k)
    each = np.einsum("bnkp,bcp->bcnk", arrow.cross, shared, optimize=True)
    each += np.einsum("bnkl,bcnl->bcnk", arrow.subject, own, optimize=True)
    moved = np.einsum("bpq,bcq->bcp", arrow.population, shared, optimize=True)
    points = centre[:, None] + np.concatenate([moved, each.reshape(*own.shape[:2], -1)], axis=2)
    weight = log_density(points) + 0.5 * np.sum(standard**2, axis=2)
    best = np.argsort(-np.nan_to_num(weight, nan=-np.inf, neginf=-np.inf), axis=1)[:, :count]
    return np.take_along_axis(points, best[..., None], axis=1)


def revived(rng: np.random.Generator, chains: Chains, trace: Trace) -> Chains:
    """Chains that did not move put where others are; in the warm-up only."""
    moved = np.asarray(trace.acceptance).mean(axis=0) > 0.1
    place = np.tile(np.arange(moved.shape[1]), (moved.shape[0], 1))
    for trial, alive in enumerate(moved):
        if alive.any() and not alive.all():
            place[trial, ~alive] = rng.choice(np.flatnonzero(alive), (~alive).sum())
    return Chains(
        np.take_along_axis(chains.vector, place[..., None], axis=1),
        np.take_along_axis(chains.log_density, place, axis=1),
        np.take_along_axis(chains.gradient, place[..., None], axis=1),
    )
