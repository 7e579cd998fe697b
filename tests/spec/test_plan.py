"""What a trial does: what may be written, and what each fault says."""

import pytest

from popk.spec.plan import Plan
from popk.spec.problem import PopkError
from popk.spec.record import read_record
from popk.spec.virtual import Virtual


def test_what_holds_unless_told():
    plan = Plan()
    assert plan.given().name == "standard"
    assert plan.hours() == (34.0, 178.0, 346.0, 514.0, 658.0, 674.0, 678.0)
    assert (plan.below, plan.young) == (None, None)


def test_from_a_file(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(
        'regimen = "half_course"\ntimes = ["10 h", "2 day"]\nbelow = "50 pg/mL"\nyoung = 0.5\n'
        '[virtual]\nage = ["1 month", "11 month"]\n'
    )
    plan = read_record(Plan, path)
    assert plan.hours() == (10.0, 48.0)
    assert plan == Plan(
        regimen="half_course",
        times=("10 h", "2 day"),
        below="50 pg/mL",
        young=0.5,
        virtual=Virtual(age=("1 month", "11 month")),
    )


def test_a_regimen_of_ones_own(tmp_path):
    path = tmp_path / "late.toml"
    path.write_text(
        '[[step]]\npause = "1 day"\n[[step]]\ninfusion = "5 ug/day"\nduration = "1 day"\n'
    )
    assert Plan(regimen=str(path), times=("25 h", "4 day")).hours() == (25.0, 96.0)
    with pytest.raises(PopkError, match="after the first dose at 24 h and up to 96 h"):
        Plan(regimen=str(path), times=("24 h",))


FAULTS = {
    "none": ({"times": ()}, "times", "no times", "at least one"),
    "at the start": ({"times": ("0 h",)}, "times", "drawn at 0 h", "after the first dose at 0 h"),
    "too late": ({"times": ("30.5 day",)}, "times", "drawn at 30.5 day", "up to 720 h"),
    "no unit": ({"times": ("34",)}, "times", "'34' (no unit)", "a unit of time"),
    "not a time": ({"times": ("2 kg",)}, "times", "'2 kg'", "a unit of time"),
    "twice": ({"times": ("24 h", "1 day")}, "times", "twice the same time: 24 h", "each time once"),
    "back": ({"times": ("2 day", "10 h")}, "times", "2 day, then 10 h", "later than the one"),
    "limit": ({"below": "50 h"}, "below", "'50 h'", "a concentration above 0"),
    "bare limit": ({"below": "50"}, "below", "no unit", "a concentration above 0"),
    "limit of zero": ({"below": "0 pg/mL"}, "below", "not above 0", "a concentration above 0"),
    "all young": ({"young": 1.0}, "young", "share of young infants of 1", "below 1"),
    "growing": ({"virtual": Virtual(grow=True)}, "virtual.grow", "grow during", "do not change"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case):
    said, key, found, expected = FAULTS[case]
    with pytest.raises(PopkError) as caught:
        Plan(**said)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert found in problem.found
    assert expected in problem.expected
    assert problem.cure


def test_all_faults_are_told_at_once():
    with pytest.raises(PopkError) as caught:
        Plan(times=("0 h", "40 day"), below="1 h", young=2.0)
    assert [p.key for p in caught.value.problems] == ["times", "times", "below", "young"]


def test_a_regimen_that_is_not_there():
    with pytest.raises(PopkError, match="did you mean 'standard'"):
        Plan(regimen="standart")
