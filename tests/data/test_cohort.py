"""A cohort: covariate records at shared times, nothing else."""

import numpy as np
import pytest

from popk.data.cohort import cohort
from popk.data.dataset import PER_RECORD, ItemUnits, of_subjects
from popk.data.grid import at_times

WT = np.array([[4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
TIME = [0.0, 168.0, 336.0]


def test_records_say_nothing_but_covariates():
    data = cohort({"WT": WT}, {"WT": "kg"}, time=TIME)
    assert data.ids == ("1", "2")
    assert data.units == ItemUnits("h", "ug", "pg/mL")
    assert (data.interpolation, data.source) == ("nocb", "virtual subjects")
    np.testing.assert_array_equal(data.time, [TIME, TIME])
    np.testing.assert_array_equal(data.covariates["WT"], WT)
    assert data.mask.all()
    assert (data.evid == 2).all()
    assert data.observations == data.censored == 0
    for name in ("amount", "rate", "ss", "addl", "interval", "line", "censoring"):
        assert not getattr(data, name).any()
    for name in ("dv", "lower", "upper"):
        assert np.isnan(getattr(data, name)).all()


def test_arrays_have_the_types_of_a_file_that_was_read(read):
    text = "ID,TIME,AMT,DV,EVID,MDV,WT\n1,0,5,.,1,1,4\n1,2,0,9,0,0,4\n"
    from_file = read(text, columns={"WT": {"covariate": True, "unit": "kg"}})
    data = cohort({"WT": WT}, {"WT": "kg"}, time=TIME)
    for name in PER_RECORD:
        assert getattr(data, name).dtype == getattr(from_file, name).dtype, name
        assert getattr(data, name).shape == WT.shape, name


def test_one_record_at_time_0_unless_told():
    data = cohort({"WT": WT[:, :1]}, {"WT": "kg"})
    np.testing.assert_array_equal(data.time, [[0.0], [0.0]])


def test_what_is_the_same_for_all_takes_no_memory():
    data = cohort({"WT": np.full((1000, 3), 4.0)}, {"WT": "kg"}, time=TIME)
    for name in PER_RECORD:
        values = getattr(data, name)
        assert values.strides[0] == 0, name
        assert not values.flags.writeable, name


def test_everything_that_was_said_is_kept():
    data = cohort(
        {"SEX": np.array([[1], [0]]), "WT": WT[:, :1]},
        {"WT": "kg", "SEX": None, "HT": "cm"},
        units=ItemUnits("day", "mg", "mg/L"),
        ids=["a", "b"],
        levels={"SEX": ("male", "female")},
        derived={"BSA": "haycock(WT, HT)"},
        interpolation="locf",
        source="two infants",
    )
    assert data.ids == ("a", "b")
    assert data.units.time == "day"
    assert data.levels == {"SEX": ("male", "female")}
    assert data.derived == {"BSA": "haycock(WT, HT)"}
    assert (data.interpolation, data.source) == ("locf", "two infants")
    assert data.covariate_units == {"SEX": None, "WT": "kg"}
    assert data.covariates["SEX"].dtype == float


def test_a_cohort_is_a_data_set_for_the_rest_of_the_package():
    data = cohort({"WT": WT}, {"WT": "kg"}, time=TIME)
    second = of_subjects(data, np.array([1, 1]))
    np.testing.assert_array_equal(second.covariates["WT"], WT[[1, 1]])
    wider, record = at_times(data, np.array([[24.0], [400.0]]))
    np.testing.assert_array_equal(record, [[1], [3]])
    assert wider.covariates["WT"][0, 1] == 5.0  # the next record's, by "nocb"
    assert wider.covariates["WT"][1, 3] == 9.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"covariates": {}}, "at least one covariate"),
        ({"covariates": {"WT": WT[:, :2]}}, r"WT of shape \(2, 2\); expected \[2 subjects, 3"),
        ({"covariates": {"WT": WT * np.nan}}, "WT has a value that is not finite"),
        ({"covariate_units": {}}, "no unit is said for WT"),
        ({"ids": ["a"]}, r"WT of shape \(2, 3\); expected \[1 subjects"),
        ({"time": [0.0, 0.0, 1.0]}, "must rise"),
        ({"time": []}, "finite ones"),
        ({"time": [0.0, 1.0, np.inf]}, "finite ones"),
        ({"interpolation": "linear"}, "nocb or locf"),
    ],
)
def test_misuse(change, message):
    said = {"covariates": {"WT": WT}, "covariate_units": {"WT": "kg"}, "time": TIME} | change
    with pytest.raises(ValueError, match=message):
        cohort(said.pop("covariates"), said.pop("covariate_units"), **said)
