"""Simulated trials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.simulated import simulate
from popk.spec.problem import PopkError

TRIALS = 400
POPULATION = {"TVCL": 0.5, "TVV": 6.0, "omega_CL": 0.3, "omega_V": 0.1, "sigma": 0.2}
HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
LOGNORMAL_ERROR = {"error": "lognormal", "sd": HALFNORMAL}
DESIGN = """
ID,TIME,AMT,RATE,DV,EVID,MDV,CENS
A,0,240,10,.,1,1,0
A,4,0,0,18.5,0,0,0
A,24,0,0,22.5,0,0,0
A,40,0,0,1,0,0,0
B,0,50,0,.,1,1,0
B,2,0,0,13,0,0,0
B,9,0,0,6,0,0,0
B,30,0,0,6,0,0,0
"""


@pytest.fixture(scope="module")
def design(spec, read):
    """A log-normal model and its condensed events."""
    model = spec(residual=LOGNORMAL_ERROR, correlation={"parameters": ["CL", "V"]})
    return Model(model), condense(arrange(model, read(DESIGN))[0]).events


@pytest.fixture(scope="module")
def whole(design):
    """Trials of an assay without limits."""
    with jax.enable_x64(True):
        return simulate(jax.random.key(2), *design, TRIALS, given=POPULATION)


def predictions(design, found):
    """[trial, row] log concentrations predicted with each trial's own values."""
    model, events = design

    def of(values):
        return model.predict(values, events).log_concentration

    return np.asarray(jax.jit(jax.vmap(of))(jax.tree.map(jnp.asarray, found.truth)))


def test_given_values_are_those_of_every_trial(whole):
    for name, value in POPULATION.items():
        np.testing.assert_array_equal(whole.truth[name], np.full(TRIALS, value))
    assert whole.truth["correlation_CL_V"].std() > 0.1
    eta = whole.truth["eta_CL"]
    assert eta.shape == (TRIALS, 2)
    np.testing.assert_allclose(whole.truth["CL"], 0.5 * np.exp(eta), rtol=1e-12)
    assert not any(name.startswith("x_") for name in whole.truth)


def test_etas_follow_their_distribution(whole):
    for name, omega in (("CL", 0.3), ("V", 0.1)):
        eta = whole.truth[f"eta_{name}"].ravel()
        assert stats.kstest(eta, stats.norm(0, omega).cdf).pvalue > 1e-3
        assert stats.kstest(1.4 * eta, stats.norm(0, omega).cdf).pvalue < 1e-3
    # Each trial has a correlation of its own, which its etas follow
    z = whole.truth["eta_CL"] / 0.3 * whole.truth["eta_V"] / 0.1
    rho = whole.truth["correlation_CL_V"]
    np.testing.assert_allclose((z - rho[:, None]).mean(), 0.0, atol=4 * z.std() / np.sqrt(z.size))
    assert np.corrcoef(z.mean(axis=1), rho)[0, 1] > 0.2


@pytest.mark.slow
def test_what_is_not_given_is_drawn_from_its_prior(design):
    truth = simulate(jax.random.key(3), *design, TRIALS, given={"TVV": 6.0}).truth
    assert stats.kstest(truth["TVCL"], stats.lognorm(1.0).cdf).pvalue > 1e-3
    assert stats.kstest(truth["sigma"], stats.halfnorm(scale=0.5).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(truth["TVV"], 6.0)


def test_observations_lie_around_the_predictions(design, whole):
    _, events = design
    np.testing.assert_array_equal(whole.events.observed, np.tile(events.observed, (TRIALS, 1)))
    seen = events.observed
    error = (np.log(whole.events.dv) - predictions(design, whole))[:, seen]
    spread = 0.2 / np.sqrt(TRIALS)
    np.testing.assert_allclose(error.mean(axis=0), 0.0, atol=4 * spread)
    np.testing.assert_allclose(error.std(axis=0), 0.2, rtol=4 / np.sqrt(2 * TRIALS))
    # Errors of different rows have nothing to do with each other, nor with the etas
    others = np.column_stack([error, whole.truth["eta_CL"], whole.truth["eta_V"][:, 0]])
    off = np.corrcoef(others.T)[: error.shape[1]] - np.eye(error.shape[1], others.shape[1])
    assert np.abs(off).max() < 5 / np.sqrt(TRIALS)
    assert not whole.events.censored.any()
    assert whole.events.slots.count == 0


def test_values_below_the_limit_are_censored(design, whole):
    limit = 3.0
    found = simulate(jax.random.key(2), *design, TRIALS, given=POPULATION, below=limit)
    events = found.events
    censored, measured = events.censored, events.observed & ~events.censored
    assert 0 < censored.sum() < measured.sum()
    assert not (censored & ~events.observed).any()
    assert (events.dv[measured] >= limit).all()
    np.testing.assert_array_equal(events.upper[censored], limit)
    np.testing.assert_array_equal(events.upper[~censored], np.inf)
    np.testing.assert_array_equal(events.lower, -np.inf)
    np.testing.assert_array_equal(events.dv[~measured], 1.0)
    # They come last
    slots = events.slots
    assert not censored[:, : -slots.count].any()
    np.testing.assert_array_equal(slots.bound[censored[:, -slots.count :]], limit)
    np.testing.assert_array_equal(slots.sign, 1.0)
    # The same values, of which the low ones are not reported
    np.testing.assert_array_equal(found.truth["CL"], whole.truth["CL"])
    whole_dv = np.where(whole.events.observed, whole.events.dv, np.inf)
    assert censored.sum() == (whole_dv < limit).sum()
    kept = np.where(whole_dv < limit, 0.0, whole_dv)
    for found_row, row in zip(events.dv * measured, kept, strict=True):
        np.testing.assert_array_equal(
            np.sort(found_row[found_row > 0]), np.sort(row[(row > 0) & np.isfinite(row)])
        )


def test_the_key_decides(design, whole):
    again = simulate(jax.random.key(2), *design, TRIALS, given=POPULATION)
    jax.tree.map(np.testing.assert_array_equal, again.truth, whole.truth)
    jax.tree.map(np.testing.assert_array_equal, again.events, whole.events)
    # and each trial has its own
    assert np.unique(whole.truth["CL"]).size == 2 * TRIALS


@pytest.mark.slow
def test_another_key_in_float32(design, whole):
    with jax.enable_x64(False):
        found = simulate(jax.random.key(1), *design, TRIALS, given=POPULATION)
    assert found.truth["CL"].dtype == np.float32
    assert np.isfinite(found.events.dv).all()
    apart = np.corrcoef(found.truth["eta_CL"].ravel(), whole.truth["eta_CL"].ravel())[0, 1]
    assert abs(apart) < 5 / np.sqrt(2 * TRIALS)


def test_names_that_the_model_does_not_estimate_are_refused(design):
    model, events = design
    with pytest.raises(PopkError, match="TVXX"):
        simulate(jax.random.key(0), model, events, 2, given={"TVXX": 1.0})
