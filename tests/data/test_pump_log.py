"""A pump's log as a regimen, and everything that can be wrong with one."""

from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.data.cohort import cohort
from popk.data.pump_log import read_pump_log
from popk.data.regimens import scheduled
from popk.spec.problem import PopkError
from popk.spec.regimen import MOST_STEPS, Infusion, Pause, Regimen, read_regimen, to_toml


@pytest.fixture
def log(tmp_path):
    def of(text, **options):
        path = tmp_path / "pump.csv"
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return read_pump_log(path, **options)

    return of


@pytest.fixture
def faults(log):
    def of(text, **options):
        with pytest.raises(PopkError) as caught:
            log(text, **options)
        for problem in caught.value.problems:
            assert problem.file.endswith("pump.csv")
            assert problem.found
            assert problem.expected
            assert problem.cure
        return caught.value.problems

    return of


def steps(*written):
    return tuple(
        Pause(duration=duration) if dose is None else Infusion(dose=dose, duration=duration)
        for dose, duration in written
    )


def test_gaps_and_rates_of_zero_are_pauses_and_equal_rates_merge(log):
    regimen = log(
        """
        # syringe changed at 24 h
        start,stop,rate
        0,24,0.5
        24,48,0.5
        50,60,0.25
        60,62,0
        62,63,0
        63,70.5,0.25
        """
    )
    assert regimen == Regimen(
        steps=steps(("0.5 ug/h", "48 h"), (None, "2 h"), ("0.25 ug/h", "10 h"), (None, "3 h"),
                    ("0.25 ug/h", "7.5 h"))
    )  # fmt: skip
    assert regimen.length("h") == 70.5


def test_the_regimen_begins_at_time_zero_and_rows_need_no_order(log):
    regimen = log("stop;rate;start;pump\n8;2;6;A\n6;1;2;A\n", time="min", rate="ug/kg/min",
                  delimiter=";")  # fmt: skip
    assert regimen.steps == steps(
        (None, "2 min"), ("1 ug/kg/min", "4 min"), ("2 ug/kg/min", "2 min")
    )


def test_date_times_count_from_the_first_start(log):
    regimen = log(
        """
        start,stop,rate
        2024-02-28T20:30,2024-02-29 20:30,0.5
        2024-02-29T20:30,2024-03-01T08:30:00,0.5
        2024-03-01T09:00:00,2024-03-01T09:00:36,7
        """,
        time="day",  # of numbers; date-times need none
    )
    assert regimen.steps == steps(("0.5 ug/h", "36 h"), (None, "30 min"), ("7 ug/h", "36 s"))


def test_date_times_in_any_order(log):
    regimen = log("start,stop,rate\n2024-03-02T00:00,2024-03-03T00:00,2\n"
                  "2024-03-01T00:00,2024-03-02T00:00,1\n")  # fmt: skip
    assert regimen.steps == steps(("1 ug/h", "24 h"), ("2 ug/h", "24 h"))


def test_the_published_interruption_as_a_log(log):
    logged = log("start,stop,rate\n0,10,15\n12,14,5\n14,28,15\n", time="day", rate="ug/m^2/day")
    people = cohort({"BSA": np.array([[0.35]])}, {"BSA": "m^2"})
    for one, other in zip(
        scheduled(logged, people), scheduled(read_regimen("interruption"), people), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-14)


PIECES = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 3.0])), min_size=1, max_size=8
)


@given(PIECES, st.randoms())
def test_a_regimen_written_as_a_log_comes_back(tmp_path_factory, pieces, random):
    starts = np.concatenate([[0], np.cumsum([hours for hours, _ in pieces])])
    rows = [f"{a!r},{b!r},{rate}" for a, b, (_, rate) in
            zip(starts[:-1].tolist(), starts[1:].tolist(), pieces, strict=True)
            if rate or random.random() < 0.5]  # fmt: skip
    random.shuffle(rows)
    if not any(rate for _, rate in pieces):
        return
    path = tmp_path_factory.mktemp("log") / "pump.csv"
    path.write_text("\n".join(["start,stop,rate", *rows, ""]))
    regimen = read_pump_log(path)
    middles = np.arange(starts[-1]) + 0.5
    wanted = np.array([pieces[int(i)][1] for i in np.searchsorted(starts, middles) - 1])
    people = cohort({"WT": np.array([[5.0]])}, {"WT": "kg"})
    found = scheduled(regimen, people)
    inside = (middles[:, None] > found.start) & (middles[:, None] < found.start + found.duration)
    np.testing.assert_array_equal((inside * found.size).sum(axis=1), wanted)
    assert len(regimen.steps) == 1 + np.count_nonzero(np.diff(wanted[: int(regimen.length("h"))]))


def test_a_log_can_be_kept_as_a_regimen(log, tmp_path):
    regimen = log("start,stop,rate\n0,0.1,0.3\n0.7,1e3,0.123456789\n")
    path = tmp_path / "logged.toml"
    path.write_text(to_toml(regimen))
    assert read_regimen(path) == regimen


