"""The mode of the population posterior, by Laplace's approximation, from gradients alone.

For given population numbers each subject's own have a mode and a curvature H_i. Maximised is

    log p(y, x_hat, population) - 1/2 sum_i log det H_i

(Tierney & Kadane, JASA 1986;81:82-86), which does not run away to a variance of zero as the joint
mode does. Curvatures are central differences of gradients. All points of a step, of all trials,
are evaluated side by side by the sampler's own program, so that nothing else is compiled; every
subject is probed at once, because subjects do not share curvature.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from popk.inference.arrow import Eliminated, Precision, eliminate

Gradients = Callable[
    [Float[np.ndarray, "trial point d"]],
    tuple[Float[np.ndarray, "trial point"], Float[np.ndarray, "trial point d"]],
]
"""Log densities and gradients at many points of each trial."""

LONGEST_STEP = 1.0
"""A step is cut to this length: an e-fold of a typical value, one SD of a standardised eta. In
units of the local curvature it may be hundreds of SDs: far from a sharp mode that is right."""
CLOSE = 0.3
"""A mode is found where the next step would be shorter than this, in posterior SDs: it only has to
be near enough for starting points and for the units in which etas are sampled."""
STEPS = 20
INNER_STEPS = 3
MOST_INNER_STEPS = 40
"""From etas of zero the subjects' first modes are further away than later ones."""
STILL = 1e-3
"""Change of a subject's number below which its mode is found."""


class Mode(NamedTuple):
    """A mode of each trial.

    Attributes
    ----------
    vector
        [trial, d] population mode and the subjects' modes given it.
    precision
        Curvature there.
    covariance
        [trial, p, p] of the population, by the curvature of Laplace's marginal density: what the
        search has learnt of it.
    found
        [trial] False where the search did not end.
    """

    vector: Float[np.ndarray, "trial d"]
    precision: Precision
    covariance: Float[np.ndarray, "trial p p"]
    found: Bool[np.ndarray, " trial"]


def find_mode(
    gradients: Gradients,
    start: Float[np.ndarray, "trial d"],
    population: int,
    individual: tuple[int, int],
    difference: float,
) -> Mode:
    """Newton steps over the population; the subjects' modes are followed on the way.

    Parameters
    ----------
    gradients
        Evaluates many points at once.
    start
        [trial, d] where to begin.
    population, individual
        Length of the population part; how many subjects there are, and numbers of each (0 where
        nothing varies between them).
    difference
        Step of the finite differences, about the cube root of the precision.
    """
    probe = _probe(gradients, population, *individual, difference)
    vector = probe.subject_modes(np.array(start), MOST_INNER_STEPS)
    here = probe.objective(vector)
    inverse = np.linalg.inv(here.parts.schur)
    found = np.zeros(len(start), dtype=bool)
    shrink = np.ones(len(start))
    for _ in range(STEPS):
        step = (inverse @ here.slope[..., None])[..., 0]
        length = np.sqrt(np.maximum(np.sum(step * here.slope, axis=1), 0.0))
        found |= (length < CLOSE) & np.isfinite(here.value)
        if found.all():
            break
        longest = np.abs(np.nan_to_num(step)).max(axis=1)
        cut = shrink * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-12))
        step = np.where(found[:, None], 0.0, np.nan_to_num(step) * cut[:, None])
        onward = probe.subject_modes(probe.moved(vector, step, here.parts))
        there = probe.objective(onward)
        better = found | (there.value > here.value - 1e-6)
        # Far from the mode the curvature is another one at every step; near it what is learnt of
        # it from the slopes counts the volumes too
        far = (longest > LONGEST_STEP) & better
        inverse = _updated(inverse, step, here.slope - there.slope, better & ~found)
        fresh = np.linalg.inv(there.parts.schur)
        inverse = np.where(far[:, None, None], fresh, inverse)
        shrink = np.where(better, 1.0, 0.3 * shrink)
        vector = np.where(better[:, None], onward, vector)
        here = _chosen(better, there, here)
    # On the way the subjects' modes are followed only roughly
    vector = probe.subject_modes(vector, MOST_INNER_STEPS)
    precision, *_ = probe.precision(vector)
    usable = np.isfinite(inverse).all(axis=(1, 2))
    usable &= np.linalg.eigvalsh(np.nan_to_num(inverse)).min(axis=1) > 0
    last = np.linalg.inv(eliminate(precision).schur)
    covariance = np.where(usable[:, None, None], inverse, last)
    return Mode(vector, precision, covariance, found & np.isfinite(vector).all(axis=1))


