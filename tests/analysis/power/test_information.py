"""Expected errors of designs: of a linear mixed model exactly, and as estimates vary in fact."""

from dataclasses import replace

import numpy as np
import pytest

from popk.analysis.power.information import Z90, compare, expected, expected_errors, log_volume
from popk.data.dataset import of_subjects
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.study.maximum import maximum
from tests.analysis.power.infusions import TRUE, concentration, data_of, model_of

VALUES = {"TVCL": 0.8, "CL_AGE_below": -0.3, "omega_CL": 0.3, "sigma": 0.2}


def closed_form(counts, young):
    """Information on log TVCL and the effect, of a random intercept."""
    own = counts / (VALUES["sigma"] ** 2 + counts * VALUES["omega_CL"] ** 2)
    design = np.stack([np.ones(len(counts)), young])
    return (design * own) @ design.T


@pytest.fixture(scope="module")
def steady(steady_state):
    """The linear mixed model, its design, and the numbers of samples of each subject."""
    return *steady_state.problem, np.bincount(steady_state.subject), steady_state.young


def test_errors_are_those_of_the_linear_mixed_model(steady):
    model, data, counts, young = steady
    found = expected(model, data, VALUES)
    covariance = np.linalg.inv(closed_form(counts, young))
    assert found.se("TVCL") == pytest.approx(0.8 * np.sqrt(covariance[0, 0]), rel=1e-9)
    assert found.log_ratio_sd() == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)
    assert found.log_ratio_sd() == found.se("CL_AGE_below")
    assert found.log_ratio == -0.3
    assert found.label == "AGE < 6.0 against not"
    assert found.counts.tolist() == [young.sum(), (1 - young).sum()]


def test_posterior_sds_add_the_precision_of_the_priors(steady):
    """Those of log TVCL are Normal(0, 1), of the effect Normal(0.1, 0.5)."""
    model, data, counts, young = steady
    found = expected(model, data, VALUES)
    covariance = np.linalg.inv(closed_form(counts, young) + np.diag([1.0, 1 / 0.5**2]))
    sd = np.sqrt(np.diag(covariance))
    assert found.se("TVCL", prior=True) == pytest.approx(0.8 * sd[0], rel=1e-6)
    assert found.log_ratio_sd(prior=True) == pytest.approx(sd[1], rel=1e-6)


def test_another_number_of_infants_scales_the_groups(steady):
    model, data, _, young = steady
    found = expected(model, data, VALUES)
    one = found.log_ratio_sd()
    assert found.resized(4 * data.subjects).log_ratio_sd() == pytest.approx(one / 2)
    twice = of_subjects(data, np.concatenate([np.arange(data.subjects), np.flatnonzero(young)]))
    whole = expected(model, twice, VALUES)
    share = 2 * young.sum() / twice.subjects
    resized = found.resized(twice.subjects, share)
    np.testing.assert_allclose(resized.information(), whole.information(), rtol=1e-12)
    # The groups are nearly alike: the variance goes with 1/n1 + 1/n2
    parts = [found.resized(40, s).log_ratio_sd() ** 2 for s in (0.25, 0.5, 0.75)]
    assert parts[1] < min(parts[0], parts[2])


def test_a_table_of_errors(steady):
    model, data, *_ = steady
    found = expected(model, data, VALUES)
    table = expected_errors(found)
    assert list(table.index) == [*found.names, "log ratio"]
    assert list(table.columns) == ["value", "se", "rse_percent", "posterior_sd"]
    assert (table["posterior_sd"] < table["se"]).all()
    row = table.loc["TVCL"]
    assert row["rse_percent"] == pytest.approx(100 * row["se"] / 0.8)
    assert table.loc["log ratio", "se"] == found.log_ratio_sd()


def first(data, count):
    """Only the first so many samples of each subject."""
    return replace(data, observed=data.observed & (data.observed.cumsum(axis=1) <= count))


def test_plans_are_compared(steady):
    model, data, *_ = steady
    fewer = first(data, 2)
    twice = of_subjects(data, np.tile(np.arange(data.subjects), 2))
    table = compare(model, {"all": data, "two samples": fewer, "twice": twice}, VALUES)
    assert list(table.index) == ["all", "two samples", "twice"]
    assert table["infants"].tolist() == [30, 30, 60]
    assert table["samples"].tolist() == [data.observations, fewer.observations, 180]
    found = expected(model, fewer, VALUES)
    assert table.loc["two samples", "se_sigma"] == found.se("sigma")
    assert table.loc["two samples", "se_log_ratio"] == found.log_ratio_sd()
    width = np.exp(2 * Z90 * found.log_ratio_sd(prior=True))
    assert table.loc["two samples", "fold_width"] == pytest.approx(width)
    # Twice the infants are twice the information on everything
    assert table["efficiency"].tolist() == pytest.approx(
        [0.5, table.loc["two samples", "efficiency"], 1.0]
    )
    assert table.loc["two samples", "efficiency"] < 0.45


