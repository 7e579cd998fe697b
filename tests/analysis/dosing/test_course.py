"""Concentrations over time: closed forms in every draw, and bands that cover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.analysis.dosing.course import HALF_LIVES, concentrations, course, course_times
from popk.analysis.dosing.posterior import one_posterior
from tests.analysis.dosing.cases import AREA, END, KNOWN, RATE, infant, model, populated

SAMPLES = [(3.0, 300.0), (20.0, 650.0), (END + 4.0, 200.0)]
SIGMAS = 4.5


@pytest.fixture(scope="module")
def fit():
    return populated(model())


@pytest.fixture(scope="module")
def data(fit):
    return infant(fit.model, SAMPLES)


@pytest.fixture(scope="module")
def posterior(fit, data):
    return one_posterior(fit, data)


def test_each_draw_follows_the_closed_form(fit, data, posterior):
    times = np.array([0.0, 1.0, 7.0, 20.0, 47.0, END, END + 1.0, END + 30.0, 500.0])
    found, _ = concentrations(fit.model, data, posterior, times, seed=1)
    cl, v = (posterior.parameters[name][:, None] for name in ("CL", "V"))
    rise = -np.expm1(-cl / v * np.minimum(times, END))
    fall = np.exp(-cl / v * np.maximum(times - END, 0.0))
    np.testing.assert_allclose(found, 1000.0 * RATE / cl * rise * fall, rtol=1e-10)
    assert found.shape == (len(posterior.parameters["CL"]), len(times))


def test_a_measured_value_lies_in_its_band_as_often_as_it_should(fit, data, posterior):
    times = np.array([5.0, 47.0, END + 5.0])
    concentration, measured = concentrations(fit.model, data, posterior, times, seed=1)
    low, high = np.quantile(measured, [0.05, 0.95], axis=0)
    rng = np.random.default_rng(8)
    error = np.exp(KNOWN["sigma"] * rng.standard_normal(concentration.shape))
    inside = np.mean((concentration * error > low) & (concentration * error < high), axis=0)
    # Both the band and what it is judged by are of so many draws
    draws = len(concentration)
    assert (np.abs(inside - 0.9) < SIGMAS * math.sqrt(2 * 0.09 / draws)).all()


def test_the_table(fit, data, posterior):
    table = course(fit.model, data, posterior, half_life=2.0, seed=1)
    assert table.attrs["units"] == {"TIME": "h", "concentration": "pg/mL"}
    assert table["TIME"].iloc[0] == 0.0
    assert (table.iloc[0, 1:] == 0.0).all()
    later = table[table["TIME"] > 0]
    assert (later["measured_q5"] < later["q5"]).all()
    assert (later["q5"] < later["median"]).all()
    assert (later["median"] < later["q95"]).all()
    assert (later["q95"] < later["measured_q95"]).all()
    # At its end the infusion is at steady state
    css = np.quantile(1000.0 * RATE / posterior.parameters["CL"], [0.05, 0.5, 0.95])
    at_end = table[table["TIME"] == END][["q5", "median", "q95"]].to_numpy()[0]
    np.testing.assert_allclose(at_end, css, rtol=1e-2)


def test_times_show_every_sample_and_every_change(fit):
    steps = [
        {"infusion": "15 ug/m^2/day", "duration": "7 day"},
        {"pause": "2 day"},
        {"infusion": "5 ug/m^2/day", "duration": "2 day"},
    ]
    data = infant(fit.model, [(30.5, 700.0), (400.0, 10.0)], given=steps)
    times = course_times(data, half_life=3.0)
    assert (np.diff(times) > 0).all()
    assert (times[0], times[-1]) == (0.0, 400.0)
    changes = np.array([0.0, 168.0, 216.0, 264.0])
    for expected in (*changes, 30.5, 400.0, *(168.0 + 3.0 * np.array(HALF_LIVES))):
        assert np.abs(times - expected).min() < 1e-9


@given(st.floats(0.1, 50.0), st.floats(0.0, 2000.0))
def test_times_reach_until_the_last_has_all_but_gone(half_life, sample):
    data = infant(CASE, [{"time": sample, "below": 50.0}])
    times = course_times(data, half_life)
    assert times[-1] >= max(sample, END + 6.0 * half_life) * (1 - 1e-12)
    assert len(times) < 160


CASE = model()


@pytest.mark.slow
def test_a_very_long_history_has_no_more_times_than_can_be_shown(fit):
    steps = [{"infusion": f"{5 + i % 3} ug/day", "duration": "1 h"} for i in range(1500)]
    data = infant(fit.model, [(20.0, 650.0)], given=steps)
    assert len(course_times(data, half_life=2.0)) < 800
    own = one_posterior(fit, data)
    found, _ = concentrations(fit.model, data, own, np.array([3.0]), seed=1)
    assert 100 < len(found) < len(own.parameters["CL"])


def test_a_sample_before_the_start(fit):
    data = infant(fit.model, [{"time": -5.0, "below": 50.0}, (20.0, 650.0)])
    assert course_times(data, half_life=2.0)[0] == -5.0
    own = one_posterior(fit, data)
    table = course(fit.model, data, own, half_life=2.0, seed=1)
    assert (table[table["TIME"] <= 0].iloc[:, 1:] == 0.0).all(axis=None)


@pytest.mark.slow
def test_of_a_bolus(fit):
    data = infant(fit.model, [(2.0, 600.0)], given=[{"bolus": "1 ug"}])
    own = one_posterior(fit, data)
    found, _ = concentrations(fit.model, data, own, np.array([0.0, 6.0]), seed=1)
    cl, v = own.parameters["CL"], own.parameters["V"]
    np.testing.assert_allclose(found[:, 0], 1000.0 / v, rtol=1e-10)
    np.testing.assert_allclose(found[:, 1], 1000.0 / v * np.exp(-6.0 * cl / v), rtol=1e-10)
    assert v.mean() / AREA > 0
