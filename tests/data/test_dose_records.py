"""From dose records to regimens and back, and from data sets to files and back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from popk.data.cohort import cohort
from popk.data.dataset import PER_RECORD, of_subjects
from popk.data.nonmem.read import read_data
from popk.data.regimens import record_table, regimens_of, scheduled, with_doses
from popk.spec.fit import DataSpec, read_fit
from popk.spec.problem import PopkError
from popk.spec.regimen import Bolus, Infusion, Pause, bolus, infusion, pause, read_regimen

FITS = Path(__file__).parents[2] / "fits"
DATA = ("blinatumomab-infants", "phenobarb-neonates")


def shipped(name):
    spec = read_fit(FITS / name)
    return read_data(FITS / name / spec.data, spec)


def doses_of(data, subject):
    """[dose] time, duration and size (rate or amount) of a subject's dose records."""
    dose = data.evid[subject] == 1
    time, amount, rate = (a[subject, dose] for a in (data.time, data.amount, data.rate))
    infused = rate > 0
    return time, np.where(infused, amount / np.where(infused, rate, 1), 0), np.where(
        infused, rate, amount
    )  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_the_doses_of_real_files_come_back(name):
    data = shipped(name)
    regimens = regimens_of(data)
    assert [regimen.name for regimen in regimens] == list(data.ids)
    for subject, regimen in enumerate(regimens):
        schedule = scheduled(regimen, of_subjects(data, np.array([subject])))
        time, duration, size = doses_of(data, subject)
        np.testing.assert_allclose(schedule.start, time, rtol=1e-12)
        np.testing.assert_allclose(schedule.duration, duration, rtol=1e-12)
        np.testing.assert_allclose(schedule.size[0], size, rtol=1e-12)


def test_the_interrupted_infant_of_the_synthetic_data():
    regimen = regimens_of(shipped("blinatumomab-infants"))[4]
    published = read_regimen("interruption")
    lasting = [type(step) for step in published.steps]
    assert (
        [type(step) for step in regimen.steps] == lasting == [Infusion, Pause, Infusion, Infusion]
    )
    assert regimen.steps[1] == Pause(duration="48 h")
    assert regimen.length("day") == pytest.approx(published.length("day"), rel=1e-12)


@pytest.mark.parametrize("name", DATA)
def test_a_real_file_written_and_read_again(name, tmp_path):
    data = shipped(name)
    path = tmp_path / "again.csv"
    record_table(data).to_csv(path, index=False)
    again = read_data(path, spec_of(data))
    assert again.ids == data.ids
    for item in (item for item in PER_RECORD if item != "line"):
        np.testing.assert_array_equal(getattr(again, item), getattr(data, item), err_msg=item)
    for covariate, values in data.covariates.items():
        np.testing.assert_array_equal(again.covariates[covariate], values)


def spec_of(data):
    """How to read the written table: derived covariates stand in it as columns."""
    units = {"TIME": data.units.time, "AMT": data.units.amount, "DV": data.units.concentration}
    columns = {item: {"unit": unit} for item, unit in units.items()}
    for name, unit in data.covariate_units.items():
        levels = data.levels.get(name, ())
        columns[name] = {"covariate": True, "unit": unit, "levels": levels}
    return DataSpec.model_validate({"columns": columns, "interpolation": data.interpolation})


def test_a_cohort_with_doses_written_and_read_again(tmp_path):
    people = cohort(
        {"WT": np.array([[5.0, 6.1], [7.0, 8.3]]), "SEX": np.array([[0.0, 0.0], [1.0, 1.0]])},
        {"WT": "kg", "SEX": None},
        time=[0.0, 100.0],
        levels={"SEX": ("female", "male")},
    )
    regimen = infusion("1 ug/kg/h", "37 h").then(pause("0.1 day"), bolus("3 ug/kg")).repeat(3)
    dosed = with_doses(people, scheduled(regimen, people))
    table = record_table(dosed)
    assert list(table) == ["ID", "TIME", "EVID", "MDV", "AMT", "RATE", "DV", "WT", "SEX"]
    assert set(table["SEX"]) == {"female", "male"}
    path = tmp_path / "cohort.csv"
    # A file to be fitted has observations
    seen = table.assign(
        EVID=np.where(table["EVID"] == 2, 0, 1), MDV=(table["EVID"] != 2).astype(int), DV=np.where(
            table["EVID"] == 2, 1.0, np.nan))  # fmt: skip
    seen.to_csv(path, index=False)
    again = read_data(path, spec_of(dosed))
    for name in ("time", "amount", "rate", "ss", "addl", "interval", "mask"):
        np.testing.assert_array_equal(getattr(again, name), getattr(dosed, name), err_msg=name)
    for name, values in dosed.covariates.items():
        np.testing.assert_array_equal(again.covariates[name], values)


