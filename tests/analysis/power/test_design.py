"""Planned trials: who, what doses, when blood is drawn, and what cannot be planned."""

import numpy as np
import pytest

from popk.analysis.power.design import design, groups
from popk.population.condensed import Rows, condense
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.plan import Plan
from popk.spec.problem import PopkError
from popk.spec.virtual import Virtual


def test_doses_and_blood_samples(steady, plan):
    data = design(steady, plan, 12, 1)
    assert data.subjects == 12
    assert data.observations == 12 * 3
    np.testing.assert_array_equal(data.time[data.observed].reshape(12, 3), [[48, 192, 360]] * 12)
    assert (data.evid[data.observed] == 0).all()
    assert (data.dv[data.observed] == 1.0).all()
    dose = data.evid == 1
    assert (dose.sum(axis=1) == 1).all()
    bsa = data.covariates["BSA"][dose]
    np.testing.assert_allclose(data.rate[dose], 15 * bsa / 24)
    np.testing.assert_allclose(data.amount[dose], 15 * bsa * 28)


def test_it_is_ready_to_be_condensed(steady, plan):
    events, order = condense(arrange(steady.spec, design(steady, plan, 5, 1))[0])
    assert isinstance(events.steps, Rows)
    assert len(order) == 15


def test_the_seed_and_the_number_decide(steady, plan):
    first, same = design(steady, plan, 8, 3), design(steady, plan, 8, 3)
    np.testing.assert_array_equal(first.covariates["AGE"], same.covariates["AGE"])
    other = design(steady, plan, 8, 4)
    assert (first.covariates["AGE"] != other.covariates["AGE"]).any()


@pytest.mark.parametrize(("share", "infants", "young"), [(0.5, 10, 5), (0.3, 10, 3), (0.25, 26, 6)])
def test_recruitment_by_share(steady, share, infants, young):
    plan = Plan(young=share, virtual=Virtual(age=("1 month", "12 month")))
    data = design(steady, plan, infants, 2)
    assert groups(steady.spec.covariates[0], data) == (young, infants - young)
    age = data.covariates["AGE"][:, 0]
    assert (age[:young] < 6).all()
    assert (age[young:] >= 6).all()
    assert age.min() >= 1
    assert age.max() <= 12
    assert data.ids == tuple(map(str, range(1, infants + 1)))


def test_a_model_without_effects_has_a_design_too(steady, plan):
    bare = Model(steady.spec.model_copy(update={"covariates": ()}))
    assert design(bare, plan.model_copy(update={"young": None}), 3, 1).subjects == 3


OLD = {"virtual": Virtual(age=("7 month", "12 month"))}
FAULTS = {
    "ages on one side": (OLD, 10, "infants", "zero infants in the group", "young = 0.5"),
    "only young ones": (
        {"virtual": Virtual(age=("1 month", "5 month"))},
        10, "infants", "zero infants outside of it", "ages on both sides",
    ),
    "a share of no infant": ({"young": 0.1}, 4, "infants", "zero infants", "more infants"),
    "a share and one side": (OLD | {"young": 0.5}, 10, "virtual.age", "on one side", "widen"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_groups_without_infants(steady, case):
    said, infants, key, found, cure = FAULTS[case]
    with pytest.raises(PopkError) as caught:
        design(steady, Plan(**said), infants, 1)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert found in problem.found
    assert cure in problem.cure


def test_a_share_of_young_infants_needs_a_cut_in_age(steady, plan):
    (below,) = steady.spec.covariates
    other = below.model_copy(update={"covariate": "WT", "cut": "8 kg"})
    model = Model(steady.spec.model_copy(update={"covariates": (other,)}))
    with pytest.raises(PopkError, match="an effect below a cut in AGE"):
        design(model, plan, 10, 1)
    assert design(model, Plan(times=("2 day",)), 10, 1).subjects == 10
    heavy = other.model_copy(update={"cut": "30 kg"})
    with pytest.raises(PopkError, match="zero infants outside of it") as caught:
        design(Model(steady.spec.model_copy(update={"covariates": (heavy,)})), Plan(), 10, 1)
    assert "young" not in caught.value.problems[0].cure
