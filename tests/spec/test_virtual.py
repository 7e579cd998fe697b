"""Which infants: what may be written, and what each fault says."""

import pydantic
import pytest

from popk.spec.problem import PopkError
from popk.spec.record import read_record, validate
from popk.spec.virtual import Virtual


def test_what_holds_unless_told():
    spec = Virtual()
    assert (spec.age, spec.female, spec.formula, spec.grow) == (
        ("0 month", "12 month"),
        0.5,
        "haycock",
        False,
    )
    assert spec.age_range("month") == pytest.approx((0.0, 12.0))
    assert spec.age_range("day") == pytest.approx((0.0, 365.25))


def test_ages_in_different_units():
    assert Virtual(age=("10 day", "2 week")).age_range("day") == (10.0, 14.0)
    assert Virtual(age=("1 month", "1 month")).age_range("day") == pytest.approx((30.4375,) * 2)


def test_from_a_file(tmp_path):
    path = tmp_path / "infants.toml"
    path.write_text('age = ["1 month", "6 month"]\nfemale = 0.4\nformula = "boyd"\ngrow = true\n')
    found = read_record(Virtual, path)
    assert found == Virtual(age=("1 month", "6 month"), female=0.4, formula="boyd", grow=True)


FAULTS = {
    "upside down": ({"age": ("6 month", "20 day")}, "age", "from 6 month to 20 day", "youngest"),
    "no unit": ({"age": ("0", "6 month")}, "age", "'0' (no unit)", "a unit of time"),
    "not a time": ({"age": ("1 kg", "6 month")}, "age", "'1 kg'", "a unit of time"),
    "not a quantity": ({"age": ("1 month", "old")}, "age", "'old'", "a unit of time"),
    "share above 1": ({"female": 50.0}, "female", "share of girls of 50", "from 0"),
    "share below 0": ({"female": -0.1}, "female", "share of girls of -0.1", "from 0"),
    "no share": ({"female": float("nan")}, "female", "share of girls of nan", "from 0"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case):
    said, key, found, expected = FAULTS[case]
    with pytest.raises(PopkError) as caught:
        Virtual(**said)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert found in problem.found
    assert expected in problem.expected
    assert problem.cure.startswith("write")


def test_the_cure_of_a_range_upside_down_works():
    with pytest.raises(PopkError, match="write 20 day and then 6 month"):
        Virtual(age=("6 month", "20 day"))
    Virtual(age=("20 day", "6 month"))


def test_all_faults_at_once():
    with pytest.raises(PopkError) as caught:
        Virtual(age=("1 kg", "6"), female=2.0)
    assert [problem.key for problem in caught.value.problems] == ["age", "age", "female"]


def test_other_words():
    with pytest.raises(PopkError, match="did you mean 'haycock'"):
        validate(Virtual, {"formula": "haycok"})
    with pytest.raises(PopkError, match="did you mean 'grow'"):
        validate(Virtual, {"grows": True})


def test_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        Virtual().female = 0.3  # type: ignore[misc]
