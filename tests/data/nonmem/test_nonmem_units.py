import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from popk.data.body_size import FORMULAS, body_surface_area
from popk.spec.fit import Column

DOSED = """
ID,TIME,AMT,RATE,DV,II,ADDL,CENS,LIMIT
1,0,24,1,.,1,2,0,.
1,3,0,0,5,0,0,-1,8
1,4,0,0,2,0,0,0,.
"""


def with_units(**units: str) -> dict[str, dict[str, str]]:
    return {name: {"unit": unit} for name, unit in units.items()}


def test_items_end_in_the_unit_of_the_leading_item(read):
    data = read(
        DOSED,
        columns=with_units(TIME="h", AMT="mg", RATE="g/day", DV="ng/mL", II="day", LIMIT="ug/mL"),
    )
    assert (data.units.time, data.units.amount, data.units.concentration) == ("h", "mg", "ng/mL")
    assert data.interval[0, 0] == 24
    assert data.rate[0, 0] == pytest.approx(1000 / 24)
    assert (data.lower[0, 1], data.upper[0, 1]) == (5, 8000)
    assert data.time[0].tolist() == [0, 3, 4]
    assert data.amount[0, 0] == 24


def test_items_without_a_unit_are_in_that_of_the_leading_item(read):
    data = read(DOSED, columns=with_units(TIME="day", AMT="ug", DV="pg/mL"))
    assert data.interval[0, 0] == 1
    assert data.rate[0, 0] == 1
    assert data.upper[0, 1] == 8


def test_duration_is_compared_in_the_unit_of_time(read):
    text = "ID,TIME,AMT,RATE,DUR,DV\n1,0,10,20,30,.\n1,1,0,0,0,1\n"
    data = read(text, columns=with_units(TIME="h", DUR="min"))
    assert data.rate[0, 0] == 20


def test_rate_from_duration_is_in_the_unit_of_time(read):
    text = "ID,TIME,AMT,DUR,DV\n1,0,10,30,.\n1,1,0,0,1\n"
    assert read(text, columns=with_units(TIME="h", DUR="min")).rate[0, 0] == pytest.approx(20)


@pytest.mark.parametrize(
    ("units", "key"),
    [
        ({"II": "day"}, "columns.II.unit"),
        ({"RATE": "mg/h", "TIME": "h"}, "columns.RATE.unit"),
        ({"RATE": "mg/h", "AMT": "mg"}, "columns.RATE.unit"),
        ({"LIMIT": "ng/mL"}, "columns.LIMIT.unit"),
        ({"TIME": "mg"}, "columns.TIME.unit"),
        ({"TIME": "h", "II": "kg"}, "columns.II.unit"),
        ({"TIME": "h", "AMT": "mg", "RATE": "mg"}, "columns.RATE.unit"),
        ({"DV": "ng/mL", "LIMIT": "ng"}, "columns.LIMIT.unit"),
        ({"AMT": "mg", "DV": "nmol/L"}, "columns.DV.unit"),
        ({"AMT": "mg", "DV": "mg"}, "columns.DV.unit"),
        ({"ADDL": "h"}, "columns.ADDL.unit"),
    ],
)
def test_units_that_cannot_be_brought_together(faults, units, key):
    assert [problem.key for problem in faults(DOSED, columns=with_units(**units))] == [key]


def test_unknown_unit_is_refused_by_the_specification():
    with pytest.raises(ValidationError, match="unknown unit 'hourz'"):
        Column(unit="hourz")


def test_assay_limit_needs_a_unit_of_dv(faults):
    problems = faults(
        "ID,TIME,AMT,DV,BLQ\n1,0,1,.,0\n1,1,0,5,0\n1,1,0,5,1\n", assay={"lloq": "50 pg/mL"}
    )
    assert problems[0].key == "assay.lloq"
    assert "not declared" in problems[0].expected


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["h", "min", "day", "week"]), st.sampled_from(["h", "min", "day"]))
def test_converting_there_and_back(read, time, interval):
    data = read(DOSED, columns=with_units(TIME=time, II=interval))
    back = read(
        DOSED.replace(".,1,2", f".,{float(data.interval[0, 0])!r},2"),
        columns=with_units(TIME=time, II=time),
    )
    assert back.interval[0, 0] == data.interval[0, 0]


# --- date-times -----------------------------------------------------------------------------


def test_datetimes_become_hours_since_the_first_record(read):
    data = read(
        """
        ID,TIME,AMT,DV,II,ADDL
        1,2024-02-28T23:30,5,.,1,1
        1,2024-03-01 00:00:36,0,3,0,0
        2,2030-01-01T00:00,5,.,0,0
        2,2030-01-01T12:00,0,3,0,0
        """,
        columns=with_units(II="day"),
    )
    np.testing.assert_allclose(data.time, [[0, 24.51], [0, 12]])
    assert data.units.time == "h"
    assert data.interval[0, 0] == 24


