"""What a report shows is read back as it was written."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.gathered import gathered
from popk.analysis.gathered_dosing import patients, regimens, target
from popk.analysis.reread import required, reread
from popk.spec.problem import PopkError
from popk.study.folder import add
from tests.report.studies import EVIL, SUBJECTS, checked, effects_table, fitted


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("gathered") / "awkward")


def test_of_a_bare_fit_tables_are_not_there(made):
    found = gathered(*made)
    assert found.verdicts is None
    assert not found.checked
    assert found.covariates is None
    assert found.simulation is None
    assert found.patients == ()
    assert found.power is None
    assert found.figures == {}
    assert list(found.individuals.index) == list(SUBJECTS)
    assert found.individual_units["CL_scaled"] == "L/h/kg"
    assert found.stale == ()
    assert (found.amount_unit, found.time_unit, found.concentration_unit) == ("µg", "h", "µg/L")
    assert found.covariate_units == {"WT": "kg", "A<i>GE": ""}
    assert list(found.doses["ID"]) == list(SUBJECTS)
    np.testing.assert_allclose(found.doses["duration"], 48.0)


def test_tables_come_back_as_they_were(made):
    study, fit = made
    add(study.folder, {f"checks/{n}": t for n, t in checked(study).items()})
    add(study.folder, {"covariates.csv": effects_table()})
    found = gathered(study, fit)
    assert found.checked
    assert found.verdicts is not None
    assert found.verdicts.loc["VPC", "outcome"] == "failed"
    assert np.isnan(found.verdicts.loc["identifiability", "value"])
    assert found.observations is not None
    assert found.observations["censored"].dtype == bool
    assert set(found.observations["ID"]) == set(SUBJECTS)
    assert found.covariates is not None
    assert found.covariates.loc["CL_A<i>GE_below", "joint_q95"] == 1.3
    assert found.covariate_rule.startswith('"relevant effect"')
    assert found.covariate_notes == ("mind",)
    assert {"vpc", "npde", "individuals_1"} == found.figures.keys()
    assert found.outlying_subjects is not None
    assert found.outlying_subjects.index[0] == EVIL


def test_words_stay_words(tmp_path):
    path = tmp_path / "table.csv"
    rows = ['007,1,,True,"a,b"', "NA,inf,2.5,False,NA", '"#x",-1e-3,,True,""']
    path.write_text("# one\n# two\nID,a,b,flag,note\n" + "\n".join(rows) + "\n")
    found = reread(path, again="x")
    assert found is not None
    assert found.comments == ("one", "two")
    assert found.table["ID"].tolist() == ["007", "NA", "#x"]
    assert found.table["a"].tolist() == [1.0, np.inf, -0.001]
    assert found.table["b"].isna().tolist() == [True, False, True]
    assert found.table["flag"].dtype == bool
    assert found.table["note"].tolist() == ["a,b", "NA", ""]


def test_a_column_without_any_number_is_none(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("ID,NPDE\na,\nb,\n")
    found = reread(path, again="x")
    assert found is not None
    assert found.table["NPDE"].dtype == float
    assert found.table["NPDE"].isna().all()


@pytest.mark.parametrize("text", ["ID,x\n1,2\n", "", "ID,y\n1,2,3\n4\n", '"'])
def test_what_is_no_such_table_is_refused_with_a_cure(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(PopkError) as refused:
        reread(path, index="ID", need=("y",), again="popk diagnose fits/a")
    (problem,) = refused.value.problems
    assert problem.file == str(path)
    assert problem.cure == "run: popk diagnose fits/a"


def test_nothing_is_nothing(tmp_path):
    assert reread(tmp_path / "none.csv", again="x") is None
    (tmp_path / "empty.csv").write_text("ID,x\n")
    assert reread(tmp_path / "empty.csv", again="x") is None
    with pytest.raises(PopkError, match="popk fit"):
        required(tmp_path / "none.csv", index="ID", again="popk fit fits/a")
    assert regimens(tmp_path, "x") is None
    assert target(tmp_path, "x") is None
    assert patients(tmp_path, "x") == ()


def test_a_target_has_its_window(tmp_path):
    head = "# for research\n# Css 500 to 900 pg/mL; 50 infants\n"
    best = pd.DataFrame(
        {"basis": ["ug/day"], "group": ["all"], "dose": [5.0], "probability": [0.5]}
    )
    for name in ("best", "curves"):
        (tmp_path / f"{name}.csv").write_text(head + best.to_csv(index=False))
    found = target(tmp_path, "x")
    assert found is not None
    assert (found.low, found.high, found.unit, found.about) == (500.0, 900.0, "pg/mL", "50 infants")
    assert found.window == "500 to 900 pg/mL"
    assert found.asked is None


def test_a_patient_has_its_samples(tmp_path):
    place = tmp_path / "a_b"
    place.mkdir()
    (place / "summary.csv").write_text(
        "# for research\n# target: Css of 5 ug/L\n# ID a/b\n"
        "quantity,unit,median,q5,q95,probability\nCL,L/h,1,0.5,2,\n"
    )
    head = "# TIME h, concentrations pg/mL\n"
    (place / "course.csv").write_text(head + "TIME,median,q5,q95\n0,1,0.5,2\n")
    (found,) = patients(tmp_path, "x")
    assert found.id == "a/b"
    assert found.how == ("target: Css of 5 ug/L",)
    assert (found.time_unit, found.concentration_unit) == ("h", "pg/mL")
    assert found.samples is None
    (place / "samples.csv").write_text(head + "TIME,DV,censored\n1,5,True\n")
    (found,) = patients(tmp_path, "x")
    assert found.samples is not None
    assert found.samples["censored"].tolist() == [True]
