"""Regimens in numbers: who is given what and when, and the records that say so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.data.cohort import cohort
from popk.data.dataset import PER_RECORD, ItemUnits
from popk.data.regimens import Schedule, scheduled, with_doses
from popk.spec.problem import PopkError
from popk.spec.regimen import Band, bolus, infusion, pause, read_regimen

SIZES = {
    "WT": np.array([[5.0, 6.0, 8.0], [50.0, 44.0, 46.0]]),
    "BSA": np.array([[0.3, 0.35, 0.4], [1.5, 1.4, 1.45]]),
    "AGE": np.array([[1.0, 6.0, 7.0], [150.0, 155.0, 156.0]]),
}
UNITS = {"WT": "kg", "BSA": "m^2", "AGE": "month"}
KNOTS = [0.0, 240.0, 312.0]


def subjects(**changes):
    return cohort(SIZES, UNITS, **({"time": KNOTS} | changes))


def test_the_published_interruption_by_hand():
    found = scheduled(read_regimen("interruption"), subjects())
    np.testing.assert_allclose(found.start, [0, 288, 336], rtol=1e-14)
    np.testing.assert_allclose(found.duration, [240, 48, 336], rtol=1e-14)
    # body size at the last record: 0 h, 240 h, 312 h
    rates = [
        [0.3 * 15 / 24, 0.35 * 5 / 24, 0.4 * 15 / 24],
        [1.5 * 15 / 24, 1.4 * 5 / 24, 1.45 * 15 / 24],
    ]
    np.testing.assert_allclose(found.size, rates, rtol=1e-14)


def test_doses_computed_once_go_by_the_size_at_the_start():
    once = read_regimen("interruption").model_copy(update={"recalculated": False})
    found = scheduled(once, subjects(), start=239.0)
    np.testing.assert_allclose(found.start, [239, 527, 575], rtol=1e-14)
    np.testing.assert_allclose(found.size[0], np.array([15, 5, 15]) / 24 * 0.3, rtol=1e-14)
    later = scheduled(once, subjects(), start=240.0)
    np.testing.assert_allclose(later.size[0], np.array([15, 5, 15]) / 24 * 0.35, rtol=1e-14)


def test_before_the_first_record_the_first_holds():
    found = scheduled(bolus("1 mg/kg"), subjects(time=[5.0, 6.0, 7.0]), start=-3.0)
    np.testing.assert_allclose(found.size[:, 0], [5000, 50000])


BAND = (Band(dose="15 ug/m^2/day", below="45 kg"), Band(dose="28 ug/day"))


@pytest.mark.parametrize(
    ("regimen", "start", "expected"),
    [
        (infusion(BAND, "1 day", cap="28 ug/day"), 0.0, [4.5, 28]),
        (infusion(BAND, "1 day"), 240.0, [5.25, 21]),
        (infusion(BAND, "1 day"), 312.0, [6, 28]),
        (infusion("15 ug/m^2/day", "1 day", cap="20 ug/day"), 0.0, [4.5, 20]),
        (infusion("28 ug/day", "1 day"), 0.0, [28, 28]),
        # below 6 months means less than 6 months
        (infusion((Band(dose="5 ug/day", below="6 month"), Band(dose="9 ug/day")), "1 day"),
         240.0, [9, 9]),
        (infusion((Band(dose="5 ug/day", below="0.5 m^2"), Band(dose="9 ug/kg/day")), "1 day"),
         0.0, [5, 450]),
        (infusion((Band(dose="1 ug/day", below="2 kg"), Band(dose="2 ug/day", below="10 kg"),
                   Band(dose="3 ug/day", below="60 kg"), Band(dose="4 ug/day")), "1 day"),
         0.0, [2, 3]),
    ],
)  # fmt: skip
def test_caps_and_bands_by_hand(regimen, start, expected):
    """Rates in µg/day."""
    found = scheduled(regimen, subjects(), start=start)
    np.testing.assert_allclose(found.size[:, 0] * 24, expected, rtol=1e-14)


def test_a_bolus_in_other_units():
    other = subjects(units=ItemUnits("day", "mg", "mg/L"), time=[0.0, 10.0, 13.0])
    regimen = pause("36 h").then(bolus("10 mg/kg", cap="100 mg"), infusion("7 ug/kg/h", "12 h"))
    found = scheduled(regimen, other)
    np.testing.assert_allclose(found.start, [1.5, 1.5])
    np.testing.assert_allclose(found.duration, [0, 0.5])
    np.testing.assert_allclose(found.size, [[50, 0.84], [100, 8.4]], rtol=1e-14)
    undeclared = scheduled(regimen, subjects(units=ItemUnits(None, None, None)))
    np.testing.assert_allclose(undeclared.start, [36, 36])
    np.testing.assert_allclose(undeclared.size[0], [50_000, 35], rtol=1e-14)


def test_covariates_in_other_units():
    grams = cohort({"WT": np.array([[7200.0]])}, {"WT": "g"})
    found = scheduled(infusion("1 ug/kg/h", "1 day"), grams)
    np.testing.assert_allclose(found.size, [[7.2]], rtol=1e-14)


def test_the_same_for_all_takes_no_memory():
    many = cohort({"WT": np.full((100_000, 1), 6.0)}, {"WT": "kg"})
    schedule = scheduled(read_regimen("fixed").repeat(3), many)
    assert schedule.size.shape == (100_000, 3)
    assert schedule.size.strides[0] == 0
    dosed = with_doses(many, schedule)
    for name in PER_RECORD:
        assert getattr(dosed, name).strides[0] == 0
    assert dosed.covariates["WT"].strides[1] == 0


def test_a_regimen_of_pauses_gives_nothing():
    schedule = scheduled(pause("3 day"), subjects())
    assert schedule.size.shape == (2, 0)
    np.testing.assert_array_equal(with_doses(subjects(), schedule).time, subjects().time)


ITEMS = ItemUnits("h", "ug", "pg/mL")


def refused(regimen, covariates=SIZES, units=UNITS, items=ITEMS):
    people = cohort(covariates, units, time=KNOTS, units=items)
    with pytest.raises(PopkError) as caught:
        scheduled(regimen, people)
    for problem in caught.value.problems:
        assert problem.file == "virtual subjects"
        assert problem.expected
        assert problem.cure
    return caught.value.problems


def test_a_dose_per_kg_where_no_weight_is_known():
    (problem,) = refused(infusion("1 ug/kg/h", "1 day"), {"BSA": SIZES["BSA"]}, {"BSA": "m^2"})
    assert problem.key == "WT"
    assert problem.found == "a dose of 1 ug/kg/h, and no covariate WT; known are: BSA"
    assert '[columns] WT = {covariate = true, unit = "kg"}' in problem.cure


def test_all_that_is_missing_at_once():
    bands = (Band(dose="15 ug/m^2/day", below="6 month"), Band(dose="28 ug/kg/day"))
    problems = refused(infusion(bands, "1 day"), {"WT": SIZES["WT"]}, {"WT": None})
    assert [problem.key for problem in problems] == ["BSA", "AGE", "WT"]
    assert problems[1].found.startswith("a dose for those below 6 month, and no covariate AGE")
    assert problems[2].found == "a dose of 28 ug/kg/day, and WT in no declared unit"
    assert "haycock" in problems[0].cure


def test_units_that_are_none_of_body_size():
    (problem,) = refused(bolus("1 mg/kg"), SIZES, UNITS | {"WT": "cm"})
    assert (problem.key, problem.found) == ("WT", "a dose of 1 mg/kg, and WT in cm")
    assert problem.expected == "a unit that can be converted to kg"


def test_body_sizes_of_nothing():
    weights = SIZES | {"WT": np.array([[5.0, 6.0, 8.0], [50.0, 0.0, 46.0]])}
    (problem,) = refused(bolus("1 mg/kg"), weights)
    assert problem.subject == "2"
    assert problem.found == "a dose of 1 mg/kg, and WT = 0 (in 1 of 2 subjects)"
    assert problem.expected == "a WT above 0"
    # at birth age is 0
    ages = SIZES | {"AGE": np.zeros((2, 3))}
    bands = (Band(dose="1 mg", below="6 month"), Band(dose="2 mg"))
    people = cohort(ages, UNITS, time=KNOTS)
    np.testing.assert_array_equal(scheduled(bolus(bands), people).size, [[1000], [1000]])


def test_amounts_that_are_no_mass():
    (problem,) = refused(bolus("1 mg"), items=ItemUnits("h", "umol", "umol/L"))
    assert (problem.key, problem.found) == ("AMT", "amounts in umol")
    assert "mass" in problem.expected


def merged_by_hand(knots, starts, nocb):
    """Time, EVID and the number of the record whose covariates hold, record by record."""
    rows = [(time, 2, number) for number, time in enumerate(knots)]
    for start in starts:
        place = sum(row[0] <= start for row in rows)
        own = [row for row in rows if row[1] == 2]
        reached = [row for row in own if row[0] <= start]
        following = [row for row in own if row[0] > start]
        here = bool(reached) and reached[-1][0] == start
        take = following[:1] if nocb and following and not here else reached[-1:] or following[:1]
        rows.insert(place, (start, 1, take[0][2]))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


TIME = st.integers(-3, 12).map(float)


@given(
    st.lists(TIME, min_size=1, max_size=4, unique=True).map(sorted),
    st.lists(TIME, max_size=5).map(sorted),
    st.booleans(),
)
def test_doses_between_the_records_of_a_cohort(knots, starts, nocb):
    values = np.arange(2.0 * len(knots)).reshape(2, -1)
    people = cohort({"WT": values}, {"WT": "kg"}, time=knots,
                    interpolation="nocb" if nocb else "locf")  # fmt: skip
    duration = np.arange(len(starts)) % 3.0  # boluses among them
    size = 1.0 + np.arange(2.0 * len(starts)).reshape(2, -1)
    dosed = with_doses(people, Schedule(np.array(starts), duration, size))
    time, evid, own = merged_by_hand(knots, starts, nocb)
    given_ = evid == 1
    np.testing.assert_array_equal(dosed.time, [time, time])
    np.testing.assert_array_equal(dosed.evid, [evid, evid])
    np.testing.assert_array_equal(dosed.covariates["WT"], values[:, own])
    infused = duration > 0
    np.testing.assert_array_equal(dosed.amount[:, given_], np.where(infused, size * duration, size))
    np.testing.assert_array_equal(dosed.rate[:, given_], np.where(infused, size, 0.0))
    assert (dosed.amount[:, ~given_] == 0).all()
    assert dosed.mask.all()
    assert not dosed.observed.any()
    assert np.isnan(dosed.dv).all()
    for name in PER_RECORD:
        array = getattr(dosed, name)
        assert array.shape == dosed.time.shape
        assert array.dtype == getattr(people, name).dtype


def test_a_dose_at_a_time_but_for_rounding():
    people = cohort({"WT": np.array([[5.0, 6.0]])}, {"WT": "kg"}, time=[0.3, 1.0])
    start = np.array([0.1 + 0.2, np.nextafter(1.0, 0.0)])
    dosed = with_doses(people, Schedule(start, np.zeros(2), np.ones((1, 2))))
    np.testing.assert_array_equal(dosed.evid, [[2, 1, 2, 1]])
    np.testing.assert_array_equal(dosed.covariates["WT"], [[5, 5, 6, 6]])
    assert (np.diff(dosed.time) >= 0).all()


def test_records_at_different_times_are_refused(read):
    data = read("ID,TIME,AMT,DV\n1,0,5,.\n1,2,.,3\n2,0,5,.\n2,1,.,3\n")
    schedule = Schedule(np.zeros(1), np.zeros(1), np.ones((2, 1)))
    with pytest.raises(ValueError, match="records at different times"):
        with_doses(data, schedule)
