import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.scipy.stats import norm
from scipy import stats

from popk.population.parameters import (
    Eta,
    Known,
    distribution,
    draw_etas,
    draw_positive_linear,
    eliminated,
    median,
)
from popk.spec import priors

PRIORS = {
    "normal": (priors.Normal(prior="normal", loc=1.0, scale=2.0), stats.norm(1, 2)),
    "lognormal": (
        priors.LogNormal(prior="lognormal", median=3.0, sigma=0.4),
        stats.lognorm(0.4, scale=3.0),
    ),
    "halfnormal": (priors.HalfNormal(prior="halfnormal", scale=0.5), stats.halfnorm(scale=0.5)),
    "exponential": (priors.Exponential(prior="exponential", scale=0.5), stats.expon(scale=0.5)),
    "gamma": (priors.Gamma(prior="gamma", shape=2.0, rate=0.5), stats.gamma(2.0, scale=2.0)),
    "uniform": (priors.Uniform(prior="uniform", low=1.0, high=4.0), stats.uniform(1.0, 3.0)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_priors_are_those_of_scipy(name):
    prior, wanted = PRIORS[name]
    points = wanted.ppf([0.01, 0.3, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(
        distribution(prior).log_prob(jnp.asarray(points)), wanted.logpdf(points), rtol=1e-9
    )
    middle = wanted.mean() if name == "gamma" else wanted.median()
    np.testing.assert_allclose(median(prior), middle, rtol=1e-12)


def test_a_fixed_value_is_its_median():
    fixed = priors.Fixed(prior="fixed", value=2.5)
    assert median(fixed) == 2.5
    assert distribution(fixed).sample(jax.random.key(0)) == 2.5


CORRELATION = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
OMEGA = np.array([0.3, 0.7, 0.2])
NAMES = ("CL", "V", "Q")
LOCATION = np.array([[0.4, -1.0], [1.2, 2.0], [0.0, 0.3]])  # [parameter, subject]


def etas_and_density(
    x, centring, df, *, correlated, count=3, omega=OMEGA, location=LOCATION, known=None, sigma=1.0
):
    """Etas, [parameter, subject], at the sampler's x, and the log density of x."""
    etas = {
        name: Eta(
            jnp.asarray(omega[i]),
            None if df is None else jnp.asarray(float(df)),
            jnp.asarray(location[i]),
            jnp.asarray(centring[i]),
            relative=False,
        )
        for i, name in enumerate(NAMES[:count])
    }
    factor = jnp.linalg.cholesky(jnp.asarray(CORRELATION[:count, :count]))
    cholesky = {name: factor[i] for i, name in enumerate(NAMES[:count])} if correlated else {}
    values = {f"x_{name}": x[i] for i, name in enumerate(NAMES[:count])}
    with numpyro.handlers.trace() as trace, numpyro.handlers.substitute(data=values):
        in_units = None
        if known is not None:
            in_units = eliminated(etas, known, {"sigma": jnp.asarray(sigma)})
        drawn = draw_etas(etas, cholesky, in_units)
    sites = [site for site in trace.values() if site["type"] == "sample"]
    density = sum(site["fn"].log_prob(site["value"]).sum() for site in sites)
    return jnp.stack([drawn[name] for name in NAMES[:count]]), density


def eta_density(x, centring, df, **options):
    """Etas and their log density: that of x less the log Jacobian of x -> eta."""
    x, centring = jnp.asarray(x), jnp.asarray(centring)
    eta, density, jacobian = _compiled(x, centring, df, **options)
    return np.asarray(eta), float(density - jnp.linalg.slogdet(jacobian)[1])


@functools.partial(jax.jit, static_argnames=("df", "correlated"))
def _compiled(x, centring, df, **options):
    eta, density = etas_and_density(x, centring, df, **options)
    jacobian = jax.jacfwd(lambda flat: etas_and_density(
        flat.reshape(x.shape), centring, df, **options)[0].ravel())(x.ravel())  # fmt: skip
    return eta, density, jacobian


xs = st.lists(st.floats(-2, 2), min_size=6, max_size=6).map(lambda v: np.reshape(v, (3, 2)))
weights = st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1), min_size=6, max_size=6).map(
    lambda v: np.reshape(v, (3, 2))
)


def eta_density_of_scipy(eta, df, *, correlated):
    if correlated:
        covariance = np.outer(OMEGA, OMEGA) * CORRELATION
        joint = (
            stats.multivariate_normal(np.zeros(3), covariance)
            if df is None
            else stats.multivariate_t(np.zeros(3), covariance, df=df)
        )
        return sum(joint.logpdf(eta[:, subject]) for subject in range(2))
    one = stats.norm(0, OMEGA[:, None]) if df is None else stats.t(df, 0, OMEGA[:, None])
    return one.logpdf(eta).sum()


dfs = pytest.mark.parametrize("df", [None, 4, 0.7])


@dfs
@pytest.mark.parametrize("correlated", [False, True])
@settings(max_examples=10)
@given(x=xs, centring=weights)
def test_any_centring_implies_the_same_distribution(correlated, df, x, centring):
    """The density of the etas is that of scipy at every centring, subject by subject."""
    eta, found = eta_density(x, centring, df, correlated=correlated)
    wanted = eta_density_of_scipy(eta, df, correlated=correlated)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@st.composite
def knowledge(draw, count=3):
    """What data may know of two subjects' parameters; some of it may be nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    root = rng.standard_normal((2, count, count)) * draw(st.sampled_from([0.0, 0.5, 3.0, 20.0]))
    information = root @ root.swapaxes(1, 2)
    mean = rng.standard_normal((2, count))
    score = np.einsum("sij,sj->si", information, mean)
    return Known(information, score, np.array(draw(st.sampled_from([0.0, 0.2, 0.5]))))


@dfs
@pytest.mark.parametrize("correlated", [False, True])
@settings(max_examples=10)
@given(x=xs, known=knowledge(), sigma=st.floats(0.05, 2.0))
def test_whatever_is_known_implies_the_same_distribution(correlated, df, x, known, sigma):
    """What data know only decides in what units etas are sampled."""
    eta, found = eta_density(
        x, np.zeros((3, 2)), df, correlated=correlated, known=known, sigma=sigma
    )
    wanted = eta_density_of_scipy(eta, df, correlated=correlated)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


@settings(max_examples=25)
@given(x=xs, known=knowledge(), sigma=st.floats(0.05, 2.0), omegas=st.floats(0.2, 5.0))
def test_with_normal_data_x_is_standard_normal(x, known, sigma, omegas):
    """Prior times likelihood is, as a function of x, the density of a standard normal.

    At any population values: the information goes with 1/sigma², where there is one sigma.
    """
    factor = (known.sigma / sigma) ** 2 if known.sigma > 0 else 1.0
    precision, score = factor * known.information, factor * known.score

    def posterior(x):
        eta, density, _ = _compiled(
            jnp.asarray(x), np.zeros((3, 2)), None, correlated=False, known=known, sigma=sigma,
            omega=OMEGA * omegas,
        )  # fmt: skip
        theta = (LOCATION + np.asarray(eta)).T
        fit = np.einsum("si,si->s", score, theta)
        fit -= 0.5 * np.einsum("si,sij,sj->s", theta, precision, theta)
        return float(density) + fit.sum()

    found = posterior(x) - posterior(np.zeros((3, 2)))
    size = 1e-11 * (1.0 + np.abs(precision).max())
    np.testing.assert_allclose(found, -0.5 * (x**2).sum(), rtol=1e-9, atol=size)


@pytest.mark.slow
@settings(max_examples=10)
@given(x=xs, known=knowledge(count=2))
def test_what_is_known_leaves_out_relative_etas(x, known):
    """They are sampled as ever, and the others as if they were not there."""

    def drawn(names):
        etas = {
            name: Eta(
                jnp.asarray(OMEGA[i]),
                None,
                jnp.asarray(LOCATION[i]),
                jnp.zeros(2),
                relative=name == "V",
            )
            for i, name in enumerate(NAMES)
            if name in names
        }
        values = {f"x_{name}": jnp.asarray(x[i]) for i, name in enumerate(NAMES)}
        with numpyro.handlers.substitute(data=values):
            units = eliminated(etas, known, {"sigma": jnp.asarray(0.3)})
            return draw_etas(etas, {}, units)

    together, apart = drawn(NAMES), drawn(("CL", "Q"))
    for name in ("CL", "Q"):
        np.testing.assert_array_equal(together[name], apart[name])
    wanted = relative_eta(jnp.asarray(x[1]), jnp.asarray(OMEGA[1]))[0]
    np.testing.assert_allclose(together["V"], wanted, rtol=1e-12)


def test_full_centring_samples_the_log_parameter_itself():
    x = jnp.array([[0.1, 0.2], [0.5, -0.5], [1.0, 1.5]])
    eta, _ = etas_and_density(x, np.ones((3, 2)), None, correlated=True)
    np.testing.assert_allclose(LOCATION + eta, x, rtol=1e-12)
    eta, _ = etas_and_density(x, np.zeros((3, 2)), None, correlated=False)
    np.testing.assert_allclose(eta, OMEGA[:, None] * x, rtol=1e-12)


@jax.jit
def relative_eta(x, omega):
    """The eta of "normal" variability, and its slopes in x and in omega."""

    def at(x, omega):
        eta = Eta(omega, None, jnp.zeros(x.size), jnp.zeros(x.size), relative=True)
        with numpyro.handlers.substitute(data={"x_CL": x}):
            return draw_etas({"CL": eta}, {})["CL"]

    by_x = jax.jvp(lambda x: at(x, omega), (x,), (jnp.ones(x.size),))[1]
    return at(x, omega), by_x, jax.jacfwd(at, argnums=1)(x, omega)


@pytest.mark.parametrize("omega", [0.05, 0.3, 1.0, 3.0])
def test_normal_variability_is_a_normal_cut_off_at_zero(omega):
    x = np.linspace(-5, 4, 37)
    eta, by_x, by_omega = relative_eta(jnp.asarray(x), jnp.asarray(omega))
    # Quantile by quantile, each from the tail where scipy keeps its digits
    cut = stats.truncnorm(-1.0 / omega, np.inf, scale=omega)
    wanted = np.where(x < 0, cut.ppf(stats.norm.cdf(x)), cut.isf(stats.norm.sf(x)))
    np.testing.assert_allclose(eta, wanted, rtol=1e-9, atol=1e-9 * omega)
    assert (eta > -1.0).all()
    assert np.isfinite(by_x).all()
    assert (by_x > 0).all()
    assert np.isfinite(by_omega).all()


@given(
    term=st.lists(st.floats(-50, 50), min_size=1, max_size=4),
    loc=st.floats(-1, 1),
    scale=st.floats(0.1, 2),
    key=st.integers(0, 100),
)
@settings(max_examples=15)
def test_a_linear_effect_leaves_every_factor_positive(term, loc, scale, key):
    prior = priors.Normal(prior="normal", loc=loc, scale=scale)
    with numpyro.handlers.trace() as trace, numpyro.handlers.seed(rng_seed=key):
        effect = draw_positive_linear("b", prior, jnp.asarray(term)[:, None])
    assert (1.0 + effect * np.array(term) > 0).all()
    # Inside its bounds the density is that of the normal but for a constant
    site = trace["b"]["fn"]
    left, right = max(site.low, loc - 2 * scale), min(site.high, loc + 2 * scale)
    assume(left < right)  # else all the mass left lies far out in the prior's tail
    points = left + jnp.array([0.1, 0.9]) * (right - left)
    wanted = np.diff(norm.logpdf(points, loc, scale))
    np.testing.assert_allclose(np.diff(site.log_prob(points)), wanted, rtol=1e-6, atol=1e-9)
