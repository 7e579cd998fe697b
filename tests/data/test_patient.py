"""A patient file as a data set of one subject: as if it had been read from a table."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.data.cohort import cohort
from popk.data.dataset import PER_RECORD, Dataset, of_subjects
from popk.data.patient import beside, patient_data
from popk.data.regimens import regimens_of
from popk.spec.model import ModelSpec
from popk.spec.patient import PatientSpec
from popk.spec.problem import PopkError

COLUMNS = {
    "TIME": {"unit": "h"},
    "AMT": {"unit": "ug"},
    "DV": {"unit": "pg/mL"},
    "WT": {"covariate": True, "unit": "kg"},
    "BSA": {"covariate": True, "unit": "m^2"},
}
TEXT = """
    ID,TIME,EVID,AMT,RATE,DV,CENS,WT,BSA
    1,0,1,12,0.5,.,0,8,0.4
    1,5,0,0,0,700,0,8,0.4
    1,9,0,0,0,50,1,8,0.4
    2,0,1,24,0.5,.,0,8,0.5
    2,5,0,0,0,600,0,8,0.5
    2,9,0,0,0,650,0,8,0.5
    2,30,0,0,0,80,0,8,0.5
"""


def model(covariate="BSA"):
    scale = {"scale": {"covariate": covariate, "reference": "1 m^2"}} if covariate else {}
    prior = {"prior": "lognormal", "median": 1.0, "sigma": 1.0}
    return ModelSpec.model_validate(
        {
            "name": "m",
            "structure": "one_compartment",
            "units": {"time": "h", "amount": "ug", "concentration": "pg/mL"},
            "parameters": {
                "CL": {"unit": "L/h", "typical": prior, **scale},
                "V": {"unit": "L", "typical": prior},
            },
            "residual": {"error": "additive", "sd": {"prior": "halfnormal", "scale": 1.0}},
        }
    )


@pytest.fixture
def like(read):
    return read(TEXT, columns=COLUMNS)


def spec(**parts):
    content = {
        "covariates": {"WT": "8 kg", "BSA": "0.4 m^2"},
        "given": [
            {"infusion": "30 ug/m^2/day", "duration": "1 day"},
            {"pause": "6 h"},
            {"bolus": "1 ug/kg"},
            {"infusion": "12 ug/day", "duration": "1 day", "cap": "10 ug/day"},
        ],
        **parts,
    }
    return PatientSpec.model_validate(content).model_copy(update={"file": "patient.toml"})


SAMPLES = [
    {"time": "0.25 day", "DV": "0.7 ng/mL"},
    {"time": 60, "below": "50 pg/mL"},
    {"time": "30 h", "above": "1000 pg/mL"},
    {"time": "54 h", "above": 50, "below": 80},
    {"time": "24 h", "DV": 650},
]
SAME = """
    ID,TIME,EVID,AMT,RATE,DV,CENS,LIMIT,WT,BSA
    new,0,2,0,0,.,0,.,8,0.4
    new,0,1,12,0.5,.,0,.,8,0.4
    new,6,0,0,0,700,0,.,8,0.4
    new,24,0,0,0,650,0,.,8,0.4
    new,30,0,0,0,1000,-1,.,8,0.4
    new,30,1,8,0,.,0,.,8,0.4
    new,30,1,10,0.4166666666666667,.,0,.,8,0.4
    new,54,0,0,0,80,1,50,8,0.4
    new,60,0,0,0,50,1,.,8,0.4
