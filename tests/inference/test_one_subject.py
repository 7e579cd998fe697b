"""Proposals for one subject: their weights are those of the model, whatever the padding."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from popk.analysis.predictive import cholesky_factors
from popk.inference.laplace import gauss_hermite, marginal
from popk.inference.one_subject import observed_rows, padded, weighed
from popk.population.events import arrange
from popk.population.subjects import per_subject, shares
from tests.analysis.dosing.cases import KNOWN, infant, lognormal, model

SAMPLES = [
    (3.0, 300.0),
    {"time": 30.0, "above": 900.0},
    {"time": 47.0, "below": 1400.0, "above": 1000.0},
    (49.5, 700.0),
    {"time": 64.0, "below": 50.0},
]
DRAWS = 4000
SIGMAS = 4.5
"""Standard errors that an estimate may lie off: one test in 150,000 does so by chance."""


def events_of(case, count):
    return arrange(case.spec, infant(case, SAMPLES[:count]))[0]


def row_likelihoods(case, events):
    """The sum over the subject's rows, and the prior's density."""
    population = {name: jnp.asarray(value) for name, value in KNOWN.items()}
    own = shares(case, events, population, jnp.array([[0.3, -0.2]]))
    return float(per_subject(own.row_log_likelihood, events)[0]), float(own.log_prior[0])


@pytest.mark.parametrize("count", [pytest.param(0, marks=pytest.mark.slow), 1, 2, 3, 4, 5])
def test_padding_changes_nothing(count):
    case = model()
    bare = events_of(case, count)
    expected = row_likelihoods(case, bare)
    more, few = padded(bare), observed_rows(bare)
    assert more.observed.shape == (1, 16)
    assert few.observed.shape == (8,)
    assert few.observed.sum() == more.observed.sum() == count
    assert few.steps.blocks[0].rate.shape[0] == 2
    for events in (more, few):
        assert row_likelihoods(case, events) == pytest.approx(expected, rel=1e-12, abs=1e-12)


PULSES = [{"infusion": "1 ug/h", "duration": "1 h"}, {"pause": "1 h"}, {"bolus": "1 ug"}]


@pytest.mark.slow
@pytest.mark.parametrize(("times", "shape"), [(5, (8,)), (20, (1, 64))])
def test_many_doses_have_room(times, shape):
    """Beyond some number of doses there is a loop over all steps."""
    case = model()
    data = infant(case, [(2.5 * times, 100.0)], given=PULSES * times)
    bare = arrange(case.spec, data)[0]
    events = observed_rows(bare)
    assert events.observed.shape == shape
    assert row_likelihoods(case, events) == pytest.approx(row_likelihoods(case, bare), rel=1e-12)


def test_covariates_that_change_have_room_too():
    case = model(v={"scale": []})
    data = infant(case, SAMPLES)
    grown = data.covariates["BSA"] * np.linspace(1.0, 1.1, data.time.shape[1])
    bare = arrange(case.spec, replace(data, covariates={**data.covariates, "BSA": grown}))[0]
    events = observed_rows(bare)
    assert events.log_scale["CL"].shape == (1, 16)
    assert events.log_scale["V"].shape == (1, 1)
    assert row_likelihoods(case, events) == pytest.approx(row_likelihoods(case, bare), rel=1e-12)


@pytest.mark.slow
def test_the_mean_weight_is_the_marginal_likelihood():
    """By adaptive quadrature with many nodes, for two populations."""
    case = model(correlation={"parameters": ["CL", "V"]})
    events = events_of(case, 5)
    nodes = gauss_hermite(25, 2)

    @jax.jit
    def exact(population):
        return marginal(case, events, "agq", population, jnp.zeros((1, 2)), nodes)

    own = cholesky_factors(case, {"correlation_CL_V": np.full(1, 0.6)})
    for typical in (0.9, 0.4):
        values = {name: np.full(1, value) for name, value in KNOWN.items()}
        values |= {"TVCL": np.full(1, typical), "correlation_cholesky": own}
        sites = {name: np.repeat(value, DRAWS, axis=0) for name, value in values.items()}
        log_weight = weighed(case, events, sites, 1).log_weight
        found = logsumexp(log_weight) - math.log(DRAWS)
        error = np.exp(log_weight - found).std() / math.sqrt(DRAWS)
        assert error < 0.03
        expected = exact({name: jnp.asarray(value[0]) for name, value in values.items()})
        assert abs(found - float(expected.log_likelihood[0])) < SIGMAS * error


def test_from_the_prior_alone_all_weights_are_the_likelihoods():
    case = model()
    sites = {name: np.full(DRAWS, value) for name, value in KNOWN.items()}
    found = weighed(case, events_of(case, 0), sites, 1, prior_share=1.0)
    np.testing.assert_allclose(found.log_weight, 0.0, atol=1e-12)
    for name in ("CL", "V"):
        omega = KNOWN[f"omega_{name}"]
        assert abs(found.etas[name].mean()) < SIGMAS * omega / math.sqrt(DRAWS)
        below = np.mean(found.etas[name] < norm.ppf(0.1, scale=omega))
        assert abs(below - 0.1) < SIGMAS * math.sqrt(0.09 / DRAWS)


@pytest.mark.slow
def test_no_tail_of_the_prior_is_out_of_reach():
    """No weight is above the likelihood over the prior's share: one limit, far from the prior."""
    case = model(cl={"variability": lognormal(distribution="student_t", df=1)})
    data = infant(case, [{"time": 47.0, "above": 1e5}])
    events = arrange(case.spec, data)[0]
    sites = {name: np.full(DRAWS, value) for name, value in KNOWN.items()}
    found = weighed(case, events, sites, 1)
    # The likelihood of an interval is at most 1
    assert found.log_weight.max() < -math.log(0.1) + 1e-9
    assert (found.etas["CL"][np.argsort(found.log_weight)[-100:]] < 0).all()
