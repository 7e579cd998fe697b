"""Replicates have the moments of the closed form, and rows in the file's order."""

import numpy as np
import pytest

from popk.analysis.checking.replicates import population_draws, replicates
from popk.spec.fit import Sampler
from popk.study.maximum import maximum

COUNT = 2000
VALUES = {"TVCL": 0.8, "CL_AGE_below": -0.3, "omega_CL": 0.4, "sigma": 0.2}


@pytest.fixture(scope="module")
def estimated(steady_state):
    return maximum(*steady_state.problem, Sampler(method="laplace"))


def moments_agree(found, case, values):
    """Of log DV: mean and variance of each row, correlation of a subject's rows."""
    log_cl = np.log(values["TVCL"]) + values["CL_AGE_below"] * case.young + case.log_size
    mean = case.log_rate - log_cl[case.subject]
    total = np.hypot(values["omega_CL"], values["sigma"])
    log_dv = np.log(found.dv)
    z = (log_dv.mean(axis=0) - mean) / (total / np.sqrt(COUNT))
    assert np.abs(z).max() < 4.5
    ratio = log_dv.var(axis=0) / total**2
    assert np.abs(ratio - 1).max() < 4.5 * np.sqrt(2 / COUNT)
    rows = np.flatnonzero(case.subject == case.subject[0])[:2]
    expected = (values["omega_CL"] / total) ** 2
    assert np.corrcoef(log_dv[:, rows].T)[0, 1] == pytest.approx(expected, abs=4.5 / COUNT**0.5)


def test_of_draws_that_are_all_the_same(steady_state, drawn):
    model, data = steady_state.problem
    fit = drawn(
        model.spec.model_dump(), data, draws={k: np.full((2, 40), v) for k, v in VALUES.items()}
    )
    found = replicates(fit, seed=3, count=COUNT)
    moments_agree(found, steady_state, VALUES)
    np.testing.assert_allclose(found.own, np.exp(steady_state.log_dv), rtol=1e-12)
    np.testing.assert_array_equal(found.subject, steady_state.subject)
    assert found.of_draws
    again, other = replicates(fit, seed=3, count=COUNT), replicates(fit, seed=4, count=COUNT)
    np.testing.assert_array_equal(again.dv, found.dv)
    assert not np.allclose(other.dv, found.dv)


def test_of_estimates(steady_state, estimated):
    found = replicates(estimated, count=COUNT)
    moments_agree(found, steady_state, {name: estimated.estimate[name] for name in VALUES})
    assert not found.of_draws


def test_draws_are_used_evenly(steady_state, drawn):
    model, data = steady_state.problem
    fit = drawn(model.spec.model_dump(), data)
    sites = population_draws(fit, 80)
    np.testing.assert_array_equal(sites["TVCL"], fit.samples.draws["TVCL"].ravel())
    assert sites.keys() == set(model.population_names)
