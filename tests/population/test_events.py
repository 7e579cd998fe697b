from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.problem import PopkError

HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
LOGNORMAL_ERROR = {"error": "lognormal", "sd": HALFNORMAL}
WEIGHT = {"scale": {"covariate": "WT", "reference": "1 kg"}}
NORMAL = {"prior": "normal", "loc": 0.0, "scale": 0.5}

PLAIN = """
ID,TIME,AMT,RATE,DV,EVID,MDV,CENS,LIMIT
A,0,48,2,.,1,1,0,.
A,6,0,0,3,0,0,0,.
A,30,0,0,0.5,0,0,1,0.25
A,30,20,0,.,1,1,0,.
A,48,0,0,2,0,0,0,.
"""


def predictions(spec, dataset, **values):
    events, layout = arrange(spec, dataset)
    population = {"TVCL": jnp.asarray(0.4), "TVV": jnp.asarray(5.0)}
    log_c = Model(spec).predict(population | values, events).log_concentration
    rows = np.take_along_axis(np.asarray(log_c), layout.step, axis=1)[layout.mask]
    return events, np.exp(rows)


@pytest.mark.parametrize(
    ("units", "time", "amount", "concentration"),
    [
        ({"time": "h", "amount": "mg", "concentration": "mg/L"}, 1.0, 1.0, 1.0),
        ({"time": "day", "amount": "ug", "concentration": "ug/L"}, 24.0, 1e3, 1e3),
        ({"time": "min", "amount": "ng", "concentration": "pg/mL"}, 1 / 60, 1e6, 1e6),
        ({"time": "h", "amount": "ug", "concentration": "pg/mL"}, 1.0, 1e3, 1e6),
    ],
)
def test_data_come_into_the_models_units(spec, read, units, time, amount, concentration):
    """The same data, declared in h, mg and mg/L, for models in other units."""
    declared = {"TIME": {"unit": "h"}, "AMT": {"unit": "mg"}, "DV": {"unit": "mg/L"}}
    data = read(PLAIN, columns=declared)
    here = spec(units=units, CL={"unit": f"L/{units['time']}"})
    events, found = predictions(here, data, TVCL=jnp.asarray(0.4 * time))
    reference, wanted = predictions(spec(), data)
    close = {"rtol": 1e-12}
    np.testing.assert_allclose(found, wanted * concentration, **close)
    steps, plain = events.steps, reference.steps
    np.testing.assert_allclose(steps.duration, plain.duration / time, **close)
    np.testing.assert_allclose(steps.bolus, plain.bolus * amount, **close)
    np.testing.assert_allclose(steps.rate, plain.rate * amount * time, **close)
    measured = events.observed & ~events.censored
    assert measured.sum() == 2
    np.testing.assert_allclose(events.dv[measured], reference.dv[measured] * concentration, **close)
    for bound in ("lower", "upper"):
        wanted = getattr(reference, bound)[reference.censored]
        assert wanted.size == 1
        np.testing.assert_allclose(
            getattr(events, bound)[events.censored], wanted * concentration, **close
        )


def test_parameters_keep_their_own_unit(spec, read):
    in_ml = spec(CL={"unit": "mL/min"}, V={"unit": "mL"})
    data = read(PLAIN)
    _, found = predictions(in_ml, data, TVCL=jnp.asarray(0.4 * 1000 / 60), TVV=jnp.asarray(5000.0))
    _, wanted = predictions(spec(), data)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_only_records_are_observed_and_everything_else_is_masked(spec, read):
    second = PLAIN + "B,0,10,0,.,1,1,0,.\nB,1,0,0,2,0,0,0,.\n"
    data = read(second)
    events, layout = arrange(spec(), data)
    assert events.subjects == 2
    assert events.observed.sum() == data.observations == 4
    np.testing.assert_array_equal(events.observed.sum(axis=1), [3, 1])
    np.testing.assert_array_equal(layout.mask, data.mask)
    unseen = ~(events.observed & ~events.censored)
    np.testing.assert_array_equal(events.dv[unseen], 1.0)
    np.testing.assert_array_equal(events.lower[~events.censored], -np.inf)
    np.testing.assert_array_equal(events.upper[~events.censored], np.inf)
    assert (events.lower[events.censored], events.upper[events.censored]) == (0.25, 0.5)
    # The second subject's padding: nothing happens there
    end = layout.step[1].max() + 1
    assert end < events.observed.shape[1]
    assert events.steps.steady_rate is None
    for name in ("duration", "rate", "keep", "bolus"):
        values = getattr(events.steps, name)
        np.testing.assert_array_equal(values[1, end:], float(name == "keep"))


