"""The population table against its formulas."""

import math
from dataclasses import replace
from typing import Any

import arviz
import numpy as np
import pytest
from scipy import stats

from popk.analysis import summary
from popk.population.model import Model
from popk.spec.residual import SimpleResidual

parameters: Any = summary.parameters
HALF_NORMAL = {"prior": "halfnormal", "scale": 0.5}


@pytest.fixture
def fit_of(read, infants, columns, model, drawn):
    def of(draws=None, **parts):
        return drawn(model(**parts), read(infants, columns=columns), draws=draws)

    return of


def test_quantiles_and_diagnostics(fit_of):
    fit = fit_of()
    table = parameters(fit)
    assert list(table.index) == ["TVCL", "TVV", "omega_CL", "omega_V", "sigma"]
    for name, row in table.iterrows():
        values = fit.samples.draws[name]
        assert row["median"] == pytest.approx(np.median(values), rel=1e-12)
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-12)
        assert row["sd"] == pytest.approx(np.std(values.ravel(), ddof=1), rel=1e-12)
        assert (row["q5"], row["q95"]) == pytest.approx(np.quantile(values, [0.05, 0.95]))
        assert row["rhat"] == pytest.approx(arviz.rhat(values, method="rank"), rel=1e-9)
        assert row["ess_bulk"] == pytest.approx(arviz.ess(values, method="bulk"), rel=1e-9)
        tail = arviz.ess(values, method="tail", prob=(0.05, 0.95))
        assert row["ess_tail"] == pytest.approx(tail, rel=1e-9)


