"""The integrator: tuned to a standard normal, reversible, volume preserving; second tries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from popk.inference import lockstep
from popk.inference.arrow import Arrow
from popk.inference.effective import ess
from popk.inference.lockstep import Chains, Schedule, kick, program
from popk.population.events import Events
from popk.population.flat import FlatDensity
from popk.population.parameters import Known


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


CENTRING = Known(np.zeros((1, 0, 1, 1)), np.zeros((1, 0, 1)), np.zeros(1))
NO_DATA = Events(
    (), {}, {}, *(np.zeros(0, dtype=kind) for kind in (bool, float, bool, float, float))
)


def funnel(narrow):
    """A standard normal x, and y whose SD goes from 1 to `narrow` where x is below -1."""

    def log_density(v, *_):
        log_sd = jnp.log(narrow) * jax.nn.sigmoid(-6.0 * (v[0] + 1.0))
        return -0.5 * v[0] ** 2 - 0.5 * (v[1] * jnp.exp(-log_sd)) ** 2 - log_sd

    def unused(*_):
        raise AssertionError

    with_gradient = jax.value_and_grad(log_density)
    return FlatDensity(1, 1, jnp.zeros(2), log_density, with_gradient, unused, unused, unused)


def drawn(narrow, retries, count=3000, width=64, steps=2):
    """Transitions of steps far too long for the narrow part; a metric that is the identity."""
    with jax.enable_x64(True):
        run = jax.jit(program(funnel(narrow), NO_DATA, (False,) * 5, 1))
        arrow = Arrow(np.ones((1, 1, 1)), np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1, 1)))
        rng = np.random.default_rng(5)
        points = 0.1 * rng.standard_normal((1, width, 2))
        chains = Chains(points, np.full((1, width), -np.inf), np.zeros(points.shape))
        schedule = Schedule(rng.uniform(0.75, 1.25, count), np.int32(count), np.int32(1))
        keys = jax.random.key_data(jax.random.split(jax.random.key(7), 1))
        size = np.full(1, 0.5 * np.pi / steps)
        _, trace = run(
            chains,
            keys,
            tuple(jax.tree.leaves(NO_DATA)),
            CENTRING,
            arrow,
            size,
            np.array([2 * steps], dtype=np.int32),
            np.array([retries]),
            schedule,
        )
    return trace


def z_score(values, true):
    """Of the mean of [draw, chain] values against the truth, in Monte Carlo standard errors."""
    half = len(values) // 2
    halves = np.concatenate([values[:half], values[half : 2 * half]], axis=1)
    size = ess(halves[None].astype(float))[0]
    return float((values.mean() - true) / (values.std() / np.sqrt(size)))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 5.0])
def test_second_tries_leave_the_distribution_as_it_is(threshold, monkeypatch):
    # A low threshold: tries are many, and the ways back differ from the ways there
    monkeypatch.setattr(lockstep, "DIVERGENT", threshold)
    trace = drawn(0.15, retries=True)
    again = (trace.gradients > 4).mean()
    assert again > 0.2
    x = trace.vector[100:, 0, :, 0]
    for values, true in (
        (x, 0.0),
        (x**2, 1.0),
        (x < -1.5, norm.cdf(-1.5)),
        (x > 1.5, norm.cdf(-1.5)),
    ):
        assert abs(z_score(values, true)) < 4.0


def test_second_tries_reach_what_long_steps_do_not(monkeypatch):
    monkeypatch.setattr(lockstep, "DIVERGENT", 20.0)
    narrow = 0.1

    def moved(retries):
        trace = drawn(narrow, retries, count=1500)
        x, acceptance = trace.vector[100:-1, 0, :, 0], trace.diverging[101:, 0]
        return x < -2.0, acceptance

    inside, diverging = moved(False)
    assert diverging[inside].mean() > 0.5
    finer, still = moved(True)
    assert still[finer].mean() < 0.5 * diverging[inside].mean()


def test_without_divergences_nothing_is_tried_again():
    trace = drawn(1.0, retries=True, count=200)
    assert (np.asarray(trace.gradients) == 4).all()
    assert not trace.diverging.any()
