import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from popk.pk.one_compartment import NO_DRUG
from popk.population.censoring import log_ndtr, log_normal_interval, slots_of
from popk.population.residual import Observation
from popk.spec.residual import ERRORS

SIGMA = {"sigma": 0.3, "sigma_additive": 0.4, "sigma_proportional": 0.2}


def scipy_distribution(error, c):
    match error:
        case "additive":
            return stats.norm(c, 0.3)
        case "proportional":
            return stats.norm(c, 0.3 * c)
        case "combined":
            return stats.norm(c, np.hypot(0.4, 0.2 * c))
        case "lognormal":
            return stats.lognorm(0.3, scale=c)


def observation(error, log_c, censored=False, lower=-np.inf, upper=np.inf):
    shape = np.shape(log_c)
    return Observation(
        error,
        jnp.asarray(log_c, float),
        {name: jnp.asarray(value) for name, value in SIGMA.items()},
        jnp.broadcast_to(censored, shape),
        jnp.broadcast_to(jnp.asarray(lower, float), shape),
        jnp.broadcast_to(jnp.asarray(upper, float), shape),
    )


@functools.partial(jax.jit, static_argnums=0)
def log_p(error, log_c, value, censored=False, lower=-np.inf, upper=np.inf):
    """[1] log probability of one value."""
    return observation(error, log_c[None], censored, lower, upper).log_prob(value[None])[0]


errors = pytest.mark.parametrize("error", ERRORS)
positive = st.floats(0.01, 100.0)


@errors
@settings(max_examples=30)
@given(c=positive, value=positive)
def test_density_of_a_measured_value(error, c, value):
    found = log_p(error, np.log(c), jnp.asarray(value))
    np.testing.assert_allclose(found, scipy_distribution(error, c).logpdf(value), rtol=1e-10)


@errors
@settings(max_examples=30)
@given(c=positive, bounds=st.tuples(positive, positive).map(sorted))
def test_probability_of_a_censored_interval(error, c, bounds):
    low, high = bounds[0], bounds[1] + 0.05
    wanted = scipy_distribution(error, c)

    def probability(lower, upper):
        return np.exp(log_p(error, np.log(c), jnp.asarray(7.0), True, lower, upper))

    # scipy's differences of distribution functions lose digits in the tails
    tolerance = {"rtol": 1e-9, "atol": 1e-14}
    np.testing.assert_allclose(probability(-np.inf, high), wanted.cdf(high), **tolerance)
    np.testing.assert_allclose(probability(low, np.inf), wanted.sf(low), **tolerance)
    np.testing.assert_allclose(
        probability(low, high), wanted.cdf(high) - wanted.cdf(low), rtol=1e-9, atol=1e-13
    )
    np.testing.assert_allclose(probability(-np.inf, np.inf), 1.0)


def quadrature(low, high):
    """Log probability of an interval by integrating the density, scaled to its peak."""
    near = low if low > 0 else min(high, 0.0)
    far = high if low > 0 else low
    # Beyond 60 densities' decay lengths nothing is left
    reach = min(abs(far - near), 60.0 / max(abs(near), 1.0))
    edges = np.linspace(0.0, reach, 61)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = np.diff(edges)[:, None] / 2
    t = edges[:-1, None] + half * (nodes + 1)
    total = (half * weights * np.exp(-abs(near) * t - t**2 / 2)).sum()
    return np.log(total) - near**2 / 2 - np.log(2 * np.pi) / 2