def test_a_plan_that_leaves_a_parameter_open_says_so(steady):
    """With one sample of each, variability and residual error cannot be told apart."""
    model, data, *_ = steady
    one = first(data, 1)
    table = compare(model, {"one": one, "all": data}, VALUES)
    assert table.loc["one", "se_sigma"] == table.loc["one", "se_omega_CL"] == np.inf
    assert table.loc["one", "efficiency"] == 0.0
    assert np.isfinite(table.loc["one", ["se_TVCL", "se_log_ratio"]].astype(float)).all()
    assert compare(model, {"one": one}, VALUES)["efficiency"].tolist() == [0.0]
    assert log_volume(expected(model, one, VALUES).information()) == -np.inf


def test_without_an_effect_there_is_no_ratio(steady_state):
    model, data = steady_state.problem
    plain = Model(ModelSpec.model_validate(model.spec.model_dump() | {"covariates": ()}))
    found = expected(plain, data, {"TVCL": 0.8, "omega_CL": 0.3, "sigma": 0.2})
    assert "log ratio" not in expected_errors(found).index
    assert found.counts.tolist() == [30]
    assert "se_log_ratio" not in compare(plain, {"a": data})
    with pytest.raises(ValueError, match="no covariate effect"):
        found.log_ratio_sd()
    with pytest.raises(ValueError, match="TVCL, omega_CL, sigma"):
        found.se("TVV")
    with pytest.raises(PopkError, match="no effect with two groups") as error:
        found.resized(10, 0.5)
    assert error.value.problems[0].key == "share"


def test_the_ratio_of_a_maturation_is_taken_by_the_delta_method(steady_state):
    model, data = steady_state.problem
    maturation = {
        "parameter": "CL", "covariate": "AGE", "relation": "maturation", "unit": "month",
        "half": {"prior": "lognormal", "median": 4.0, "sigma": 0.5},
        "hill": {"prior": "fixed", "value": 2.0},
    }  # fmt: skip
    spec = model.spec.model_dump() | {"covariates": (maturation,)}
    units = replace(data, covariate_units={**data.covariate_units, "AGE": "month"})
    found = expected(Model(ModelSpec.model_validate(spec)), units, {"omega_CL": 0.3, "sigma": 0.2})

    def log_ratio(half):
        return np.log(81.0 / (half**2 + 81.0)) - np.log(9.0 / (half**2 + 9.0))

    assert found.log_ratio == pytest.approx(log_ratio(4.0))
    slope = (log_ratio(4.001) - log_ratio(3.999)) / 0.002
    assert found.log_ratio_sd() == pytest.approx(slope * found.se("CL_AGE_maturation_half"), 1e-5)


@pytest.mark.parametrize("young", [0.0, 1.0])
def test_zero_infants_in_a_group(steady, young):
    model, data, _, own = steady
    only = of_subjects(data, np.flatnonzero(own == young))
    with pytest.raises(PopkError) as error:
        expected(model, only, VALUES)
    (problem,) = error.value.problems
    assert problem.key == "infants"
    assert "zero infants in a group (AGE < 6.0 against not" in problem.found
    assert "either group" in problem.expected
    assert "wider range of ages" in problem.cure
    found = expected(model, data, VALUES)
    with pytest.raises(PopkError, match="zero infants in a group"):
        found.resized(26, young)


def test_bad_input_is_named(steady):
    model, data, *_ = steady
    with pytest.raises(PopkError) as error:
        expected(model, replace(data, observed=np.zeros_like(data.observed)), VALUES)
    assert error.value.problems[0].found == "no samples"
    assert "EVID 0" in error.value.problems[0].expected
    with pytest.raises(PopkError) as error:
        expected(model, data, VALUES, effect="V_WT_power")
    (problem,) = error.value.problems
    assert problem.key == "effect"
    assert "V_WT_power" in problem.found
    assert "CL_AGE_below" in problem.expected
    with pytest.raises(PopkError, match="no sampling plan"):
        compare(model, {}, VALUES)


@pytest.mark.slow
def test_maximum_likelihood_has_these_errors(tmp_path):
    """Against the inverse Hessian on one large simulated data set."""
    rng = np.random.default_rng(7)
    values = TRUE | {"omega_CL": 0.2, "sigma": 0.1}
    ages = np.tile([3.0, 9.0], 200)
    effect = values["CL_AGE_below"] * (ages < 6.0)
    cl, v = (
        values[f"TV{name}"] * np.exp(shift + values[f"omega_{name}"] * rng.standard_normal(400))
        for name, shift in (("CL", effect), ("V", 0.0))
    )
    mean = concentration(cl[:, None], v[:, None])
    dv = mean * np.exp(values["sigma"] * rng.standard_normal(mean.shape))
    data = data_of(tmp_path / "data.csv", ages, dv=dv)
    model = model_of()
    fit = maximum(model, data, Sampler(method="laplace"))
    assert fit.converged
    found = expected(model, data, values)
    ratio = [fit.estimate.se(name) / found.se(name) for name in found.names]
    # Errors go with the estimated SDs, which are off by 1/sqrt(2 * 400) = 3.5 % or less, and
    # their own errors vary twice as much
    np.testing.assert_allclose(ratio, 1.0, atol=0.12)
    # Estimates lie within three standard errors of the truth
    far = [(fit.estimate[name] - values[name]) / found.se(name) for name in found.names]
    assert np.abs(far).max() < 3.0
