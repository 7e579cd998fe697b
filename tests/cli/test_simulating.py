"""``popk simulate`` and ``popk target``: tables, files, figures, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import (
    CLEAN,
    INTERRUPTED,
    MODEL,
    PROBLEMS,
    UNREADABLE,
    command,
    results,
    strict_json,
)

PER_KG = """
name = "one [b] rate"
[[step]]
infusion = "1 ug/kg/h"
duration = "5 day"
"""


@pytest.fixture
def per_kg(tmp_path):
    path = tmp_path / "regimen.toml"
    path.write_text(PER_KG)
    return path


def test_of_a_fit(folder, per_kg):
    before = results(folder)
    found = command("simulate", folder, "--regimen", per_kg, "--regimen", "half_course",
                    "--subjects", 50, "--threshold", "0.5 ug/L", "--concentrations",
                    "--format", "csv", "--age-groups", "6 month")  # fmt: skip
    assert found.code == CLEAN, found.complaint
    said = ("SYNTHETIC", "one [b] rate", "half_course", "0 to 6 months", "above 0.5 ug/L",
            "rate/CL", "results/simulation")  # fmt: skip
    assert [words for words in said if words not in found.words] == []
    place = folder / "results" / "simulation"
    assert {
        "summary.csv",
        "bands.csv",
        "subjects.csv",
        "concentrations.csv",
        "profiles.svg",
        "medians.svg",
        "css_by_age.svg",
        "exposure.svg",
    } == {p.name for p in place.iterdir()}
    own, every = (
        pd.read_csv(place / f"{n}.csv", comment="#") for n in ("subjects", "concentrations")
    )
    assert len(own) == 100
    assert (place / "subjects.csv").read_text().startswith("# SYNTHETIC")
    # 1 ug/kg/h of a drug whose CL goes with weight: Css is 1/CL per kg
    rate = own[own["regimen"] == "one [b] rate"]
    np.testing.assert_allclose(rate["Css"], rate["WT"] / rate["CL"], rtol=1e-9)
    assert len(every) == sum(
        len(np.unique(part["TIME"])) * 50 for _, part in every.groupby("regimen")
    )
    assert {"regimen", "ID", "TIME", "concentration", "DV"} == set(every)
    assert {name: text for name, text in results(folder).items() if name in before} == before


def test_as_json_and_parquet(folder, per_kg):
    arguments = ("simulate", folder, "--regimen", per_kg, "--subjects", 20, "--resample", "--json")
    found = strict_json(command(*arguments).out)
    assert found["synthetic"] is True
    assert found["values_from"] == "posterior"
    assert found["summary"]["one [b] rate / all / Css"]["n"] == 20
    again = strict_json(command(*arguments).out)
    assert again == found
    table = pd.read_parquet(folder / "results" / "simulation" / "subjects.parquet")
    assert set(table["WT"]) <= {4, 5, 6, 7}
    assert len(table) == 20


def test_of_a_model_alone(tmp_path, per_kg):
    model = tmp_path / "model.toml"
    model.write_text(MODEL)
    out = tmp_path / "simulated"
    found = command("simulate", model, "--regimen", per_kg, "--subjects", 30, "--out", out)
    assert found.code == CLEAN, found.complaint
    assert "values from the priors" in found.words
    assert "SYNTHETIC" not in found.words
    assert (out / "summary.csv").exists()
    refused = command("simulate", model, "--regimen", per_kg)
    assert refused.code == PROBLEMS
    assert "--out" in refused.complaint


def test_target(folder):
    found = command("target", folder, "--window", "0.7 to 1.3 ug/L", "--subjects", 300,
                    "--dose", "20 ug/kg/day", "--age-groups", "6 month")  # fmt: skip
    assert found.code == CLEAN, found.complaint
    said = ("SYNTHETIC", "µg/kg/day", "for research: this is no advice", "20 µg/kg/day",
            "1 µg/kg/h", "6 months and over")  # fmt: skip
    assert [words for words in said if words not in found.words] == []
    place = folder / "results" / "target"
    assert {"best.csv", "asked.csv", "curves.csv", "attainment.svg"} == {
        p.name for p in place.iterdir()}  # fmt: skip
    best = pd.read_csv(place / "best.csv", comment="#").set_index(["basis", "group"])
    own = best.loc[("ug/kg/day", "all")]
    assert own["dose_q5"] <= own["dose"] <= own["dose_q95"]
    as_json = strict_json(command("target", folder, "--window", "0.7 to 1.3 ug/L",
                                  "--subjects", 300, "--json").out)  # fmt: skip
    assert as_json["window"] == [0.7, 1.3]
    assert "ug/kg/day / all" in as_json["best"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--regimen", "standart"), UNREADABLE, "did you mean 'standard'?"),
        (("--regimen", "standard", "--threshold", "5 kg"), PROBLEMS, "5 kg"),
        (("--regimen", "standard", "--age", "12 month to 0 month"), PROBLEMS, "the youngest first"),
        (("--regimen", "standard", "--age", "0 month to 9 year"), PROBLEMS, "730"),
        (("--regimen", "standard", "--age", "young"), PROBLEMS, "'0 month to 12 month'"),
        (("--regimen", "standard", "--age-groups", "9 month, 3 month"), PROBLEMS, "do not rise"),
        (("--regimen", "standard", "--formula", "haycok"), PROBLEMS, "haycock"),
        (("--regimen", "standard", "--female", "2"), PROBLEMS, "share of girls"),
        (("--regimen", "standard", "--resample"), PROBLEMS, "BSA"),
        (("--regimen", "standard", "--resample", "--grow"), PROBLEMS, "leave out one of the two"),
    ],
)  # fmt: skip
def test_bad_input(folder, arguments, code, words):
    found = command("simulate", folder, *arguments, "--subjects", 5)
    assert found.code == code
    assert words in found.complaint
    assert "cure" in found.complaint
    assert not (folder / "results" / "simulation").exists()


def test_a_window_upside_down(folder):
    found = command("target", folder, "--window", "900 to 500 ug/L")
    assert found.code == PROBLEMS
    assert "the first is not below the second" in found.complaint


@pytest.mark.slow
def test_an_interrupt_leaves_no_half_files(folder, per_kg, monkeypatch):
    """What an earlier simulation wrote stays as it was."""
    assert command("simulate", folder, "--regimen", per_kg, "--subjects", 9).code == CLEAN
    place = folder / "results" / "simulation"
    before = {p.name: p.read_bytes() for p in place.iterdir()}

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("popk.analysis.simulation.simulation._rows", interrupted)
    found = command("simulate", folder, "--regimen", per_kg, "--concentrations")
    assert found.code == INTERRUPTED
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before