@jax.jit
def interval_and_slopes(low, high, mean, sd):
    def total(mean, sd):
        each = log_normal_interval(jnp.asarray(low), jnp.asarray(high), mean, sd)
        return each.sum(), each

    slopes, each = jax.grad(total, argnums=(0, 1), has_aux=True)(mean, sd)
    return each, slopes


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("width", [1e-3, 0.1, 1.0, 10.0, np.inf])
def test_intervals_in_both_far_tails(sign, width):
    # At 30 log_ndtr changes its formula
    near = np.concatenate([np.linspace(0.5, 30.0, 119), [29.9999, 30.0, 30.0001, 31.0, 40.0]])
    low, high = (near, near + width) if sign > 0 else (-near - width, -near)
    zero, one = jnp.zeros(near.size), jnp.ones(near.size)
    found, slopes = interval_and_slopes(jnp.asarray(low), jnp.asarray(high), zero, one)
    wanted = [quadrature(a, b) for a, b in zip(near, near + width, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    scaled, _ = interval_and_slopes(7 + 3 * low, 7 + 3 * high, 7 + zero, 3 * one)
    np.testing.assert_allclose(scaled, wanted, rtol=1e-9)

    assert np.isfinite(slopes).all()
    # The slope in the mean is that of the density's difference over the probability
    log_pdf = stats.norm.logpdf
    ends = np.exp(log_pdf(low) - wanted) - np.exp(log_pdf(high) - wanted)
    np.testing.assert_allclose(slopes[0], ends, rtol=2e-9 if width > 1e-2 else 2e-7)


def test_float32_intervals():
    near = np.linspace(0.5, 30.0, 60)
    zero, one = (jnp.full(60, v, jnp.float32) for v in (0.0, 1.0))
    for width in (0.5, np.inf):
        found = log_normal_interval(
            jnp.asarray(near, jnp.float32), jnp.asarray(near + width, jnp.float32), zero, one
        )
        assert found.dtype == jnp.float32
        wanted = [quadrature(a, a + width) for a in near]
        np.testing.assert_allclose(found, wanted, rtol=2e-5)


def test_an_empty_or_reversed_interval_does_not_break_the_gradient():
    def at(mean):
        return log_normal_interval(
            jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]), mean, jnp.ones(2)
        ).sum()

    assert np.isfinite(jax.grad(at)(jnp.zeros(2))).all()


@functools.partial(jax.jit, static_argnums=0)
def _censored(error, log_c, sigma, lower, upper):
    def total(log_c, sigma):
        sigmas = dict.fromkeys(SIGMA, sigma)
        dist = Observation(error, log_c, sigmas, jnp.full(3, True), lower, upper)
        log_p = dist.log_prob(jnp.ones_like(log_c))
        # "At least 2" has no probability where nothing can be; "at most 2" is certain
        return jnp.where(jnp.isfinite(log_p), log_p, 0.0).sum(), log_p

    return jax.grad(total, argnums=(0, 1), has_aux=True)(log_c, sigma)


