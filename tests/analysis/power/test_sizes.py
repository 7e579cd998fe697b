"""The smallest number of infants, where power is that of a normal test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from popk.analysis.power.sizes import smallest
from popk.spec.problem import PopkError
from tests.analysis.power.conftest import made_of

RATIOS, INFANTS = (0.5, 0.7, 1.0), (10, 20, 40, 80)
SPREAD = 0.8
"""SD of the difference of log CL, times the root of the number of infants."""


def one_sided(ratio, infants):
    return norm.cdf(-np.log(ratio) * np.sqrt(infants) / SPREAD - 1.645)


@given(at=st.floats(0.2, 0.95))
def test_the_number_is_that_of_the_formula(at):
    found = smallest(made_of(one_sided, RATIOS, INFANTS), at=at)
    for ratio in (0.5, 0.7):
        true = (SPREAD * (norm.ppf(at) + 1.645) / np.log(ratio)) ** 2
        if 10 < true <= 80:
            # The probit of power is a straight line in the root of the number
            assert found.loc[ratio, "infants"] == np.ceil(true - 1e-6)
    assert np.isnan(found.loc[1.0, "infants"])
    assert found.loc[1.0, "words"] == "more than 80"


def test_errors_widen_the_answer():
    row = smallest(made_of(one_sided, RATIOS, INFANTS), at=0.5).loc[0.7]
    low, infants, high = row[["low", "infants", "high"]].to_numpy(float)
    assert low < infants < high


def test_width_falls_with_the_number():
    found = smallest(made_of(one_sided, RATIOS, INFANTS), "width", at=0.8)
    assert (found["infants"] == 25).all()  # 4/sqrt(25)


def test_the_share_that_cannot_tell_falls():
    unknown = made_of(
        one_sided, RATIOS, INFANTS, unknown=lambda r, n: 1 - one_sided(np.full_like(r, 0.7), n)
    )
    found = smallest(unknown, "unknown", at=0.4)
    same = smallest(unknown, "excludes_90", at=0.6)
    assert found.loc[0.7, "infants"] == same.loc[0.7, "infants"]


def test_crossing_neighbours_are_pooled():
    rates = dict(zip(INFANTS, (0.3, 0.62, 0.58, 0.9), strict=True))
    power = made_of(lambda _, n: np.array([rates[int(i)] for i in n]), (0.5,), INFANTS)
    assert smallest(power, at=0.6).loc[0.5, "infants"] == 20
    assert 40 < smallest(power, at=0.61).loc[0.5, "infants"] < 60


def test_reached_at_once():
    found = smallest(made_of(lambda r, n: np.full_like(n, 0.99), (0.3,), INFANTS))
    assert found.loc[0.3, "words"] == "10 or fewer"


def test_a_test_that_was_not_made():
    unknown = made_of(one_sided, RATIOS, INFANTS, lr=lambda r, n: np.full_like(r, np.nan))
    found = smallest(unknown, "lr")
    assert set(found["words"]) == {"not known"}
    assert np.isnan(found["infants"].to_numpy(float)).all()


@pytest.mark.parametrize(
    ("criterion", "at", "infants", "found"),
    [
        ("p_value", 0.8, INFANTS, "'p_value'"),
        ("excludes_90", 1.5, INFANTS, "1.5"),
        ("width", -1.0, INFANTS, "-1"),
        ("excludes_90", 0.8, (26,), "one number of infants"),
    ],
)
def test_faults(criterion, at, infants, found):
    with pytest.raises(PopkError) as caught:
        smallest(made_of(one_sided, RATIOS, infants), criterion, at)
    (problem,) = caught.value.problems
    assert found in problem.found
    assert problem.cure
