"""The metric of a hierarchical posterior: an arrow, whose work grows with the subjects alone.

Given the population, subjects are independent. A normal approximation of the posterior therefore
has a precision matrix with a dense population block, one small block for each subject, and the
rows between them. Its factor T, with T T' the covariance, has the same shape:

    population = P u_0,     subject i = C_i u_0 + S_i u_i,     u standard normal.

It is estimated either from the curvature at a mode or from pooled draws of all chains, by
regressing each subject's numbers on the population's.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FEW, MANY = 10.0, 300.0
"""Draws that a guess counts as, for the population's covariance and for all of the subjects'."""
STRAY = 0.05
"""By how much, at most, the noise of all regressions adds to the population's precision."""


class Arrow(NamedTuple):
    """The factor T; leading axes, if any, are trials.

    Attributes
    ----------
    population
        [..., p, p] lower triangular.
    cross
        [..., subject, k, p].
    subject
        [..., subject, k, k] lower triangular.
    """

    population: Float[Array | np.ndarray, "*trial p p"]
    cross: Float[Array | np.ndarray, "*trial subject k p"]
    subject: Float[Array | np.ndarray, "*trial subject k k"]


def forward(arrow: Arrow, u: Float[Array, "chain d"]) -> Float[Array, "chain d"]:
    """T u for each chain, of one trial."""
    u_0, u_i = _split(arrow, u)
    subjects, k, p = arrow.cross.shape
    own = sum(
        (u_i[..., j, None] * arrow.subject[..., j] for j in range(k)),
        jnp.zeros((*u.shape[:1], subjects, k), u.dtype),
    )
    shared = (u_0 @ arrow.cross.reshape(subjects * k, p).T).reshape(own.shape)
    return jnp.concatenate([u_0 @ arrow.population.T, (own + shared).reshape(len(u), -1)], axis=1)


def adjoint(arrow: Arrow, g: Float[Array, "chain d"]) -> Float[Array, "chain d"]:
    """T' g for each chain, of one trial."""
    g_0, g_i = _split(arrow, g)
    subjects, k, p = arrow.cross.shape
    own = sum(
        (g_i[..., j, None] * arrow.subject[..., j, :] for j in range(k)),
        jnp.zeros((*g.shape[:1], subjects, k), g.dtype),
    )
    shared = g_i.reshape(len(g), -1) @ arrow.cross.reshape(subjects * k, p)
    return jnp.concatenate([g_0 @ arrow.population + shared, own.reshape(len(g), -1)], axis=1)


def _split(arrow: Arrow, vector: Array) -> tuple[Array, Array]:
    subjects, k, p = arrow.cross.shape
    return vector[:, :p], vector[:, p:].reshape(len(vector), subjects, k)


class Precision(NamedTuple):
    """Blocks of a precision matrix of arrow shape; leading axes are trials."""

    population: Float[np.ndarray, "*trial p p"]
    cross: Float[np.ndarray, "*trial subject k p"]
    subject: Float[np.ndarray, "*trial subject k k"]


class Eliminated(NamedTuple):
    """A precision with the subjects eliminated.

    Attributes
    ----------
    covariance
        [..., subject, k, k] of a subject given the population.
    response
        [..., subject, k, p] by how much a subject's mode moves with the population.
    schur
        [..., p, p] precision of the population with the subjects integrated out.
    """

    covariance: np.ndarray
    response: np.ndarray
    schur: np.ndarray


def eliminate(precision: Precision, floor: float = 1e-6) -> Eliminated:
    """Integrate the subjects out; blocks that are not positive are lifted to `floor`."""
    covariance = _inverse(positive(precision.subject, floor))
    response = -covariance @ precision.cross
    schur = precision.population + np.einsum(
        "...nkp,...nkq->...pq", precision.cross, response, optimize=True
    )
    return Eliminated(covariance, response, positive(schur, floor))


def arrow_from_draws(draws: Float[np.ndarray, "trial draw d"], guess: Arrow) -> Arrow:
    """The arrow of the covariance of pooled draws, shrunk towards a guess that counts as draws.

    The population's few numbers are known from the draws soon; the many of the subjects only
    where the draws are many.
    """
    trials, count, _ = draws.shape
    subjects, k, p = guess.cross.shape[1:]
    centred = draws - draws.mean(axis=1, keepdims=True)
    shared, own = centred[..., :p], centred[..., p:].reshape(trials, count, subjects, k)
    few = count / (count + FEW)
    covariance = few * np.swapaxes(shared, 1, 2) @ shared / (count - 1)
    covariance += (1.0 - few) * guess.population @ np.swapaxes(guess.population, 1, 2)
    factor = np.linalg.cholesky(covariance)
    standard = np.swapaxes(np.linalg.solve(factor, np.swapaxes(shared, 1, 2)), 1, 2)
    # What the guess expects of the subjects where the population is; the rest is regressed on it
    turn = np.linalg.solve(guess.population, factor)
    cross = np.einsum("bnkp,bpq->bnkq", guess.cross, turn, optimize=True)
    rest = own - np.einsum("bnkp,bcp->bcnk", cross, standard, optimize=True)
    moments = np.einsum("bcp,bcnk->bnkp", standard, rest, optimize=True)
    # Each of the regressions is noisy, and their squares add up over the subjects
    quiet = max(count + MANY, np.sqrt(count * subjects * k / STRAY))
    cross = cross + moments / quiet
    rest = own - np.einsum("bnkp,bcp->bcnk", cross, standard, optimize=True)
    many = count / (count + MANY)
    each = many * np.einsum("bmnk,bmnl->bnkl", rest, rest, optimize=True) / (count - 1)
    each += (1.0 - many) * guess.subject @ np.swapaxes(guess.subject, -1, -2)
    return Arrow(factor, cross, np.linalg.cholesky(each))


def positive(matrix: np.ndarray, floor: float) -> np.ndarray:
    """The nearest symmetric matrix with eigenvalues of at least `floor` of the largest."""
    if matrix.shape[-1] == 0:
        return matrix
    values, vectors = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, -1, -2)))
    largest = np.maximum(np.abs(values).max(axis=-1, keepdims=True), 1e-12)
    # A negative curvature says how long the scale is there, not how certain the value
    lifted = np.maximum(np.abs(values), floor * largest)
    return (vectors * lifted[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(matrix) if matrix.shape[-1] else matrix
