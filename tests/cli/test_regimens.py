"""``popk regimens``: the ready ones, as TOML and as NONMEM records; from pump logs and data."""

import io

import pandas as pd

from popk.spec.regimen import READY, read_regimen
from tests.cli.conftest import CLEAN, PROBLEMS, UNREADABLE, command, strict_json

LOG = "start,stop,rate\n0,24,0.5\n30,54,0.5\n"


def test_all_are_listed():
    found = command("regimens")
    assert found.code == CLEAN
    assert [name for name in READY if name not in found.words] == []
    assert set(strict_json(command("regimens", "--json").out)) == set(READY)


def test_toml_goes_there_and_back(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(command("regimens", "interruption").out)
    assert read_regimen(path) == read_regimen("interruption")


def test_a_pump_log_is_a_regimen(tmp_path):
    path = tmp_path / "pump.csv"
    path.write_text(LOG)
    found = command("regimens", path)
    assert found.code == CLEAN, found.complaint
    (tmp_path / "mine.toml").write_text(found.out)
    regimen = read_regimen(tmp_path / "mine.toml")
    assert regimen.length("h") == 54.0
    assert len(regimen.steps) == 3


def test_records_of_a_regimen_for_the_subjects_of_a_fit(folder, tmp_path):
    path = tmp_path / "pump.csv"
    path.write_text(LOG)
    found = command("regimens", path, "--records-for", folder)
    assert found.code == CLEAN, found.complaint
    table = pd.read_csv(io.StringIO(found.out))
    doses = table[table["EVID"] == 1]
    assert list(doses["TIME"]) == [0.0, 30.0] * 6
    assert set(doses["AMT"]) == {12.0}
    assert "WT" in table


def test_what_a_subject_was_given(folder):
    data = folder / "data.csv"
    data.write_text("ID,TIME,EVID,MDV,AMT,RATE,DV,WT\n7,0,1,1,48,2,.,5\n7,30,0,0,0,0,1,5\n")
    found = command("regimens", "--given-in", folder, "--id", "7")
    assert found.code == CLEAN, found.complaint
    assert 'infusion = "2 ug/h"' in found.out
    refused = command("regimens", "--given-in", folder, "--id", "8")
    assert refused.code == PROBLEMS
    assert "add --id 7" in refused.complaint


def test_bad_input(tmp_path):
    path = tmp_path / "pump.csv"
    path.write_text("start,stop,rate\n0,24,-0.5\n30,20,1\n")
    found = command("regimens", path)
    assert found.code == PROBLEMS
    assert "line 2" in found.complaint
    assert "line 3" in found.complaint
    missing = command("regimens", tmp_path / "none.toml")
    assert missing.code == UNREADABLE
