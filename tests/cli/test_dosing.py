"""``popk dose``: one new infant, from its file to a rate; and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import (
    CLEAN,
    FIT,
    PROBLEMS,
    UNREADABLE,
    command,
    results,
    strict_json,
    write,
)

PATIENT = """
id = "new [b]/1"
[covariates]
WT = "6 kg"
[[given]]
infusion = "1 ug/kg/h"
duration = "10 day"
[[samples]]
time = "48 h"
DV = "0.7 ug/L"
[target]
window = ["0.9 ug/L", "1.3 ug/L"]
"""


@pytest.fixture
def patient(tmp_path):
    path = tmp_path / "patient.toml"
    path.write_text(PATIENT)
    return path


def test_of_a_fit(folder, patient):
    before = results(folder)
    found = command("dose", folder, "--patient", patient)
    assert found.code == CLEAN, found.complaint
    said = ("SYNTHETIC", "ID new [b]/1", "µg/kg/h", "Css at the present rate", "Pareto k",
            "for research: this is no advice", "target: Css of 0.9 to 1.3 ug/L")  # fmt: skip
    assert [words for words in said if words not in found.words] == []
    place = folder / "results" / "dose" / "new__b__1"
    assert {p.name for p in place.iterdir()} == {
        "summary.csv", "course.csv", "samples.csv", "dose.svg",
    }  # fmt: skip
    table = pd.read_csv(place / "summary.csv", comment="#").set_index("quantity")
    # Css is rate/CL: 6 ug/h over CL
    assert table.loc["Css_present", "median"] == pytest.approx(6.0 / table.loc["CL", "median"])
    # Both rates are the same one, in the words of the dose and of the pump
    assert table.loc["rate_recommended_absolute", "median"] == pytest.approx(
        6.0 * table.loc["rate_recommended", "median"]
    )
    assert table.loc["Css_recommended", "probability"] > table.loc["Css_present", "probability"]
    assert {name: text for name, text in results(folder).items() if name in before} == before


def test_as_json(folder, patient, tmp_path):
    found = strict_json(
        command("dose", folder, "--patient", patient, "--out", tmp_path / "out", "--json").out
    )
    assert found["method"] == "importance"
    assert found["pareto_k"] < 0.7
    assert found["recommended_rate"]["unit"] == "ug/kg/h"
    assert (tmp_path / "out" / "dose.svg").exists()
    assert not (folder / "results" / "dose").exists()


def test_without_samples_it_is_the_population(folder, patient):
    text = PATIENT.split("[[samples]]")[0] + '[target]\ncss = "1 ug/L"\n'
    patient.write_text(text)
    found = strict_json(command("dose", folder, "--patient", patient, "--json").out)
    assert found["method"] == "population"
    assert found["target"]["css"] == 1.0
    assert np.isfinite(found["summary"]["rate_for_target"]["median"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('DV = "0.7 ug/L"', 'DV = "-0.7 ug/L"', "a concentration above 0"),
        ('["0.9 ug/L", "1.3 ug/L"]', '["1.3 ug/L", "0.9 ug/L"]', "the lower bound first"),
        ('WT = "6 kg"', 'HT = "60 cm"', "WT"),
        ('WT = "6 kg"', 'WT = "6 cm"', "kg"),
        ('infusion = "1 ug/kg/h"', 'infusion = "1 ug/m^2/h"', "BSA"),
        ('infusion = "1 ug/kg/h"', 'infusion = "-1 ug/kg/h"', "above 0"),
        ('duration = "10 day"\n', "", "duration"),
        ('time = "48 h"', 'time = "-1 h"', "first dose"),
    ],
)
def test_bad_input(folder, patient, old, new, words):
    patient.write_text(PATIENT.replace(old, new))
    found = command("dose", folder, "--patient", patient)
    assert found.code == PROBLEMS
    assert "patient.toml" in found.complaint
    assert words in found.complaint
    assert "cure" in found.complaint
    assert not (folder / "results" / "dose").exists()


def test_no_such_file(folder, tmp_path):
    assert command("dose", folder, "--patient", tmp_path / "none.toml").code == UNREADABLE


@pytest.mark.slow
def test_estimates_have_no_posterior(tmp_path, patient):
    estimated = write(tmp_path / "fit", fit=FIT + 'method = "focei"\n')
    assert command("fit", estimated, "--no-report").code == CLEAN
    found = command("dose", estimated, "--patient", patient)
    assert found.code == PROBLEMS
    assert 'method = "ensemble"' in found.complaint
