"""The patient file: what it says, and what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.spec.patient import PatientSpec, Sample, Target, read_patient, regimen_of
from popk.spec.problem import PopkError
from popk.spec.record import validate
from popk.spec.regimen import infusion, pause
from tests.spec.conftest import edited

PATIENT = """
id = "new-1"
[covariates]
AGE = "5.2 month"
WT = 7.1
SEX = "girl"
[[given]]
infusion = "15 ug/m^2/day"
duration = "28 day"
[[given]]
pause = "14 day"
[[samples]]
time = "24 h"
DV = "650 pg/mL"
[[samples]]
time = 30
below = "50 pg/mL"
[[samples]]
time = "2 day"
above = "1 ng/mL"
[target]
window = ["500 pg/mL", "0.9 ng/mL"]
"""


@pytest.fixture
def patient(tmp_path):
    """Read the file above after some (old text, new text) edits."""

    def read(*edits):
        path = tmp_path / "patient.toml"
        path.write_text(edited(PATIENT, *edits))
        return read_patient(path)

    return read


def test_what_is_written_is_read(patient, tmp_path):
    found = patient()
    assert (found.id, found.file) == ("new-1", str(tmp_path / "patient.toml"))
    assert found.covariates == {"AGE": "5.2 month", "WT": 7.1, "SEX": "girl"}
    assert found.samples == (
        Sample(time="24 h", DV="650 pg/mL"),
        Sample(time=30, below="50 pg/mL"),
        Sample(time="2 day", above="1 ng/mL"),
    )
    assert found.target == Target(window=("500 pg/mL", "0.9 ng/mL"))
    assert regimen_of(found) == infusion("15 ug/m^2/day", "28 day").then(pause("14 day"))


def test_numbers_and_one_concentration(patient):
    found = patient(
        ('id = "new-1"', "id = 7"),
        ('window = ["500 pg/mL", "0.9 ng/mL"]', "css = 700"),
        ('DV = "650 pg/mL"', "DV = 650"),
    )
    assert found.id == "7"
    assert found.target == Target(css=700.0)
    assert found.samples[0].DV == 650.0


GIVEN = """[[given]]
infusion = "15 ug/m^2/day"
duration = "28 day"
[[given]]
pause = "14 day"
"""
HEAD = ('id = "new-1"', 'id = "new-1"\nregimen = "standard"')


def test_a_regimen_by_its_name(patient):
    found = patient(HEAD, (GIVEN, ""))
    assert regimen_of(found).name
    assert regimen_of(found).length("day") == 28.0


def test_a_file_is_looked_for_beside_the_patients(patient, tmp_path):
    (tmp_path / "mine.toml").write_text('[[step]]\ninfusion = "1 ug/h"\nduration = "3 h"\n')
    found = patient((HEAD[0], HEAD[1].replace("standard", "mine.toml")), (GIVEN, ""))
    assert regimen_of(found) == infusion("1 ug/h", "3 h")


def test_faults_in_that_file_are_told_as_such(patient, tmp_path):
    (tmp_path / "mine.toml").write_text('[[step]]\ninfusion = "1 ug/h"\nduration = "3 kg"\n')
    found = patient((HEAD[0], HEAD[1].replace("standard", "mine.toml")), (GIVEN, ""))
    with pytest.raises(PopkError, match="3 kg") as caught:
        regimen_of(found)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "mine.toml")


SAMPLE = 'DV = "650 pg/mL"'
WINDOW = 'window = ["500 pg/mL", "0.9 ng/mL"]'


@pytest.mark.parametrize(
    ("edits", "key", "found", "expected", "cure"),
    [
        ([(WINDOW, 'window = ["900 pg/mL", "500 pg/mL"]')], "target.window", "900 pg/mL",
         "the lower bound first: ['500 pg/mL', '900 pg/mL']", ""),
        ([(WINDOW, 'window = ["0.5 ng/mL", "500 pg/mL"]')], "target.window", "500 pg/mL",
         "the lower bound first", ""),
        ([(WINDOW, 'window = ["500 pg/mL", 900]')], "target.window", "900", "with their unit", ""),
        ([(WINDOW, 'window = ["500 pg/mL"]')], "target.window", "500", "two concentrations", ""),
        ([(WINDOW, 'window = ["0 pg/mL", "500 pg/mL"]')], "target.window", "0 pg/mL",
         "above 0", ""),
        ([(WINDOW, "")], "target", "{}", "one target", ""),
        ([(WINDOW, WINDOW + '\ncss = "700 pg/mL"')], "target", "css", "one target", ""),
        ([(WINDOW, 'css = "700 pg/kg"')], "target.css", "700 pg/kg", "above 0", ""),
        ([(SAMPLE, 'DV = "-3 pg/mL"')], "samples.1.DV", "-3 pg/mL", "a concentration above 0", ""),
        ([(SAMPLE, "DV = 0")], "samples.1.DV", "0", "below = its lower limit", ""),
        ([(SAMPLE, 'DV = "650 pg"')], "samples.1.DV", "650 pg", "cannot be converted", ""),
        ([(SAMPLE, "DV = true")], "samples.1.DV", "True", "it is no quantity", ""),
        ([(SAMPLE, "DV = nan")], "samples.1.DV", "nan", "not finite", ""),
        ([(SAMPLE, "")], "samples.1", "time", "one result", ""),
        ([(SAMPLE, SAMPLE + "\nbelow = 50")], "samples.1", "below", "one result", ""),
        ([(SAMPLE, "above = 60\nbelow = 50")], "samples.1", "60", "above the lower", ""),
        ([('time = "24 h"', 'time = "24 kg"')], "samples.1.time", "24 kg", "a time since", ""),
        ([('time = "24 h"', 'tim = "24 h"')], "samples.1.tim", "'tim'", "time", "'time'"),
        ([('infusion = "15 ug/m^2/day"', 'infusion = "-15 ug/day"')], "given.1.infusion", "-15",
         "above 0", ""),
        ([('pause = "14 day"', 'pause = "forever"')], "given.2.pause", "forever", "end", ""),
        ([("WT = 7.1", "WT = [7.1]")], "covariates.WT", "[7.1]", "a value with its unit", ""),
        ([HEAD], "given", "both [[given]] and regimen", "one of them", "delete one"),
        ([(GIVEN, "")], "given", "neither [[given]] nor regimen", "one of them", "standard"),
        ([('id = "new-1"', 'id = ""')], "id", "''", "1 character", ""),
    ],
)  # fmt: skip
def test_bad_input(patient, tmp_path, edits, key, found, expected, cure):
    with pytest.raises(PopkError) as caught:
        patient(*edits)
    problems = [p for p in caught.value.problems if p.key == key]
    assert problems, str(caught.value)
    assert problems[0].file == str(tmp_path / "patient.toml")
    assert found in problems[0].found
    assert expected in problems[0].expected
    assert cure in problems[0].cure
    assert problems[0].cure


def test_a_regimen_that_is_not_there_is_told_of_the_patients_file(patient, tmp_path):
    found = patient((HEAD[0], HEAD[1].replace("standard", "standrd")), (GIVEN, ""))
    with pytest.raises(PopkError, match="standrd") as caught:
        regimen_of(found)
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (str(tmp_path / "patient.toml"), "regimen")
    assert "'standard'" in problem.cure


UNITS = {"pg/mL": 1.0, "ng/mL": 1e3, "ug/L": 1e3, "mg/L": 1e6}


@given(
    st.floats(0.1, 1e4), st.floats(0.1, 1e4), st.sampled_from(list(UNITS)),
    st.sampled_from(list(UNITS)),
)  # fmt: skip
def test_a_window_stands_where_its_bounds_rise_whatever_their_units(low, high, a, b):
    content = {"window": [f"{low!r} {a}", f"{high!r} {b}"]}
    ratio = high * UNITS[b] / (low * UNITS[a])
    if ratio > 1.0 + 1e-9:
        assert validate(Target, content).window == tuple(content["window"])
    elif ratio < 1.0 - 1e-9:
        with pytest.raises(PopkError, match="the lower bound first"):
            validate(Target, content)


def test_without_a_file_faults_are_told_of_a_patient():
    with pytest.raises(PopkError, match=r"^patient, given: found neither"):
        regimen_of(PatientSpec())