EXTRA = """
    ID,TIME,EVID,MDV,AMT,RATE,ADDL,II,SS,DV,CENS,LIMIT
    1,0,1,1,5,0,3,12,0,.,0,.
    1,1,0,0,.,.,.,.,.,3,0,.
    1,2,0,0,.,.,.,.,.,2,1,.
    1,3,0,0,.,.,.,.,.,2,1,1
    1,4,0,0,.,.,.,.,.,9,-1,.
    1,5,0,0,.,.,.,.,.,9,-1,11
    2,0,1,1,5,2,0,8,1,.,0,.
    2,1,0,1,.,.,.,.,.,3,0,.
    2,2,2,1,.,.,.,.,.,.,0,.
    """


def test_repeated_doses_steady_states_and_limits_written_and_read_again(read, tmp_path):
    data = read(EXTRA)
    path = tmp_path / "again.csv"
    table = record_table(data)
    table.to_csv(path, index=False)
    again = read_data(path)
    for item in (item for item in PER_RECORD if item != "line"):
        np.testing.assert_array_equal(getattr(again, item), getattr(data, item), err_msg=item)


TIME = st.integers(0, 400).map(lambda n: n / 8)
AMOUNT = st.floats(1e-3, 1e3)
DOSE = st.fixed_dictionaries(
    {
        "time": TIME,
        "amount": AMOUNT,
        "duration": st.sampled_from([0.0, 0.0, 0.125, 1.0, 2.5, 30.0]),
        "addl": st.sampled_from([0, 0, 0, 1, 4]),
        "interval": st.sampled_from([0.5, 6.0, 12.0]),
    }
)


def one_subject(doses):
    """A data set of these doses, in order of time."""
    rows = sorted(doses, key=lambda dose: dose["time"])
    people = cohort({"WT": np.full((1, len(rows)), 5.0)}, {"WT": "kg"},
                    time=np.arange(float(len(rows))))  # fmt: skip
    amount = np.array([[row["amount"] for row in rows]])
    duration = np.array([[row["duration"] for row in rows]])
    rate = np.divide(amount, duration, out=np.zeros_like(amount), where=duration > 0)
    return replace(
        people,
        time=np.array([[row["time"] for row in rows]]),
        evid=np.ones((1, len(rows)), dtype=int),
        amount=amount,
        rate=rate,
        addl=np.array([[row["addl"] for row in rows]]),
        interval=np.array([[row["interval"] if row["addl"] else 0.0 for row in rows]]),
    )


def given_by(time, starts, durations, sizes):
    """[time] amount that has been given by each time."""
    since = np.asarray(time)[:, None] - np.asarray(starts)
    durations = np.asarray(durations)
    part = np.where(durations > 0, np.clip(since, 0, durations), since >= 0)
    return part @ np.asarray(sizes)


@given(st.lists(DOSE, min_size=1, max_size=6))
def test_random_histories_give_the_same_amounts_at_all_times(doses):
    data = one_subject(doses)
    (regimen,) = regimens_of(data)
    schedule = scheduled(regimen, data)
    starts, durations, sizes = [], [], []
    for dose in doses:
        for number in range(dose["addl"] + 1):
            starts.append(dose["time"] + number * dose["interval"])
            durations.append(dose["duration"])
            sizes.append(dose["amount"] / (dose["duration"] or 1.0))
    turns = np.unique(np.concatenate([starts, np.add(starts, durations), [-1.0, 1e3]]))
    assume(np.diff(turns).min() > 1e-3)  # the eighth hours of the times stay apart
    between = (turns[:-1] + turns[1:]) / 2
    expected = given_by(between, starts, durations, sizes)
    found = given_by(between, schedule.start, schedule.duration, schedule.size[0])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * expected.max())
    # one after the other: the last may only touch
    ends = schedule.start + schedule.duration
    assert (schedule.start[1:] >= ends[:-1] - 1e-9).all()
    assert regimen.length("h") == pytest.approx(np.add(starts, durations).max(), rel=1e-12)


@given(st.lists(DOSE, min_size=1, max_size=6))
def test_doses_that_do_not_overlap_come_back_one_by_one(doses):
    doses = sorted(({**dose, "addl": 0} for dose in doses), key=lambda dose: dose["time"])
    ends = [dose["time"] + dose["duration"] for dose in doses]
    assume(all(end <= later["time"] for end, later in zip(ends, doses[1:], strict=False)))
    data = one_subject(doses)
    schedule = scheduled(regimens_of(data)[0], data)
    time, duration, size = doses_of(data, 0)
    np.testing.assert_allclose(schedule.start, time, rtol=1e-12)
    np.testing.assert_allclose(schedule.duration, duration, rtol=1e-12)
    np.testing.assert_allclose(schedule.size[0], size, rtol=1e-12)


