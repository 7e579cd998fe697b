"""The present rate, and the rate for a window, against a search by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.analysis.dosing.rates import Rate, best_rate, present_rate, probability
from tests.analysis.dosing.cases import AREA, infant, model, patient

CASE = model()


def rate_of(samples, *given, **parts):
    content = {"given": list(given), **parts}
    return present_rate(patient(samples, **content), infant(CASE, samples, **content))


FIFTEEN = {"infusion": "15 ug/m^2/day", "duration": "7 day"}
FIVE = {"infusion": "5 ug/m^2/day", "duration": "2 day"}
PAUSE = {"pause": "2 day"}


@pytest.mark.parametrize(
    ("time", "value"),
    [
        (None, 15.0),  # no samples: the first infusion
        (24.0, 15.0),
        (168.0, 15.0),  # its end
        (180.0, 15.0),  # the pause: the last one before
        (216.0, 15.0),  # where the next begins
        (217.0, 5.0),
        (264.0, 5.0),
        (900.0, 5.0),  # after the end of all
    ],
)
def test_the_rate_at_the_last_sample(time, value):
    samples = [] if time is None else [(time, 500.0), (3.0, 100.0)]
    found = rate_of(samples, FIFTEEN, PAUSE, FIVE)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.unit == "ug/m^2/day"
    assert found.absolute == pytest.approx(value * AREA / 24.0, rel=1e-12)
    assert found.absolute_unit == "ug/h"


@pytest.mark.parametrize(
    ("dose", "value", "unit", "absolute"),
    [
        ({"infusion": "0.25 ug/h"}, 0.25, "ug/h", 0.25),
        ({"infusion": "6000 ng/day"}, 6000.0, "ng/day", 0.25),
        ({"infusion": "0.5 ug/kg/day"}, 0.5, "ug/kg/day", 0.5 * 8 / 24),
        ({"infusion": [{"below": "45 kg", "dose": "15 ug/m^2/day"}, {"dose": "28 ug/day"}]},
         15.0, "ug/m^2/day", 15 * AREA / 24),
        ({"infusion": [{"below": "8 kg", "dose": "15 ug/m^2/day"}, {"dose": "28 ug/day"}]},
         28.0, "ug/day", 28 / 24),
        # What is given, not what is written
        ({"infusion": "15 ug/m^2/day", "cap": "3 ug/day"}, 7.5, "ug/m^2/day", 3 / 24),
    ],
)  # fmt: skip
def test_it_is_in_the_unit_of_its_dose(dose, value, unit, absolute):
    found = rate_of([], {"duration": "1 day", **dose})
    assert found == Rate(pytest.approx(value), unit, pytest.approx(absolute), "ug/h")


def test_boluses_have_no_rate():
    assert rate_of([(3.0, 100.0)], {"bolus": "2 ug"}, {"pause": "1 day"}) is None
    mixed = rate_of([(3.0, 100.0)], {"bolus": "2 ug"}, FIVE)
    assert mixed is not None
    assert mixed.value == pytest.approx(5.0)


def test_another_rate_of_the_same_patient():
    rate = Rate(15.0, "ug/m^2/day", 0.25, "ug/h")
    assert rate.at(0.5) == Rate(30.0, "ug/m^2/day", 0.5, "ug/h")
    assert str(rate) == "15 ug/m^2/day"


@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30),
    st.floats(0.1, 10.0),
    st.floats(1.05, 4.0),
)
def test_no_rate_holds_more_draws(per_rate, low, ratio):
    """Breakpoints are where a draw enters or leaves: the best lies between two of them."""
    css, high = np.array(per_rate), low * ratio
    found = best_rate(css, low, high)
    breaks = np.sort(np.concatenate([low / css, high / css]))
    between = np.sqrt(breaks[1:] * breaks[:-1])
    most = max(probability(rate * css, low, high) for rate in between)
    assert found.probability == most
    # Where draws are 1e-14 apart the middle of the interval may be rounded onto its edge
    if np.diff(breaks)[np.diff(breaks) > 0].min(initial=1.0) > 1e-9:
        assert probability(found.rate * css, low, high) == most


@given(st.floats(0.05, 1.0), st.floats(1.1, 4.0), st.integers(0, 5))
def test_of_a_lognormal_css_it_brings_the_median_to_the_middle(sd, ratio, seed):
    css = np.exp(sd * np.random.default_rng(seed).standard_normal(4000))
    found = best_rate(css, 1.0, ratio)
    # The probability is flat at its maximum: within what chance allows it is reached
    middle = probability(np.sqrt(ratio) / np.median(css) * css, 1.0, ratio)
    assert middle <= found.probability < middle + 0.05


def test_the_window_rises():
    with pytest.raises(ValueError, match="0 < low < high"):
        best_rate(np.ones(3), 2.0, 1.0)