def subject_modes(
    gradients: Gradients,
    start: Float[np.ndarray, "trial d"],
    population: int,
    individual: tuple[int, int],
    difference: float,
) -> tuple[Float[np.ndarray, "trial d"], Precision]:
    """The subjects' modes for given population numbers, and the curvature there."""
    probe = _probe(gradients, population, *individual, difference)
    vector = probe.subject_modes(np.array(start), MOST_INNER_STEPS)
    return vector, probe.precision(vector)[0]


def _probe(gradients: Gradients, p: int, n: int, k: int, h: float) -> "_Probe":
    directions = np.zeros((p + k, p + n * k))
    directions[:p, :p] = np.eye(p)
    for j in range(k):
        directions[p + j, p + j :: k] = 1.0
    return _Probe(gradients, p, n, k, h, directions)


class _Objective(NamedTuple):
    """Laplace's log marginal density and its slope along the population, with what they rest on."""

    value: Float[np.ndarray, " trial"]
    slope: Float[np.ndarray, "trial p"]
    precision: Precision
    parts: Eliminated


def _chosen(first: Bool[np.ndarray, " trial"], yes: Any, no: Any) -> Any:
    """Trial by trial one of two records of arrays."""
    if isinstance(yes, np.ndarray):
        return np.where(first.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)
    return type(yes)(*(_chosen(first, a, b) for a, b in zip(yes, no, strict=True)))


def _updated(
    inverse: Float[np.ndarray, "trial p p"],
    step: Float[np.ndarray, "trial p"],
    change: Float[np.ndarray, "trial p"],
    active: Bool[np.ndarray, " trial"],
) -> Float[np.ndarray, "trial p p"]:
    """Broyden-Fletcher-Goldfarb-Shanno update of an inverse curvature, where it stays positive."""
    product = np.sum(step * change, axis=1)
    usable = active & (product > 1e-10) & np.isfinite(product)
    rho = 1.0 / np.where(usable, product, 1.0)
    eye = np.eye(step.shape[1])
    left = eye - rho[:, None, None] * step[:, :, None] * np.nan_to_num(change)[:, None, :]
    new = left @ inverse @ np.swapaxes(left, 1, 2)
    new += rho[:, None, None] * step[:, :, None] * step[:, None, :]
    return np.where(usable[:, None, None], new, inverse)