"""


def same(found, other, rtol=1e-12):
    """Equal, but for where they come from."""
    for item in fields(Dataset):
        if item.name in ("source", "sha256", "line", "ignored", "warnings"):
            continue
        one, two = getattr(found, item.name), getattr(other, item.name)
        if item.name == "covariates":
            assert one.keys() == two.keys()
            for name, values in one.items():
                np.testing.assert_allclose(values, two[name], rtol=rtol, err_msg=name)
        elif isinstance(one, np.ndarray):
            np.testing.assert_allclose(one, two, rtol=rtol, err_msg=item.name)
            assert one.dtype == two.dtype, item.name
        else:
            assert one == two, item.name


def test_it_is_what_the_same_table_would_be(like, read):
    found = patient_data(spec(samples=SAMPLES), like, model())
    assert found.source == "patient.toml"
    assert found.line[0].tolist() == [0, 0, 1, 5, 3, 0, 0, 4, 2]
    same(found, read(SAME, columns=COLUMNS))


def test_without_samples_there_are_doses_only(like):
    found = patient_data(spec(), like, model())
    assert found.observations == 0
    assert found.evid[0].tolist() == [2, 1, 1, 1]
    (given,) = regimens_of(found)
    assert given.length("h") == pytest.approx(54.0)


def test_a_model_without_covariates(like):
    doses = [{"infusion": "12 ug/day", "duration": "1 day"}]
    none = replace(like, covariates={}, covariate_units={})
    found = patient_data(spec(covariates={}, given=doses, samples=SAMPLES), none, model(None))
    assert (found.covariates, found.observations) == ({}, 5)


def test_units_that_the_data_do_not_declare_are_the_models(like):
    bare = replace(like, units=replace(like.units, time=None, amount=None, concentration=None))
    found = patient_data(spec(samples=SAMPLES), bare, model())
    same(replace(found, units=like.units), patient_data(spec(samples=SAMPLES), like, model()))


def test_units_of_the_data(like):
    days = replace(like, units=replace(like.units, time="day", amount="mg", concentration="mg/L"))
    found = patient_data(spec(samples=SAMPLES[:1]), days, model())
    assert found.time[0].tolist() == pytest.approx([0, 0, 0.25, 1.25, 1.25])
    assert found.amount[0, 1] == pytest.approx(0.012)
    assert found.rate[0, 1] == pytest.approx(0.012)
    assert found.dv[0, 2] == pytest.approx(7e-4)


@given(st.lists(st.floats(0.0, 60.0), min_size=1, max_size=6))
def test_records_stand_in_order_of_time(times):
    samples = [{"time": time, "DV": 100.0 + i} for i, time in enumerate(times)]
    sizes = {"WT": np.array([[8.0]]), "BSA": np.array([[0.4]])}
    body = cohort(sizes, {"WT": "kg", "BSA": "m^2"})
    found = patient_data(spec(samples=samples), body, model())
    assert (np.diff(found.time[0]) >= 0).all()
    numbers = found.line[0, found.observed[0]] - 1
    assert sorted(numbers) == list(range(len(times)))
    np.testing.assert_allclose(found.time[found.observed], np.array(times)[numbers], atol=1e-7)
    np.testing.assert_array_equal(found.dv[found.observed], 100.0 + numbers)
    # Of two at one time the sample first
    for dose in np.flatnonzero(found.evid[0] == 1):
        assert (found.time[0, : dose + 1] <= found.time[0, dose]).all()
        assert not (found.observed[0, dose:] & (found.time[0, dose:] == found.time[0, dose])).any()


def test_beside_others_it_is_as_if_read_with_them(like, read):
    found = patient_data(spec(samples=SAMPLES), like, model())
    text = TEXT.replace(",CENS,", ",CENS,LIMIT,").replace(",0,8,", ",0,.,8,")
    whole = read(
        text.replace(",1,8,", ",1,.,8,") + "\n".join(SAME.splitlines()[2:]), columns=COLUMNS
    )
    both = beside(like, found)
    same(both, whole)
    assert both.ids == ("1", "2", "new")
    same(of_subjects(both, np.array([0, 1])), of_subjects(whole, np.array([0, 1])))


def test_a_longer_subject_beside_shorter_ones(like):
    first, second = (of_subjects(like, np.array([i])) for i in (0, 1))
    same(beside(first, second), like)
    other = beside(second, first)
    same(of_subjects(other, np.array([1, 0])), like)


def test_covariates_that_one_of_them_lacks_are_left_out(like):
    found = patient_data(spec(covariates={"BSA": 0.4}, given=[
        {"infusion": "1 ug/h", "duration": "1 h"}]), like, model())  # fmt: skip
    assert set(beside(like, found).covariates) == {"BSA"}
    for name in PER_RECORD:
        assert getattr(beside(like, found), name).shape == (3, like.mask.shape[1])


def fault(like, *, of=None, **parts):
    with pytest.raises(PopkError) as caught:
        patient_data(spec(**parts), like, of or model())
    (problem,) = caught.value.problems
    assert problem.file == "patient.toml"
    assert problem.cure
    return problem


def test_a_subject_of_the_fit(like):
    problem = fault(like, id="2")
    assert problem.key == "id"
    assert "'2', which is a subject of the fit's data" in problem.found
    assert "another id" in problem.cure


def test_a_covariate_that_the_model_needs(like):
    problem = fault(like, covariates={"WT": 8})
    assert problem.key == "covariates.BSA"
    assert "which the model 'm' uses" in problem.expected


def test_a_dose_per_kg_where_no_weight_is_known(like):
    problem = fault(like, covariates={"BSA": "0.4 m^2"})
    assert problem.key == "covariates.WT"
    assert "1 ug/kg" in problem.found
    assert 'write WT = "... kg" under [covariates]' in problem.cure


def test_a_dose_for_a_weight_of_nothing(like):
    problem = fault(like, covariates={"BSA": "0.4 m^2", "WT": 0})
    assert problem.key == "covariates.WT"
    assert "WT = 0" in problem.found
    assert "above 0" in problem.expected


def test_a_dose_per_area_whose_unit_the_data_do_not_declare(like):
    bare = replace(like, covariate_units={"WT": "kg", "BSA": None})
    problem = fault(bare, of=model(None), covariates={"WT": 8, "BSA": 0.4})
    assert problem.key == "covariates.BSA"
    assert "declare the unit in fit.toml, [columns] BSA" in problem.cure


def test_nothing_but_pauses(like):
    problem = fault(like, given=[{"pause": "1 h"}])
    assert problem.key == "given"
    assert "nothing that is given" in problem.found


def test_no_regimen(like):
    problem = fault(like, given=[])
    assert problem.found == "neither [[given]] nor regimen"
