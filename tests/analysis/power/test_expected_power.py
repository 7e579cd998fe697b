"""Numbers of infants and power by normal theory, against its own simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from popk.analysis.power.expected_power import (
    MOST_INFANTS,
    expected_power,
    infants_for,
    infants_for_power,
    infants_for_width,
)
from popk.analysis.power.information import expected
from popk.spec.problem import PopkError

VALUES = {"TVCL": 0.8, "CL_AGE_below": 0.0, "omega_CL": 0.3, "sigma": 0.2}


@pytest.fixture(scope="module")
def found(steady_state):
    return expected(*steady_state.problem, VALUES)


@pytest.mark.parametrize("sd", [0.3, 0.1, 0.02])
@pytest.mark.parametrize("share", [None, 0.25])
@pytest.mark.parametrize("prior", [False, True])
def test_it_is_the_smallest_number(found, sd, share, prior):
    number = infants_for(found, sd, share=share, prior=prior)
    assert found.resized(number, share).log_ratio_sd(prior=prior) <= sd
    assert number == 1 or found.resized(number - 1, share).log_ratio_sd(prior=prior) > sd
    if not prior:
        own = found.resized(1, share).log_ratio_sd()
        assert number == pytest.approx(np.ceil((own / sd) ** 2), abs=1)


def test_a_width_that_no_number_reaches(found):
    with pytest.raises(PopkError) as error:
        infants_for(found, 1e-7)
    (problem,) = error.value.problems
    assert problem.key == "sd"
    assert "1e-07" in problem.found
    assert f"{MOST_INFANTS:,} infants" in problem.expected
    assert "wider interval" in problem.cure
    with pytest.raises(PopkError, match="above 0"):
        infants_for(found, 0.0)


def test_the_number_for_a_width_of_the_interval(found):
    number = infants_for_width(found, 1.5)
    assert number == infants_for(found, np.log(1.5) / (2 * norm.ppf(0.95)), prior=True)
    # Of the prior alone the interval is narrower than that: one infant in each group
    assert infants_for_width(found, 100.0) == 2


@pytest.mark.parametrize("ratio", [0.7, 1.4])
def test_the_number_for_a_power(found, ratio):
    number = infants_for_power(found, ratio, 0.8)
    assert expected_power(found.resized(number), ratio) >= 0.8
    assert expected_power(found.resized(number - 1), ratio) < 0.8


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda f: infants_for_width(f, 1.0), "above 1"),
        (lambda f: infants_for_width(f, 1.0001), f"at most {MOST_INFANTS:,} infants"),
        (lambda f: infants_for_power(f, 1.0, 0.8), "other than 1"),
        (lambda f: infants_for_power(f, 0.7, 1.0), "below 1"),
        (lambda f: infants_for_power(f, 0.9999, 0.9), f"at most {MOST_INFANTS:,} infants"),
        (lambda f: infants_for_width(replace(f, effect=""), 1.5), "an effect"),
    ],
)
def test_what_no_number_reaches(found, ask, words):
    with pytest.raises(PopkError) as error:
        ask(found)
    (problem,) = error.value.problems
    assert words in problem.expected
    assert problem.cure


def test_without_the_prior_it_is_the_power_of_a_wald_test(found):
    se = found.log_ratio_sd()
    for ratio in (0.6, 0.9, 1.3):
        z = np.log(ratio) / se
        both = norm.cdf(z - norm.ppf(0.95)) + norm.cdf(-z - norm.ppf(0.95))
        assert expected_power(found, ratio, prior=False) == pytest.approx(both)
    assert expected_power(found, 1.0, prior=False) == pytest.approx(0.1)
    assert expected_power(found, 1.0, level=0.95, prior=False) == pytest.approx(0.05)


def test_with_the_prior_it_is_that_of_the_posterior_interval(found):
    """Estimates of all parameters drawn, each combined with the prior, intervals counted."""
    rng = np.random.default_rng(5)
    small = found.resized(8)
    data, precision = small.information(), small.prior
    trials = 40_000
    place = small.names.index("CL_AGE_below")
    shift = np.zeros(len(small.names))
    shift[place] = np.log(0.6)
    estimate = rng.multivariate_normal(shift, np.linalg.inv(data), size=trials)
    mean = estimate @ np.linalg.solve(data + precision, data).T
    sd = small.log_ratio_sd(prior=True)
    share = (np.abs(mean[:, place]) > norm.ppf(0.95) * sd).mean()
    assert expected_power(small, 0.6) == pytest.approx(share, abs=4 * 0.5 / np.sqrt(trials))
    # The prior draws towards 1
    assert expected_power(small, 1.0) < 0.1


def test_more_infants_have_more_power(found):
    power = [expected_power(found.resized(n), 0.8) for n in (5, 20, 80, 320)]
    assert power == sorted(power)
    assert power[-1] > 0.99


def test_an_effect_that_is_left_open_has_no_power(found):
    blind = replace(found, each=np.zeros_like(found.each))
    assert expected_power(blind, 0.5, prior=False) == 0.0
    assert expected_power(blind, 0.5) == 0.0