class _Probe(NamedTuple):
    """Finite differences along the population's numbers and along each kind of subject number."""

    gradients: Gradients
    p: int
    n: int
    k: int
    h: float
    directions: Float[np.ndarray, "direction d"]

    def subject_modes(self, vector: np.ndarray, most: int = INNER_STEPS) -> np.ndarray:
        """The subjects' modes for these population numbers, in at most so many steps."""
        for _ in range(most):
            before, vector = vector, self.subject_step(vector)
            if np.abs(vector - before).max() < STILL:
                break
        return vector

    def objective(self, vector: np.ndarray) -> _Objective:
        """What is maximised, at subjects' modes."""
        precision, gradient, density = self.precision(vector)
        parts = eliminate(precision)
        # What is still missing to the subjects' modes counts to second order
        own = self._each(gradient[:, self.p :])
        step = (parts.covariance @ own[..., None])[..., 0]
        rest = 0.5 * np.sum(own * step, axis=(1, 2)) if self.k else 0.0
        value = density + rest + 0.5 * np.linalg.slogdet(parts.covariance)[1].sum(axis=1)
        slope = gradient[:, : self.p] + np.einsum("bnkp,bnk->bp", parts.response, own)
        return _Objective(value, slope + self.volume_slope(vector, parts), precision, parts)

    def precision(self, vector: np.ndarray) -> tuple[Precision, np.ndarray, np.ndarray]:
        """Minus the Hessian in arrow shape, the gradient and the log density at one point."""
        points = vector[:, None] + self.h * np.concatenate(
            [np.zeros((1, vector.shape[1])), self.directions, -self.directions]
        )
        density, gradient = self.gradients(points)
        count = self.p + self.k
        # Where the density is no number a step has gone too far, whatever its slopes are
        whole = np.isfinite(density).all(axis=1) & np.isfinite(gradient).all(axis=(1, 2))
        lost = np.logical_not(whole)
        density = np.where(lost[:, None], -np.inf, density)
        gradient = np.where(lost[:, None, None], 0.0, gradient)
        slopes = (gradient[:, 1 + count :] - gradient[:, 1 : 1 + count]) / (2.0 * self.h)
        shared, own = slopes[:, : self.p], slopes[:, self.p :]
        population = 0.5 * (shared[..., : self.p] + np.swapaxes(shared[..., : self.p], 1, 2))
        cross = np.moveaxis(self._each(shared[..., self.p :]), 1, -1)
        subject = np.moveaxis(self._each(own[..., self.p :]), 1, -1)
        return Precision(population, cross, subject), gradient[:, 0], density[:, 0]

    def subject_step(self, vector: np.ndarray) -> np.ndarray:
        """One Newton step of every subject's numbers, the population held."""
        if self.k == 0:
            return vector
        directions = self.directions[self.p :]
        points = vector[:, None] + self.h * np.concatenate(
            [np.zeros((1, vector.shape[1])), directions, -directions]
        )
        _, gradient = self.gradients(points)
        # Where the density is not finite there is no slope: such a subject stays where it is
        with np.errstate(invalid="ignore", over="ignore"):
            slopes = (gradient[:, 1 + self.k :] - gradient[:, 1 : 1 + self.k]) / (2.0 * self.h)
            curvature = np.moveaxis(self._each(slopes[..., self.p :]), 1, -1)
            empty = np.zeros((*curvature.shape[:2], self.k, 0))
            parts = eliminate(Precision(np.zeros((len(vector), 0, 0)), empty, curvature))
            own = self._each(gradient[:, 0, self.p :])
            step = (parts.covariance @ own[..., None])[..., 0]
            length = np.abs(step).max(axis=-1, keepdims=True)
            step *= np.minimum(1.0, LONGEST_STEP / np.maximum(length, 1e-12))
        step = np.nan_to_num(step)
        out = vector.copy()
        out[:, self.p :] += step.reshape(len(vector), -1)
        return out

    def volume_slope(self, vector: np.ndarray, parts: Eliminated) -> np.ndarray:
        """Slope of -1/2 sum log det H_i along the population, the subjects' modes following."""
        if self.k == 0:
            return np.zeros((len(vector), self.p))
        h = 10.0 * self.h
        directions = self.directions[self.p :]
        shifts = np.concatenate([np.eye(self.p), -np.eye(self.p)]) * h
        bases = np.stack(
            [self.moved(vector, np.tile(shift, (len(vector), 1)), parts) for shift in shifts], 1
        )
        points = bases[:, :, None] + self.h * np.concatenate([directions, -directions])
        shape = points.shape
        _, gradient = self.gradients(points.reshape(shape[0], -1, shape[-1]))
        gradient = gradient.reshape(shape)
        with np.errstate(invalid="ignore", over="ignore"):  # a step too far has no curvature
            slopes = (gradient[:, :, self.k :] - gradient[:, :, : self.k]) / (2.0 * self.h)
            each = self._each(slopes[..., self.p :])
            curvature = np.moveaxis(each, 2, -1)
            _, log_volume = np.linalg.slogdet(0.5 * (curvature + np.swapaxes(curvature, -1, -2)))
        total = np.nan_to_num(log_volume, posinf=0.0, neginf=0.0).sum(axis=-1)
        return -0.5 * (total[:, : self.p] - total[:, self.p :]) / (2.0 * h)

    def moved(self, vector: np.ndarray, step: np.ndarray, parts: Eliminated) -> np.ndarray:
        """Move the population, and the subjects as their modes respond to first order."""
        out = vector.copy()
        out[:, : self.p] += step
        response = np.einsum("bnkp,bp->bnk", parts.response, step, optimize=True)
        out[:, self.p :] += np.nan_to_num(response).reshape(len(vector), -1)
        return out

    def _each(self, flat: np.ndarray) -> np.ndarray:
        return flat.reshape(*flat.shape[:-1], self.n, self.k)
