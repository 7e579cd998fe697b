"""One layout for all subjects gives what each subject's own records give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given as random
from hypothesis import settings
from hypothesis import strategies as st

from popk.data.cohort import cohort
from popk.data.dataset import ItemUnits
from popk.data.grid import at_times
from popk.data.regimens import Schedule, with_doses
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.planned import events_of, given, planned
from popk.spec.problem import PopkError

SUBJECTS = 3
SCALE = {"covariate": "WT", "reference": "5 kg", "exponent": 0.8}
AGE = {
    "parameter": "V", "covariate": "AGE", "relation": "exponential", "center": "6 month",
    "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0},
}  # fmt: skip
VALUES = {"TVCL": 1.3, "TVV": 4.0, "V_AGE_exponential": 0.1, "sigma": 0.2}


def infants(knots, interpolation, units, seed=0):
    rng = np.random.default_rng(seed)
    shape = (SUBJECTS, len(knots))
    return cohort(
        {"WT": rng.uniform(3.0, 9.0, shape), "AGE": rng.uniform(1.0, 11.0, shape)},
        {"WT": "kg", "AGE": "month"},
        time=knots, units=units, interpolation=interpolation,
    )  # fmt: skip


def schedule_of(steps, seed=1):
    """Steps of (what, length in quarters of an hour) one after the other."""
    rng = np.random.default_rng(seed)
    start, duration, now = [], [], 0.0
    for what, quarters in steps:
        length = 0.25 * quarters
        if what != "pause":
            start.append(now)
            duration.append(length if what == "infusion" else 0.0)
        now += 0.0 if what == "bolus" else length
    size = rng.uniform(1.0, 20.0, (SUBJECTS, len(start)))
    return Schedule(np.array(start), np.array(duration), size)


def both(model, cohort, schedule, times):
    """Concentrations by the layout that all share, and by each subject's own records."""
    layout = planned(model.spec, cohort, schedule, times)
    etas = {"eta_CL": jnp.array([0.2, -0.3, 0.0]), "eta_V": jnp.array([0.0, 0.4, -0.2])}
    typical = {name: jnp.asarray(value) for name, value in VALUES.items()}

    def one(own, eta):
        values = {**typical, **{name: value[None] for name, value in eta.items()}}
        return model.predict(values, events_of(layout, *own)).log_concentration[0]

    ours = jax.jit(jax.vmap(one))(given(model.spec, cohort, schedule), etas)
    records, place = at_times(with_doses(cohort, schedule), np.tile(times, (SUBJECTS, 1)))
    events, steps = arrange(model.spec, records)
    theirs = np.asarray(model.predict({**typical, **etas}, events).log_concentration)
    own = np.take_along_axis(theirs, np.take_along_axis(steps.step, place, 1), 1)
    return np.asarray(ours)[:, layout.output], own


steps = st.lists(
    st.tuples(st.sampled_from(["infusion", "bolus", "pause"]), st.integers(1, 60)),
    min_size=1, max_size=6,
).filter(lambda steps: any(what != "pause" for what, _ in steps))  # fmt: skip
UNITS = (ItemUnits("h", "mg", "mg/L"), ItemUnits("day", "ug", "ug/L"))


@pytest.mark.slow
@settings(max_examples=12)
@random(
    steps=steps,
    knots=st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True).map(sorted),
    times=st.lists(st.integers(0, 90), min_size=2, max_size=8, unique=True).map(sorted),
    interpolation=st.sampled_from(["nocb", "locf"]),
    units=st.sampled_from(UNITS),
)
def test_as_each_subjects_own_records(spec, steps, knots, times, interpolation, units):
    """To 1e-12, with covariates that change in time (nocb, locf) and those that do not."""
    model = Model(spec(CL={"scale": SCALE}, covariates=[AGE]))
    infants_ = infants(np.array(knots, float), interpolation, units)
    ours, theirs = both(model, infants_, schedule_of(steps), 0.5 * np.array(times, float))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_interpolation_matters(spec):
    """The same knots carried backward and forward give other concentrations."""
    model = Model(spec(CL={"scale": SCALE}, covariates=[AGE]))
    found = []
    for interpolation in ("nocb", "locf"):
        subjects = infants(np.array([0.0, 10.0, 20.0]), interpolation, UNITS[0])
        found.append(both(model, subjects, schedule_of([("infusion", 100)]), np.array([5.0, 15.0])))
    assert np.abs(found[0][0] - found[1][0]).min() > 1e-3


def test_no_covariate_at_all(spec):
    """A model without scales on a cohort that has covariates which it does not use."""
    model = Model(spec())
    subjects = infants(np.array([0.0, 5.0]), "nocb", UNITS[0])
    ours, theirs = both(
        model, subjects, schedule_of([("bolus", 1), ("infusion", 8)]), np.array([0.0, 1.0, 9.0])
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_before_any_dose_there_is_no_drug(spec):
    model = Model(spec())
    subjects = infants(np.array([0.0]), "nocb", UNITS[0])
    ours, _ = both(
        model, subjects, schedule_of([("pause", 8), ("infusion", 8)]), np.array([0.0, 1.0, 3.0])
    )
    assert (np.exp(ours[:, :2]) == 0.0).all()
    assert (ours[:, 2] > -20).all()


def test_a_missing_covariate_is_named(spec):
    model = Model(spec(CL={"scale": {"covariate": "BSA", "reference": "1 m^2"}}))
    with pytest.raises(PopkError) as raised:
        planned(model.spec, infants(np.zeros(1), "nocb", UNITS[0]), schedule_of([("bolus", 1)]),
                np.array([0.0, 1.0]))  # fmt: skip
    (problem,) = raised.value.problems
    assert problem.key == "BSA"
    assert "WT" in problem.found