@pytest.mark.parametrize(
    ("row", "key", "found", "said"),
    [
        ("5,5,1", "stop", "start = 5, stop = 5", "a stop later than the start"),
        ("5,4,1", "stop", "start = 5, stop = 4", "a stop later than the start"),
        ("5,6,-0.5", "rate", "rate = -0.5", "a rate of 0 or more"),
        ("-1,0,1", "start", "start = -1", "count the times from the first start"),
        ("five,6,1", "start", "'five'", "a number"),
        ("5,6,NA", "rate", "'NA'", "write the rate, 0 where the pump stood still"),
        ("5,,1", "stop", "nothing", "a number"),
        ("5,.,1", "stop", "nothing", "a number"),
        ("5,1e999,1", "stop", "'1e999'", "a number"),
        ("5,inf,1", "stop", "'inf'", "a number"),
        ("5,08:30,1", "stop", "'08:30'", "write numbers, or date-times"),
        ("3,6,1", "start", "start = 3, before line 2 ends (stop = 4)", "rows that do not overlap"),
        ("5,6", None, "2 fields", "3 fields, as in the header"),
    ],
)
def test_each_fault_names_its_line_and_its_cure(faults, row, key, found, said):
    (problem,) = faults(f"start,stop,rate\n0,4,1\n{row}\n")
    assert (problem.line, problem.key) == (3, key)
    assert problem.found == found
    assert said in str(problem)


def test_the_overlap_is_with_the_row_that_lasts_longest(faults):
    problems = faults("start,stop,rate\n0,100,1\n2,3,1\n50,60,2\n100,110,1\n")
    assert [problem.line for problem in problems] == [3, 4]
    assert all("before line 2 ends (stop = 100)" in problem.found for problem in problems)


@pytest.mark.parametrize(
    ("text", "line", "key", "found"),
    [
        ("0,1,1\n2024-03-01T00:00,2024-03-01T01:00,1\n", 2, "start", "'0'"),
        ("2024-03-01T00:00,2024-03-01,1\n", 2, "stop", "'2024-03-01'"),
        ("2024-03-01T00:00,2024-03-01T01:00Z,1\n", 2, "stop", "'2024-03-01T01:00Z'"),
        ("2024-02-30T00:00,2024-03-01T01:00,1\n", 2, "start", "'2024-02-30T00:00'"),
        ("2024-03-01T00:00,2024-03-01T24:30,1\n", 2, "stop", "'2024-03-01T24:30'"),
    ],
)
def test_mixed_times_and_dates_that_are_none(faults, text, line, key, found):
    problem, *_ = faults(f"start,stop,rate\n{text}")
    assert (problem.line, problem.key, problem.found) == (line, key, found)
    assert "a date-time such as 2024-03-01T08:30, without a UTC offset" in problem.expected
    assert problem.cure == "write all of start and stop as date-times, or all as numbers"


def test_all_problems_at_once_from_top_to_bottom(faults):
    problems = faults("start,stop,rate\n0,4,-1\n4,x,1\n3,2,\n2,9,1\n5\n")
    assert [(problem.line, problem.key) for problem in problems] == [
        (2, "rate"), (3, "stop"), (4, "rate"), (4, "stop"), (5, "start"), (6, None)
    ]  # fmt: skip


def test_missing_columns(faults):
    problems = faults("Start,end,rates\n0,4,1\n")
    assert [problem.key for problem in problems] == ["start", "stop", "rate"]
    assert problems[0].found == "no column start; the columns are Start, end, rates"
    assert problems[0].cure == "name the column start (it may be 'Start')"
    assert problems[1].cure == "name the column stop"
    assert problems[2].cure == "name the column rate (it may be 'rates')"


@pytest.mark.parametrize(
    ("text", "found", "said"),
    [
        ("", "an empty file", "the columns start, stop and rate"),
        ("# nothing yet\n", "an empty file", "the columns start, stop and rate"),
        ("start,stop,rate\n", "a header and no rows", "one row for each rate"),
        ("0,4,1\n4,8,2\n", "numbers in the first line: 0, 4, 1", "names above the data"),
        ("start;stop;rate\n0;4;1\n", "one column only, 'start;stop;rate', with a comma as "
         "delimiter", 'write delimiter = ";"'),
        ("start,stop,rate\n0,4,0\n", "no rate above 0", "some dose"),
    ],
)  # fmt: skip
def test_files_that_are_no_log(faults, text, found, said):
    (problem,) = faults(text)
    assert problem.found == found
    assert said in str(problem)


def test_no_file(tmp_path):
    with pytest.raises(PopkError, match="found no readable file"):
        read_pump_log(tmp_path / "pump.csv")


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"rate": "mL/h"}, "rate", "multiply a flow (mL/h) by the concentration"),
        ({"rate": "ug"}, "rate", "an amount per time"),
        ({"time": "kg"}, "time", "a unit of time"),
        ({"time": "huor"}, "time", "unknown unit 'huor'"),
    ],
)
def test_units_of_the_log(faults, options, key, said):
    (problem,) = faults("start,stop,rate\n0,4,1\n", **options)
    assert problem.key == key
    assert said in str(problem)


@pytest.mark.slow
def test_a_long_log(log, faults):
    rows = [f"{hour},{hour + 1},{1 + hour % 2}" for hour in range(MOST_STEPS + 1)]
    assert len(log("\n".join(["start,stop,rate", *rows[:-1], ""])).steps) == MOST_STEPS
    (problem,) = faults("\n".join(["start,stop,rate", *rows, ""]))
    assert problem.found == f"{MOST_STEPS + 1} infusions and pauses"