def test_units(fit_of):
    effects = [
        {"parameter": "CL", "covariate": "WT", "relation": "power", "reference": "8 kg",
         "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0}},
        {"parameter": "V", "covariate": "WT", "relation": "below", "cut": "8 kg",
         "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0}},
    ]  # fmt: skip
    relative = {"distribution": "normal", "sd": HALF_NORMAL}
    combined = {"error": "combined", "additive": HALF_NORMAL, "proportional": HALF_NORMAL}
    fit = fit_of(covariates=effects, v={"variability": relative}, residual=combined)
    assert parameters(fit)["unit"].to_dict() == {
        "TVCL": "L/h/m²",
        "TVV": "L/m²",
        "CL_WT_power": "exponent",
        "V_WT_below": "log scale",
        "omega_CL": "log scale (SD)",
        "omega_V": "fraction of TV (SD)",
        "sigma_additive": "pg/mL (SD)",
        "sigma_proportional": "fraction (SD)",
    }


def test_cv_of_lognormal_normal_and_student_variability(fit_of):
    normal = {"distribution": "normal", "sd": HALF_NORMAL}
    student = {"distribution": "student_t", "df": 4, "sd": HALF_NORMAL}
    fit = fit_of()
    omega = np.median(fit.samples.draws["omega_CL"])
    cv = parameters(fit)["cv_percent"]
    assert cv["omega_CL"] == pytest.approx(100 * math.sqrt(math.exp(omega**2) - 1), rel=1e-12)
    assert cv[["TVCL", "TVV", "sigma"]].isna().all()
    fit = fit_of(cl={"variability": normal}, v={"variability": student})
    cv = parameters(fit)["cv_percent"]
    assert cv["omega_CL"] == pytest.approx(100 * np.median(fit.samples.draws["omega_CL"]))
    assert math.isnan(cv["omega_V"])


def test_shrinkage(fit_of):
    student = {"distribution": "student_t", "df": 4, "sd": HALF_NORMAL}
    fit = fit_of(v={"variability": student})
    shrinkage, draws = parameters(fit)["shrinkage"], fit.samples.draws
    for name, sd_of_unit in (("CL", 1.0), ("V", math.sqrt(4 / (4 - 2)))):
        eta = draws[f"eta_{name}"].mean(axis=(0, 1))
        omega = np.median(draws[f"omega_{name}"]) * sd_of_unit
        assert shrinkage[f"omega_{name}"] == pytest.approx(1 - np.std(eta, ddof=1) / omega)
    assert shrinkage[["TVCL", "TVV", "sigma"]].isna().all()


def test_shrinkage_of_etas_that_are_known_and_of_etas_that_are_not(fit_of):
    shape = (2, 40, 3)
    known = np.broadcast_to([-0.3, 0.0, 0.3], shape)
    draws = {"eta_CL": known, "eta_V": np.zeros(shape)}
    draws |= {f"omega_{name}": np.full((2, 40), 0.3) for name in ("CL", "V")}
    shrinkage = parameters(fit_of(draws=draws))["shrinkage"]
    assert shrinkage["omega_CL"] == pytest.approx(0.0)
    assert shrinkage["omega_V"] == pytest.approx(1.0)


PRIORS = {
    "lognormal": ({"prior": "lognormal", "median": 2.0, "sigma": 0.7}, 0.7**2),
    "halfnormal": ({"prior": "halfnormal", "scale": 0.5}, 0.25 * (1 - 2 / math.pi)),
    "exponential": ({"prior": "exponential", "scale": 0.5}, 0.25),
    "gamma": ({"prior": "gamma", "shape": 3.0, "rate": 6.0}, 3.0 / 36.0),
    "uniform": ({"prior": "uniform", "low": 0.1, "high": 2.1}, 4.0 / 12.0),
}


@pytest.mark.parametrize("prior", PRIORS)
def test_contraction_is_one_minus_the_ratio_of_variances(fit_of, prior):
    spec, prior_variance = PRIORS[prior]
    residual = SimpleResidual.model_validate({"error": "lognormal", "sd": spec})
    fit = fit_of()
    fit = replace(fit, model=Model(fit.model.spec.model_copy(update={"residual": residual})))
    values = fit.samples.draws["sigma"]
    posterior = np.var(np.log(values) if prior == "lognormal" else values)
    row = parameters(fit).loc["sigma"]
    assert row["contraction"] == pytest.approx(1 - posterior / prior_variance, rel=1e-5)


@pytest.mark.slow
def test_contraction_of_a_normal_prior_and_of_a_correlation(fit_of):
    effect = {"parameter": "CL", "covariate": "WT", "relation": "power", "reference": "8 kg",
              "effect": {"prior": "normal", "loc": 0.0, "scale": 0.8}}  # fmt: skip
    correlation = {"parameters": ["CL", "V"], "concentration": 2.0}
    fit = fit_of(covariates=[effect], correlation=correlation)
    draws, table = fit.samples.draws, parameters(fit)
    expected = 1 - np.var(draws["CL_WT_power"]) / 0.8**2
    assert table.loc["CL_WT_power", "contraction"] == pytest.approx(expected, rel=1e-5)
    # Under LKJ(2) the correlation of a pair is 2 Beta(2, 2) - 1
    prior = stats.beta(2, 2, loc=-1, scale=2).var()
    expected = 1 - np.var(draws["correlation_CL_V"]) / prior
    assert table.loc["correlation_CL_V", "contraction"] == pytest.approx(expected, rel=1e-12)


def test_words_driven_by_the_prior(fit_of):
    """Draws from the prior itself have contraction 0, a tenth of its spread 0.99."""
    quantiles = stats.norm.ppf((np.arange(80) + 0.5) / 80).reshape(2, 40)
    draws = {"TVCL": np.exp(1.0 * quantiles), "TVV": 3.0 * np.exp(0.5 * 0.1 * quantiles)}
    table = parameters(fit_of(draws=draws))
    assert abs(table.loc["TVCL", "contraction"]) < 0.05
    assert table.loc["TVCL", "note"] == "driven by the prior"
    assert table.loc["TVV", "contraction"] == pytest.approx(0.99, abs=0.001)
    assert table.loc["TVV", "note"] == ""


def test_contraction_of_a_half_is_the_limit(fit_of):
    quantiles = stats.norm.ppf((np.arange(80) + 0.5) / 80).reshape(2, 40)
    unit = quantiles / quantiles.std()
    for contraction, note in ((0.49, "driven by the prior"), (0.51, "")):
        draws = {"TVCL": np.exp(math.sqrt(1 - contraction) * unit)}
        row = parameters(fit_of(draws=draws)).loc["TVCL"]
        assert row["contraction"] == pytest.approx(contraction)
        assert row["note"] == note


def test_fixed_values_have_no_row(fit_of):
    fit = fit_of(v={"typical": {"prior": "fixed", "value": 3.0}, "variability": None})
    assert list(parameters(fit).index) == ["TVCL", "omega_CL", "sigma"]