@errors
@pytest.mark.parametrize("log_c", [NO_DRUG, -200.0, -25.0, 0.0, 20.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_for_any_prediction(error, log_c, dtype):
    """Of censored rows, on each side of their bounds and without any drug."""
    with jax.enable_x64(dtype == "float64"):
        lower = jnp.array([-jnp.inf, 0.0, 2.0], dtype)
        upper = jnp.array([2.0, 2.0, jnp.inf], dtype)

        slopes, found = _censored(
            error, jnp.full(3, log_c, dtype), jnp.asarray(0.3, dtype), lower, upper
        )
    assert not np.isnan(found).any()
    assert np.isfinite(slopes[1])
    assert np.isfinite(slopes[0]).all()
    if log_c <= -25.0 and error in ("proportional", "lognormal"):
        above_zero = stats.norm.logcdf(1 / 0.3) if error == "proportional" else 0.0
        np.testing.assert_allclose(found[:2], [0.0, above_zero], atol=1e-6)


@errors
def test_samples_follow_the_distribution(error):
    c, n = 3.0, 20_000
    draws = observation(error, [np.log(c)]).sample(jax.random.key(1), (n,))[:, 0]
    found = stats.kstest(np.asarray(draws), scipy_distribution(error, c).cdf)
    assert found.pvalue > 1e-3
    # and not that of a slightly different SD
    assert stats.kstest(np.asarray(draws) * 1.05, scipy_distribution(error, c).cdf).pvalue < 1e-3


def test_a_sample_needs_a_key():
    with pytest.raises(ValueError, match="random key"):
        observation("additive", [0.0]).sample(None)


@functools.partial(jax.jit, static_argnums=0)
def _with_slots(error, log_c, sigma, bounds, slots):
    """Log probabilities of a list of rows, and the slopes of their sum."""

    def log_p(log_c, sigma):
        dist = Observation(error, log_c, dict.fromkeys(SIGMA, sigma), *bounds, slots)
        found = dist.log_prob(jnp.linspace(1.0, 3.0, log_c.size))
        return found.sum(), found

    return jax.grad(log_p, argnums=(0, 1), has_aux=True)(log_c, sigma)


BOUNDS = {
    "below": {5: (-np.inf, 2.0), 8: (-np.inf, 9.0)},
    "above": {5: (2.0, np.inf), 6: (0.5, np.inf)},
    "both ways": {5: (-np.inf, 2.0), 8: (9.0, np.inf)},
    "two sides": {5: (1.0, 2.0), 7: (-np.inf, 4.0), 8: (9.0, np.inf)},
}


@errors
@pytest.mark.parametrize("kind", BOUNDS)
def test_censored_rows_in_slots_have_the_same_probability(error, kind):
    """Value and slopes; some of the slots' rows are measured."""
    lower, upper = np.full(10, -np.inf), np.full(10, np.inf)
    for row, (low, high) in BOUNDS[kind].items():
        lower[row], upper[row] = low, high
    bounds = [np.isfinite(lower) | np.isfinite(upper), lower, upper]
    at = jnp.log(jnp.linspace(0.5, 12.0, 10)), jnp.asarray(0.3), bounds
    wanted = _with_slots(error, *at, None)
    for count in (5, 10):
        slots = slots_of(lower[-count:], upper[-count:])
        assert slots.count == count
        assert (slots.bound is None) == (kind == "two sides")
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15),
            _with_slots(error, *at, slots),
            wanted,
        )


def test_no_slots_where_nothing_is_censored():
    bounds = [np.zeros(4, bool), np.full(4, -np.inf), np.full(4, np.inf)]
    at = jnp.zeros(4), jnp.asarray(0.3), bounds
    slots = slots_of(np.zeros(0), np.zeros(0))
    assert slots.count == 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14),
        _with_slots("additive", *at, slots),
        _with_slots("additive", *at, None),
    )


def test_slots_of_several_trials_take_one_form():
    """Two-sided as soon as any of them is; an unused place has a bound that is a number."""
    lower, upper = np.full((2, 3), -np.inf), np.full((2, 3), np.inf)
    upper[0, 1], lower[1, 2] = 2.0, 5.0
    slots = slots_of(lower, upper)
    np.testing.assert_array_equal(slots.bound, [[1, 2, 1], [1, 1, 5]])
    np.testing.assert_array_equal(slots.sign[[0, 1], [1, 2]], [1, -1])
    upper[1, 2] = 6.0
    slots = slots_of(lower, upper)
    assert slots.bound is None
    assert slots.count == 3
    np.testing.assert_array_equal(slots.upper, upper)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_of_the_normal_distribution_function(dtype):
    """Value and slope from far below to far above, across the change of formula."""
    z = np.concatenate([np.linspace(-60, 12, 289), [-9.0001, -8.9999, -30.0001, -29.9999]])
    with jax.enable_x64(dtype == "float64"):
        z = np.asarray(jnp.asarray(z, dtype))
        at = jnp.asarray(z), jnp.ones_like(jnp.asarray(z))
        value, slope = jax.jit(lambda z, one: jax.jvp(log_ndtr, (z,), (one,)))(*at)
        assert value.dtype == slope.dtype == dtype
    wanted = stats.norm.logcdf(z.astype(float))
    ratio = np.exp(stats.norm.logpdf(z.astype(float)) - wanted)
    eps = np.finfo(dtype).eps
    # Far above the value is rounded from 1: what is lost is below the rounding of 1 itself
    np.testing.assert_allclose(value, wanted, rtol=50 * eps, atol=2 * eps)
    np.testing.assert_allclose(slope, ratio, rtol=3e3 * eps, atol=2 * eps)
