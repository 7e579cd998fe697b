"""Population values of a posterior, of estimates, of priors."""

import numpy as np
import pytest

from popk.analysis.simulation.source import source_of
from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec, Sampler
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.study.maximum import maximum


def test_of_a_posterior(small_fit):
    fit = small_fit()
    found = source_of(fit, uncertainty=True, seed=1)
    assert found.of == "posterior"
    assert found.draws == 80
    for name in fit.model.population_names:
        np.testing.assert_array_equal(found.sites[name], fit.samples.draws[name].ravel())
    middle = source_of(fit, uncertainty=False, seed=1)
    assert middle.draws == 1
    assert middle.sites["TVCL"][0] == np.median(fit.samples.draws["TVCL"])


def test_of_priors(compiled):
    assert source_of(compiled, uncertainty=True, seed=1).sites == {}
    found = source_of(compiled, uncertainty=False, seed=1)
    assert found.of == "priors"
    assert found.sites["TVCL"] == pytest.approx([1.0])
    assert found.sites["omega_CL"] == pytest.approx([0.5 * 0.674489750196], rel=1e-9)


@pytest.fixture(scope="module")
def estimates(tmp_path_factory):
    """FOCEI of a little study of steady-state samples, with correlated etas."""
    rng = np.random.default_rng(5)
    rows = ["ID,TIME,AMT,RATE,DV,EVID,MDV"]
    for i in range(30):
        cl, v = np.exp(0.3 * rng.standard_normal()), 3.0 * np.exp(0.2 * rng.standard_normal())
        rows.append(f"{i},0,48,1,.,1,1")
        for t in (1.0, 3.0, 20.0, 40.0, 50.0):
            on = 1 / cl * (1 - np.exp(-cl / v * min(t, 48.0))) * np.exp(-cl / v * max(t - 48, 0))
            rows.append(f"{i},{t},0,0,{on * np.exp(0.1 * rng.standard_normal())},0,0")
    path = tmp_path_factory.mktemp("data") / "data.csv"
    path.write_text("\n".join([*rows, ""]))
    spread = {"distribution": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}}
    parameter = {"typical": {"prior": "lognormal", "median": 2.0, "sigma": 1.0},
                 "variability": spread}  # fmt: skip
    spec = {
        "name": "little", "structure": "one_compartment",
        "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
        "parameters": {"CL": {"unit": "L/h", **parameter}, "V": {"unit": "L", **parameter}},
        "correlation": {"parameters": ["CL", "V"]},
        "residual": {"error": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}},
    }  # fmt: skip
    data = read_data(path, DataSpec())
    return maximum(Model(ModelSpec.model_validate(spec)), data, Sampler(method="focei"))


@pytest.mark.slow
def test_of_estimates_draws_have_their_standard_errors(estimates):
    found = source_of(estimates, uncertainty=True, seed=1)
    assert found.of == "estimates"
    assert found.draws == 4000
    for name in ("TVCL", "TVV", "omega_CL", "sigma"):
        log = np.log(found.sites[name])
        relative = estimates.estimate.se(name) / estimates.estimate[name]
        assert abs(log.mean() - np.log(estimates.estimate[name])) < 4.0 * relative / np.sqrt(4000)
        assert log.std() == pytest.approx(relative, rel=4.0 / np.sqrt(2 * 4000))
    factors = found.sites["correlation_cholesky"]
    np.testing.assert_allclose(np.linalg.norm(factors, axis=2), 1.0)
    assert np.tanh(np.arctanh(factors[:, 1, 0]).mean()) == pytest.approx(
        estimates.estimate["correlation_CL_V"], abs=0.05
    )


@pytest.mark.slow
def test_estimates_without_errors_are_refused(estimates):
    from dataclasses import replace

    nothing = np.full_like(estimates.estimate.covariance, np.nan)
    without = replace(estimates, estimate=replace(estimates.estimate, covariance=nothing))
    with pytest.raises(PopkError) as raised:
        source_of(without, uncertainty=True, seed=1)
    assert "--no-uncertainty" in str(raised.value)
    assert source_of(without, uncertainty=False, seed=1).draws == 1