def test_datetimes_with_offsets(read):
    data = read(
        "ID,TIME,AMT,DV\n1,2024-03-31T01:30+01:00,5,.\n1,2024-03-31T03:30+02:00,0,3\n",
        columns=with_units(TIME="h"),
    )
    assert data.time.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "cell", ["5", "2024-03-01", "2024-13-01T08:00", "08:30", "2024-03-01T08:00Z", "noon"]
)
def test_all_rows_must_be_datetimes_of_one_kind(faults, cell):
    (problem,) = faults(f"ID,TIME,AMT,DV\n1,2024-02-28T23:30,5,.\n1,{cell},0,3\n")
    assert (problem.line, problem.subject, problem.key) == (3, "1", "TIME")
    assert cell in problem.found


def test_datetimes_have_no_other_unit_than_hours(faults):
    text = "ID,TIME,AMT,DV\n1,2024-02-28T23:30,5,.\n1,2024-02-29T23:30,0,3\n"
    assert [p.key for p in faults(text, columns=with_units(TIME="day"))] == ["columns.TIME.unit"]


@pytest.mark.parametrize("clock", ["08:30", "8:30:15"])
def test_clock_times_are_refused(faults, clock):
    (problem,) = faults(f"ID,TIME,AMT,DV\n1,0,5,.\n1,{clock},0,3\n")
    assert (problem.line, problem.key) == (3, "TIME")
    assert "which day" in problem.cure


# --- derived covariates ---------------------------------------------------------------------

SIZED = """
ID,TIME,AMT,DV,WT,HT,AGE,GA
1,0,5,.,7200,0.65,6,32
1,1,0,3,8200,0.68,7,32
"""
SIZES = {
    "WT": {"covariate": True, "unit": "g"},
    "HT": {"covariate": True, "unit": "m"},
    "AGE": {"covariate": True, "unit": "month"},
    "GA": {"covariate": True, "unit": "week"},
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_body_surface_area(read, formula):
    data = read(SIZED, columns=SIZES, derived={"BSA": {"formula": formula}})
    expected = body_surface_area(np.array([7.2, 8.2]), np.array([65.0, 68.0]), formula)
    np.testing.assert_allclose(data.covariates["BSA"][0], expected)
    assert data.covariate_units["BSA"] == "m^2"
    assert data.covariate_units["WT"] == "g"
    assert data.covariates["WT"].tolist() == [[7200, 8200]]
    assert data.derived == {"BSA": f"{formula}(WT, HT)"}


@pytest.mark.parametrize(("gestation", "weeks"), [("GA", 32), ("280 day", 40)])
def test_postmenstrual_age(read, gestation, weeks):
    data = read(
        SIZED,
        columns=SIZES,
        derived={"PMA": {"formula": "postmenstrual_age", "gestation": gestation}},
    )
    postnatal = np.array([6, 7]) * 365.25 / 12 / 7
    np.testing.assert_allclose(data.covariates["PMA"], [postnatal + weeks])
    assert data.covariate_units["PMA"] == "week"


@pytest.mark.parametrize(
    ("columns", "derived", "key"),
    [
        ({}, {"BSA": {"formula": "boyd"}}, "derived.BSA.weight"),
        ({"WT": {"covariate": True}}, {"BSA": {"formula": "boyd"}}, "derived.BSA.weight"),
        ({}, {"BSA": {"formula": "boyd", "height": "GA"}}, "derived.BSA.height"),
        ({}, {"BSA": {"formula": "boyd", "height": "LEN"}}, "derived.BSA.height"),
        ({}, {"WT": {"formula": "boyd"}}, "derived.WT"),
        ({}, {"P": {"formula": "postmenstrual_age", "gestation": "GE"}}, "derived.P.gestation"),
        ({}, {"P": {"formula": "postmenstrual_age", "gestation": "40 kg"}}, "derived.P.gestation"),
        ({}, {"P": {"formula": "postmenstrual_age", "age": "WT"}}, "derived.P.age"),
    ],
)
def test_derived_covariates_that_cannot_be_computed(faults, columns, derived, key):
    weight = {} if key == "derived.BSA.weight" else {"WT": SIZES["WT"]}
    others = {name: SIZES[name] for name in ("HT", "AGE", "GA")}
    problems = faults(SIZED, columns={**others, **weight, **columns}, derived=derived)
    assert [problem.key for problem in problems] == [key]


def test_body_surface_area_of_nobody(faults):
    (problem,) = faults(
        SIZED.replace("8200", "0"), columns=SIZES, derived={"BSA": {"formula": "haycock"}}
    )
    assert (problem.line, problem.key, problem.found) == (3, "WT", "WT = 0")
