import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from popk.pk.one_compartment import NO_DRUG
from popk.population.residual import ERRORS, Observation, log_normal_interval

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


errors = pytest.mark.parametrize("error", ERRORS)
positive = st.floats(0.01, 100.0)


@errors
@settings(max_examples=30)
@given(c=positive, value=positive)
def test_density_of_a_measured_value(error, c, value):
    found = observation(error, [np.log(c)]).log_prob(jnp.array([value]))
    np.testing.assert_allclose(found, scipy_distribution(error, c).logpdf(value), rtol=1e-10)


@errors
@settings(max_examples=30)
@given(c=positive, bounds=st.tuples(positive, positive).map(sorted))
def test_probability_of_a_censored_interval(error, c, bounds):
    low, high = bounds[0], bounds[1] + 0.05
    wanted = scipy_distribution(error, c)
    any_value = jnp.array([7.0])

    def probability(lower, upper):
        return np.exp(observation(error, [np.log(c)], True, lower, upper).log_prob(any_value))

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


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("width", [1e-3, 0.1, 1.0, 10.0, np.inf])
def test_intervals_in_both_far_tails(sign, width):
    # Around 5, 10 and 20 log_ndtr changes its formula
    near = np.concatenate([np.linspace(0.5, 30.0, 119), [4.9999, 9.9999, 19.9999, 20.0, 20.0001]])
    low, high = (near, near + width) if sign > 0 else (-near - width, -near)
    zero, one = jnp.zeros(near.size), jnp.ones(near.size)
    found = log_normal_interval(jnp.asarray(low), jnp.asarray(high), zero, one)
    wanted = [quadrature(a, b) for a, b in zip(near, near + width, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    scaled = log_normal_interval(
        jnp.asarray(7 + 3 * low), jnp.asarray(7 + 3 * high), 7 + zero, 3 * one
    )
    np.testing.assert_allclose(scaled, wanted, rtol=1e-9)

    def total(mean, sd):
        return log_normal_interval(jnp.asarray(low), jnp.asarray(high), mean, sd).sum()

    slopes = jax.grad(total, argnums=(0, 1))(zero, one)
    assert np.isfinite(slopes).all()
    # The slope in the mean is that of the density's difference over the probability
    log_pdf = stats.norm.logpdf
    ends = np.exp(log_pdf(low) - wanted) - np.exp(log_pdf(high) - wanted)
    np.testing.assert_allclose(slopes[0], ends, rtol=2e-7)


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


@errors
@pytest.mark.parametrize("log_c", [NO_DRUG, -200.0, -25.0, 0.0, 20.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_for_any_prediction(error, log_c, dtype):
    """Of censored rows, on each side of their bounds and without any drug."""
    with jax.enable_x64(dtype == "float64"):
        lower = jnp.array([-jnp.inf, 0.0, 2.0, 2.0], dtype)
        upper = jnp.array([2.0, 2.0, 3.0, jnp.inf], dtype)

        def total(log_c, sigma):
            names = ("sigma", "sigma_additive", "sigma_proportional")
            dist = Observation(
                error, log_c, dict.fromkeys(names, sigma), jnp.full(4, True), lower, upper
            )
            log_p = dist.log_prob(jnp.ones(4, dtype))
            # "At least 2" has no probability where nothing can be; "at most 2" is certain
            return jnp.where(jnp.isfinite(log_p), log_p, 0.0).sum(), log_p

        slopes, log_p = jax.grad(total, argnums=(0, 1), has_aux=True)(
            jnp.full(4, log_c, dtype), jnp.asarray(0.3, dtype)
        )
    assert not np.isnan(log_p).any()
    assert np.isfinite(slopes[1])
    assert np.isfinite(slopes[0]).all()
    if log_c <= -25.0 and error in ("proportional", "lognormal"):
        above_zero = stats.norm.logcdf(1 / 0.3) if error == "proportional" else 0.0
        np.testing.assert_allclose(log_p[:2], [0.0, above_zero], atol=1e-6)


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
