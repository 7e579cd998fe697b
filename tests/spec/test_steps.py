"""Doses, durations, bands and caps of the steps: what is read, and what is refused."""

import pytest
from pydantic import ValidationError

from popk.spec.steps import Band, Bolus, Infusion, Pause, dose_in, duration_in
from popk.spec.units import UnitError


@pytest.mark.parametrize(
    ("dose", "amount", "time", "number", "per"),
    [
        ("15 ug/m^2/day", "ug", "h", 15 / 24, "BSA"),
        ("28 ug/day", "ug", "h", 28 / 24, None),
        ("1 ug/kg/h", "mg", "day", 0.024, "WT"),
        ("2 ug*kg^-1*min^-1", "ug", "h", 120.0, "WT"),
        ("10 mg/kg", "mg", None, 10.0, "WT"),
        ("10 ug/g", "mg", None, 10.0, "WT"),
        ("5 mg/m^2", "ug", None, 5000.0, "BSA"),
        ("0.5 g", "mg", None, 500.0, None),
    ],
)
def test_a_dose_in_units(dose, amount, time, number, per):
    value, by = dose_in(dose, amount, time)
    assert value == pytest.approx(number, rel=1e-14)
    assert by == per


@pytest.mark.parametrize(
    ("dose", "time"),
    [
        ("15 ug/m^2", "h"),
        ("15 ug/m^2/day", None),
        ("15 ug/day", None),
        ("10", None),
        ("10 %", None),  # mass per mass cancels, but a bare number is no dose
        ("1 1/h", "h"),
        ("1 ug/kg/m^2/h", "h"),
        ("1 ug/cm/h", "h"),
        ("3 mL/h", "h"),
        ("3 umol/h", "h"),
    ],
)
def test_other_units_are_no_doses(dose, time):
    with pytest.raises(UnitError):
        dose_in(dose, "ug", time)


def test_durations():
    assert duration_in(Infusion(dose="1 ug/h", duration="28 day"), "h") == 672.0
    assert duration_in(Pause(duration="90 min"), "h") == 1.5
    assert duration_in(Bolus(dose="1 mg"), "h") == 0.0


@pytest.mark.parametrize(
    ("below", "covariate", "limit"),
    [
        ("45 kg", "WT", 45.0),
        ("4500 g", "WT", 4.5),
        ("0.6 m^2", "BSA", 0.6),
        ("6 month", "AGE", 6.0),
        ("0.5 year", "AGE", 6.0),
    ],
)
def test_a_limit_names_its_covariate(below, covariate, limit):
    found = Band(dose="1 ug/h", below=below).limit
    assert found is not None
    assert found[0] == covariate
    assert found[1] == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("below", ["45", "45 cm", "-1 kg", "0 month", "young"])
def test_limits_that_are_none(below):
    with pytest.raises(ValidationError, match="'45 kg'"):
        Band(dose="1 ug/h", below=below)


OTHERS = {"dose": "28 ug/day"}


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        ([], "a last one without it for all others"),
        ([{"dose": "1 ug/h", "below": "5 kg"}], "a last one without it for all others"),
        ([OTHERS, OTHERS], "bands that each have a limit"),
        ([OTHERS, {"dose": "1 ug/h", "below": "5 kg"}], "a last one without it"),
        ([{"dose": "1 ug/h", "below": "5 kg"}, {"dose": "2 ug/h", "below": "6 month"}, OTHERS],
         "limits of one covariate"),
        ([{"dose": "1 ug/h", "below": "5 kg"}, {"dose": "2 ug/h", "below": "5000 g"}, OTHERS],
         "limits that rise"),
        ([{"dose": "1 ug/h", "below": "9 kg"}, {"dose": "2 ug/h", "below": "5 kg"}, OTHERS],
         "limits that rise"),
        ([{"dose": "1 ug", "below": "9 kg"}, OTHERS], "an amount per time such as"),
        ([{"dose": "0 ug/h", "below": "9 kg"}, OTHERS], "a finite dose above 0"),
    ],
)  # fmt: skip
def test_bands_leave_nobody_out_and_are_told_apart(bands, said):
    with pytest.raises(ValidationError, match=said):
        Infusion(dose=tuple(bands), duration="1 day")


def test_caps_are_for_everybody():
    assert Infusion(dose="15 ug/m^2/day", duration="1 day", cap="28 ug/day").cap == "28 ug/day"
    assert Bolus(dose="10 mg/kg", cap="100 mg").cap == "100 mg"
    for kind, cap in ((Infusion, "28 ug/m^2/day"), (Bolus, "1 mg/kg")):
        more = {"duration": "1 day"} if kind is Infusion else {}
        dose = "15 ug/m^2/day" if kind is Infusion else "10 mg/kg"
        with pytest.raises(ValidationError, match="one cap for everybody"):
            kind(dose=dose, cap=cap, **more)
    with pytest.raises(ValidationError, match="an amount per time is an infusion"):
        Bolus(dose="10 mg/kg", cap="28 ug/day")


def test_steps_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Pause(duration="1 day").duration = "2 day"
