"""Regimens compose like numbers, and come back from their files as they were."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.spec.problem import PopkError
from popk.spec.regimen import (
    MOST_STEPS,
    READY,
    Band,
    Infusion,
    Pause,
    Regimen,
    bolus,
    infusion,
    pause,
    read_regimen,
    to_toml,
)
from popk.spec.steps import dose_in, duration_in

NUMBER = st.floats(1e-6, 1e6)
TIMES = st.builds("{!r} {}".format, NUMBER, st.sampled_from(["h", "day", "min", "week"]))
RATES = st.builds(
    "{!r} {}".format, NUMBER, st.sampled_from(["ug/m^2/day", "ug/h", "mg/kg/day", "ug/kg/min"])
)
AMOUNTS = st.builds("{!r} {}".format, NUMBER, st.sampled_from(["mg", "ug/m^2", "mg/kg"]))


def banded(doses):
    limits = st.lists(NUMBER, min_size=1, max_size=3, unique=True).map(sorted)
    unit = st.sampled_from(["kg", "m^2", "month"])
    return st.tuples(limits, unit, st.lists(doses, min_size=4, max_size=4)).map(
        lambda drawn: (
            *(Band(dose=d, below=f"{x!r} {drawn[1]}") for x, d in zip(*drawn[::2], strict=False)),
            Band(dose=drawn[2][-1]),
        )
    )


CAPS = st.one_of(st.none(), st.builds("{!r} ug/day".format, NUMBER))
STEPS = st.one_of(
    st.builds(infusion, st.one_of(RATES, banded(RATES)), TIMES, cap=CAPS),
    st.builds(bolus, st.one_of(AMOUNTS, banded(AMOUNTS))),
    st.builds(pause, TIMES),
)
REGIMENS = st.lists(STEPS, min_size=1, max_size=3).map(
    lambda parts: Regimen(steps=tuple(step for part in parts for step in part.steps))
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(REGIMENS, REGIMENS, REGIMENS)
def test_composition_is_associative_and_lengths_add(a, b, c):
    whole = a.then(b).then(c)
    assert whole == a.then(b.then(c)) == a.then(b, c)
    parts = [part.length("h") for part in (a, b, c)]
    assert whole.length("h") == pytest.approx(math.fsum(parts), rel=1e-14)


@given(REGIMENS, st.integers(1, 4), st.integers(1, 3))
def test_repeating_is_one_after_the_other(a, times, again):
    assert a.repeat(times) == a.then(*[a] * (times - 1))
    assert a.repeat(times).repeat(again) == a.repeat(times * again)
    assert a.repeat(times).length("day") == pytest.approx(times * a.length("day"), rel=1e-13)


@given(REGIMENS, TEXT, TEXT, TEXT, st.booleans())
def test_a_regimen_comes_back_from_its_file(tmp_path_factory, regimen, name, text, source, anew):
    regimen = regimen.model_copy(update={"recalculated": anew}).named(name, text, source)
    path = tmp_path_factory.mktemp("regimen") / "regimen.toml"
    path.write_text(to_toml(regimen), encoding="utf-8")
    assert read_regimen(path) == regimen


def test_the_file_is_written_as_one_would_write_it():
    bands = (Band(dose="15 ug/m^2/day", below="45 kg"), Band(dose="28 ug/day"))
    regimen = infusion(bands, "28 day", cap="28 ug/day").then(pause("14 day"), bolus("1 mg/kg"))
    assert to_toml(regimen.named("mine")).splitlines() == [
        'name = "mine"',
        "",
        "[[step]]",
        "infusion = [",
        '    { dose = "15 ug/m^2/day", below = "45 kg" },',
        '    { dose = "28 ug/day" },',
        "]",
        'duration = "28 day"',
        'cap = "28 ug/day"',
        "",
        "[[step]]",
        'pause = "14 day"',
        "",
        "[[step]]",
        'bolus = "1 mg/kg"',
    ]


def test_repeat_in_a_file_writes_the_steps_out(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('repeat = 3\n[[step]]\nbolus = "1 mg"\n[[step]]\npause = "12 h"\n')
    assert read_regimen(path) == bolus("1 mg").then(pause("12 h")).repeat(3)


def test_one_way_to_compute_doses_from_body_size():
    anew, once = infusion("1 ug/kg/h", "1 day"), bolus("1 mg/kg")
    once = once.model_copy(update={"recalculated": False})
    with pytest.raises(PopkError, match="recalculated = true and with recalculated = false"):
        anew.then(once)
    # what does not depend on body size goes with either
    assert once.then(pause("1 day"), bolus("1 mg")).recalculated is False
    assert pause("1 day").then(once).recalculated is False
    assert once.repeat(2).recalculated is False


def rate_on_day(regimen, day):
    """The rate (µg/m²/day, or µg/day) in the middle of a day, 0 in pauses; day 1 is the first."""
    reached = 0.0
    for step in regimen.steps:
        reached += duration_in(step, "day")
        if reached > day - 0.5:
            return 0.0 if isinstance(step, Pause) else dose_in(step.dose, "ug", "day")[0]
    return None


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("standard", [15] * 28),
        ("interruption", [15] * 10 + [0] * 2 + [5] * 2 + [15] * 14),
        ("step", [5] * 7 + [15] * 21),
        ("half_course", [15] * 14),
        ("cap", [15] * 28),
        ("fixed", [28] * 28),
        *((f"cycles_{n}", ([15] * 28 + [0] * 14) * n) for n in (1, 2, 3)),
    ],
)
def test_ready_regimens_day_by_day(name, days):
    regimen = read_regimen(name)
    assert regimen.length("day") == pytest.approx(len(days), rel=1e-14)
    found = [rate_on_day(regimen, day) for day in range(1, len(days) + 1)]
    assert found == pytest.approx(days, rel=1e-14)
    units = {dose_in(s.dose, "ug", "day")[1] for s in regimen.steps if isinstance(s, Infusion)}
    assert units == {None if name == "fixed" else "BSA"}


def test_the_ready_ones_with_a_cap_and_with_bands():
    assert {s.cap for s in read_regimen("cap").steps} == {"28 ug/day"}
    (step,) = read_regimen("weight_bands").steps
    assert step == Infusion(
        dose=(Band(below="45 kg", dose="15 ug/m^2/day"), Band(dose="28 ug/day")),
        duration="28 day",
        cap="28 ug/day",
    )


@pytest.mark.parametrize("name", READY)
def test_ready_regimens_say_what_they_are_and_where_from(name):
    regimen = read_regimen(name)
    assert regimen.name == name
    assert regimen.description
    assert regimen.source


def test_all_ready_regimens_are_there():
    assert set(READY) == {
        "standard", "interruption", "step", "cycles_1", "cycles_2", "cycles_3", "half_course",
        "cap", "fixed", "weight_bands",
    }  # fmt: skip
    assert "popk's choice" in read_regimen("interruption").description


def test_neither_a_file_nor_a_name():
    with pytest.raises(PopkError) as caught:
        read_regimen("standrad")
    (problem,) = caught.value.problems
    assert problem.file == "standrad"
    assert "weight_bands" in problem.expected
    assert problem.cure == "did you mean 'standard'?"


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "regimen.toml"
        path.write_text(text)
        with pytest.raises(PopkError) as caught:
            read_regimen(path)
        for problem in caught.value.problems:
            assert problem.file == str(path)
            assert problem.found
            assert problem.expected
            assert problem.cure
        return caught.value.problems

    return of


INFUSION = '[[step]]\ninfusion = "15 ug/m^2/day"\n'


@pytest.mark.parametrize(
    ("text", "key", "found", "said"),
    [
        (INFUSION, "step.1.duration", "nothing", "add duration = ..."),
        (INFUSION + "duration = inf", "step.1.duration", "inf", "a time above 0 that has an end"),
        (INFUSION + 'duration = "inf"', "step.1.duration", "'inf'", "that has an end"),
        (INFUSION + 'duration = "1e999 day"', "step.1.duration", "'1e999 day'", "has an end"),
        (INFUSION + "duration = 28", "step.1.duration", "28", "with its unit, such as '28 day'"),
        (INFUSION + 'duration = "28"', "step.1.duration", "'28'", "with its unit"),
        (INFUSION + 'duration = "0 day"', "step.1.duration", "'0 day'", "a time above 0"),
        (INFUSION + 'duration = "28 kg"', "step.1.duration", "'28 kg'", "[mass] against [time]"),
        ('[[step]]\ninfusion = "-15 ug/day"\nduration = "1 day"', "step.1.infusion",
         "'-15 ug/day'", "a finite dose above 0"),
        ('[[step]]\ninfusion = "0 ug/day"\nduration = "1 day"', "step.1.infusion", "'0 ug/day'",
         "a time in which nothing is given is a pause"),
        ('[[step]]\ninfusion = "15 ug/m^2"\nduration = "1 day"', "step.1.infusion",
         "'15 ug/m^2'", "an amount at once is a bolus"),
        ('[[step]]\ninfusion = 15\nduration = "1 day"', "step.1.infusion", "15",
         "a dose with its unit in quotes"),
        ('[[step]]\npause = "1 h"\n[[step]]\nbolus = "15 ug/h"', "step.2.bolus", "'15 ug/h'",
         "an amount per time is an infusion"),
        ('[[step]]\nbolus = "15 IE"', "step.1.bolus", "'15 IE'", "an amount such as"),
        ('[[step]]\nbolus = "1 mg/kg"\ncap = "1 mg/kg"', "step.1.cap", "'1 mg/kg'",
         "one cap for everybody"),
        ('[[step]]\nbolus = [{dose = "1 mg", below = "3 cm"}, {dose = "2 mg"}]',
         "step.1.bolus.1.below", "'3 cm'", "'45 kg', '0.6 m^2', '6 month'"),
        ('[[step]]\nbolus = [{dose = "1 mg", belw = "3 kg"}, {dose = "2 mg"}]',
         "step.1.bolus.1.belw", "'belw'", "did you mean 'below'?"),
        ('[[step]]\npause = "1 h"\nbolus = "1 mg"', "step.1", "'bolus'", "not bolus and pause"),
        ('[[step]]\npuase = "1 h"', "step.1", "'puase'", "did you mean 'pause'?"),
        ('[[step]]\ndose = "1 mg"', "step.1", "'dose'", "one of infusion, bolus, pause"),
        ('[[step]]\npause = "1 h"\nduration = "1 h"', "step.1", "'duration'", "pause only"),
        ('[[step]]\nbolus = "1 mg"\ncpa = "1 mg"', "step.1", "'cpa'", "did you mean 'cap'?"),
        ('step = ["1 h"]', "step.1", "'1 h'", "a table with one of infusion, bolus, pause"),
        ("step = []", "step", "[]", f"1 to {MOST_STEPS} steps"),
        ("", "step", "nothing", "add step = ..."),
        ('repeat = 0\n[[step]]\npause = "1 h"', "repeat", "0", "a regimen has an end"),
        ('repeat = 1.5\n[[step]]\npause = "1 h"', "repeat", "1.5", "a whole number of times"),
        ('repeat = inf\n[[step]]\npause = "1 h"', "repeat", "inf", "a whole number of times"),
        ('repeat = true\n[[step]]\npause = "1 h"', "repeat", "True", "a whole number of times"),
        ('nmae = "x"\n[[step]]\npause = "1 h"', "nmae", "'nmae'", "did you mean 'name'?"),
    ],
)  # fmt: skip
def test_each_fault_names_its_key_and_its_cure(read, text, key, found, said):
    (problem,) = read(text)
    assert problem.key == key
    assert found in problem.found
    assert said in str(problem)


def test_all_faults_at_once(read):
    problems = read('repeat = 0\n[[step]]\npause = "1 kg"\n[[step]]\nbolus = "-1 mg"')
    assert [problem.key for problem in problems] == ["repeat", "step.1.pause", "step.2.bolus"]


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: infusion("15 ug", duration="28 day"), "infusion"),
        (lambda: infusion("15 ug/day", duration="forever"), "duration"),
        (lambda: infusion("15 ug/day", duration=None), "duration"),
        (lambda: bolus("15 ug/day"), "bolus"),
        (lambda: pause("0 h"), "pause"),
        (lambda: pause("1 h").repeat(0), "repeat"),
        (lambda: pause("1 h").repeat(2.5), "repeat"),
        (lambda: pause("1 h").repeat(math.inf), "repeat"),
        (lambda: pause("1 h").repeat(MOST_STEPS).repeat(2), "step"),
    ],
)
def test_the_same_in_python(call, key):
    with pytest.raises(PopkError) as caught:
        call()
    (problem,) = caught.value.problems
    assert problem.key == key
    assert problem.found
    assert problem.cure


def test_too_many_steps_in_a_file(tmp_path):
    path = tmp_path / "many.toml"
    path.write_text(f'repeat = {MOST_STEPS}\n[[step]]\npause = "1 h"\n[[step]]\nbolus = "1 mg"')
    with pytest.raises(PopkError, match=f"found {2 * MOST_STEPS} steps"):
        read_regimen(path)
