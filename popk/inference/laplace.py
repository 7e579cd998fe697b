"""The marginal likelihood: every subject's own numbers integrated out.

With l(x) the log joint density of a subject's data and of its k standardised deviations x, xh its
mode and H minus the second derivative there, log L = log of the integral of exp l(x) over x is

- Laplace: l(xh) + k/2 log 2 pi - 1/2 log det H;
- FOCEI: the same with the expected curvature of the measured rows in the place of H,
  I + sum over rows [(dm/dx)(dm/dx)'/v + 1/2 (d log v/dx)(d log v/dx)'], m and v being the mean
  and variance of the row (Wang, J Pharmacokinet Pharmacodyn 2007;34:575-93, sec. 2.3; what NONMEM
  computes by METHOD=1 INTERACTION). Censored rows count with their true curvature, as NONMEM's
  F_FLAG rows do under LAPLACIAN;
- adaptive Gauss-Hermite quadrature, nodes in units of H (Pinheiro & Bates, J Comput Graph Stat
  1995;4:12-35): one node is Laplace;
- importance sampling from a multivariate t around xh with the curvature H; random numbers are the
  same at every call, so that the result is a smooth function.

The mode is found without derivatives through its iterations; one Newton step with H held, from the
mode, then carries the implicit derivative d xh / d theta = H^-1 d2 l / dx d theta.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from popk.inference.conditional import (
    back_solved,
    directions,
    expanded,
    factor,
    hessian,
    log_determinant,
    solved,
    subject_modes,
)
from popk.population.events import Events
from popk.population.model import Model, Values
from popk.population.subjects import Coordinates, per_subject, shares

Method = Literal["focei", "laplace", "agq", "importance"]

DF = 5.0
"""Degrees of freedom of the proposal of importance sampling: tails heavier than a normal's."""
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Nodes(NamedTuple):
    """Where an integrand is evaluated, in units of the curvature, and with what weight.

    Attributes
    ----------
    z
        [node, k], or [node, subject, k] where each subject has its own.
    log_weight
        [node] or [node, subject]: of exp(l) there, for a curvature of one.
    """

    z: Float[Array | np.ndarray, "*shape k"]
    log_weight: Float[Array | np.ndarray, "*shape"]


class Marginal(NamedTuple):
    """Log marginal likelihoods.

    Attributes
    ----------
    log_likelihood
        [subject].
    x
        [subject, k] the subjects' modes.
    left
        [subject] see `popk.inference.conditional.Modes`.
    curvature_factor
        [subject, k, k] lower factor of the curvature that was used.
    variance
        [subject] Monte Carlo variance of the log likelihood; zero but for importance sampling.
    """

    log_likelihood: Float[Array, " subject"]
    x: Float[Array, "subject k"]
    left: Float[Array, " subject"]
    curvature_factor: Float[Array, "subject k k"]
    variance: Float[Array, " subject"]


def gauss_hermite(nodes: int, k: int) -> Nodes:
    """The product rule of so many nodes for each of k numbers."""
    x, weight = np.polynomial.hermite.hermgauss(nodes)
    grids = np.meshgrid(*[x] * k, indexing="ij")
    points = np.stack([g.ravel() for g in grids], axis=-1) if k else np.zeros((1, 0))
    weights = np.meshgrid(*[np.log(weight) + x * x] * k, indexing="ij")
    logs = sum((w.ravel() for w in weights), np.zeros(len(points)))
    return Nodes(math.sqrt(2.0) * points, logs + 0.5 * k * math.log(2.0))


