"""Small factors, and the subjects' modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.inference.conditional import (
    STILL,
    back_solved,
    expanded,
    factor,
    forward_solved,
    log_determinant,
    solved,
    subject_modes,
)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(0, 4), count=st.integers(1, 3))
def test_small_factors_are_those_of_numpy(seed, size, count):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((count, size, size))
    matrix = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(size)
    right = rng.standard_normal((count, size))
    lower = factor(jnp.asarray(matrix))
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), atol=1e-10)
    expected = np.linalg.solve(matrix, right[..., None])[..., 0]
    np.testing.assert_allclose(solved(lower, jnp.asarray(right)), expected, rtol=1e-7, atol=1e-8)
    halfway = forward_solved(lower, jnp.asarray(right))
    np.testing.assert_allclose(back_solved(lower, halfway), expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(
        log_determinant(lower), np.linalg.slogdet(matrix)[1], rtol=1e-9, atol=1e-9
    )


def test_a_matrix_that_is_not_positive_has_no_factor():
    matrix = jnp.asarray([[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]]])
    lower = factor(matrix)
    assert not jnp.isfinite(lower[0]).all()
    assert jnp.isfinite(lower[1]).all()


def curved(x):
    """Two numbers a subject, neither normal nor symmetric; each subject has a mode of its own."""
    centre = jnp.arange(x.shape[0], dtype=x.dtype)[:, None]
    rest = x - centre
    joint = -jnp.cosh(rest[:, 0] + 0.5 * rest[:, 1])
    return joint - 0.1 * rest[:, 1] ** 4 - 0.3 * rest[:, 1] ** 2 + 0.2 * rest[:, 0]


def test_slopes_and_curvatures_are_those_of_each_subject():
    x = jnp.asarray(np.random.default_rng(1).standard_normal((4, 2)))
    value, slope, curvature = expanded(curved, x)

    def one(i):
        return lambda own: curved(x.at[i].set(own))[i]

    for i in range(4):
        np.testing.assert_allclose(value[i], one(i)(x[i]))
        np.testing.assert_allclose(slope[i], jax.grad(one(i))(x[i]), rtol=1e-10)
        np.testing.assert_allclose(curvature[i], -jax.hessian(one(i))(x[i]), rtol=1e-10)


@pytest.mark.parametrize("start", [0.0, 8.0, -12.0])
def test_modes_are_found_from_near_and_from_far(start):
    found = subject_modes(curved, jnp.full((5, 2), start))
    assert (found.left < STILL).all()
    slope = jax.grad(lambda x: curved(x).sum())(found.x)
    np.testing.assert_allclose(slope, 0.0, atol=1e-5)


def test_where_there_is_no_mode_the_subject_is_flagged_and_the_others_are_not():
    def density(x):
        lost = jnp.where(jnp.arange(3) == 1, x[:, 0], 0.0)  # grows for ever
        return lost - 0.5 * jnp.where(jnp.arange(3) == 1, 0.0, (x[:, 0] - 2.0) ** 2)

    found = subject_modes(density, jnp.zeros((3, 1)))
    assert np.asarray(found.left < STILL).tolist() == [True, False, True]
    np.testing.assert_allclose(found.x[np.array([0, 2]), 0], 2.0)
