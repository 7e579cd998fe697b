"""Trials of resampled subjects say what data sets made of these subjects say."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from popk.data.dataset import of_subjects
from popk.inference.batch import Batch
from popk.population.condensed import Rows, of_one_trial, trial_axes
from popk.population.events import arrange
from popk.population.flat import flatten
from popk.population.model import Model
from popk.population.resampled import room_for, with_subjects
from tests.population.test_condensed import (
    BOLUSES,
    CASES,
    HEADER,
    INFUSIONS,
    QUICKLY,
    STEADY,
    arranged,  # noqa: F401
    many,
)

DRAWS = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 1], [0, 1, 0]])
OTHERS = np.array([[1, 0, 1], [0, 0, 0]])
SECTIONS = {
    "infusions": (INFUSIONS, CASES["infusions and resets, combined"][1]),
    "boluses": (BOLUSES, CASES["boluses, additive"][1]),
    "steady states": (STEADY, {}),
    "many doses": (many(9, 4), {}),
}


LONGER = pytest.mark.slow


@pytest.mark.parametrize(
    "case",
    ["infusions", "many doses", pytest.param("boluses", marks=LONGER),
     pytest.param("steady states", marks=LONGER)],
)  # fmt: skip
def test_a_trial_is_the_data_set_of_its_subjects(spec, read, case):
    """To 1e-10, with room for trials that are not there."""
    lines, sections = SECTIONS[case]
    content = spec(**sections)
    model, data = Model(content), read("\n".join([HEADER, *lines, ""]))
    events, _ = arrange(content, data)
    room = room_for(events, np.concatenate([DRAWS, OTHERS]))
    found = with_subjects(events, DRAWS, room)
    assert isinstance(found.events.steps, Rows)
    np.testing.assert_array_equal(np.sort(found.subjects, axis=1), np.sort(DRAWS, axis=1))
    flat = flatten(model, of_one_trial(found.events, 0))
    vector = np.asarray(flat.start) + 0.3 * np.random.default_rng(5).standard_normal(
        flat.start.size
    )
    at = partial(jax.jit(flat.log_density, compiler_options=QUICKLY), vector)
    for trial in (0, 3):
        own, _ = arrange(content, of_subjects(data, found.subjects[trial]))
        one = float(at(of_one_trial(found.events, trial)))
        assert np.isfinite(one)
        assert one == pytest.approx(float(at(own)), rel=1e-12, abs=1e-10)


def test_covariates_go_with_their_subjects(arranged):  # noqa: F811
    model, events = arranged("small with covariates, lognormal")
    found = with_subjects(events, np.array([[2, 0], [1, 1]]))
    for name, scale in events.log_scale.items():
        np.testing.assert_array_equal(found.events.log_scale[name], scale[found.subjects])
    for name, term in events.terms.items():
        np.testing.assert_array_equal(found.events.terms[name], term[found.subjects])
    own = trial_axes(found.events)
    for leaf, has in zip(jax.tree.leaves(found.events), own, strict=True):
        assert (np.shape(leaf)[0] == 2) or not has
    # The matrices that say whose a row is are the same in all trials
    assert sum(not has for has in own) == len(found.events.steps.subject)
    assert Batch(model, found.events).trials == 2


def test_every_row_of_every_subject_is_there_once(arranged):  # noqa: F811
    _, events = arranged("many and few doses, proportional")
    rng = np.random.default_rng(2)
    draws = rng.integers(0, events.subjects, (50, 7))
    found = with_subjects(events, draws)
    assert isinstance(found.events.steps, Rows)
    for trial in range(50):
        one = of_one_trial(found.events, trial)
        subject = np.concatenate([places.subject for places in one.steps.subject])
        for place, who in enumerate(found.subjects[trial]):
            mine = one.dv[one.observed & (subject == place)]
            np.testing.assert_array_equal(
                np.sort(mine), np.sort(events.dv[who][events.observed[who]])
            )


def test_room_is_not_wasted(arranged):  # noqa: F811
    """Subjects with many rows share the places with much room, whatever their order."""
    _, events = arranged(many(16, 4))
    draws = np.array([[0] * i + [1] * (8 - i) for i in (2, 3, 4)])
    rng = np.random.default_rng(3)
    room = room_for(events, rng.permuted(draws, axis=1))
    assert room is not None
    assert room.rows.sum() <= 4 * 16 + 6 * 4


def test_tiles_have_their_share_of_long_subjects(arranged):  # noqa: F811
    _, events = arranged(many(16, 4))
    found = with_subjects(events, np.array([[0] * 10 + [1] * 40]))
    for places in found.events.steps.subject:
        used = places.matrix[:, :, 1:].sum(axis=(1, 2))
        assert used.min() > 0.4 * used.max()


def test_events_that_cannot_be_condensed_keep_their_steps(arranged):  # noqa: F811
    _, events = arranged("infusions and resets, combined")
    twice = {name: np.tile(scale, (1, 2)) for name, scale in events.log_scale.items()}
    varying = replace(events, log_scale=twice)
    assert room_for(varying, DRAWS[:, :2]) is None
    long = with_subjects(varying, DRAWS[:, :2])
    assert not isinstance(long.events.steps, Rows)
    assert long.events.dv.shape == (4, 2, events.dv.shape[1])
    assert all(trial_axes(long.events))
    # A trial is what its subjects are, in the order that was asked for
    one = of_one_trial(long.events, 1)
    np.testing.assert_array_equal(one.dv, events.dv[DRAWS[1, :2]])
    np.testing.assert_array_equal(one.steps.duration, events.steps.duration[DRAWS[1, :2]])
    assert long.subjects is DRAWS[:, :2] or (long.subjects == DRAWS[:, :2]).all()
