"""A new patient's covariates in the units, coding and formulas of a fit's data."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.data.body_size import FORMULAS, body_surface_area
from popk.data.patient_covariates import patient_covariates
from popk.spec.patient import PatientSpec
from popk.spec.problem import PopkError

TEXT = """
    ID,TIME,EVID,AMT,DV,AGE,WT,HT,SEX,GA,NOTE
    1,0,1,9,.,3,7.2,65,girl,38,4
    1,5,0,0,9,3,7.2,65,girl,38,4
"""
SPEC = {
    "columns": {
        "AGE": {"covariate": True, "unit": "month"},
        "WT": {"covariate": True, "unit": "kg"},
        "HT": {"covariate": True, "unit": "cm"},
        "SEX": {"covariate": True, "levels": ["girl", "boy"]},
        "GA": {"covariate": True, "unit": "week"},
        "NOTE": {"covariate": True},
    },
    "derived": {
        "BSA": {"formula": "haycock"},
        "PMA": {"formula": "postmenstrual_age"},
        "PMA2": {"formula": "postmenstrual_age", "gestation": "GA"},
    },
}


@pytest.fixture
def like(read):
    return read(TEXT, **SPEC)


def needing(*names):
    """As much of a model as counts here."""
    return SimpleNamespace(name="a model", covariate_names=names)


def written(**covariates):
    return PatientSpec(covariates=covariates, file="patient.toml")


def test_values_are_in_the_units_and_codes_of_the_data(like):
    spec = written(AGE="0.5 year", WT="7100 g", HT=65, SEX="boy", NOTE=3, GA="270 day")
    found = patient_covariates(spec, like, needing("BSA", "PMA"))
    assert found["AGE"] == pytest.approx(6.0, rel=1e-12)
    assert found["WT"] == pytest.approx(7.1, rel=1e-12)
    assert (found["HT"], found["SEX"], found["NOTE"]) == (65.0, 1.0, 3.0)
    assert found["BSA"] == pytest.approx(body_surface_area(7.1, 65.0, "haycock"), rel=1e-12)
    half_year = 365.25 / 2 / 7
    assert found["PMA"] == pytest.approx(half_year + 40.0, rel=1e-12)
    assert found["PMA2"] == pytest.approx(half_year + 270 / 7, rel=1e-12)


@given(st.sampled_from(list(FORMULAS)), st.floats(2.0, 30.0), st.floats(45.0, 120.0), st.booleans())
def test_it_is_derived_as_the_file_derives_it(formula, weight, height, in_grams):
    # Only what the formulas of the data look at
    data = SimpleNamespace(
        covariates={"WT": 0, "HT": 0, "BSA": 0},
        covariate_units={"WT": "kg", "HT": "cm", "BSA": "m^2"},
        levels={},
        derived={"BSA": f"{formula}(WT, HT)"},
    )
    text = f"{weight * 1000!r} g" if in_grams else f"{weight!r} kg"
    found = patient_covariates(written(WT=text, HT=f"{height!r} cm"), data, needing("BSA"))
    expected = body_surface_area(weight, height, formula)
    assert found["BSA"] == pytest.approx(expected, rel=1e-12)


def test_the_same_covariates_as_those_read_from_a_file(like):
    spec = written(AGE="3 month", WT="7.2 kg", HT="65 cm", SEX="girl", GA=38, NOTE=4)
    found = patient_covariates(spec, like, needing())
    assert found == {name: values[0, 0] for name, values in like.covariates.items()}


def test_what_is_given_is_not_derived(like):
    found = patient_covariates(written(WT=7, HT=65, BSA="0.4 m^2"), like, needing("BSA"))
    assert found["BSA"] == 0.4
    assert "PMA" not in found


def test_a_weight_for_doses_where_the_data_have_none(like):
    bare = replace(like, covariates={"NOTE": like.covariates["NOTE"]}, derived={})
    found = patient_covariates(written(WT="7100 g"), bare, needing())
    assert found == {"WT": pytest.approx(7.1)}


@pytest.mark.parametrize(
    ("covariates", "needs", "key", "found", "expected", "cure"),
    [
        ({"WT": 7}, "AGE", "AGE", "no value of AGE", "which the model 'a model' uses",
         'add AGE = "... month" under [covariates]'),
        ({"WT": 7}, "NOTE", "NOTE", "no value", "uses", 'add NOTE = "..." under'),
        ({"WT": 7}, "BSA", "BSA", "no value of BSA", "in the fit's data it is haycock(WT, HT)",
         "or what it is computed from"),
        ({"WEIGHT": 7}, "WT", "WEIGHT", "the unknown covariate WEIGHT", "AGE, WT, HT", "remove"),
        ({"WTT": 7}, "WT", "WTT", "the unknown covariate WTT", "AGE, WT, HT", "did you mean 'WT'?"),
        ({"WT": "7 cm"}, "WT", "WT", "'7 cm'", "converted to kg", 'write WT = "... kg"'),
        ({"WT": "seven"}, "WT", "WT", "'seven'", "converted to kg", 'write WT = "... kg"'),
        ({"NOTE": "4 kg"}, "WT", "NOTE", "'4 kg'", "a plain number", "leave the unit out"),
        ({"SEX": "male"}, "SEX", "SEX", "'male'", "one of girl, boy", "write SEX = 'girl'"),
        ({"WT": 0, "HT": 65}, "BSA", "WT", "0", "above 0, from which BSA", "correct"),
        ({"WT": "7 kg", "HT": "-65 cm"}, "BSA", "HT", "'-65 cm'", "above 0", "correct"),
    ],
)  # fmt: skip
def test_bad_input(like, covariates, needs, key, found, expected, cure):
    with pytest.raises(PopkError) as caught:
        patient_covariates(written(**covariates), like, needing(needs))
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == ("patient.toml", f"covariates.{key}")
    assert found in problem.found
    assert expected in problem.expected
    assert cure in problem.cure


def test_every_fault_is_named(like):
    with pytest.raises(PopkError) as caught:
        patient_covariates(written(WT="7 cm", AGE="3 kg"), like, needing("BSA"))
    assert [p.key for p in caught.value.problems] == ["covariates.WT", "covariates.AGE"]
    with pytest.raises(PopkError) as caught:
        patient_covariates(written(), like, needing("BSA", "PMA"))
    assert [p.key for p in caught.value.problems] == ["covariates.BSA", "covariates.PMA"]
