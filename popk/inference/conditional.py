"""The subjects' own modes for given population values, and small positive matrices.

All subjects are solved side by side. A subject has few numbers (one for each parameter with
variability), so that the factors of its curvature are written out entry by entry.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

STEPS = 40
"""Newton steps at most; where one fails it is shortened and counts too."""
STILL = 1e-9
"""Squared length of the next step, in conditional SDs, below which a mode is found."""
STUCK = 1e-4
"""Squared length above which a subject's mode is reported as not found."""

PerSubject = Callable[[Float[Array, "subject k"]], Float[Array, " subject"]]
Curvature = Callable[[Float[Array, "subject k"]], Float[Array, "subject k k"]]


def factor(matrix: Float[Array, "*many k k"]) -> Float[Array, "*many k k"]:
    """Lower Cholesky factors; NaN where a matrix is not positive."""
    size = matrix.shape[-1]
    zero = jnp.zeros(matrix.shape[:-2], matrix.dtype)
    rows: list[list[Array]] = []
    for i in range(size):
        row: list[Array] = []
        for j in range(i + 1):
            rest = (
                matrix[..., i, j] - sum((row[m] * rows[j][m] for m in range(j)), zero)
                if j < i
                else matrix[..., i, i] - sum((v * v for v in row), zero)
            )
            row.append(rest / rows[j][j] if j < i else jnp.sqrt(rest))
        rows.append(row)
    return _stacked(rows, zero)


def solved(lower: Float[Array, "*many k k"], right: Float[Array, "*many k"]) -> Array:
    """L L' x = right, for x."""
    return back_solved(lower, forward_solved(lower, right))


def forward_solved(lower: Float[Array, "*many k k"], right: Float[Array, "*many k"]) -> Array:
    """L x = right, for x."""
    found: list[Array] = []
    for i in range(lower.shape[-1]):
        rest = right[..., i]
        for j, value in enumerate(found):
            rest = rest - lower[..., i, j] * value
        found.append(rest / lower[..., i, i])
    return jnp.stack(found, axis=-1) if found else right


def back_solved(lower: Float[Array, "*many k k"], right: Float[Array, "*many k"]) -> Array:
    """L' x = right, for x."""
    size = lower.shape[-1]
    found: dict[int, Array] = {}
    for i in reversed(range(size)):
        rest = right[..., i]
        for j in range(i + 1, size):
            rest = rest - lower[..., j, i] * found[j]
        found[i] = rest / lower[..., i, i]
    return jnp.stack([found[i] for i in range(size)], axis=-1) if size else right


def log_determinant(lower: Float[Array, "*many k k"]) -> Float[Array, "*many"]:
    """Log determinant of L L'."""
    diagonal = jnp.diagonal(lower, axis1=-2, axis2=-1)
    return 2.0 * jnp.log(diagonal).sum(axis=-1)


def _stacked(rows: list[list[Array]], zero: Array) -> Array:
    size = len(rows)
    if size == 0:
        return jnp.zeros((*zero.shape, 0, 0), zero.dtype)
    full = [jnp.stack([*row, *([zero] * (size - len(row)))], axis=-1) for row in rows]
    return jnp.stack(full, axis=-2)


def hessian(density: PerSubject) -> Curvature:
    """Minus the second derivatives of each subject's density by its own numbers."""
    return lambda x: expanded(density, x)[2]


def expanded(
    density: PerSubject, x: Float[Array, "subject k"]
) -> tuple[Float[Array, " subject"], Float[Array, "subject k"], Float[Array, "subject k k"]]:
    """Each subject's density, its slope, and minus its second derivatives.

    Subjects share nothing here: one tangent moves a number of all of them at once.
    """

    def total(x: Array) -> tuple[Array, Array]:
        values = density(x)
        return values.sum(), values

    def slope(x: Array) -> tuple[Array, Array]:
        found, values = jax.grad(total, has_aux=True)(x)
        return found, values

    found, along, values = jax.linearize(slope, x, has_aux=True)
    return values, found, -jnp.moveaxis(jax.vmap(along)(directions(x)), 0, -1)


def directions(x: Float[Array, "subject k"]) -> Float[Array, "k subject k"]:
    """For each of the k numbers the tangent that moves it in all subjects."""
    size = x.shape[1]
    eye = jnp.eye(size, dtype=x.dtype)[:, None]
    return jnp.broadcast_to(eye, (size, *x.shape))


class Modes(NamedTuple):
    """The subjects' modes.

    Attributes
    ----------
    x
        [subject, k] where they are.
    factor
        [subject, k, k] lower factor of the curvature there; of the damped one where it is not
        positive.
    left
        [subject] squared length, in conditional SDs, of the step that would come next: near zero
        at a mode. Infinite where none was found.
    """

    x: Float[Array, "subject k"]
    factor: Float[Array, "subject k k"]
    left: Float[Array, " subject"]


class _Here(NamedTuple):
    """A subject's point in a search: density, slope, curvature, and how much it is damped."""

    x: Float[Array, "subject k"]
    value: Float[Array, " subject"]
    slope: Float[Array, "subject k"]
    curvature: Float[Array, "subject k k"]
    damping: Float[Array, " subject"]
    steps: Int[Array, ""]


def subject_modes(density: PerSubject, start: Float[Array, "subject k"]) -> Modes:
    """Newton's method for all subjects, damped for each as it needs (Levenberg, Marquardt).

    In units of the prior, whose curvature is one, a damping of one is the prior once more.
    """
    eye = jnp.eye(start.shape[1], dtype=start.dtype)

    def onward(here: _Here) -> tuple[Array, Array, Array]:
        """The next step, the factor that gives it, and what is left of the way."""
        lower = factor(here.curvature + here.damping[:, None, None] * eye)
        positive = jnp.isfinite(lower).all(axis=(1, 2))
        step = jnp.where(positive[:, None], solved(lower, here.slope), 0.0)
        known = positive & (here.damping == 0) & jnp.isfinite(here.value)
        left = jnp.where(known, (step * here.slope).sum(axis=1), jnp.inf)
        return step, lower, left

    def going(here: _Here) -> Array:
        return (here.steps < STEPS) & jnp.any(~(onward(here)[2] < STILL))

    def advance(here: _Here) -> _Here:
        step, lower, _ = onward(here)
        there = here.x + step
        value, slope, curvature = expanded(density, there)
        positive = jnp.isfinite(lower).all(axis=(1, 2))
        better = value >= here.value - 1e-10 * (1.0 + jnp.abs(value))
        better &= positive & jnp.isfinite(slope).all(axis=1)
        lighter = jnp.where(here.damping < 1e-2, 0.0, 0.1 * here.damping)
        heavier = jnp.maximum(10.0 * here.damping, 1.0)
        return _Here(
            jnp.where(better[:, None], there, here.x),
            jnp.where(better, value, here.value),
            jnp.where(better[:, None], slope, here.slope),
            jnp.where(better[:, None, None], curvature, here.curvature),
            jnp.where(better, lighter, heavier),
            here.steps + 1,
        )

    subjects = start.shape[0]
    first = _Here(
        start,
        jnp.full(subjects, -jnp.inf, start.dtype),
        jnp.zeros_like(start),
        jnp.broadcast_to(eye, (subjects, *eye.shape)),
        jnp.zeros(subjects, start.dtype),
        jnp.int32(0),
    )
    last = jax.lax.while_loop(going, advance, first)
    step, lower, left = onward(last)
    return Modes(last.x + jnp.where(left[:, None] < STILL, step, 0.0), lower, left)