def test_overlapping_infusions_add_up(read):
    (regimen,) = regimens_of(
        read(
            """
            ID,TIME,AMT,RATE,DV
            1,0,10,1,.
            1,4,12,2,.
            1,5,7,0,.
            1,12,.,.,3
            """
        )
    )
    assert [step.model_dump(exclude_none=True) for step in regimen.steps] == [
        {"dose": "1 ug/h", "duration": "4 h"},
        {"dose": "3 ug/h", "duration": "1 h"},
        {"dose": "7 ug"},
        {"dose": "3 ug/h", "duration": "5 h"},
    ]


def test_an_infusion_too_short_for_the_clock_is_a_bolus(read):
    data = read("ID,TIME,AMT,RATE,DV\n1,1000,5,1e9,.\n1,1001,.,.,3\n")
    (regimen,) = regimens_of(data)
    assert regimen.steps == (Pause(duration="1000 h"), Bolus(dose="5 ug"))


def test_ends_and_starts_that_differ_by_rounding_touch(read):
    # 0.3 / 0.1 is 2.9999999999999996
    data = read("ID,TIME,AMT,RATE,DV\n1,0,0.3,0.1,.\n1,3,1,1,.\n1,4,.,.,3\n")
    (regimen,) = regimens_of(data)
    assert [type(step) for step in regimen.steps] == [Infusion, Infusion]
    assert scheduled(regimen, data).start[1] == pytest.approx(3.0, rel=1e-12)


def test_short_infusions_late_keep_their_duration(read):
    """5000.1 - 5000 is 0.1 to 12 digits only."""
    data = read("ID,TIME,AMT,RATE,DV\n1,5000,0.1,1,.\n1,6000,0.1,1,.\n1,6001,.,.,3\n")
    schedule = scheduled(regimens_of(data)[0], data)
    np.testing.assert_array_equal(schedule.duration, [0.1, 0.1])
    np.testing.assert_allclose(schedule.start, [5000, 6000], rtol=1e-15)


@pytest.mark.parametrize(
    ("rows", "key", "found", "line"),
    [
        ("1,0,1,1,5,0,0,0,0,.\n1,9,3,1,.,.,.,.,.,.\n1,9,0,0,.,.,.,.,.,1", "EVID", "a reset", 3),
        ("1,0,1,1,5,0,0,8,1,.\n1,9,0,0,.,.,.,.,.,1", "SS", "a dose at steady state", 2),
        ("1,-2,1,1,5,0,0,0,0,.\n1,9,0,0,.,.,.,.,.,1", "TIME", "a dose at -2", 2),
    ],
)
def test_what_is_no_regimen(read, rows, key, found, line):
    data = read("ID,TIME,EVID,MDV,AMT,RATE,ADDL,II,SS,DV\n" + rows + "\n")
    with pytest.raises(PopkError) as caught:
        regimens_of(data)
    (problem,) = caught.value.problems
    assert (problem.key, problem.line, problem.subject) == (key, line, "1")
    assert problem.file.endswith("data.csv")
    assert found in problem.found
    assert problem.expected
    assert problem.cure


def test_every_subject_without_a_regimen_is_named(read):
    data = read(
        """
        ID,TIME,EVID,MDV,AMT,RATE,ADDL,II,SS,DV
        a,0,1,1,5,0,0,0,0,.
        a,9,0,0,.,.,.,.,.,1
        b,0,2,1,.,.,.,.,.,.
        c,0,1,1,5,0,0,8,2,.
        c,9,0,0,.,.,.,.,.,1
        """
    )
    with pytest.raises(PopkError) as caught:
        regimens_of(data)
    said = [(problem.subject, problem.found) for problem in caught.value.problems]
    assert said == [("b", "no dose"), ("c", "a dose at steady state (SS 1 or 2)")]


def test_more_doses_than_a_regimen_holds(read):
    data = read("ID,TIME,AMT,ADDL,II,DV\n1,0,5,9999,1,.\n1,9,.,.,.,3\n")
    with pytest.raises(PopkError, match="19999 doses and pauses; expected at most 10000"):
        regimens_of(data)


def test_amounts_that_are_no_mass(read):
    columns = {"AMT": {"unit": "umol"}, "TIME": {"unit": "h"}}
    data = read("ID,TIME,AMT,DV\n1,0,5,.\n1,9,.,3\n", columns=columns)
    with pytest.raises(PopkError, match="amounts in umol; expected a mass"):
        regimens_of(data)
