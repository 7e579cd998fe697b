"""Curvatures of priors against those written down by hand."""

import numpy as np
import pytest

from popk.analysis.power.fisher import estimated, population
from popk.analysis.power.prior_precision import prior_precision
from popk.population.model import Model
from popk.spec.model import ModelSpec
from tests.analysis.power.infusions import model_of


def changed(model, **parts):
    """The model with another prior for the SD of the residual, or for TVV."""
    spec = model.spec.model_dump()
    if "sd" in parts:
        spec["residual"]["sd"] = parts["sd"]
    if "typical" in parts:
        spec["parameters"]["V"]["typical"] = parts["typical"]
    return Model(ModelSpec.model_validate(spec))


def precision(model, name, **values):
    found = prior_precision(model, population(model, values))
    place = estimated(model).index(name)
    assert np.count_nonzero(found[place]) <= 1
    return found[place, place]


def test_of_normal_and_lognormal_priors_it_is_exact():
    model = model_of()
    assert precision(model, "CL_AGE_below", CL_AGE_below=-0.7) == pytest.approx(1 / 0.5**2)
    # Of log TVCL one over its variance, whatever TVCL is
    assert precision(model, "TVCL", TVCL=0.8) * 0.8**2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("prior", "on_log_scale"),
    [
        ({"prior": "halfnormal", "scale": 0.5}, 2 * (0.2 / 0.5) ** 2),
        ({"prior": "exponential", "scale": 0.5}, 0.2 / 0.5),
        ({"prior": "gamma", "shape": 6.0, "rate": 30.0}, 30.0 * 0.2),
        ({"prior": "uniform", "low": 0.0, "high": 1.0}, 0.0),
    ],
)
def test_of_other_priors_it_is_the_curvature_on_the_log_scale(prior, on_log_scale):
    """Minus the second derivative of log p(exp(u)) + u, from the densities' formulas."""
    found = precision(changed(model_of(), sd=prior), "sigma", sigma=0.2)
    assert found * 0.2**2 == pytest.approx(on_log_scale, abs=1e-12)


def test_fixed_parameters_are_not_among_them():
    model = changed(model_of(), typical={"prior": "fixed", "value": 5.0})
    assert "TVV" not in estimated(model)
    assert prior_precision(model, population(model, None)).shape == (5, 5)


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_of_a_correlation_it_is_that_of_the_lkj_density(rho):
    """Of one correlation the density is (1 - rho²)^(concentration - 1)."""
    block = {"parameters": ["CL", "V"], "concentration": 3.0}
    found = precision(model_of(correlation=block), "correlation_CL_V", correlation_CL_V=rho)
    assert found == pytest.approx(2 * 2 * (1 + rho**2) / (1 - rho**2) ** 2)
