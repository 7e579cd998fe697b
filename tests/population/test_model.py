import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC, NUTS, Predictive, log_likelihood

from popk.population.events import Events, arrange
from popk.population.flat import FlatDensity, flatten, prior_centre
from popk.population.model import Model
from popk.spec.model import read_model

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.toml"))
HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
LOGNORMAL = {"prior": "lognormal", "median": 1.0, "sigma": 1.0}
GAMMA = {"prior": "gamma", "shape": 2.0, "rate": 0.5}
NORMAL = {"prior": "normal", "loc": 0.5, "scale": 0.5}


def between(distribution, **items):
    return {"variability": {"distribution": distribution, "sd": HALFNORMAL} | items}


KINDS = {
    "lognormal": {},
    "correlated, combined error": {
        "correlation": {"parameters": ["V", "CL"]},
        "residual": {"error": "combined", "additive": HALFNORMAL, "proportional": HALFNORMAL},
    },
    "correlated t": {
        "CL": between("student_t", df=GAMMA),
        "V": between("student_t", df=GAMMA),
        "correlation": {"parameters": ["CL", "V"]},
    },
    "normal and Cauchy": {"CL": between("normal"), "V": between("student_t", df=1)},
    "one eta, additive error": {
        "V": {"variability": None}, "residual": {"error": "additive", "sd": HALFNORMAL}
    },
    "scaled, with every relation": {
        "CL": {"scale": {"covariate": "WT", "reference": "70 kg", "exponent": 0.75}},
        "covariates": [
            {"parameter": "CL", "covariate": "AGE", "relation": "maturation", "unit": "month",
             "half": LOGNORMAL, "hill": LOGNORMAL},
            {"parameter": "V", "covariate": "AGE", "relation": "below", "cut": 6, "effect": NORMAL},
            {"parameter": "V", "covariate": "WT", "relation": "power", "reference": "6 kg",
             "effect": NORMAL},
            {"parameter": "V", "covariate": "WT", "relation": "linear", "center": "6 kg",
             "per": "0.1 kg", "effect": NORMAL},
            {"parameter": "CL", "covariate": "WT", "relation": "exponential", "center": "6 kg",
             "effect": NORMAL},
        ],
    },
    "fixed": {
        "CL": {"typical": {"prior": "fixed", "value": 0.5}},
        "V": {"variability": {"distribution": "lognormal", "sd": {"prior": "fixed", "value": 0.3}}},
        "residual": {"error": "proportional", "sd": {"prior": "fixed", "value": 0.2}},
    },
}  # fmt: skip
IN_FLOAT32 = ("lognormal", "correlated t", "one eta, additive error")
FIRST = ("correlated, combined error", "scaled, with every relation")
"""Between them they have everything; the others are long and for `make validate`."""
kinds = pytest.mark.parametrize(
    "kind", [k if k in FIRST else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)
KEY = jax.random.key(3)


class Built(NamedTuple):
    model: Model
    events: Events
    flat: FlatDensity
    constrain: Callable[..., Any]
    point: jax.Array


@pytest.fixture(scope="module")
def built(prepared) -> Callable[[str], Built]:
    """A model of this kind, compiled once, and a point not far from the centre of its priors."""

    @functools.cache
    def build(kind: str) -> Built:
        model, events = prepared(**KINDS[kind])
        flat = flatten(model, events)
        point = flat.start + 0.3 * jax.random.normal(KEY, flat.start.shape)
        return Built(model, events, flat, jax.jit(flat.constrain), point)

    return build


@kinds
def test_flat_density_and_its_gradient(kind, built):
    """Finite at the centre of the priors, the gradient that of differences, float32 near by."""
    _, events, flat, _, point = built(kind)
    both = jax.jit(jax.value_and_grad(flat.log_density))
    assert all(np.isfinite(a).all() for a in (flat.start, *both(flat.start, events)))
    value, gradient = both(point, events)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    step = 1e-5
    for i in range(point.size):
        move = step * jnp.eye(point.size)[i]
        difference = (both(point + move, events)[0] - both(point - move, events)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[i], difference, rtol=1e-5, atol=1e-5)
    if kind not in IN_FLOAT32:
        return
    with jax.enable_x64(False):
        single = jnp.asarray(np.asarray(point), jnp.float32)
        value32, gradient32 = jax.jit(jax.value_and_grad(flat.log_density))(single, events)
        assert value32.dtype == gradient32.dtype == jnp.float32
    np.testing.assert_allclose(value32, value, rtol=2e-5, atol=1e-4)
    largest = float(jnp.abs(gradient).max())
    np.testing.assert_allclose(gradient32, gradient, rtol=1e-3, atol=1e-4 * largest)


@kinds
def test_predict_is_what_the_model_uses(kind, built):
    """Named values alone give the individual parameters and likelihood of NumPyro's model."""
    model, events, _, constrain, point = built(kind)
    values = constrain(point, events)
    assert set(model.population_names) <= set(values)
    named = {
        name: value
        for name, value in values.items()
        if name in model.population_names or name.startswith("eta_")
    }
    prediction = model.predict(named, events)
    for name, individual in prediction.parameters.items():
        np.testing.assert_allclose(values[name], individual[:, 0], rtol=1e-12)
    log_p = model.observation(
        prediction.log_concentration, named, jax.tree.map(jnp.asarray, events)
    ).log_prob(jnp.asarray(events.dv))
    sites = {name: value[None] for name, value in values.items()}
    of_numpyro = log_likelihood(model, sites, events, parallel=False)["DV"][0]
    seen = np.asarray(events.observed)
    np.testing.assert_allclose(np.asarray(log_p)[seen], of_numpyro[seen], rtol=1e-12)
    assert np.isfinite(np.asarray(log_p)[seen]).all()


@kinds
def test_prior_centre_is_the_medians(kind, built):
    model, events, flat, constrain, _ = built(kind)
    values = constrain(flat.start, events)
    for name in ("TVCL", "TVV"):
        if name in model.population_names:
            np.testing.assert_allclose(values[name], {"TVCL": 1.0, "TVV": 5.0}[name])
    for name, value in values.items():
        if name.startswith(("eta_", "correlation_CL")):
            # A normal that is cut off has its median a little above
            np.testing.assert_allclose(value, 0.0, atol=1e-3 if "normal and" in kind else 1e-9)


def test_without_etas_it_is_the_population_prediction(prepared):
    model, events = prepared()
    values = {"TVCL": jnp.asarray(0.5), "TVV": jnp.asarray(5.0)}
    bare = model.predict(values, events)
    zero = {"eta_CL": jnp.zeros(3), "eta_V": jnp.zeros(3)}
    np.testing.assert_array_equal(
        bare.log_concentration, model.predict(values | zero, events).log_concentration
    )
    np.testing.assert_allclose(bare.parameters["CL"], 0.5)


@pytest.mark.slow
def test_the_posterior_is_the_same_at_any_centring(built):
    """Same named values, same density once the Jacobian of x -> eta is taken out."""
    model, events, flat, _, point = built("correlated t")
    weights = {"CL": jnp.array([0.0, 0.3, 1.0]), "V": jnp.array([1.0, 0.8, 0.1])}
    other = flatten(model, events, weights)
    names = (*model.population_names, *model.correlation_names, "eta_CL", "eta_V")

    def etas(density, x):
        values = density.constrain(x, events)
        return jnp.concatenate([values[name].ravel() for name in names])

    def all_of(density):
        def at(x):
            jacobian = jax.jacfwd(functools.partial(etas, density))(x)
            log_p = density.log_density(x, events) - jnp.linalg.slogdet(jacobian)[1]
            return etas(density, x), jacobian, log_p

        return jax.jit(at)

    target, _, wanted = all_of(flat)(point)
    of_other = all_of(other)
    mapped = point
    for _ in range(60):  # Newton, damped
        values, jacobian, found = of_other(mapped)
        mapped = mapped - jnp.clip(jnp.linalg.solve(jacobian, values - target), -1, 1)
    assert float(jnp.abs(mapped - point).max()) > 0.1
    np.testing.assert_allclose(values, target, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_correlated_t_etas_have_their_degrees_of_freedom_in_common(built):
    model, events, *_ = built("correlated t")
    assert [n for n in model.population_names if n.startswith("df_")] == ["df_CL"]
    assert model.correlation_names == ("correlation_CL_V",)
    assert "df_V" not in prior_centre(model, events)


@pytest.mark.slow
def test_numpyro_tools_take_the_model(prepared):
    model, events = prepared(V={"variability": None})
    prior = Predictive(model, num_samples=4)(KEY, events)
    assert prior["eta_CL"].shape == (4, 3)
    assert (np.asarray(prior["TVCL"]) > 0).all()
    chain = MCMC(NUTS(model), num_warmup=5, num_samples=5, progress_bar=False)
    chain.run(KEY, events)
    draws = chain.get_samples()
    assert np.isfinite(draws["TVCL"]).all()
    found = log_likelihood(model, draws, events)["DV"]
    assert found.shape == (5, *events.observed.shape)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_shipped_model_runs(path, read):
    spec = read_model(path)
    text = """
    ID,TIME,AMT,RATE,DV,EVID,MDV,WT,AGE,BSA,APGR
    A,0,40,2,.,1,1,6,4,0.3,4
    A,10,0,0,30,0,0,6,4,0.3,4
    B,0,50,2,.,1,1,8,9,0.4,7
    B,20,0,0,25,0,0,8,9,0.4,7
    """.replace("    ", "")
    columns = {
        "BSA": {"covariate": True, "unit": "m^2"},
        "APGR": {"covariate": True},
        "WT": {"covariate": True, "unit": "kg"},
        "AGE": {"covariate": True, "unit": "month"},
    }
    events, _ = arrange(spec, read(text, columns=columns))
    flat = flatten(Model(spec), events)
    value, gradient = jax.jit(jax.value_and_grad(flat.log_density))(flat.start, events)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert spec.typical_unit("CL").startswith("L/h")


def test_there_are_shipped_models():
    assert len(MODELS) >= 4
