"""The integrator: tuned to a standard normal, reversible, volume preserving."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.inference.lockstep import kick


def step(h, frequency=1.0):
    """The matrix of one two-gradient step for an oscillator, from its definition."""
    b = float(kick(jnp.asarray(h)))

    def push(c):
        return np.array([[1.0, 0.0], [-c * h * frequency**2, 1.0]])

    drift = np.array([[1.0, 0.5 * h], [0.0, 1.0]])
    return push(b) @ drift @ push(1 - 2 * b) @ drift @ push(b)


@given(h=st.floats(0.05, 2.0))
def test_a_step_keeps_the_energy_of_a_standard_normal(h):
    matrix = step(h)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-12)
    # Energy is kept where the matrix is a rotation
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-7)


def test_short_steps_have_the_coefficient_of_the_limit():
    assert float(kick(jnp.asarray(1e-6))) == pytest.approx((3 - np.sqrt(5)) / 4, rel=1e-9)


def test_away_from_the_standard_normal_it_beats_leapfrog_at_the_same_cost():
    """Expected energy error of a quarter turn, two gradients a step against leapfrog's one."""
    turn = 0.5 * np.pi

    def error(matrix, frequency):
        units = np.diag([frequency, 1.0])
        m = units @ matrix @ np.linalg.inv(units)
        return 0.5 * (m[0, 1] + m[1, 0]) ** 2

    for frequency in (0.7, 0.85, 1.15, 1.3):
        h = turn / 4
        kick_half = np.array([[1.0, 0.0], [-0.5 * h * frequency**2, 1.0]])
        leap = kick_half @ np.array([[1.0, h], [0.0, 1.0]]) @ kick_half
        ours = np.linalg.matrix_power(step(turn / 2, frequency), 2)
        theirs = np.linalg.matrix_power(leap, 4)
        assert error(ours, frequency) < 0.1 * error(theirs, frequency)
