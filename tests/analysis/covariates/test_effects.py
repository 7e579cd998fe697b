"""Ratios between covariate values, and the words for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.analysis.covariates.effects import (
    NOT_RELEVANT,
    RELEVANT,
    UNKNOWN,
    Contrast,
    contrast,
    ratio_draws,
    rule,
    summarised,
    verdict,
)
from popk.spec.relations import Below, Category, Exponential, Linear, Power
from popk.study.folder import open_study

PRIOR = {"prior": "normal", "loc": 0.0, "scale": 0.5}


@pytest.fixture(scope="module")
def data():
    return open_study("fits/blinatumomab-infants").data


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.81, 1.24), NOT_RELEVANT),
        ((0.80, 1.25), NOT_RELEVANT),
        ((0.50, 0.79), RELEVANT),
        ((1.26, 1.40), RELEVANT),
        ((0.79, 1.10), UNKNOWN),
        ((0.60, 1.60), UNKNOWN),
        ((0.79, 0.81), UNKNOWN),
    ],
)
def test_the_verdict_follows_the_interval(interval, expected):
    assert verdict(*interval) == expected


def test_another_range_gives_another_verdict():
    assert verdict(0.75, 1.30, (0.7, 1.43)) == NOT_RELEVANT
    assert "0.7-1.43" in rule((0.7, 1.43))


@given(loc=st.floats(-1.0, 1.0), scale=st.floats(0.01, 1.0))
def test_summaries_are_those_of_the_draws(loc, scale):
    ratio = np.exp(loc + scale * np.random.default_rng(1).standard_normal((2, 2000)))
    found = summarised(ratio)
    assert found.q2_5 <= found.q5 <= found.median <= found.q95 <= found.q97_5
    assert found.direction == max((ratio > 1).mean(), 1 - (ratio > 1).mean())
    assert found.inside == ((ratio >= 0.8) & (ratio <= 1.25)).mean()


def test_ratios_of_each_relation(data):
    draws = np.array([[-0.2, 0.1]])
    below = Below.model_validate(
        {"parameter": "CL", "covariate": "AGE", "relation": "below", "cut": "6 month",
         "effect": PRIOR}
    )  # fmt: skip
    between = contrast(below, data)
    assert between == Contrast("AGE < 6 month against not", 1.0, 0.0)
    found = ratio_draws(below, between, {below.name: draws})
    np.testing.assert_allclose(found, np.exp(draws))

    level = Category.model_validate(
        {"parameter": "V", "covariate": "SEX", "relation": "category", "level": 1.0,
         "effect": PRIOR}
    )  # fmt: skip
    assert contrast(level, data) == Contrast("SEX = 1.0 against others", 1.0, 0.0)
    ages = data.covariates["AGE"][:, 0]
    high, low = np.quantile(ages, [0.95, 0.05])
    power = Power.model_validate(
        {"parameter": "CL", "covariate": "AGE", "relation": "power", "reference": "6 month",
         "effect": PRIOR}
    )  # fmt: skip
    found = ratio_draws(power, contrast(power, data), {power.name: draws})
    np.testing.assert_allclose(found, (high / low) ** draws)

    per = {"parameter": "V", "covariate": "AGE", "center": "6 month", "per": "1 month"}
    exponential = Exponential.model_validate({**per, "relation": "exponential", "effect": PRIOR})
    found = ratio_draws(exponential, contrast(exponential, data), {exponential.name: draws})
    np.testing.assert_allclose(found, np.exp(draws * (high - low)))

    linear = Linear.model_validate({**per, "relation": "linear", "effect": PRIOR})
    small = 0.1 * draws
    found = ratio_draws(linear, contrast(linear, data), {linear.name: small})
    np.testing.assert_allclose(found, (1 + small * (high - 6)) / (1 + small * (low - 6)))
