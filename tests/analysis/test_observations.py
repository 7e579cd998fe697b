"""Predictions and residuals against closed forms, for draws and for estimates."""

import numpy as np
import pytest

from popk.analysis.observations import observations
from popk.spec.fit import Sampler
from popk.study.maximum import maximum


@pytest.fixture(scope="module")
def estimated(steady_state):
    return maximum(*steady_state.problem, Sampler(method="laplace"))


def concentration(case, cl):
    """[observation] at steady state, CL per kg given for each subject."""
    size = np.exp(case.log_size)
    return np.exp(case.log_rate) / (cl * size)[case.subject]


def test_of_draws_they_are_those_of_the_closed_form(steady_state, drawn):
    model, data = steady_state.problem
    fit = drawn(model.spec.model_dump(), data)
    table = observations(fit, replicates=50)
    draws = {name: np.concatenate(v) for name, v in fit.samples.draws.items()}
    typical = np.median(draws["TVCL"]) * np.exp(
        np.median(draws["CL_AGE_below"]) * steady_state.young
    )
    np.testing.assert_allclose(table["PRED"], concentration(steady_state, typical), rtol=1e-6)
    own = draws["TVCL"][:, None] * np.exp(
        draws["CL_AGE_below"][:, None] * steady_state.young + draws["eta_CL"]
    )
    log_c = np.log([concentration(steady_state, cl) for cl in own])
    np.testing.assert_allclose(table["IPRED"], np.exp(np.median(log_c, axis=0)), rtol=1e-6)
    iwres = (steady_state.log_dv - log_c) / draws["sigma"][:, None]
    np.testing.assert_allclose(table["IWRES"], np.median(iwres, axis=0), rtol=1e-5, atol=1e-6)
    assert list(table["ID"]) == [data.ids[i] for i in steady_state.subject]
    np.testing.assert_allclose(table["DV"], np.exp(steady_state.log_dv))
    assert table["NPDE"].notna().all()


@pytest.mark.slow
def test_of_estimates_they_are_at_the_modes(steady_state, estimated):
    table = observations(estimated, replicates=200)
    own = estimated.estimate
    typical = own["TVCL"] * np.exp(own["CL_AGE_below"] * steady_state.young)
    np.testing.assert_allclose(table["PRED"], concentration(steady_state, typical), rtol=1e-6)
    cl = typical * np.exp(estimated.etas["CL"])
    np.testing.assert_allclose(table["IPRED"], concentration(steady_state, cl), rtol=1e-6)
    np.testing.assert_allclose(table["IWRES"], estimated.iwres, rtol=1e-6)
    # The same seed gives the same table, another one other ranks only
    again, other = observations(estimated, replicates=200), observations(estimated, seed=9)
    assert again.equals(table)
    assert not np.allclose(other["NPDE"], table["NPDE"])
    assert other.drop(columns="NPDE").equals(table.drop(columns="NPDE"))


@pytest.mark.slow
def test_censored_rows_have_their_limit_and_no_residual(course, drawn):
    model, data = course.problem
    table = observations(drawn(model.spec.model_dump(), data), replicates=50)
    np.testing.assert_array_equal(table["censored"].to_numpy(bool), course.censored.ravel())
    np.testing.assert_allclose(table["DV"], course.dv.ravel())
    assert table.loc[table["censored"], "IWRES"].isna().all()
    assert table.loc[~table["censored"], "IWRES"].notna().all()
    assert table["NPDE"].notna().all()
