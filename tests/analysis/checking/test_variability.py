"""Kinds of variability side by side."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.checking.variability import better, variability, with_kind
from popk.analysis.predictive import smoothed
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.study.fit import fit


@pytest.mark.parametrize("kind", ["lognormal", "normal", "student_t"])
def test_a_model_of_another_kind_differs_in_nothing_else(model, kind):
    spec = ModelSpec.model_validate(model())
    other = with_kind(spec, kind)
    assert {p.variability.distribution for p in other.parameters.values()} == {kind}
    assert {p.variability.df for p in other.parameters.values()} == {
        4.0 if kind == "student_t" else None
    }
    assert with_kind(other, "lognormal").model_dump(exclude={"name"}) == spec.model_dump(
        exclude={"name"}
    )


def test_better_asks_for_size_and_for_certainty():
    table = pd.DataFrame(
        {"difference": [0.0, 10.0, 10.0, 3.0, -9.0], "error": [0.0, 3.0, 6.0, 0.5, 1.0]},
        index=["own", "clear", "uncertain", "small", "worse"],
    )
    table.attrs["own"] = "own"
    assert better(table) == ["clear"]
    assert better(pd.DataFrame()) == []


def test_a_few_missing_draws_do_no_harm_and_many_are_not_hidden():
    rng = np.random.default_rng(1)
    log_likelihood = rng.normal(-3.0, 0.3, (400, 4))
    whole = smoothed(log_likelihood)
    log_likelihood[5, 1] = np.nan
    log_likelihood[:40, 2] = np.nan
    found = smoothed(log_likelihood)
    np.testing.assert_allclose(found.elpd[[0, 3]], whole.elpd[[0, 3]])
    assert found.elpd[1] == pytest.approx(whole.elpd[1], abs=0.01)
    assert np.isnan(found.elpd[2])


@pytest.mark.slow
def test_heavy_tails_are_preferred_where_they_are(steady_state):
    """One subject in fifteen far out; the kinds' own posterior decides."""
    model, data = steady_state.problem
    from dataclasses import replace

    dv = data.dv.copy()
    for i, shift in ((4, 1.6), (19, -1.6)):
        dv[i] = dv[i] * np.exp(shift)
    own = fit(model, replace(data, dv=dv), Sampler(seed=1))
    table = variability(own)
    assert list(table.index) == ["lognormal", "normal", "student_t"]
    assert table.loc["lognormal", "difference"] == 0.0
    assert table.loc["student_t", "difference"] > 0
    assert table.loc["student_t", "omega_CL"] < table.loc["lognormal", "omega_CL"]
    assert table["converged"].all()
    assert isinstance(own.model, Model)