def importance_nodes(seed: int, samples: int, subjects: int, k: int) -> Nodes:
    """Draws of a multivariate t, antithetic in pairs, with the weight of each."""
    rng = np.random.default_rng([seed, 3])
    half = -(-samples // 2)
    normal = rng.standard_normal((half, subjects, k))
    z = normal / np.sqrt(rng.chisquare(DF, (half, subjects, 1)) / DF)
    z = np.concatenate([z, -z])
    log_density = (
        gammaln(0.5 * (DF + k)) - gammaln(0.5 * DF) - 0.5 * k * math.log(DF * math.pi)
        - 0.5 * (DF + k) * np.log1p((z * z).sum(axis=-1) / DF)
    )  # fmt: skip
    return Nodes(z, -log_density - math.log(len(z)))


def marginal(
    model: Model,
    events: Events,
    method: Method,
    population: Values,
    start: Float[Array, "subject k"],
    nodes: Nodes | None = None,
    *,
    censoring: bool = True,
) -> Marginal:
    """The marginal likelihood of every subject, for given population values.

    Parameters
    ----------
    population
        Values of the model's sample sites for the population.
    start
        Where the search for the subjects' modes begins.
    nodes
        Of "agq" (`gauss_hermite`) and "importance" (`importance_nodes`).
    censoring
        False where it is known that no row is censored: their curvature is then left out.

    Returns
    -------
    Marginal
        Differentiable by `population`, in forward mode.
    """

    def density(population: Values) -> Callable[[Array], Array]:
        def of(x: Float[Array, "subject k"]) -> Float[Array, " subject"]:
            share = shares(model, events, population, x)
            return share.log_prior + per_subject(share.row_log_likelihood, events)

        return of

    held = jax.lax.stop_gradient(population)
    modes = jax.lax.stop_gradient(subject_modes(density(held), start))
    log_joint = density(population)
    slope = jax.grad(lambda x: log_joint(x).sum())(modes.x)
    x = modes.x + solved(_usable(modes.factor), slope)
    if method == "focei":
        value, curvature = _expected(model, events, population, x, censoring)
    else:
        value, _, curvature = expanded(log_joint, x)
    lower = factor(curvature)
    k = start.shape[1]
    if nodes is None:
        log_likelihood = value + k * HALF_LOG_2PI - 0.5 * log_determinant(lower)
        variance = jnp.zeros_like(log_likelihood)
    else:
        log_likelihood, variance = _summed(log_joint, x, lower, nodes)
    return Marginal(log_likelihood, modes.x, modes.left, lower, variance)


def evaluating(
    model: Model, of: Coordinates, method: Method, *, censoring: bool, scores: bool = True
) -> Callable[[Array, Array, Events, Nodes | None], tuple[Array, ...]]:
    """What evaluates a marginal likelihood; to be compiled.

    Returns
    -------
    Callable
        Of unconstrained coordinates, where the search for the subjects' modes begins, events, and
        the nodes of the method: the parts of `popk.inference.maximum.Evaluation`.
    """

    def evaluate(vector: Array, x: Array, events: Events, nodes: Nodes | None) -> tuple[Array, ...]:
        def value(vector: Array) -> tuple[Array, Any]:
            found = marginal(
                model, events, method, of.values(vector), x, nodes, censoring=censoring
            )
            return found.log_likelihood, found

        def along(tangent: Array) -> tuple[Array, Array, Any]:
            return jax.jvp(value, (vector,), (tangent,), has_aux=True)

        if not scores:
            log_likelihood, found = value(vector)
            return log_likelihood, jnp.zeros((log_likelihood.size, 0)), *found[1:]
        # The searched modes do not depend on the direction: they are computed once
        log_likelihood, slopes, found = jax.vmap(along, out_axes=(None, 1, None))(
            jnp.eye(vector.shape[0], dtype=vector.dtype)
        )
        return log_likelihood, slopes, *found[1:]

    return evaluate


def _summed(
    log_joint: Callable[[Array], Array], x: Array, lower: Array, nodes: Nodes
) -> tuple[Float[Array, " subject"], Float[Array, " subject"]]:
    """The integral by weighted nodes, and the variance of its logarithm if they are random."""

    def at(node: Nodes) -> Float[Array, " subject"]:
        z = jnp.broadcast_to(node.z, x.shape)
        return log_joint(x + back_solved(lower, z)) + node.log_weight

    terms = jax.vmap(at)(jax.tree.map(jnp.asarray, nodes))
    total = jax.nn.logsumexp(terms, axis=0)
    log_likelihood = total - 0.5 * log_determinant(lower)
    if nodes.z.ndim == 2:  # the same for all subjects: not drawn
        return log_likelihood, jnp.zeros_like(total)
    count = terms.shape[0]
    # Antithetic pairs are the independent parts
    paired = jnp.exp(terms - total) * count
    pairs = 0.5 * (paired[: count // 2] + paired[count // 2 :][: count // 2])
    variance = jnp.var(pairs, axis=0) / max(count // 2, 1)
    return log_likelihood, jax.lax.stop_gradient(variance)


def _expected(
    model: Model,
    events: Events,
    population: Values,
    x: Float[Array, "subject k"],
    censoring: bool,
) -> tuple[Float[Array, " subject"], Float[Array, "subject k k"]]:
    """The log joint density and FOCEI's curvature.

    That is the prior's, the expected one of measured rows, and the true one of censored rows.
    """

    def scale(x: Array) -> tuple[tuple[Array, Array], Array]:
        share = shares(model, events, population, x)
        log_joint = share.log_prior + per_subject(share.row_log_likelihood, events)
        of = share.scale
        return (of.mean, jnp.broadcast_to(of.log_sd, of.mean.shape)), log_joint

    (_, log_sd), along, value = jax.linearize(scale, x, has_aux=True)
    means, spreads = jax.vmap(along)(directions(x))
    slopes = list(zip(means * jnp.exp(-log_sd), spreads, strict=True))
    measured = events.observed & ~events.censored

    def shared(a: tuple[Array, Array], b: tuple[Array, Array]) -> Float[Array, " subject"]:
        return per_subject(jnp.where(measured, a[0] * b[0] + 2.0 * a[1] * b[1], 0.0), events)

    rows = [jnp.stack([shared(a, b) for b in slopes], axis=-1) for a in slopes]
    eye = jnp.eye(x.shape[1], dtype=x.dtype)
    curvature = eye + (jnp.stack(rows, axis=-2) if rows else jnp.zeros((*x.shape, 0), x.dtype))
    if not censoring:
        return value, curvature

    def censored(x: Array) -> Array:
        share = shares(model, events, population, x)
        return per_subject(jnp.where(events.censored, share.row_log_likelihood, 0.0), events)

    return value, curvature + hessian(censored)(x)


def _usable(lower: Float[Array, "subject k k"]) -> Float[Array, "subject k k"]:
    """The identity where a factor is no number: there is no mode to follow."""
    good = jnp.isfinite(lower).all(axis=(1, 2), keepdims=True)
    return jnp.where(good, lower, jnp.eye(lower.shape[-1], dtype=lower.dtype))
