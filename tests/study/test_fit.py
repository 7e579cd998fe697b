import dataclasses
import hashlib
import platform
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import numpy as np
import pytest

from popk.inference.convergence import gate
from popk.inference.diagnostics import diagnostics
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec, Parameter
from popk.spec.priors import Fixed
from popk.study.fit import content_hash, fit


def test_provenance_is_complete(fitted):
    p, data, model = fitted.provenance, fitted.data, fitted.model
    with open(data.source, "rb") as file:
        assert p.hashes["data"] == hashlib.sha256(file.read()).hexdigest()
    assert p.hashes["model"] == content_hash(model.spec)
    assert len(p.hashes["sampler"]) == 64
    assert p.versions["python"] == platform.python_version()
    for library in ("popk", "jax", "jaxlib", "numpyro", "numpy", "scipy"):
        assert p.versions[library] == version(library)
    assert p.device
    assert (p.precision, p.seed) == ("float64", 3)
    age = datetime.now(UTC) - datetime.fromisoformat(p.finished)
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(hours=1)
    assert {"start", "warm-up", "sampling", "collecting", "diagnostics"} <= set(p.seconds)
    assert all(seconds >= 0 for seconds in p.seconds.values())
    assert (p.method["draws"], p.method["chains"], p.method["seed"]) == (100, 2, 3)


def test_checks_are_those_of_the_draws(fitted):
    found = diagnostics(fitted.samples.draws)
    np.testing.assert_array_equal(fitted.diagnostics.rhat, found.rhat)
    assert fitted.checks == gate(fitted.samples, found, 400.0)
    # 200 draws cannot hold an effective sample size of 400 for every parameter and both tails
    assert not fitted.converged
    assert fitted.converged == all(check.passed for check in fitted.checks)


def test_fit_is_immutable(fitted):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.model = None


def test_posterior_holds_what_the_draws_hold(fitted):
    idata = fitted.posterior
    assert idata is fitted.posterior
    draws, data = fitted.samples.draws, fitted.data
    np.testing.assert_array_equal(idata.posterior["TVCL"], draws["TVCL"])
    individual = idata.posterior["individual"]
    assert individual.dims == ("chain", "draw", "subject", "parameter")
    np.testing.assert_array_equal(individual.sel(parameter="CL", subject="b"), draws["CL"][..., 1])
    np.testing.assert_array_equal(individual.sel(parameter="V"), draws["V"])
    eta = idata.posterior["eta"]  # V has none, so eta has an axis of its own
    np.testing.assert_array_equal(eta.sel(parameter_with_eta="CL"), draws["eta_CL"])
    assert idata.sample_stats["diverging"].dtype == np.bool_
    np.testing.assert_array_equal(idata.log_likelihood["DV"], fitted.samples.log_likelihood)
    np.testing.assert_array_equal(idata.observed_data["DV"], [0.6, 0.8, 0.2, 0.7, 0.2, 0.9, 1.4])
    constant = idata.constant_data
    np.testing.assert_array_equal(constant["observation_subject"], [0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(constant["time"], [6, 24, 27, 12, 26, 5, 22])
    np.testing.assert_array_equal(constant["censored"], [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(constant["WT"], [5, 7, 4])
    assert data.observations == 7


def test_content_hash_is_of_the_content(fitted):
    spec = fitted.model.spec
    again = ModelSpec.model_validate_json(spec.model_dump_json())
    assert content_hash(again) == content_hash(spec)
    other = spec.model_copy(update={"name": "other"})
    assert content_hash(other) != content_hash(spec)


@pytest.mark.slow
def test_constants_do_not_stop_convergence(study):
    """A volume that is known is the same in every draw: no failure of the sampler."""
    known = Parameter(unit="L", typical=Fixed(prior="fixed", value=8.0))
    parameters = {**study.model.spec.parameters, "V": known}
    model = Model(study.model.spec.model_copy(update={"parameters": parameters}))
    settings = Sampler(method="nuts", draws=50, warmup=50, chains=2, ess=1.0)
    result = fit(model, study.data, settings)
    np.testing.assert_allclose(result.samples.draws["V"], 8.0, rtol=1e-14)
    for check in result.checks:
        assert not check.worst.startswith("V["), check
        assert np.isfinite(check.value)
