"""Further sampling times are what a design with these samples says; doses begin and end."""

from dataclasses import replace

import numpy as np
import pytest

from popk.analysis.power.candidates import at_candidates, at_samples, dosing
from popk.analysis.power.fisher import information
from popk.spec.problem import PopkError
from tests.analysis.power.infusions import END, TIMES, TRUE, data_of, model_of

VALUES = TRUE | {"sigma": 0.15}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_of(tmp_path_factory.mktemp("few") / "data.csv", [3, 9], TIMES[:2])


def test_candidates_are_samples_like_others(data, tmp_path):
    model, rest = model_of(), TIMES[2:]
    found, places = at_candidates(model, data, rest, VALUES)
    assert places.tolist() == [2, 3, 4]
    whole = at_samples(model, data_of(tmp_path / "data.csv", [3, 9]), VALUES)
    np.testing.assert_allclose(information(found), information(whole), rtol=1e-10)
    few = information(at_samples(model, data, VALUES))
    np.testing.assert_allclose(information(found, np.arange(2)), few, rtol=1e-10)


def test_times_count_from_the_first_dose(data):
    model = model_of()
    shifted = replace(data, time=data.time + 100.0)
    np.testing.assert_allclose(
        information(at_candidates(model, shifted, [10.0, 30.0], VALUES)[0]),
        information(at_candidates(model, data, [10.0, 30.0], VALUES)[0]),
        rtol=1e-9,
    )
    start, end = dosing(shifted)
    assert start.tolist() == [100.0, 100.0]
    np.testing.assert_allclose(end, 100.0 + END)


@pytest.mark.parametrize("times", [[], [-1.0], [np.nan], [[1.0]]])
def test_impossible_times(data, times):
    with pytest.raises(PopkError) as error:
        at_candidates(model_of(), data, np.array(times), VALUES)
    (problem,) = error.value.problems
    assert problem.key == "times"
    assert "since the first dose" in problem.expected
    assert problem.cure


def test_a_design_without_doses(data):
    evid = data.evid.copy()
    evid[1] = np.where(evid[1] == 1, 2, evid[1])
    with pytest.raises(PopkError) as error:
        dosing(replace(data, evid=evid))
    (problem,) = error.value.problems
    assert problem.subject == "2"
    assert "no dose (in 1 of 2 subjects)" in problem.found
    assert "regimen" in problem.cure