def test_one_column_where_nothing_varies(spec, read):
    effects = [
        {"parameter": "V", "covariate": "AGE", "relation": "below", "cut": "6 month",
         "effect": NORMAL}
    ]  # fmt: skip
    events, _ = arrange(spec(CL=WEIGHT, covariates=effects), read())
    for values in (*events.log_scale.values(), *events.terms.values()):
        assert values.shape == (3, 1)
    np.testing.assert_allclose(events.log_scale["CL"][:, 0], np.log([5.5, 7.0, 6.0]))
    np.testing.assert_array_equal(events.log_scale["V"], 0.0)
    np.testing.assert_array_equal(events.terms["V_AGE_below"][:, 0], [1.0, 0.0, 1.0])


VARYING = """
ID,TIME,AMT,RATE,DV,EVID,MDV,WT
A,0,100,0,.,1,1,5
A,4,0,0,9,0,0,5
A,10,0,0,5,0,0,8
A,12,0,0,.,2,1,4
A,20,0,0,5,0,0,4
B,0,10,0,.,1,1,3
B,4,0,0,9,0,0,3
"""


@pytest.mark.parametrize("interpolation", ["nocb", "locf"])
def test_a_covariate_that_changes(spec, read, interpolation):
    data = read(VARYING, interpolation=interpolation)
    events, found = predictions(spec(CL=WEIGHT), data)
    assert events.log_scale["CL"].shape == events.observed.shape
    times = np.array([0, 4, 10, 12, 20])
    weight = {"nocb": [5, 8, 4, 4], "locf": [5, 5, 8, 4]}[interpolation]
    gone = np.r_[0, np.cumsum(0.4 / 5.0 * np.array(weight) * np.diff(times))]
    np.testing.assert_allclose(found[:5], 20.0 * np.exp(-gone), rtol=1e-12)
    np.testing.assert_allclose(found[5:], 2.0 * np.exp([0, -0.4 / 5 * 3 * 4]), rtol=1e-12)


@pytest.mark.parametrize("interpolation", ["nocb", "locf"])
def test_a_volume_is_that_of_the_sample(spec, read, interpolation):
    """At its own time a record's covariates hold, whichever way they are carried between."""
    _, found = predictions(spec(V=WEIGHT), read(VARYING, interpolation=interpolation))
    times, volume = np.array([0, 4, 10, 12, 20]), 5.0 * np.array([5, 5, 8, 4, 4])
    over = {"nocb": volume[1:], "locf": volume[:-1]}[interpolation]
    gone = np.r_[0, np.cumsum(0.4 / over * np.diff(times))]
    np.testing.assert_allclose(found[:5], 100.0 / volume * np.exp(-gone), rtol=1e-12)


def test_a_covariate_that_changes_but_is_not_used_makes_no_columns(spec, read):
    events, _ = arrange(spec(), read(VARYING))
    assert events.log_scale["CL"].shape == (2, 1)


def problems(spec, data):
    with pytest.raises(PopkError) as caught:
        arrange(spec, data)
    for problem in caught.value.problems:
        assert Path(problem.file).name == "data.csv"
    return caught.value.problems


def test_missing_covariates_are_all_named(spec, read):
    effects = [
        {"parameter": "V", "covariate": "SEX", "relation": "category", "level": 1, "effect": NORMAL}
    ]
    found = problems(spec(CL=WEIGHT, covariates=effects), read(PLAIN))
    assert [p.key for p in found] == ["WT", "SEX"]
    assert "[columns] WT" in found[0].cure


