"""The posterior as a function of one vector."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpyro.infer.util import potential_energy
from scipy import integrate, stats

from popk.population.flat import bent, flatten, log_stretch, unbent

HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
EXPONENTIAL = {"prior": "exponential", "scale": 0.4}
GAMMA = {"prior": "gamma", "shape": 2.0, "rate": 5.0}


@given(st.floats(-200.0, 200.0))
def test_bent_and_unbent_are_inverse(v):
    np.testing.assert_allclose(unbent(bent(jnp.asarray(v))), v, rtol=1e-9, atol=1e-9)


@given(st.floats(-1e4, 1e4))
def test_unbent_and_bent_are_inverse(log_sd):
    np.testing.assert_allclose(bent(unbent(jnp.asarray(log_sd))), log_sd, rtol=1e-9, atol=1e-9)


def test_bent_in_float32():
    log_sd = jnp.linspace(-80.0, 10.0, 361, dtype=jnp.float32)
    found = jax.vmap(lambda x: bent(unbent(x)))(log_sd)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, log_sd, rtol=1e-5, atol=2e-6)


def test_log_stretch_is_the_log_of_the_slope():
    v = jnp.linspace(-60.0, 60.0, 241)
    slope = jax.vmap(jax.grad(bent))(v)
    assert (slope > 0).all()
    np.testing.assert_allclose(jax.vmap(log_stretch)(v), jnp.log(slope), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(log_stretch(v[0]), np.log(61.0), rtol=1e-12)


def test_far_up_nothing_is_bent():
    v = jnp.array([30.0, 50.0, 400.0])
    np.testing.assert_allclose(jax.vmap(bent)(v), v, rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(log_stretch)(v), 0.0, atol=1e-11)


@pytest.mark.parametrize("prior", [stats.halfnorm(scale=0.5), stats.expon(scale=0.4)])
def test_the_density_under_the_bend_integrates_to_one(prior):
    """Without a heavy tail: at v of -12 nothing is left."""
    shift = np.log(prior.median())

    @jax.jit
    def both(v):
        return bent(v), log_stretch(v)

    def density(v):
        log_sd, stretch = map(float, both(jnp.asarray(v)))
        return prior.pdf(np.exp(log_sd + shift)) * np.exp(log_sd + shift + stretch)

    total, _ = integrate.quad(density, -15.0, 8.0, epsabs=1e-11, limit=200)
    np.testing.assert_allclose(total, 1.0, rtol=1e-9)
    assert density(-12.0) < 1e-25


KINDS = {
    "half-normal": {},
    "exponential, correlated": {
        "CL": {"variability": {"distribution": "lognormal", "sd": EXPONENTIAL}},
        "correlation": {"parameters": ["CL", "V"]},
        "residual": {"error": "combined", "additive": EXPONENTIAL, "proportional": HALFNORMAL},
    },
    "without a bend": {
        "CL": {"variability": {"distribution": "lognormal", "sd": GAMMA}},
        "V": {"variability": None},
        "residual": {"error": "proportional", "sd": GAMMA},
    },
}
BENT = {
    "half-normal": {"omega_CL", "omega_V", "sigma"},
    "exponential, correlated": {"omega_CL", "omega_V", "sigma_additive", "sigma_proportional"},
    "without a bend": set(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_log_density_is_numpyros_with_the_jacobian(kind, prepared):
    """A change of variables: minus the potential energy, and the slope of the way there."""
    model, events = prepared(**KINDS[kind])
    flat = flatten(model, events)

    @jax.jit
    def both(vector):
        def listed(vector):
            return jnp.concatenate([v.ravel() for v in jax.tree.leaves(flat.named(vector))])

        stretched = jnp.linalg.slogdet(jax.jacfwd(listed)(vector))[1]
        energy = potential_energy(model, (events,), {}, flat.named(vector))
        return flat.log_density(vector, events), stretched - energy, stretched

    for seed in range(3):
        vector = flat.start + jax.random.normal(jax.random.key(seed), flat.start.shape)
        found, wanted, stretched = both(vector)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert (abs(float(stretched)) > 1e-3) == bool(BENT[kind])
        np.testing.assert_allclose(flat.flat(flat.named(vector)), vector, rtol=1e-9, atol=1e-9)


def test_the_vector_is_the_population_and_then_each_subject(prepared):
    model, events = prepared()
    flat = flatten(model, events)
    assert flat.start.size == flat.population + 3 * flat.individual
    constrain = jax.jit(functools.partial(flat.constrain, events=events))
    base, names = constrain(flat.start), model.population_names
    for subject in range(3):
        first = flat.population + subject * flat.individual
        moved = constrain(flat.start.at[first : first + flat.individual].add(0.3))
        changed = np.flatnonzero(np.asarray(moved["CL"]) != np.asarray(base["CL"]))
        np.testing.assert_array_equal(changed, [subject])
        for name in names:
            np.testing.assert_array_equal(moved[name], base[name])


def test_the_start_is_the_median_of_each_sd(prepared):
    """A bent SD starts at its prior's median, like the others."""
    model, events = prepared(**KINDS["exponential, correlated"])
    flat = flatten(model, events)
    values = jax.jit(flat.constrain)(flat.start, events)
    np.testing.assert_allclose(values["omega_CL"], np.log(2.0) * 0.4, rtol=1e-9)
    np.testing.assert_allclose(values["omega_V"], stats.halfnorm.median(scale=0.5), rtol=1e-9)
