"""From ratios to coefficients and back; the truth of simulated trials."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.stats import norm

from popk.analysis.covariates.effects import Contrast, ratio_draws
from popk.analysis.power.ratios import coefficient, log_ratio_draws, ratio_of, truth_of
from popk.spec.problem import PopkError
from popk.spec.relations import CovariateEffect

NORMAL = {"prior": "normal", "loc": 0.0, "scale": 0.5}
RELATIONS = {
    "below": ({"cut": 6.0}, Contrast("", 1.0, 0.0)),
    "category": ({"level": 1.0}, Contrast("", 1.0, 0.0)),
    "power": ({"reference": 5.0}, Contrast("", 0.7, -1.2)),
    "exponential": ({"center": 6.0}, Contrast("", 5.0, -4.0)),
    "linear": ({"center": 6.0, "per": 6.0}, Contrast("", 0.8, -0.7)),
}


def effect_of(relation, **more):
    said = {"parameter": "CL", "covariate": "AGE", "relation": relation, "effect": NORMAL}
    return TypeAdapter(CovariateEffect).validate_python(said | more)


@pytest.mark.parametrize("relation", RELATIONS)
@given(ratio=st.floats(0.2, 5.0))
def test_a_coefficient_has_the_ratio(relation, ratio):
    more, between = RELATIONS[relation]
    effect = effect_of(relation, **more)
    value = np.array(coefficient(effect, between, ratio))
    assert ratio_of(effect, between, value) == pytest.approx(ratio, rel=1e-9)
    by_model = ratio_draws(effect, between, {effect.name: value})
    assert float(by_model) == pytest.approx(ratio, rel=1e-9)


def test_ratios_that_no_coefficient_has():
    linear = effect_of("linear", center=6.0, per=6.0)
    # Both values on one side of the center: the steepest line has the ratio of the two
    with pytest.raises(PopkError, match="a straight line"):
        coefficient(linear, Contrast("", 2.0, 1.0), 3.0)
    mature = TypeAdapter(CovariateEffect).validate_python(
        {
            "parameter": "CL", "covariate": "PMA", "relation": "maturation",
            "half": {"prior": "lognormal", "median": 47.0, "sigma": 0.2},
            "hill": {"prior": "lognormal", "median": 3.0, "sigma": 0.2},
        }
    )  # fmt: skip
    with pytest.raises(PopkError, match="maturation"):
        coefficient(mature, Contrast("", 60.0, 40.0), 1.5)


def test_the_truth_of_a_model_is_its_priors_medians(steady):
    (effect,) = steady.spec.covariates
    truth = truth_of(steady, {"TVCL": 0.9}, effect)
    assert truth["TVCL"] == 0.9
    assert truth["omega_CL"] == pytest.approx(0.5 * norm.ppf(0.75))
    assert set(truth) == set(steady.population_names)


@pytest.mark.slow
def test_the_truth_of_a_fit_is_its_posteriors_medians(small_fit, steady):
    fit = small_fit()
    truth = truth_of(fit, None, steady.spec.covariates[0])
    assert truth["TVCL"] == pytest.approx(np.median(fit.samples.draws["TVCL"]))


@pytest.mark.parametrize(
    ("values", "found", "cure"),
    [
        ({"TVKA": 1.0}, "'TVKA'", "correct the name"),
        ({"TVV": 1.0}, "'TVV'", "fixes is changed there"),
        ({"omega_CL": -0.1}, "omega_CL = -0.1", "choose another"),
        ({"TVCL": math.nan}, "TVCL = nan", "choose another"),
        ({"CL_AGE_below": 0.1}, "CL_AGE_below", "the true ratios say"),
    ],
)
def test_values_that_cannot_be_true(steady, values, found, cure):
    with pytest.raises(PopkError) as caught:
        truth_of(steady, values, steady.spec.covariates[0])
    (problem,) = caught.value.problems
    assert found in problem.found
    assert cure in problem.cure
    assert problem.file == "steady state"


def test_draws_of_the_prior_are_the_prior(steady):
    (effect,) = steady.spec.covariates
    draws = log_ratio_draws(steady, effect, Contrast("", 1.0, 0.0))
    np.testing.assert_allclose(
        np.quantile(draws, [0.1, 0.5, 0.9]), 0.5 * norm.ppf([0.1, 0.5, 0.9]), atol=1e-3
    )


def test_draws_of_a_posterior_and_of_no_effect(small_fit, steady):
    (effect,) = steady.spec.covariates
    with pytest.raises(PopkError, match="no estimated effect"):
        log_ratio_draws(small_fit(), effect, Contrast("", 1.0, 0.0))