def test_units_of_items_that_do_not_convert_are_all_named(spec, read):
    declared = {"TIME": {"unit": "h"}, "AMT": {"unit": "mg"}, "DV": {"unit": "mg/L"}}
    there = read(PLAIN, columns=declared)
    swapped = type(there.units)(time="mg", amount="IU", concentration="mg/L")
    object.__setattr__(there, "units", swapped)
    found = problems(spec(), there)
    assert [p.key for p in found] == ["time", "amount"]
    assert "mg" in found[0].found


@pytest.mark.parametrize("unit", [None, "month"])
def test_a_scale_whose_unit_does_not_convert(spec, read, unit):
    columns = {"WT": {"covariate": True, "unit": unit}}
    (found,) = problems(spec(CL=WEIGHT), read(VARYING, columns=columns))
    assert found.key == "WT"
    assert (unit or "no declared unit") in found.found


def test_a_scale_of_zero_names_the_subject(spec, read):
    (found,) = problems(spec(CL=WEIGHT), read(VARYING.replace(",3\n", ",0\n")))
    assert (found.subject, found.key) == ("B", "WT")


def test_a_level_that_the_data_lack(spec, read):
    effects = [
        {"parameter": "V", "covariate": "WT", "relation": "category", "level": "big",
         "effect": NORMAL}
    ]  # fmt: skip
    (found,) = problems(spec(covariates=effects), read(VARYING))
    assert "'big'" in found.found


def test_a_fixed_linear_effect_that_makes_a_parameter_negative(spec, read):
    effects = [
        {"parameter": "V", "covariate": "WT", "relation": "linear", "center": "5 kg",
         "per": "1 kg", "effect": {"prior": "fixed", "value": 0.6}}
    ]  # fmt: skip
    (found,) = problems(spec(covariates=effects), read(VARYING))
    assert (found.subject, found.key) == ("B", "WT")
    assert "-0.2" in found.found


EARLY = """
ID,TIME,AMT,RATE,DV,EVID,MDV,CENS
A,0,0,0,3,0,0,0
A,0,10,5,.,1,1,0
A,0,0,0,2,0,0,0
A,1,0,0,4,0,0,0
A,3,0,0,.,3,1,0
A,4,0,0,5,0,0,0
"""


@pytest.mark.parametrize("error", ["lognormal", "proportional"])
def test_measured_where_no_drug_can_be(spec, read, error):
    """Before the dose, as an infusion starts, and after a reset: all three rows are named."""
    here = spec(residual={"error": error, "sd": HALFNORMAL})
    found = problems(here, read(EARLY))
    assert [(p.line, p.subject, p.key) for p in found] == [(2, "A", "DV"), (4, "A", "DV"),
                                                           (7, "A", "DV")]  # fmt: skip
    assert error in found[0].expected


@pytest.mark.parametrize("error", ["lognormal", "proportional"])
def test_censored_where_no_drug_can_be_is_certain(spec, read, error):
    text = EARLY
    for row in ("0,0,0,3,0,0,0", "0,0,0,2,0,0,0", "4,0,0,5,0,0,0"):
        text = text.replace(f"A,{row}", f"A,{row[:-1]}1")
    here = spec(residual={"error": error, "sd": HALFNORMAL})
    events, _ = arrange(here, read(text))
    assert events.censored.sum() == 3
    events = jax.tree.map(jnp.asarray, events)
    values = {"TVCL": jnp.asarray(0.4), "TVV": jnp.asarray(5.0), "sigma": jnp.asarray(0.2)}
    model = Model(here)
    log_c = model.predict(values, events).log_concentration
    log_p = model.observation(log_c, values, events).log_prob(events.dv)
    np.testing.assert_allclose(log_p[events.censored], 0.0, atol=1e-6)


def test_additive_error_takes_measured_values_anywhere(spec, read):
    events, _ = arrange(spec(residual={"error": "additive", "sd": HALFNORMAL}), read(EARLY))
    assert events.observed.sum() == 4


def test_lognormal_error_refuses_zero(spec, read):
    zero = PLAIN.replace("A,48,0,0,2,", "A,48,0,0,0,")
    (found,) = problems(spec(residual=LOGNORMAL_ERROR), read(zero))
    assert (found.line, found.subject, found.key) == (6, "A", "DV")
    arrange(spec(), read(zero))
