"""Assurance, where power is that of a normal test and beliefs are normal: known in closed form."""

import numpy as np
import pytest
from scipy.stats import norm

from popk.analysis.power.assurance import assurance, confirmed, rate_at
from popk.spec.problem import PopkError
from tests.analysis.power.conftest import made_of

RATIOS = np.exp(np.linspace(-1.5, 1.5, 13))
INFANTS = (10, 40)
SE = {10: 0.3, 40: 0.15}
Z = norm.ppf(0.95)


def sides(ratio, infants):
    se = np.array([SE[int(n)] for n in infants])
    return norm.cdf(-np.log(ratio) / se - Z), norm.cdf(np.log(ratio) / se - Z)


POWER = made_of(
    lambda r, n: sum(sides(r, n)), RATIOS, INFANTS,
    below_90=lambda r, n: sides(r, n)[0], above_90=lambda r, n: sides(r, n)[1],
)  # fmt: skip
DRAWS = norm.ppf((np.arange(4000) + 0.5) / 4000)


def closed_form(side, mean, sd, se):
    """P(side * (estimate) > Z se) where the truth is normal: the estimate is too."""
    return norm.cdf((side * mean - Z * se) / np.hypot(sd, se))


@pytest.mark.parametrize(("mean", "sd"), [(-0.4, 0.2), (0.0, 0.4), (0.3, 0.1)])
def test_assurance_is_that_of_the_closed_form(mean, sd):
    found = assurance(POWER, mean + sd * DRAWS)
    for n in INFANTS:
        true = closed_form(-1, mean, sd, SE[n]) + closed_form(1, mean, sd, SE[n])
        # What a monotone cubic through 13 ratios leaves
        assert found.loc[n, "assurance"] == pytest.approx(true, abs=0.01)
        assert 0 < found["error"][n] < 0.03
    assert (found["note"] == "").all()


def test_at_one_ratio_it_is_the_power_there():
    found = assurance(POWER, np.full(10, np.log(RATIOS[4])))
    cell = POWER.cells.loc[(10, RATIOS[4])]
    assert found.loc[10, "assurance"] == pytest.approx(cell["excludes_90"])
    assert found.loc[10, "error"] == pytest.approx(cell["excludes_90_error"])


def test_a_second_trial_on_the_same_side():
    found = confirmed(POWER, -0.3 + 0.15 * DRAWS)
    for n in INFANTS:
        true = closed_form(-1, -0.3, 0.15, SE[n])
        assert found.loc[n, "same_side"] == pytest.approx(true, abs=0.01)
    assert found.loc[40, "same_side"] > found.loc[10, "same_side"]
    other = confirmed(POWER, 0.3 + 0.15 * DRAWS)
    np.testing.assert_allclose(other["same_side"], found["same_side"], atol=1e-6)


def test_draws_beyond_the_grid_are_told():
    found = assurance(POWER, 2.0 + 0.5 * DRAWS)
    assert found.loc[10, "outside"] == pytest.approx(norm.cdf(1.0), abs=1e-3)
    assert "beyond the grid's ratios, 0.223 to 4.48" in found.loc[10, "note"]


def test_between_two_cells_a_rate_is_between_theirs():
    x, rates = np.array([-1.0, -0.2, 0.0, 0.9]), np.array([0.99, 0.3, 0.1, 0.8])
    at = np.r_[np.linspace(-1.5, 1.2, 200), 0.0]
    at.sort()
    found = rate_at(x, rates, at)
    assert found.min() == pytest.approx(0.1)
    assert found.max() == pytest.approx(0.99)
    assert (np.diff(found[at <= 0.0]) <= 1e-12).all()
    assert (np.diff(found[at >= 0.0]) >= -1e-12).all()


def test_faults():
    with pytest.raises(PopkError, match="one true ratio"):
        assurance(made_of(lambda r, n: sum(sides(r, n)), (0.7,), INFANTS), DRAWS)
    with pytest.raises(PopkError, match="'width'"):
        assurance(POWER, DRAWS, "width")
